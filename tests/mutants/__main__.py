"""``python -m tests.mutants``: change the code a little in each place, and see that a test fails.

mutmut runs in copies of the checkout, ``build/mutants``, one for each part of ``parts.py``. What
holds for every part is ``[tool.mutmut]`` in pyproject.toml. One JSON document is printed; the exit
code is 1 if a mutant survived that may not, and 2 if mutmut itself failed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.mutants.parts import PARTS, Part
from tests.mutants.reading import (
    Mutant,
    forget_unproven,
    is_enough,
    read_mutants,
    read_survivors,
    told,
)

ROOT = Path(__file__).resolve().parents[2]
COPIES = ROOT / "build" / "mutants"


def main(arguments: list[str] | None = None) -> int:
    """Run what was asked for and print what came of it."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("--children", type=int, default=os.cpu_count() or 1, metavar="N")
    parser.add_argument(
        "--again",
        action="store_true",
        help="Keep what was found in the last run's copy; run what survived, timed out, or is new.",
    )
    parser.add_argument(
        "--part", choices=PARTS, action="append", help="Only this part; may be given again."
    )
    parser.add_argument(
        "--read", action="store_true", help="Run nothing; tell what the last runs left."
    )
    parser.add_argument(
        "--only",
        nargs="+",
        default=[],
        metavar="PATTERN",
        help="Only mutants of such names: '*[258]' is a sample of three in ten.",
    )
    parser.add_argument(
        "--survivors", action="store_true", help="Only what survived in the last run's copy."
    )
    asked = parser.parse_args(arguments)
    names: list[str] = asked.part or list(PARTS)
    for name in names if not asked.read else ():
        copy = COPIES / name
        only: list[str] = asked.only
        if asked.survivors:
            lived = (each for each in read_mutants(copy / "mutants") if each.has_survived)
            only = [each.name for each in lived]
            if not only:
                continue
        elif asked.again:
            forget_unproven(copy / "mutants")
        else:
            shutil.rmtree(copy, ignore_errors=True)
        _copy_checkout(copy)
        settings = copy / "pyproject.toml"
        settings.write_text(settings_text(settings.read_text("utf-8"), PARTS[name]), "utf-8")
        if _run_mutmut(copy, asked.children, only) != 0:
            return 2
    mutants: list[Mutant] = []
    for name in names:
        mutants += read_mutants(COPIES / name / "mutants")
    document = told(mutants, read_survivors())
    sys.stdout.write(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    return int(not is_enough(document))


def _copy_checkout(copy: Path) -> None:
    """Bring a copy up to date; mutmut is to take its tests, and their times, from it anew."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    shutil.rmtree(copy / "mutants" / "tests", ignore_errors=True)
    (copy / "mutants" / "mutmut-stats.json").unlink(missing_ok=True)
    for name in listed.stdout.decode().split("\0"):
        source, target = ROOT / name, copy / name
        if not name or not source.is_file():
            continue
        # A file that is the same keeps its time, by which mutmut knows that it need not run again.
        if not target.is_file() or target.read_bytes() != source.read_bytes():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)


def settings_text(text: str, part: Part) -> str:
    """Return a pyproject.toml that says what the part is."""
    settings = {
        "only_mutate": part.mutated,
        "pytest_add_cli_args_test_selection": part.tests,
    }
    lines = [f"{key} = {json.dumps(value)}" for key, value in settings.items()]
    text = text.replace("[tool.mutmut]", "\n".join(["[tool.mutmut]", *lines]), 1)
    options = [option for test in part.left_out for option in ("--deselect", test)]
    options += ["-k", part.chosen] if part.chosen else []
    more = "".join(f"\n    {json.dumps(option)}," for option in options)
    return text.replace(_ARGUMENTS, _ARGUMENTS + more, 1)


_ARGUMENTS = "pytest_add_cli_args = ["


def _run_mutmut(copy: Path, children: int, only: list[str]) -> int:
    command = [sys.executable, "-m", "mutmut", "run", "--max-children", str(children), *only]
    # What it says goes to stderr: stdout holds the document alone.
    return subprocess.run(command, cwd=copy, stdout=sys.stderr, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
