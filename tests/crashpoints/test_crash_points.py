"""Every point of I/O, and each thing that can go wrong there, on the real coordinator.

All 40 orders of up to four steps, each step failing and none, with tools that fence their undo and
with plain ones. Judged by what the tools did after the last late call has come (C1, C2, C6, C8, X1,
X2, X3, W1), and by that it came to an end. Every pair of faults is tried of plans of up to three
steps, a choice of them of longer ones. Run with ``-s`` to see how many runs that were; ``python -m
tests.crashpoints --pairs all`` tries every pair there is, as `make nightly` does.
"""

from __future__ import annotations

import json
import logging
import sys
from argparse import ArgumentTypeError
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fsm_saga.coordinator import driver
from fsm_saga.core.decide import Decision
from fsm_saga.core.effects import CallTool
from fsm_saga.ports import Append, CallOutcome
from tests.crashpoints import __main__ as command
from tests.crashpoints import lab
from tests.crashpoints.__main__ import ALL_UP_TO
from tests.crashpoints.lab import FAULTS, Case, LabStore
from tests.crashpoints.ledger import Ledger
from tests.crashpoints.running import Tally, all_cases, try_all, try_case
from tests.modelcheck.zoo import DECIDERS, PATCHES
from tests.support.virtual_time import run_virtual

PAIRS_EACH = 12
SINGLES_MIN = 14_000
PAIRS_MIN = 47_000

CHAIN = Case(((), (0,), (1,)), 2, is_fenced=False)
FENCED_CHAIN = Case(((), (0,)), -1, is_fenced=True)
BRANCHES = Case(((), (0,), (0,), (1, 2)), 3, is_fenced=False)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)  # that a store fails is told, and here it always does
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_no_single_fault_and_no_pair_of_them_leaves_anything_wrong_in_the_world() -> None:
    tally = try_all(all_cases(), pairs_max=PAIRS_EACH, all_up_to=ALL_UP_TO)
    sys.stdout.write(f"{tally}\n")
    assert not tally.wrong, "\n".join(tally.wrong)
    assert tally.cases == 2 * (1 * 2 + 2 * 3 + 6 * 4 + 31 * 5)
    assert tally.singles >= SINGLES_MIN
    assert tally.pairs >= PAIRS_MIN
    assert tally.pairs == tally.pairs_by_steps.total()
    for steps in map(str, range(1, ALL_UP_TO + 1)):
        assert tally.pairs_by_steps[steps] == tally.pairs_all_by_steps[steps] > 500
    assert 3_000 < tally.pairs_by_steps["4"] < tally.pairs_all_by_steps["4"]
    assert set(tally.ends) == {"DONE", "FAILED"}
    happened = {f"{what} {fault}" for what in ("append", "call") for fault in FAULTS[what]}
    assert set(tally.faults) == happened


def test_a_plan_of_two_steps_survives_every_pair_of_faults() -> None:
    """Small enough to try all: what is read again after a crash is a point as well."""
    for is_fenced in (False, True):
        for refusing in (-1, 1):
            tally = tried(Case(((), (0,)), refusing, is_fenced), pairs_max=None)
            assert tally.pairs == tally.pairs_all > 300
            assert not tally.wrong, "\n".join(tally.wrong)


def tried(case: Case, *, pairs_max: int | None = 0) -> Tally:
    return run_virtual(try_case(case, pairs_max))


# --- engines that are wrong ----------------------------------------------------------------------
# A judge that finds nothing proves nothing until it has been seen to find something.

Patch = Callable[[pytest.MonkeyPatch], None]


def _acknowledges_first(patch: pytest.MonkeyPatch) -> None:
    """A store that says yes before it has written: the record is there one append later."""
    write = LabStore._write
    kept: dict[int, tuple[Append, bytes]] = {}

    def lazily(store: LabStore, append: Append, body: bytes) -> object:
        late = kept.pop(id(store.memory), None)
        if late is not None:
            write(store, *late)
        kept[id(store.memory)] = (append, body)
        return None

    patch.setattr(LabStore, "_write", lazily)


def _calls_first(patch: pytest.MonkeyPatch) -> None:
    """A driver that acts on what it decided before that is durable."""
    append = driver.SagaDriver._append

    async def call_first(self: driver.SagaDriver, decision: Decision) -> None:
        for effect in decision.effects:
            if isinstance(effect, CallTool):
                await self.make_call(effect)
        await append(self, decision)

    patch.setattr(driver.SagaDriver, "_append", call_first)


def _believes_silence(patch: pytest.MonkeyPatch) -> None:
    """A driver that takes an append without an answer for one that was written."""

    async def yes(self: driver.SagaDriver, decision: Decision) -> bool:
        return True

    patch.setattr(driver.SagaDriver, "_was_written", yes)


def _tool_forgets(patch: pytest.MonkeyPatch) -> None:
    """A tool that does not know a call again."""
    arrive = Ledger.arrive

    def forgetting(self: Ledger, call: CallTool) -> CallOutcome:
        self._answers.clear()
        return arrive(self, call)

    patch.setattr(Ledger, "arrive", forgetting)


def _decider(name: str) -> Patch:
    return lambda patch: patch.setattr(driver, "decide", DECIDERS[name])


WRONG: dict[str, tuple[Patch, Case, str]] = {
    "acknowledges first": (_acknowledges_first, CHAIN, "W1"),
    "calls first": (_calls_first, CHAIN, "W1"),
    "id per attempt": (_decider("id per attempt"), CHAIN, "V1"),
    "the tool forgets": (_tool_forgets, CHAIN, "X1"),
    "believes silence": (_believes_silence, CHAIN, "W1"),
    "undo in any order": (PATCHES["undo in any order"], BRANCHES, "C6"),
    "launch without needs": (PATCHES["launch without needs"], BRANCHES, "X3"),
    "time-out is a failure": (_decider("time-out is a failure"), FENCED_CHAIN, "C2"),
    "params made anew": (_decider("params made anew"), CHAIN, "sent as"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_with_an_engine_is_seen(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    patch, case, code = WRONG[name]
    monkeypatch.setattr(lab, "LIVES_MAX", 4)
    patch(monkeypatch)
    tally = tried(case)
    assert tally.wrong_runs >= len(tally.wrong)
    assert any(code in wrong for wrong in tally.wrong), tally.wrong


@pytest.mark.parametrize("case", [CHAIN, FENCED_CHAIN, BRANCHES])
def test_the_same_cases_are_right_with_the_engine_as_it_is(case: Case) -> None:
    assert not tried(case).wrong


# --- in parts ------------------------------------------------------------------------------------


def test_the_parts_are_all_cases_and_no_case_is_in_two() -> None:
    parts = [command.Part(number, 7).cases() for number in range(1, 8)]
    assert sorted(case for part in parts for case in part) == sorted(all_cases())
    assert sum(map(len, parts)) == len(all_cases())


@pytest.mark.parametrize("text", ["0/8", "9/8", "3", "3/", "/8", "-1/8", "a/b", "1/0"])
def test_what_is_no_part_is_refused(text: str) -> None:
    with pytest.raises(ArgumentTypeError, match="is no part"):
        command.part_of(text)


def test_a_tally_comes_back_from_its_document() -> None:
    tally = tried(FENCED_CHAIN)
    document = json.loads(json.dumps(tally.as_json()))
    assert Tally.of_json(document) == tally
    twice = command.summed([{**document, "seconds": 1.0}, {**document, "seconds": 2.0}])
    assert (twice["singles"], twice["seconds"]) == (2 * tally.singles, 3.0)
    assert twice["runs_per_minute"] == round(60 * twice["runs"] / 3.0)


def test_what_was_stopped_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tried_parts: list[int] = []

    def one(part: command.Part, pairs_max: int | None, jobs: int) -> dict[str, object]:
        assert pairs_max is None
        tried_parts.append(part.number)
        return {**Tally(cases=1, wrong_runs=int(part.number == 2)).as_json(), "seconds": 1.0}

    monkeypatch.setattr(command, "PARTS", 3)
    monkeypatch.setattr(command, "_tried", one)
    assert command.main(["--into", str(tmp_path / "new"), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["plans"] == 3
    (tmp_path / "new" / "part-3-of-3.json").unlink()
    command.main(["--into", str(tmp_path / "new"), "--json"])
    assert tried_parts == [1, 2, 3, 3]
    monkeypatch.setattr(command, "machine_facts", lambda: {"commit": "another"})
    command.main(["--into", str(tmp_path / "new"), "--json"])
    assert tried_parts == [1, 2, 3, 3, 1, 2, 3]
