"""``python -m tests.fuzz``: bad input at scale, and one case of it again."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from tests.fuzz.run import Run, check_case, failure_of, run_cases, watch_time
from tests.fuzz.summing import sum_of
from tests.fuzz.tally import Tally
from tests.fuzz.target import case_of
from tests.fuzz.targets import TARGETS


def main(arguments: list[str] | None = None) -> int:
    """Run what was asked for; return 1 if a case failed."""
    asked = _parser().parse_args(arguments)
    if asked.again:
        return _again(asked.again)
    if asked.sum:
        texts = [Path(file).read_text(encoding="utf-8") for file in asked.sum]
        return _ended(sum_of([json.loads(text) for text in texts]), as_json=True)
    names = list(TARGETS) if asked.target == "all" else [asked.target]
    runs = []
    for name in names:
        run = _run(name, asked, is_alone=len(names) == 1)
        runs.append(run)
        sys.stderr.write(_line(run))
        for told in run.as_json()["failures"]:
            sys.stderr.write(_told(told))
    document = {
        "seed": asked.seed,
        "workers": asked.workers,
        "cases": sum(run.cases for run in runs),
        "seconds": round(sum(run.seconds for run in runs), 1),
        "failed_cases": sum(len(run.failures) for run in runs),
        "targets": {
            run.target: {"about": TARGETS[run.target].about, **run.as_json()} for run in runs
        },
    }
    return _ended(document, as_json=asked.json)


def _ended(document: dict[str, Any], *, as_json: bool) -> int:
    if as_json:
        sys.stdout.write(json.dumps(document, indent=1) + "\n")
    return 1 if document["failed_cases"] else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--target", choices=["all", *TARGETS], default="all")
    parser.add_argument(
        "--cases",
        type=int,
        default=30_000,
        help="Of plans; of all others with --target all, a share.",
    )
    parser.add_argument("--first", type=int, default=0, help="The number of the first case.")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--json", action="store_true", help="Print one JSON document on stdout.")
    parser.add_argument(
        "--sum", metavar="FILE", nargs="+", help="Add up what runs with other --first have printed."
    )
    parser.add_argument("--again", metavar="TARGET:SEED:NUMBER", help="Show and repeat one case.")
    return parser


def _run(name: str, asked: argparse.Namespace, *, is_alone: bool) -> Run:
    target = TARGETS[name]
    share = 1.0 if is_alone else target.share
    first, count = int(asked.first * share), max(1, int(asked.cases * share))
    numbers = range(first, first + count)
    return run_cases(target, seed=asked.seed, numbers=numbers, workers=asked.workers)


def _line(run: Run) -> str:
    found = run.as_json()
    return (
        f"{run.target}: {run.cases} cases in {run.seconds:.0f} s "
        f"({found['cases_per_s']} a second), {len(run.failures)} failed\n"
    )


def _told(failure: dict[str, Any]) -> str:
    return "".join(
        f"  {failure[part]}\n" for part in ("what", "detail", "smallest", "again") if failure[part]
    )


def _again(word: str) -> int:
    name, seed, number = word.split(":")
    target = TARGETS[name]()
    case = case_of(target, int(seed), int(number))
    watch_time()
    seen = Tally()
    error = check_case(target, case, seen)
    sys.stdout.write(f"case: {case!r}\nseen: {json.dumps(seen.as_json())}\n")
    if error is not None:
        sys.stdout.write(_told(failure_of(target, int(seed), int(number), error).as_json()))
    target.close()
    return 0 if error is None else 1


if __name__ == "__main__":
    sys.exit(main())
