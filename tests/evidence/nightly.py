"""``python -m tests.evidence.nightly``: at full length what every change is tried with in part.

Each command prints one JSON document, which is kept in ``build/nightly``; one that fails stops none
of the others. Names run only those. The pairs of crash points go on where they were stopped.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.evidence.page import duration
from tests.evidence.results import ROOT, words_of

KEPT = Path("build") / "nightly"

COMMANDS: Mapping[str, str] = {
    "simulation": "python -m fsm_saga.simulation --seeds 200000 --json",
    "cluster": "python -m fsm_saga.simulation --cluster --seeds 20000 --json",
    "crash-points": f"python -m tests.crashpoints --into {KEPT / 'crash-points'} --json",
    "kills": "python -m tests.evidence.counted kills --long",
    "modelcheck": "python -m tests.evidence.counted modelcheck --long",
    "chaos": "python -m tests.evidence.counted chaos --long",
    "fuzz": "python -m tests.fuzz --cases 1000000 --json",
}


def main(arguments: Sequence[str] | None = None, *, root: Path = ROOT) -> int:
    """Run the commands of the names, or all; return 1 if one failed, 2 for a name that is none."""
    names = list(sys.argv[1:] if arguments is None else arguments) or list(COMMANDS)
    unknown = [name for name in names if name not in COMMANDS]
    if unknown:
        sys.stderr.write(f"There is no {unknown[0]!r}; there are {', '.join(COMMANDS)}.\n")
        return 2
    kept = root / KEPT
    kept.mkdir(parents=True, exist_ok=True)
    ended = {}
    for name in names:
        sys.stderr.write(f"{name}: {COMMANDS[name]}\n")
        started, file = time.monotonic(), kept / f"{name}.json"
        with file.open("w", encoding="utf-8") as printed:
            done = subprocess.run(words_of(COMMANDS[name]), cwd=root, stdout=printed, check=False)
        seconds = time.monotonic() - started
        ended[name] = {
            "exit_code": done.returncode,
            "seconds": round(seconds, 1),
            "document": str(KEPT / file.name),
        }
        sys.stderr.write(f"{name}: exit code {done.returncode} after {duration(seconds)}\n")
    sys.stdout.write(json.dumps(ended, indent=1) + "\n")
    return 1 if any(each["exit_code"] for each in ended.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
