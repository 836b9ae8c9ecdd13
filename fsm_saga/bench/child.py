"""Measurements that need a process of their own: with empty caches, or with memory of their own.

``python -m fsm_saga.bench.child compile 3 10`` and ``... rest URL KIND SAGAS`` print one JSON
document.
"""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import orjson

from fsm_saga.bench.compiling import compile_times_ms
from fsm_saga.bench.resting import memory_of_resting

CHILD_S_MAX = 120.0


def in_child(*arguments: object) -> Any:
    """Return what this module prints when a new process runs it.

    Raises:
        subprocess.SubprocessError: If it failed or did not end in time.
    """
    command = [sys.executable, "-m", "fsm_saga.bench.child", *map(str, arguments)]
    done = subprocess.run(  # noqa: S603  # our own module, by our own interpreter
        command, stdout=subprocess.PIPE, check=True, timeout=CHILD_S_MAX
    )
    return orjson.loads(done.stdout)


def main(arguments: list[str]) -> Any:
    """Return what is asked for: ``compile STEPS...`` or ``rest URL KIND SAGAS``."""
    what, *rest = arguments
    if what == "compile":
        return compile_times_ms(tuple(map(int, rest)))
    url, kind, sagas = rest
    return memory_of_resting(url, kind, int(sagas))


if __name__ == "__main__":
    sys.stdout.buffer.write(orjson.dumps(main(sys.argv[1:])))
