"""``python -m tests.mutants``: change the code a little in each place, and see that a test fails.

mutmut runs in a copy of the checkout, ``build/mutants``. What to mutate, and by which tests, is
``[tool.mutmut]`` in pyproject.toml. One JSON document is printed; the exit code is 1 if a mutant
survived that may not, and 2 if mutmut itself failed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.mutants.reading import forget_survivors, read_mutants, read_survivors, told

ROOT = Path(__file__).resolve().parents[2]
COPY = ROOT / "build" / "mutants"
KILLED_PERCENT_MIN = 90.0


def main(arguments: list[str] | None = None) -> int:
    """Run what was asked for and print what came of it."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("--children", type=int, default=os.cpu_count() or 1, metavar="N")
    parser.add_argument(
        "--again",
        action="store_true",
        help="Keep what was found in the last run's copy; run what survived, or is new.",
    )
    parser.add_argument("--read", type=Path, metavar="FOLDER", help="Read a run's mutants folder.")
    asked = parser.parse_args(arguments)
    folder = asked.read
    if folder is None:
        if asked.again:
            forget_survivors(COPY / "mutants")
        else:
            shutil.rmtree(COPY, ignore_errors=True)
        _copy_checkout()
        if _run_mutmut(asked.children) != 0:
            return 2
        folder = COPY / "mutants"
    document = told(list(read_mutants(folder)), read_survivors())
    sys.stdout.write(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    is_short = document["killed_percent"] < KILLED_PERCENT_MIN
    return int(is_short or document["not_run"] > 0 or document["strict_unlisted"] > 0)


def _copy_checkout() -> None:
    """Bring the copy up to date; mutmut is to take its tests, and their times, from it anew."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    shutil.rmtree(COPY / "mutants" / "tests", ignore_errors=True)
    (COPY / "mutants" / "mutmut-stats.json").unlink(missing_ok=True)
    for name in listed.stdout.decode().split("\0"):
        source, target = ROOT / name, COPY / name
        if not name or not source.is_file():
            continue
        # A file that is the same keeps its time, by which mutmut knows that it need not run again.
        if not target.is_file() or target.read_bytes() != source.read_bytes():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)


def _run_mutmut(children: int) -> int:
    command = [sys.executable, "-m", "mutmut", "run", "--max-children", str(children)]
    # What it says goes to stderr: stdout holds the document alone.
    return subprocess.run(command, cwd=COPY, stdout=sys.stderr, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
