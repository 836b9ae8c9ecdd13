"""Where the numbers were taken: without that they say little."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import apsw

import fsm_saga.bench
from fsm_saga.bench.measuring import rounded

GIT_S_MAX = 5.0


def machine_facts() -> dict[str, Any]:
    """Return cores, load, system, versions, and the commit if this is a checkout."""
    load = os.getloadavg() if hasattr(os, "getloadavg") else ()
    return {
        "cores": os.cpu_count(),
        "load_average": [rounded(value) for value in load],
        "system": platform.platform(),
        "python": platform.python_version(),
        "sqlite": apsw.sqlite_lib_version(),
        "commit": _commit(),
    }


def _commit() -> str | None:
    """Return the commit of the checkout that this package is imported from."""
    root = Path(fsm_saga.bench.__file__).resolve().parents[2]
    command = ["git", "-C", str(root), "rev-parse", "--show-toplevel", "HEAD"]
    try:
        done = subprocess.run(  # noqa: S603  # fixed words and our own path
            command, capture_output=True, text=True, check=True, timeout=GIT_S_MAX
        )
    except (OSError, subprocess.SubprocessError):
        return None
    top, commit = done.stdout.splitlines()
    # An installed package may lie inside somebody else's checkout.
    return commit if Path(top).resolve() == root else None
