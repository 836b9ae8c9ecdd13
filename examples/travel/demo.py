"""A trip that fails, is undone, and succeeds at the second try: ``python -m examples.travel.demo``.

The travel agency runs as a process of its own, on the loopback interface, with its own books.
The saga runs as another, by the same command line that a user types. Afterwards the books are
compared as numbers: any difference ends the demo with a message and exit code 1.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import unicodedata
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path
from types import FrameType
from typing import Any

from examples.travel.process import REPOSITORY, Agency, open_agency

PLAN = "examples/travel/plan.json"
TOOLS = "examples/travel/tools.py"
COMMAND_TIMEOUT_S = 120.0
DAY = "2026-02-01"
PLACES = (
    ("seats", "flights", "CA1234"),
    ("rooms", "hotels", "和平饭店"),
    ("cars", "transfers", "airport car"),
)
TRAVELLER, OTHER_GUEST = "王小明", "Li Na"
ACCOUNTS = (TRAVELLER, "airline", "hotel", "car service")
STAY = {"hotel": "和平饭店", "check_in": "2026-02-01", "check_out": "2026-02-03"}
FLIGHT_CENTS, HOTEL_CENTS, CAR_CENTS = 128_000, 290_000, 18_000
# What one trip changes in the books, in the order of the columns that are printed.
ONE_TRIP = (
    -(FLIGHT_CENTS + HOTEL_CENTS + CAR_CENTS),
    FLIGHT_CENTS,
    HOTEL_CENTS,
    CAR_CENTS,
    *(-1, -1, -1),
)


class UnexpectedError(Exception):
    """Something came out otherwise than this demo promises."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Demo:
    """Where this run of the demo keeps things, and the agency that it talks to."""

    agency: Agency
    directory: Path
    pictures: Path

    def command(self, *arguments: str, expected_exit: int = 0) -> str:
        """Run ``fsm-saga`` and return what it printed.

        Raises:
            UnexpectedError: If it ended with another exit code.
        """
        ended = subprocess.run(  # noqa: S603  # our own module, arguments from this file
            [sys.executable, "-m", "fsm_saga", *arguments],
            cwd=REPOSITORY,
            env=os.environ | {"TRAVEL_URL": self.agency.url, "PYTHONUTF8": "1"},
            capture_output=True,
            encoding="utf-8",
            timeout=COMMAND_TIMEOUT_S,
            check=False,
        )
        if ended.returncode != expected_exit:
            raise UnexpectedError(
                f"`fsm-saga {' '.join(arguments)}` ended with exit code {ended.returncode}, "
                f"not {expected_exit}. It said:\n{ended.stdout}{ended.stderr}"
            )
        return ended.stdout

    @property
    def store(self) -> str:
        """Return the URL of the store that holds this demo's sagas."""
        return f"sqlite:///{self.directory / 'trips.db'}"

    def run(self, plan: str, *, expected_exit: int) -> dict[str, Any]:
        """Run a plan to rest, and return the saga as ``--json`` prints it."""
        print(f"\n$ fsm-saga run {plan} --tools {TOOLS} --store {self.store}")
        said = self.command(
            *("run", plan, "--tools", TOOLS, "--store", self.store, "--json"),
            expected_exit=expected_exit,
        )
        saga: dict[str, Any] = json.loads(said)
        for step in saga["steps"]:
            line = f"  {padded(step['name'], 26)} {padded(step['status'], 12)} {step_note(step)}"
            print(line.rstrip())
        print(f"  state {saga['state']}, outcome {saga['outcome']}, exit code {expected_exit}")
        return saga

    def draw(self, name: str, *what: str) -> None:
        """Write one picture in both formats and print where."""
        for file_format in ("svg", "png"):
            path = self.pictures / f"{name}.{file_format}"
            target = str(path.resolve())
            self.command("diagram", *what, "--format", file_format, "-o", target)
            if not path.is_file() or path.stat().st_size == 0:
                raise UnexpectedError(f"The picture {path} was not written.")
        print(f"  drawn: {self.pictures / name}.svg and .png")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; return 0 if everything came out as promised."""
    parser = argparse.ArgumentParser(prog="examples.travel.demo", description=__doc__)
    parser.add_argument("--keep", type=Path, help="keep books and sagas in this new directory")
    parser.add_argument("--output", type=Path, default=Path("demo-output"), help="for the pictures")
    options = parser.parse_args(arguments)
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # A terminal may lack the Chinese characters.
    signal.signal(signal.SIGTERM, _stop)
    try:
        options.output.mkdir(parents=True, exist_ok=True)
        with _working_directory(options.keep) as name:
            directory = Path(name).resolve()
            with open_agency(directory, hotel_rooms=1) as agency:
                show(Demo(agency=agency, directory=directory, pictures=options.output))
    except KeyboardInterrupt:
        print("\nInterrupted; the travel agency was stopped.", file=sys.stderr)
        return 130
    except (UnexpectedError, RuntimeError, OSError, subprocess.TimeoutExpired) as error:
        print(f"\nThe demo did not come out as promised. {error}", file=sys.stderr)
        return 1
    return 0


def show(demo: Demo) -> None:
    """Tell the story, and check each of its numbers.

    Raises:
        UnexpectedError: If anything differs from what this demo promises.
    """
    print("Three bookings make a trip to Shanghai: a flight, a room in the 和平饭店, a car.")
    print(f"{OTHER_GUEST} has the last room, so the second booking will be refused.")
    print(f"Money is in yuan; seats, rooms and cars are those free on {DAY}.")
    _ask(demo, "/hotels/book", "guest-in", traveller=OTHER_GUEST, **STAY)
    before = figures(demo.agency)
    print_books(before=before)
    demo.draw("1-plan", PLAN, "--tools", TOOLS, "--kind", "dag")

    failed = demo.run(PLAN, expected_exit=1)
    expect("the saga's end", (failed["state"], failed["outcome"]), ("FAILED", "compensated"))
    statuses = [step["status"] for step in failed["steps"]]
    expect("the steps' statuses", statuses, ["COMPENSATED", "REJECTED", "SKIPPED"])
    show_calls(demo.agency)
    after = figures(demo.agency)
    print_books(before=before, after=after)
    expect("the books after the failure", after, before)
    print("  Money back, seat back: the books are the same to the cent.\n")
    for name, kind in (("2-saga", "dag"), ("3-machine", "machine"), ("4-timeline", "timeline")):
        demo.draw(name, "--saga", "trip-shanghai", "--store", demo.store, "--kind", kind)

    print(f"\n{OTHER_GUEST} cancels, so a room is free. The same plan, under another task_id:")
    _ask(demo, "/hotels/cancel", "guest-out", undoes="guest-in")
    before = figures(demo.agency)
    done = demo.run(_plan_with_room(demo.directory), expected_exit=0)
    expect("the saga's end", (done["state"], done["outcome"]), ("DONE", "committed"))
    after = figures(demo.agency)
    print_books(before=before, after=after)
    wanted = tuple(old + change for old, change in zip(before, ONE_TRIP, strict=True))
    expect("the books after the success", after, wanted)
    print("\nEverything came out as promised.")


def figures(agency: Agency) -> tuple[int, ...]:
    """Return the balances, then what is free on the day of the flight, as numbers."""
    ledger = agency.ledger()
    money = [ledger["accounts_cents"][name] for name in ACCOUNTS]
    return (*money, *(ledger["free"][kind][f"{code} {DAY}"] for _, kind, code in PLACES))


def print_books(**moments: tuple[int, ...]) -> None:
    """Print the books as they were at each moment, one line each, money in yuan."""
    counts = [name for name, _, _ in PLACES]
    print("\n  ledger" + "".join(padded(name, 12, right=True) for name in ACCOUNTS), end="")
    print("".join(padded(name, 7, right=True) for name in counts))
    for moment, numbers in moments.items():
        money, free = numbers[: len(ACCOUNTS)], numbers[len(ACCOUNTS) :]
        print(f"  {moment:6}" + "".join(f"{cents / 100:12,.2f}" for cents in money), end="")
        print("".join(f"{count:7}" for count in free))


def show_calls(agency: Agency) -> None:
    """Print what the agency was asked, and check that the booked order was the one undone."""
    calls = [call for call in agency.calls() if not call["req_id"].startswith("guest-")]
    print("  The agency was asked:")
    for call in calls:
        reply = call["reply"]
        said = reply.get("error") or f"order {reply['order_id']}"
        print(f"    POST {call['path']:15} {call['req_id'][:20]:20}  {call['status']} {said}")
    paths = [call["path"] for call in calls]
    expect("the agency's calls", paths, ["/flights/book", "/hotels/book", "/flights/cancel"])
    booking, _, undo = calls
    expect("the cancelled order", undo["params"]["order_id"], booking["reply"]["order_id"])
    expect("the undone req_id", undo["params"]["undoes"], booking["req_id"])
    expect("the refund", undo["reply"]["refunded_cents"], FLIGHT_CENTS)
    print(f"  The flight was cancelled by its own order id, {undo['params']['order_id']}.")


def step_note(step: dict[str, Any]) -> str:
    """Return the one thing worth saying about a step: its error, or its order."""
    if step["error"]:
        return str(step["error"])
    output = step["output"]
    return f"order {output['order_id']}" if output else ""


def padded(text: str, width: int, *, right: bool = False) -> str:
    """Return ``text`` in ``width`` columns of a terminal, where a Chinese character takes two."""
    columns = sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)
    space = " " * max(0, width - columns)
    return space + text if right else text + space


def expect(what: str, actual: object, wanted: object) -> None:
    """Return if the two are equal.

    Raises:
        UnexpectedError: If they are not.
    """
    if actual != wanted:
        raise UnexpectedError(f"Expected {what} to be {wanted!r}, found {actual!r}.")


def _ask(demo: Demo, path: str, req_id: str, **params: str) -> None:
    status, reply = demo.agency.post(path, req_id=req_id, **params)
    expect(f"the answer to {path}", (status, reply.get("error")), (200, None))


def _plan_with_room(directory: Path) -> str:
    plan = json.loads((REPOSITORY / PLAN).read_text(encoding="utf-8"))
    plan["task_id"] = "trip-shanghai-2"
    path = directory / "plan-with-room.json"
    path.write_text(json.dumps(plan, ensure_ascii=False, indent=2), encoding="utf-8")
    return str(path)


def _working_directory(keep: Path | None) -> AbstractContextManager[str | Path]:
    if keep is None:
        return tempfile.TemporaryDirectory(prefix="fsm-saga-demo-")
    if keep.exists() and any(keep.iterdir()):
        raise UnexpectedError(f"The directory {keep} is not empty: name a new one.")
    keep.mkdir(parents=True, exist_ok=True)
    return nullcontext(keep)


def _stop(signum: int, frame: FrameType | None) -> None:
    del frame
    raise SystemExit(128 + signum)


if __name__ == "__main__":
    sys.exit(main())
