from __future__ import annotations

import random

import pytest

from fsm_saga.core import events as e
from fsm_saga.core.decide import Decision, decide
from fsm_saga.core.program import Program
from fsm_saga.core.saga import Saga
from fsm_saga.core.states import Direction
from fsm_saga.machine import walk
from fsm_saga.machine.explore import Decide, Space
from fsm_saga.machine.moves import Move, Way
from fsm_saga.machine.search import Found
from fsm_saga.machine.walk import Walker
from tests.modelcheck.programs import APPROVED, COMPENSATABLE, PIVOT, make_program
from tests.modelcheck.zoo import DECIDERS

ONE = make_program((COMPENSATABLE,))
CHAIN = make_program((COMPENSATABLE, APPROVED, PIVOT))


def walker(program: Program, *, decider: Decide = decide, seed: int = 7) -> tuple[Walker, Found]:
    found = Found()
    return Walker(Space(program, decider=decider), found, seed=seed), found


def walked(
    monkeypatch: pytest.MonkeyPatch,
    *,
    walks: int,
    moves_max: int = 20_000,
    program: Program = CHAIN,
    decider: Decide = decide,
) -> tuple[Walker, Found]:
    monkeypatch.setattr(walk, "WALKS", walks)
    monkeypatch.setattr(walk, "MOVES_MAX", moves_max)
    made, found = walker(program, decider=decider)
    made.run()
    return made, found


def test_no_walk_begins_once_the_moves_are_used_up(monkeypatch: pytest.MonkeyPatch) -> None:
    first, _found = walked(monkeypatch, walks=1)
    used = first._moves
    for moves_max, walks in ((used, 1), (used + 1, 2)):
        _walker, found = walked(monkeypatch, walks=400, moves_max=moves_max)
        assert found.walks == walks
        assert found.walked > 1
        assert found.ends


def test_of_all_walks_the_longest_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    lengths: list[int] = []
    honest = Walker._walk

    def measured(self: Walker) -> None:
        honest(self)
        lengths.append(len(self._path) - 1)

    monkeypatch.setattr(Walker, "_walk", measured)
    _walker, found = walked(monkeypatch, walks=20)
    assert (found.walks, found.walk_depth) == (20, max(lengths))
    assert min(lengths) < max(lengths)


def test_a_path_begins_where_the_saga_was_submitted(monkeypatch: pytest.MonkeyPatch) -> None:
    _walker, found = walked(
        monkeypatch, walks=20, program=ONE, decider=DECIDERS["time-out is a failure"]
    )
    assert found.breaches
    for breach in found.breaches.values():
        event, saga = breach.path[0]
        assert (event, str(saga.state)) == ("submitted", "EXECUTING(1)")
        assert all(step.saga.program is ONE for step in breach.path)


def test_a_walk_through_a_single_step_comes_home(monkeypatch: pytest.MonkeyPatch) -> None:
    _walker, found = walked(monkeypatch, walks=50, program=ONE)
    assert not found.breaches
    assert {("DONE", "committed"), ("FAILED", "nothing_happened")} <= set(found.ends)


def test_a_walk_lets_anything_happen_for_longer_the_longer_the_plan() -> None:
    asked: list[tuple[int, int]] = []

    class Spied(random.Random):
        def randint(self, a: int, b: int) -> int:
            asked.append((a, b))
            return super().randint(a, b)

    for program in (ONE, CHAIN):
        made, _found = walker(program)
        made._random = Spied(7)
        made._walk()
    assert asked == [(1, 16), (1, 28)]


def test_where_nothing_happens_by_chance_a_walk_goes_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Walker, "_choose", lambda *_: None)
    made, found = walked(monkeypatch, walks=1)
    assert [step.event for step in made._path] == [
        "submitted",
        "step 0 (do): done",
        "step 1 (do): approved",
        "step 1 (do): done",
        "step 2 (do): done",
    ]
    assert dict(found.ends) == {("DONE", "committed"): 1}


def test_a_walk_that_cannot_go_on_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Walker, "_choose", lambda *_: None)
    monkeypatch.setattr(Walker, "_best", lambda *_: None)
    _walker, found = walked(monkeypatch, walks=1)
    finding, path = found.breaches["END"]
    assert finding.message == "things go well, and yet no end is reached (EXECUTING(1))"
    assert [step.event for step in path] == ["submitted"]


def answered(decided: bool) -> Decide:
    def decider(saga: Saga, event: e.Event) -> Decision:
        is_stopped = not decided and not isinstance(event, e.Submitted)
        return Decision(saga, (), ()) if is_stopped else decide(saga, event)

    return decider


def test_a_walk_home_ends_after_a_number_of_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Walker, "_choose", lambda *_: None)
    for program, moves in ((ONE, 140), (CHAIN, 220)):
        made, found = walked(monkeypatch, walks=1, program=program, decider=answered(False))
        assert made._moves == moves
        assert "END" in found.breaches


@pytest.mark.parametrize(
    ("event", "reluctance"),
    [
        (e.CallSucceeded(at=0, step=0, direction=Direction.DO, req_id="r", output=1), 0),
        (e.ApprovalAnswered(at=0, step=0, is_granted=True, by="ann"), 0),
        (e.PlanCloseAsked(at=0, program=ONE), 0),
        (e.CallRejected(at=0, step=0, direction=Direction.DO, req_id="r", error="", jitter=0), 2),
        (e.CallSucceededBadly(at=0, step=0, direction=Direction.DO, req_id="r", error=""), 2),
        (e.TimePassed(at=0), 3),
        (e.SettledByHuman(at=0, step=0, by="ann", note=""), 4),
        (e.OutputSupplied(at=0, step=0, by="ann", note="", output=1), 5),
        (e.ApprovalAnswered(at=0, step=0, is_granted=False, by="ann"), 6),
        (e.Resumed(at=0), 6),
        (e.CallUnknown(at=0, step=0, direction=Direction.DO, req_id="r", error="", jitter=0), 6),
    ],
)
def test_on_the_way_home_what_goes_well_comes_first(event: e.Event, reluctance: int) -> None:
    saga = Saga("s", ONE)
    assert walk._reluctance(Move("it happens", 0, event, saga, way=Way.ENGINE)) == reluctance
