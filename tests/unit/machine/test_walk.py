from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest

from fsm_saga.core import events as e
from fsm_saga.core.decide import Decision, decide
from fsm_saga.core.program import Program
from fsm_saga.core.saga import Saga
from fsm_saga.core.states import Direction
from fsm_saga.machine import walk
from fsm_saga.machine.explore import Decide, Space
from fsm_saga.machine.ledger import Ledger
from fsm_saga.machine.moves import Move, Way
from fsm_saga.machine.search import Found
from fsm_saga.machine.walk import OUTSIDE_CHANCE, Walker
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
    """An engine that starts nothing: a coordinator may stop, and nothing else can happen."""
    monkeypatch.setattr(Walker, "_choose", lambda *_: None)
    _walker, found = walked(monkeypatch, walks=1, decider=idle)
    finding, path = found.breaches["END"]
    assert finding.message == "things go well, and yet no end is reached (PENDING)"
    assert [step.event for step in path] == ["submitted"]


def idle(saga: Saga, event: e.Event) -> Decision:
    return Decision(saga, (), ())


class Scripted(random.Random):
    """Draws what it was told to draw, and keeps among what it was asked to choose."""

    def __init__(self, *draws: float) -> None:
        super().__init__()
        self.draws = list(draws)
        self.offered: list[str] = []

    def random(self) -> float:
        return self.draws.pop(0)

    def choice(self, seq: Any) -> Any:
        self.offered = sorted(f"{made.step} {made.what}" for made in seq)
        return seq[0]


OUTSIDE = [
    "-1 somebody cancels",
    "-1 the coordinator stops, and another one resumes",
    "0 a late copy of a call that was given up takes effect",
]
INSIDE = ["0 done", "0 done, but the answer cannot be used", "0 no answer", "0 refused"]


@pytest.mark.parametrize(
    ("draws", "offered"),
    [
        ((0.0999 * 0.3,), OUTSIDE),
        ((OUTSIDE_CHANCE * (1 - 0.7), 0.69), ["0 done"]),
        ((0.99, 0.69), ["0 done"]),
        ((0.99, 0.7), INSIDE),
    ],
)
def test_with_luck_things_go_well(draws: tuple[float, ...], offered: list[str]) -> None:
    made, _found = walker(ONE)
    made._random = scripted = Scripted(*draws)
    space = made._space
    stray = space.ledgers.number(Ledger(stray=1))
    start = space.initial()
    made._choose((start[0], stray, start[2]), 0.7)
    assert scripted.offered == offered
    assert scripted.draws == []


def test_where_nothing_helps_anything_may_be_chosen() -> None:
    """A person who is asked may answer in ways none of which is a success."""
    made, _found = walker(ONE)
    config = made._space.initial()
    for what in ("no answer", "tried again", "no answer"):
        config = next(end for move, end in made._space.successors(config) if move.what == what)
    assert str(made._space.node(config).saga.state) == "NEEDS_HUMAN"
    made._random = scripted = Scripted(0.99, 0.0)
    made._choose(config, 0.7)
    assert len(scripted.offered) > 1
    assert all(each.startswith("0 a person") for each in scripted.offered)


def test_where_only_others_can_do_something_they_do() -> None:
    made, _found = walker(ONE, decider=idle)
    made._random = scripted = Scripted()
    made._choose(made._space.initial(), 0.97)
    assert scripted.offered == OUTSIDE[:2]


def test_what_the_walks_saw_is_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made, found = walked(monkeypatch, walks=30)
    ends = Counter[tuple[str, str]]()
    for config in made._seen:
        saga = made._space.node(config).saga
        if saga.outcome is not None:
            ends[str(saga.state), str(saga.outcome)] += 1
    assert found.ends == ends
    assert max(ends.values()) > 1
    assert found.transitions == found.walked == len(made._seen)


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
