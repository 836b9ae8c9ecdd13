"""Everything that can happen next to a saga: replies, timers, people, crashes, clocks.

A ``Move`` is one such thing, with the words a reader is told, the event that the engine is given
and the act at the tool that must be possible for it. Which acts are possible is the ledger's
affair (``ledger.py``); what follows from the event is the engine's (``core.decide``).
"""

from __future__ import annotations

import dataclasses
import enum
import itertools
from collections.abc import Iterator, Mapping
from typing import Any

from msgspec.structs import replace

from fsm_saga.core import events as e
from fsm_saga.core import people
from fsm_saga.core.invariants import check
from fsm_saga.core.program import Program, Shape
from fsm_saga.core.saga import Saga, StepState
from fsm_saga.core.states import Direction, Phase, StepStatus
from fsm_saga.machine.flatten import saga_table
from fsm_saga.machine.ledger import Act
from fsm_saga.machine.normal import BARE, JUST_OVER, LONG_OVER, NOW, plain_req_id

PERSON = "someone"
SUPPLIED_TOOL = "a tool chosen late"
SUPPLIED_CALLS: tuple[Mapping[str, Any], ...] = ({"tool": SUPPLIED_TOOL, "params": {}},)


class Way(enum.Enum):
    """Who makes a move: only the first two can be counted on to bring a saga to its end."""

    ENGINE = "engine"
    PERSON = "person"
    OUTSIDE = "outside"


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Move:
    """One thing that can happen.

    Attributes:
        what: What happens, for a reader, without the step.
        step: The step that it happens to, or -1.
        act: What happens at the step's tool at the same time, or None.
        event: What the engine is told, or None where it hears of nothing.
        saga: The saga as it is when it happens: timers that fire now are due in it.
        way: Who makes the move.
        replies: The direction of the call that is answered, or None.
        closing: Steps whose time at the tool is over from now on.
        accepts: A person vouches for the step by it.
        forgets: What its tool has forgotten when the engine decides, or None.
        may_be_refused: The engine may say no; otherwise it must take the event.
    """

    what: str
    step: int
    event: e.Event | None
    saga: Saga
    act: Act | None = None
    way: Way = Way.ENGINE
    replies: Direction | None = None
    closing: tuple[int, ...] = ()
    accepts: bool = False
    forgets: Act | None = None
    may_be_refused: bool = False


def moves_of(saga: Saga, outputs: Mapping[int, Any]) -> list[Move]:
    """Return all that can happen to a normal saga, except that late copies arrive.

    Args:
        saga: A normal saga.
        outputs: What each step's tool returns.
    """
    if saga.state.is_final:
        return list(_moves_at_the_end(saga))
    found: list[Move] = []
    timers: list[tuple[int, StepState]] = []
    is_asked = saga.state.phase is Phase.NEEDS_HUMAN
    for index, step in enumerate(saga.steps):
        if step is BARE.get(step.status):
            # It waits for others, or is behind the saga: nothing happens to it by itself.
            continue
        match step.status:
            case StepStatus.RUNNING:
                found += _running_moves(saga, index, step, outputs[index])
            case StepStatus.COMPENSATING:
                found += _undoing_moves(saga, index, step)
            case StepStatus.AWAITING_APPROVAL:
                found += _in_time_and_late(saga, _approval_moves(saga, index))
            case _:
                pass
        found += _clock_moves(saga, index, step)
        due = _due(step)
        if due is not None:
            timers.append((index, due))
        if is_asked:
            found += _in_time_and_late(saga, _answers(saga, index, outputs[index]))
    found += _timer_moves(saga, timers)
    found += _outside_moves(saga, timers)
    return found


def sample_output(program: Program, index: int) -> Any:
    """Return a made-up output of a step that fulfils every reference to it."""
    tree: dict[str, Any] = {}
    for spec in program.steps:
        calls = [spec.action] if spec.undo is None else [spec.action, spec.undo]
        for reference in itertools.chain.from_iterable(c.params.references for c in calls):
            if reference.kind == "output" and reference.step == index:
                here = tree
                for segment in reference.path:
                    here = here.setdefault(segment, {})
    return _with_leaves(tree, "output")


def _with_leaves(tree: dict[str, Any], leaf: str) -> Any:
    if not tree:
        return leaf
    return {key: _with_leaves(below, f"{leaf}.{key}") for key, below in tree.items()}


def step_words(program: Program, index: int) -> str:
    """Return how a step is called in a path, such as ``step 2 (pay)``."""
    spec = program.steps[index]
    return f"step {spec.step_id} ({spec.name})"


def is_out(step: StepState, direction: Direction) -> bool:
    """Return whether a call of that direction is in flight for the step."""
    if direction is Direction.UNDO:
        undo = step.undo
        return step.status is StepStatus.COMPENSATING and undo is not None and undo.retry_at is None
    return (
        step.status is StepStatus.RUNNING
        and step.awaited is direction
        and step.retry_at is None
        and step.wait_until is None
    )


def _moves_at_the_end(saga: Saga) -> Iterator[Move]:
    """Yield what may still come to a saga that has ended, and must change nothing."""
    outside = Way.OUTSIDE
    yield Move(
        "somebody cancels",
        -1,
        e.CancelAsked(at=NOW, by=PERSON),
        saga,
        None,
        outside,
        may_be_refused=True,
    )
    yield Move("a timer fires", -1, e.TimePassed(at=NOW), saga, None, outside)
    yield Move("a coordinator resumes", -1, e.Resumed(at=NOW), saga, None, outside)
    for index in range(len(saga.steps)):
        for direction in (Direction.DO, Direction.UNDO):
            req_id = plain_req_id(index, direction)
            reply = e.CallSucceeded(
                at=NOW, step=index, direction=direction, req_id=req_id, output=None
            )
            what = f"a late answer of its {direction} call"
            yield Move(what, index, reply, saga, None, outside)


def _running_moves(saga: Saga, index: int, step: StepState, output: object) -> Iterator[Move]:
    call: dict[str, Any] = {"at": NOW, "step": index, "direction": Direction.DO}
    call["req_id"] = step.req_id or ""
    done = e.CallSucceeded(**call, output=output)
    if is_out(step, Direction.CHECK):
        yield from _check_moves(saga, index, output)
    elif is_out(step, Direction.DO):
        bad = e.CallSucceededBadly(**call, error="unusable")
        no = e.CallRejected(**call, error="refused", jitter=0.0)
        lost = e.CallUnknown(**call, error="no answer", jitter=0.0)
        out = Direction.DO
        yield Move("done", index, done, saga, Act.DO, replies=out)
        if saga.program.steps[index].is_effectful:
            words = "done, but the answer cannot be used"
            yield Move(words, index, bad, saga, Act.DO, replies=out)
        yield Move("refused", index, no, saga, Act.REFUSE, replies=out)
        yield Move("no answer", index, lost, saga, Act.LOSE, replies=out)
        yield from _overdue_moves(saga, index, step, no, lost)
        return
    if step.is_doubted:
        words = "a success is heard late"
        yield Move(words, index, done, saga, Act.ANSWER_LATE, Way.OUTSIDE)


def _overdue_moves(
    saga: Saga, index: int, step: StepState, no: e.Event, lost: e.Event
) -> Iterator[Move]:
    """Yield the ends of a call in flight that come after its time."""
    if step.not_after is None or step.not_after <= NOW:
        return
    out, closing = Direction.DO, (index,)
    if _has_skew(saga, index):
        passed = _with_step(saga, index, replace(step, not_after=JUST_OVER))
        yield Move("no answer in time, by our clock", index, lost, passed, Act.LOSE, replies=out)
    over = _with_step(saga, index, replace(step, not_after=LONG_OVER))
    what = "refused, and its time is over"
    yield Move(what, index, no, over, Act.REFUSE, replies=out, closing=closing)
    what = "no answer in time"
    yield Move(what, index, lost, over, Act.LOSE, replies=out, closing=closing)
    what = "done in time, and no answer"
    yield Move(what, index, lost, over, Act.DO, replies=out, closing=closing)


def _has_skew(saga: Saga, index: int) -> bool:
    """Return whether the tool may still accept the call when our clock says its time is over."""
    return (
        saga.program.clock_skew_s > -JUST_OVER
        and saga.program.steps[index].action.contract.deadline
    )


def _check_moves(saga: Saga, index: int, output: object) -> Iterator[Move]:
    call: dict[str, Any] = {"at": NOW, "step": index, "direction": Direction.CHECK, "req_id": ""}
    out = Direction.CHECK

    def answer(said: object) -> e.CallSucceeded:
        return e.CallSucceeded(**call, output=said)

    done = answer({"status": "done", "output": output})
    yield Move("the check says done", index, done, saga, Act.FIND_DONE, replies=out)
    bare = answer({"status": "done"})
    words = "the check says done, without its output"
    yield Move(words, index, bare, saga, Act.FIND_DONE, replies=out)
    refused = answer({"status": "refused"})
    words = "the check says refused"
    yield Move(words, index, refused, saga, Act.FIND_REFUSED, replies=out)
    absent = answer({"status": "absent"})
    words = "the check says absent"
    yield Move(words, index, absent, saga, Act.FIND_ABSENT, replies=out)
    words = "the check says nothing that makes sense"
    yield Move(words, index, answer("?"), saga, replies=out)
    lost = e.CallUnknown(**call, error="no answer", jitter=0.0)
    yield Move("the check is not answered", index, lost, saga, replies=out)
    late = e.CallUnknown(**call, error="no answer", jitter=0.0)
    if saga.program.steps[index].action.contract.check_fences:
        words = "the check finds nothing, and its answer is lost"
        yield Move(words, index, late, saga, Act.FIND_ABSENT, replies=out)


def _undoing_moves(saga: Saga, index: int, step: StepState) -> Iterator[Move]:
    undo = step.undo
    if undo is None:
        return
    call: dict[str, Any] = {"at": NOW, "step": index, "direction": Direction.UNDO}
    call["req_id"] = undo.req_id or ""
    done = e.CallSucceeded(**call, output=None)
    is_planned = undo.source == "plan"
    what = "undo" if is_planned else "making good"
    if is_out(step, Direction.UNDO):
        no = e.CallRejected(**call, error="refused", jitter=0.0)
        lost = e.CallUnknown(**call, error="no answer", jitter=0.0)
        acts = (Act.UNDO, Act.UNDO_REFUSE, Act.UNDO_LOSE) if is_planned else (None, None, None)
        out = Direction.UNDO
        yield Move(f"{what} done", index, done, saga, acts[0], replies=out)
        yield Move(f"{what} refused", index, no, saga, acts[1], replies=out)
        yield Move(f"no answer to the {what}", index, lost, saga, acts[2], replies=out)
    elif undo.is_doubted and is_planned:
        words = "a success of the undo is heard late"
        yield Move(words, index, done, saga, Act.UNDO_ANSWER_LATE, Way.OUTSIDE)


def _in_time_and_late(saga: Saga, moves: Iterator[Move]) -> Iterator[Move]:
    """Yield each move, and again as it is when the saga's deadline has passed unnoticed."""
    for move in moves:
        yield move
        if saga.deadline_at is not None:
            yield dataclasses.replace(
                move,
                what=f"{move.what}, after the saga's deadline",
                saga=replace(move.saga, deadline_at=NOW),
                may_be_refused=move.may_be_refused or isinstance(move.event, e.ApprovalAnswered),
            )


def _approval_moves(saga: Saga, index: int) -> Iterator[Move]:
    yes = e.ApprovalAnswered(at=NOW, step=index, is_granted=True, by=PERSON)
    no = e.ApprovalAnswered(at=NOW, step=index, is_granted=False, by=PERSON)
    # While it is open whether the saga goes back, it starts nothing.
    is_turning = saga.stop is not None or saga.failing != 0
    yield Move("approved", index, yes, saga, way=Way.PERSON, may_be_refused=is_turning)
    yield Move("approval denied", index, no, saga, way=Way.PERSON)


def _clock_moves(saga: Saga, index: int, step: StepState) -> Iterator[Move]:
    """Yield what only time does: limits that pass, and tools that forget."""
    spec = saga.program.steps[index]
    is_open = step.status is StepStatus.RUNNING and not is_out(step, Direction.DO)
    if is_open and step.not_after is not None and step.not_after > NOW:
        if _has_skew(saga, index):
            passed = _with_step(saga, index, replace(step, not_after=JUST_OVER))
            yield Move("its time is over by our clock", index, None, passed, way=Way.OUTSIDE)
        over = _with_step(saga, index, replace(step, not_after=LONG_OVER))
        what = "its time is over"
        yield Move(what, index, None, over, way=Way.OUTSIDE, closing=(index,))
    undo_retention_s = None if spec.undo is None else spec.undo.contract.retention_s
    if not (spec.action.contract.retention_s is None and undo_retention_s is None):
        yield from _forgetting_moves(saga, index, step)


def _forgetting_moves(saga: Saga, index: int, step: StepState) -> Iterator[Move]:
    """Yield that a tool's retention passes: while nothing is in flight, or over a long stop."""
    spec, undo = saga.program.steps[index], step.undo
    if undo is not None and undo.source == "person":
        return
    olds: list[tuple[Act, StepState]] = []
    has_call = step.req_id is not None and step.started_at == NOW
    if has_call and spec.action.contract.retention_s is not None:
        olds.append((Act.FORGET, replace(step, started_at=LONG_OVER)))
    has_undo = undo is not None and undo.req_id is not None and undo.started_at == NOW
    can_forget = spec.undo is not None and spec.undo.contract.retention_s is not None
    if undo is not None and has_undo and can_forget:
        aged = replace(step, undo=replace(undo, started_at=LONG_OVER))
        olds.append((Act.UNDO_FORGET, aged))
    out = next((way for way in Direction if is_out(step, way)), None)
    for act, aged in olds:
        old = _with_step(saga, index, aged)
        if out is None:
            what = "so long ago that its tool has forgotten it"
            yield Move(what, index, None, old, act, Way.OUTSIDE)
            continue
        event = e.Resumed(at=NOW)
        arrived = {Direction.DO: Act.DO, Direction.UNDO: Act.UNDO}.get(out)
        what = "the coordinator stops until its tool has forgotten it"
        yield Move(what, index, event, old, way=Way.OUTSIDE, forgets=act)
        if arrived is not None:
            what = "it is done, and the coordinator stops until its tool has forgotten it"
            yield Move(what, index, event, old, arrived, Way.OUTSIDE, forgets=act)


def _with_step(saga: Saga, index: int, step: StepState) -> Saga:
    return replace(saga, steps=(*saga.steps[:index], step, *saga.steps[index + 1 :]))


def _due(step: StepState) -> StepState | None:
    """Return the step with its timer due, or None if it has none."""
    match step.status:
        case StepStatus.RUNNING if step.retry_at is not None:
            return replace(step, retry_at=NOW)
        case StepStatus.RUNNING if step.wait_until is not None:
            return replace(step, wait_until=NOW, not_after=LONG_OVER)
        case StepStatus.COMPENSATING if step.undo is not None and step.undo.retry_at is not None:
            return replace(step, undo=replace(step.undo, retry_at=NOW))
        case StepStatus.AWAITING_APPROVAL if step.expires_at is not None:
            return replace(step, expires_at=NOW)
        case _:
            return None


def _timer_moves(saga: Saga, timers: list[tuple[int, StepState]]) -> Iterator[Move]:
    event = e.TimePassed(at=NOW)
    for index, due in timers:
        fired = _with_step(saga, index, due)
        yield Move(_timer_words(due), index, event, fired, closing=_closing([(index, due)]))
    if len(timers) > 1:
        together = _with_due(saga, timers)
        closing = _closing(timers)
        yield Move("all timers fire together", -1, event, together, closing=closing)


def _with_due(saga: Saga, timers: list[tuple[int, StepState]]) -> Saga:
    steps = list(saga.steps)
    for index, due in timers:
        steps[index] = due
    return replace(saga, steps=tuple(steps))


def _closing(fired: list[tuple[int, StepState]]) -> tuple[int, ...]:
    return tuple(index for index, step in fired if step.wait_until == NOW)


def _timer_words(due: StepState) -> str:
    if due.status is StepStatus.AWAITING_APPROVAL:
        return "the time to approve is over"
    if due.wait_until == NOW:
        return "the tool's deadline is over"
    if due.status is StepStatus.COMPENSATING:
        return "the undo is tried again"
    asks = due.awaited is Direction.CHECK
    return "the check is asked again" if asks else "tried again"


def _answers(saga: Saga, index: int, output: object) -> Iterator[Move]:
    step = saga.steps[index]
    said: dict[str, Any] = {"at": NOW, "step": index, "by": PERSON, "note": "looked"}
    for choice in people.choices(saga, index, at=NOW):
        match choice:
            case people.RETRY:
                event: e.Event = e.RetryAsked(**said)
                yield Move("a person says try again", index, event, saga, way=Way.PERSON)
            case people.SETTLED:
                event = e.SettledByHuman(**said)
                words = "a person settles it"
                yield Move(words, index, event, saga, way=Way.PERSON, accepts=True)
            case people.OUTPUT:
                event = e.OutputSupplied(**said, output=output)
                # A refused step's effect is brought about by hand; else it must be there to see.
                by_hand = step.status is StepStatus.REJECTED
                act = None if by_hand else Act.WITNESS
                words = "a person supplies the output"
                yield Move(words, index, event, saga, act, Way.PERSON, accepts=by_hand)
            case people.CALLS:
                event = e.CallsOffered(**said, calls=SUPPLIED_CALLS, tools={})
                words = "a person supplies calls that make good for it"
                yield Move(words, index, event, saga, way=Way.PERSON)
            case _:
                check(False, f"no rule for the answer {choice!r}")


def _outside_moves(saga: Saga, timers: list[tuple[int, StepState]]) -> Iterator[Move]:
    if saga.stop is None:
        cancel = e.CancelAsked(at=NOW, by=PERSON)
        yield Move("somebody cancels", -1, cancel, saga, way=Way.OUTSIDE, may_be_refused=True)
        if saga.deadline_at is not None and saga.state.phase is Phase.EXECUTING:
            late = replace(saga, deadline_at=NOW)
            words = "the saga's deadline passes"
            yield Move(words, -1, e.TimePassed(at=NOW), late, way=Way.OUTSIDE)
    words = "the coordinator stops, and another one resumes"
    yield Move(words, -1, e.Resumed(at=NOW), saga, way=Way.OUTSIDE)
    if timers or saga.deadline_at is not None:
        deadline_at = saga.deadline_at and NOW
        late = replace(_with_due(saga, timers), deadline_at=deadline_at)
        words = "the coordinator stops, and all is due when another one resumes"
        closing = _closing(timers)
        yield Move(words, -1, e.Resumed(at=NOW), late, way=Way.OUTSIDE, closing=closing)
    if saga.program.is_open and saga.state.phase is Phase.EXECUTING:
        close = e.PlanCloseAsked(at=NOW, program=closed(saga.program))
        is_resting = saga.state.count > len(saga.steps)
        way = Way.ENGINE if is_resting else Way.OUTSIDE
        yield Move("the plan is closed", -1, close, saga, way=way, may_be_refused=True)


def closed(program: Program) -> Program:
    """Return the program of an open plan after it was closed."""
    shape = Shape(*program.shape[:3], is_open=False)
    return dataclasses.replace(program, is_open=False, shape=shape, table=saga_table(shape))
