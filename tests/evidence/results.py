"""docs/evidence.json: what the figures' commands printed last, and where and when that was."""

from __future__ import annotations

import datetime
import json
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fsm_saga.bench.machine_facts import machine_facts
from tests.evidence.figure import Figure

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "docs" / "evidence.json"
PAGE = ROOT / "docs" / "evidence.md"
DOCUMENT_BYTES_MAX = 65_536


class NoDocumentError(Exception):
    """A figure's command did not print one JSON object of bounded size."""


def load_results(path: Path = RESULTS) -> dict[str, Any]:
    """Return the recorded results, by figure."""
    if not path.exists():
        return {}
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def write_results(results: Mapping[str, Any], path: Path = RESULTS) -> None:
    """Write the results, each figure's in its own place, so that a diff shows what changed."""
    # In ASCII: what a fuzzer met need not be characters that a file can hold.
    text = json.dumps(results, indent=1, sort_keys=True)
    path.write_text(text + "\n", encoding="utf-8")


def run_figure(figure: Figure) -> dict[str, Any]:
    """Return the result of a figure, made now.

    Raises:
        NoDocumentError: If its command printed no document.
    """
    facts, started = machine_facts(), time.monotonic()
    done = subprocess.run(
        words_of(figure.command), cwd=ROOT, stdout=subprocess.PIPE, check=False, text=True
    )
    return {
        **result_of(figure, done.stdout, seconds=time.monotonic() - started, machine=facts),
        "exit_code": done.returncode,
    }


def result_of(
    figure: Figure, printed: str, *, seconds: float, machine: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the result that a figure's printed document is.

    Raises:
        NoDocumentError: If it is no JSON object, or too large to be kept.
    """
    try:
        document = json.loads(printed)
    except ValueError as error:
        raise NoDocumentError(f"{figure.command!r} printed no JSON: {error}.") from error
    if not isinstance(document, dict) or len(printed) > DOCUMENT_BYTES_MAX:
        raise NoDocumentError(
            f"{figure.command!r} has to print one JSON object of at most {DOCUMENT_BYTES_MAX} "
            f"bytes; it printed a {type(document).__name__} of {len(printed)}."
        )
    return {
        "command": figure.command,
        "at": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
        "seconds": round(seconds, 1),
        "machine": dict(machine),
        "has_changes": has_changes(),
        "exit_code": 0,
        "document": document,
    }


def words_of(command: str) -> list[str]:
    """Return the words of a command; what stands in our environment is taken from there."""
    program, *rest = shlex.split(command)
    if program == "python":
        return [sys.executable, *rest]
    beside = Path(sys.executable).with_name(program)
    found = str(beside) if beside.exists() else shutil.which(program)
    return [found or program, *rest]


def has_changes() -> bool:
    """Return whether the package differs from its commit."""
    try:
        done = subprocess.run(
            ["git", "status", "--porcelain", "--", "fsm_saga"],
            cwd=ROOT,
            capture_output=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return False
    return bool(done.stdout.strip())
