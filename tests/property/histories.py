"""Sagas reached by random histories, and everything that can be told to one.

A history is drawn event by event: mostly what could happen next, sometimes what could not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from hypothesis import strategies as st

from fsm_saga.core import events as e
from fsm_saga.core.decide import Decision, decide
from fsm_saga.core.program import Program
from fsm_saga.core.saga import Saga
from fsm_saga.core.states import Direction
from fsm_saga.errors import EventRefusedError
from fsm_saga.machine.moves import closed
from tests.modelcheck.mixes import AFTER, BACKWARD, PIVOTS
from tests.modelcheck.programs import COMPENSATABLE, Needs, Step, make_program

OUTPUTS: tuple[Any, ...] = (
    {"id": "x"},
    {},
    None,
    "text",
    {"status": "done", "output": {"id": "x"}},
)
CHECKS: tuple[Any, ...] = (
    {"status": "done", "output": {"id": "x"}},
    {"status": "done"},
    {"status": "refused"},
    {"status": "absent"},
    {"status": 7},
    None,
)
WAITS = (0.0, 0.0, 1.0, 30.0, 100.0, 1e7)

STEPS: Mapping[str, Step] = {"plain": COMPENSATABLE, **BACKWARD, **PIVOTS, **AFTER}


class Recipe(NamedTuple):
    """A program in few words, so that a failing example can be read."""

    steps: tuple[str, ...]
    needs: Needs
    deadline_s: float | None = None
    is_open: bool = False

    def program(self) -> Program:
        steps = [STEPS[name] for name in self.steps]
        return make_program(steps, self.needs, deadline_s=self.deadline_s, is_open=self.is_open)


@st.composite
def shapes(draw: st.DrawFn, size: int) -> Needs:
    """Draw who waits for whom, each step only for earlier ones."""
    return tuple(
        tuple(sorted(draw(st.sets(st.integers(0, index - 1), max_size=2)))) if index else ()
        for index in range(size)
    )


@st.composite
def recipes(draw: st.DrawFn, *, names: Sequence[str] = tuple(STEPS)) -> Recipe:
    """Draw a program; not every one would pass the lint, and none may make the engine break."""
    some = st.one_of(st.just("plain"), st.sampled_from(names))
    steps = tuple(draw(st.lists(some, min_size=1, max_size=4)))
    return Recipe(
        steps=steps,
        needs=draw(shapes(len(steps))),
        deadline_s=draw(st.sampled_from([None, 50.0])),
        is_open=draw(st.sampled_from([False, False, False, True])),
    )


def submitted(program: Program, saga_id: str = "s") -> Decision:
    """Return the first decision about a saga of this program."""
    return decide(Saga(saga_id, program), e.Submitted(at=0.0, plan={}, tools={}))


@st.composite
def events(draw: st.DrawFn, saga: Saga, at: float) -> e.Event:
    """Draw anything that can be told to a saga, fitting or not."""
    make: _Maker = draw(st.sampled_from(_MAKERS))
    return make(draw, saga, at)


def _reply(draw: st.DrawFn, saga: Saga, at: float) -> e.Event:
    index = draw(st.integers(0, len(saga.steps) - 1))
    step = saga.steps[index]
    direction = draw(st.sampled_from(_likely_directions(saga, index)))
    undo_id = None if step.undo is None else step.undo.req_id
    known = undo_id if direction is Direction.UNDO else step.req_id
    req_id = draw(st.sampled_from([known or "", known or "", known or "", "another"]))
    call: dict[str, Any] = {"at": at, "step": index, "direction": direction, "req_id": req_id}
    match draw(st.sampled_from(["ok", "ok", "bad", "no", "lost", "lost"])):
        case "ok":
            outputs = CHECKS if direction is Direction.CHECK else OUTPUTS
            return e.CallSucceeded(**call, output=draw(st.sampled_from(outputs)))
        case "bad":
            return e.CallSucceededBadly(**call, error="unusable")
        case "no":
            was_sent = draw(st.sampled_from([True, True, True, False]))
            jitter = draw(st.floats(0.0, 0.99))
            return e.CallRejected(**call, error="no", jitter=jitter, was_sent=was_sent)
        case _:
            return e.CallUnknown(**call, error="lost", jitter=draw(st.floats(0.0, 0.99)))


def _likely_directions(saga: Saga, index: int) -> list[Direction]:
    step = saga.steps[index]
    likely = Direction.UNDO if step.undo is not None else step.awaited or Direction.DO
    return [likely] * 6 + list(Direction)


def _time(draw: st.DrawFn, saga: Saga, at: float) -> e.Event:
    return e.TimePassed(at=at)


def _outside(draw: st.DrawFn, saga: Saga, at: float) -> e.Event:
    choices: list[e.Event] = [e.Resumed(at=at)] * 3
    choices.append(e.CancelAsked(at=at, by="ann"))
    choices.append(e.PlanCloseAsked(at=at, program=closed(saga.program)))
    choices.append(e.PlanGrown(at=at, program=saga.program, plan={}, tools={}))
    return draw(st.sampled_from(choices))


def _approval(draw: st.DrawFn, saga: Saga, at: float) -> e.Event:
    return e.ApprovalAnswered(
        at=at,
        step=draw(st.integers(0, len(saga.steps) - 1)),
        is_granted=draw(st.booleans()),
        by="ann",
        digest=draw(st.sampled_from([None, None, "another"])),
    )


def _answer(draw: st.DrawFn, saga: Saga, at: float) -> e.Event:
    said: dict[str, Any] = {
        "at": at,
        "step": draw(st.integers(0, len(saga.steps) - 1)),
        "by": "ann",
        "note": "seen",
        "position": draw(st.sampled_from([None, None, saga.position, 0])),
    }
    call = {"tool": "mend", "params": {}}
    calls = draw(st.sampled_from([(call,), (call, call), ()]))
    tools = draw(st.sampled_from([{}, {"contracts": {"mend": {"dedupe": False}}}]))
    choices: list[e.Event] = [
        e.RetryAsked(**said),
        e.SettledByHuman(**said),
        e.OutputSupplied(**said, output=draw(st.sampled_from(OUTPUTS))),
        e.CallsOffered(**said, calls=calls, tools=tools),
    ]
    return draw(st.sampled_from(choices))


_Maker = Callable[[st.DrawFn, Saga, float], e.Event]
_MAKERS: Sequence[_Maker] = (
    [_reply] * 6 + [_time] * 2 + [_approval] * 2 + [_answer] * 3 + [_outside]
)


def play(
    data: st.DataObject, recipe: Recipe, *, length_max: int = 25
) -> Iterator[tuple[Saga, e.Event, Decision | None]]:
    """Yield saga, event and decision of a drawn history; the decision is None where refused."""
    saga, at = submitted(recipe.program()).saga, 0.0
    for _event in range(data.draw(st.integers(0, length_max))):
        at += data.draw(st.sampled_from(WAITS))
        event = data.draw(events(saga, at))
        try:
            decision = decide(saga, event)
        except EventRefusedError:
            yield saga, event, None
            continue
        yield saga, event, decision
        saga = decision.saga
