"""``python -m tests.crashpoints``: all single faults, then some pairs of each plan, or all pairs.

Of plans of up to three steps all pairs are tried in any case, which takes half a minute of one
processor; ``--all-up-to`` says of how many. All that there are take some ten minutes on two.
``--part 3/8`` tries every eighth case, from the third on; ``--into DIRECTORY`` tries all parts one
after the other and leaves each there, so that what was stopped goes on where it was when it is
started again on the same commit.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from fsm_saga.bench.machine_facts import machine_facts
from tests.crashpoints.lab import Case
from tests.crashpoints.running import PROCESSES, Tally, all_cases, try_all

PARTS = 16
PAIRS = 12
ALL_UP_TO = 3


class Part(NamedTuple):
    """Every n-th case, from the k-th on."""

    number: int
    of: int

    def cases(self) -> list[Case]:
        """Return its cases; the large ones come first, so that all parts are about alike."""
        return all_cases()[self.number - 1 :: self.of]


def part_of(text: str) -> Part:
    """Return what ``3/8`` stands for."""
    number, _slash, of = text.partition("/")
    if not (number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of)):
        raise argparse.ArgumentTypeError(f"{text!r} is no part, such as 3/8")
    return Part(int(number), int(of))


def pairs_of(text: str) -> int | None:
    """Return a number of pairs; ``all`` is None."""
    return None if text == "all" else int(text)


def main(arguments: Sequence[str] | None = None) -> int:
    """Try, say what came of it, and return 1 if something did not hold."""
    asked = _parser().parse_args(arguments)
    if asked.into is None:
        document = _tried(asked.part, asked.pairs, asked.jobs, all_up_to=asked.all_up_to)
    else:
        asked.into.mkdir(parents=True, exist_ok=True)
        parts = [Part(number, PARTS) for number in range(1, PARTS + 1)]
        document = summed([_kept(part, asked.into, asked.jobs) for part in parts])
    if asked.json:
        sys.stdout.write(json.dumps(document, indent=1) + "\n")
    else:
        sys.stdout.write(f"{Tally.of_json(document)}\n{document['seconds']:.0f} s\n")
        sys.stdout.write("".join(f"{wrong}\n" for wrong in document["wrong"]))
    return 1 if document["wrong_runs"] else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.crashpoints", description=__doc__)
    parser.add_argument(
        "--pairs",
        type=pairs_of,
        default=PAIRS,
        metavar="N",
        help="How many pairs of each plan are tried, or `all`.",
    )
    parser.add_argument(
        "--all-up-to",
        type=int,
        default=ALL_UP_TO,
        metavar="STEPS",
        help="All pairs of plans of no more steps are tried.",
    )
    parser.add_argument("--part", type=part_of, default=Part(1, 1), metavar="K/N")
    parser.add_argument(
        "--into", type=Path, metavar="DIRECTORY", help=f"All pairs, in {PARTS} parts kept there."
    )
    parser.add_argument("--jobs", type=int, default=PROCESSES, help="Processes.")
    parser.add_argument("--json", action="store_true", help="Print one JSON document on stdout.")
    return parser


def _tried(
    part: Part, pairs_max: int | None, jobs: int, *, all_up_to: int = ALL_UP_TO
) -> dict[str, Any]:
    cases, started = part.cases(), time.monotonic()

    def say(tally: Tally) -> None:
        if tally.cases % 25 == 0 and sys.stderr.isatty():
            sys.stderr.write(f"{tally.cases} of {len(cases)} plans, {tally.pairs:,} pairs\n")

    tally = try_all(cases, pairs_max=pairs_max, all_up_to=all_up_to, processes=jobs, on_case=say)
    seconds = time.monotonic() - started
    return _with_rate({**tally.as_json(), "part": f"{part.number}/{part.of}"}, seconds)


def _with_rate(document: dict[str, Any], seconds: float) -> dict[str, Any]:
    runs = sum(document["ends"].values())
    return {
        **document,
        "seconds": round(seconds, 1),
        "runs": runs,
        "runs_per_minute": round(60 * runs / seconds) if seconds else None,
    }


def _kept(part: Part, directory: Path, jobs: int) -> dict[str, Any]:
    """Return what came of a part of all pairs; tried unless this commit has done so before."""
    file = directory / f"part-{part.number}-of-{part.of}.json"
    commit = machine_facts()["commit"]
    if file.exists():
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        if found["commit"] == commit:
            return found
    made = {**_tried(part, None, jobs), "commit": commit}
    file.write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
    sys.stderr.write(f"part {part.number} of {part.of}: {made['seconds']:.0f} s\n")
    return made


def summed(documents: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the parts as one document, with the time that they took together."""
    total = Tally()
    for document in documents:
        total.add(Tally.of_json(document))
    return _with_rate(total.as_json(), sum(document["seconds"] for document in documents))


if __name__ == "__main__":
    sys.exit(main())
