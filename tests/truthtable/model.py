"""One step, its tool and the network between: every order of events, breadth first.

The engine is ``fsm_saga.core.decide.decide`` itself, on a program that the compiler made. Around
it, for one step with at most two sends of each call:

- what was decided is durable first, then sent; a crash comes anywhere between, and whoever takes
  over sends again, while what the old coordinator had in hand may still go out after that;
- each request may be copied once by the network, is delayed without bound, and what is delayed
  for ever is lost; an answer may be heard late, and again and again (unless that is switched off);
- a time-out comes whenever no answer did;
- somebody cancels the saga, so that a step which succeeded has to be undone as well.

A state is unsafe if the step took effect or was undone twice, if the saga is DONE and the effect
is not there, or FAILED and it is. It need not be the end: what arrives later is another state.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from msgspec.structs import replace

from fsm_saga.core import events as e
from fsm_saga.core.effects import CallTool, Effect
from fsm_saga.core.limits import LIMITS
from fsm_saga.core.program import Program
from fsm_saga.core.saga import Saga
from fsm_saga.core.states import Direction, Phase, StepStatus
from fsm_saga.errors import EventRefusedError
from fsm_saga.machine.explore import Decide
from tests.truthtable.tools import CHECK, DO, UNDO, Habits, Ledger, answers, forgotten

SENDS_MAX = 2

T = TypeVar("T", bound=tuple[object, ...])
EARLY, LATE = 0.0, 10_000.0
"""The two times that there are: before and after the limits of the call."""

_KINDS = {Direction.DO: DO, Direction.CHECK: CHECK, Direction.UNDO: UNDO}
_DIRECTIONS = {kind: direction for direction, kind in _KINDS.items()}
_NAMES = {DO: "the action", CHECK: "the check", UNDO: "the undo"}
_AT_REST = (Phase.DONE, Phase.FAILED, Phase.NEEDS_HUMAN)


class Request(NamedTuple):
    """One call on its way, and in how many copies.

    ``is_heard`` is False once nobody listens for its answer any more.
    """

    kind: str
    key: str
    copies: int
    is_heard: bool


class World(NamedTuple):
    """Everything. ``saga`` is a number, see ``_Search``.

    Attributes:
        hand: What the coordinator has decided and not sent yet.
        sent: What was sent, sorted.
        requests: What is on its way, or in the hand of a coordinator that was replaced; sorted.
        replies: What was answered to the coordinator that runs now; sorted.
        is_late: The limits of the call are over.
    """

    saga: int
    hand: tuple[str, ...] = ()
    sent: tuple[str, ...] = ()
    requests: tuple[Request, ...] = ()
    replies: tuple[tuple[str, str], ...] = ()
    ledger: Ledger = Ledger()
    is_late: bool = False


class Step(NamedTuple):
    """What happens next; ``events`` is 2 where the words tell of two events."""

    words: str
    world: World
    events: int = 1


@dataclass(kw_only=True)
class Verdict:
    """What the search came to.

    Attributes:
        is_safe: No state is unsafe.
        states: States visited; up to the first unsafe one, if there is one.
        events: How many events lead to it.
        trace: What happens up to it, as short as can be.
        broken: What is wrong there.
        sometimes: How often each notable thing was seen: a search that never saw a late copy
            proves nothing about late copies.
        ends: How many states there are in which the saga rests, by how it ended.
    """

    is_safe: bool
    states: int
    events: int = 0
    trace: tuple[str, ...] = ()
    broken: str = ""
    sometimes: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, kw_only=True)
class Model:
    """One step's engine, tool and network.

    Attributes:
        program: What the engine runs.
        habits: What the tool really does.
        decide: The engine.
        has_new_key_per_send: Each send of the action goes out under a key of its own.
        has_copies: The network copies requests.
        has_stale_answers: An answer is heard late and again, by a later attempt too. The driver
            never lets that happen: it hears one answer to each call that it makes, or none.
    """

    program: Program
    habits: Habits
    decide: Decide
    has_new_key_per_send: bool = False
    has_copies: bool = True
    has_stale_answers: bool = True

    def search(self) -> Verdict:
        """Return what a search of all states, breadth first, comes to."""
        return _Search(self).run()


class _Search:
    def __init__(self, model: Model) -> None:
        self._model = model
        self._sagas: list[Saga] = []
        self._number: dict[Hashable, int] = {}
        self._decided: dict[tuple[int, Hashable], tuple[int, tuple[str, ...]]] = {}
        self._sometimes: Counter[str] = Counter()

    def run(self) -> Verdict:
        start = self._start()
        parents: dict[World, tuple[World, str] | None] = {start: None}
        # What is two events away waits for the next but one round.
        rounds: dict[int, list[tuple[World, World | None, str]]] = {1: [(start, None, "")]}
        found = Verdict(is_safe=True, states=0, sometimes=self._sometimes)
        seen: set[World] = set()
        number = 1
        while rounds:
            for world, before, words in rounds.pop(number, ()):
                if world in seen:
                    continue
                seen.add(world)
                parents[world] = None if before is None else (before, words)
                broken = self._broken(world)
                if broken:
                    found.is_safe, found.events, found.broken = False, number, broken
                    found.trace = ("the intent is durable", *_trace(parents, world))
                    found.states = len(seen)
                    return found
                saga = self._sagas[world.saga]
                if saga.outcome is not None:
                    found.ends[f"{saga.state.phase.name} {saga.outcome}"] += 1
                for step in self._steps(world):
                    after = self._without_idle(step.world)
                    if after not in seen:
                        later = rounds.setdefault(number + step.events, [])
                        later.append((after, world, step.words))
            number += 1
        found.states = len(seen)
        return found

    def _start(self) -> World:
        saga = Saga(saga_id="truth", program=self._model.program)
        decision = self._model.decide(saga, e.Submitted(at=EARLY, plan={}, tools={}))
        return World(self._known(decision.saga), hand=_kinds_of(decision.effects))

    # --- sagas by number -----------------------------------------------------------------------

    def _known(self, saga: Saga) -> int:
        key = _key(saga)
        found = self._number.get(key)
        if found is None:
            found = self._number[key] = len(self._sagas)
            self._sagas.append(saga)
        return found

    def _decide(
        self, world: World, name: Hashable, event: e.Event, saga: Saga | None = None
    ) -> World:
        """Return the world after an event; the engine is asked once for each kind of it.

        ``saga`` stands for the world's, from which it differs in what the key leaves out.
        """
        key = (world.saga, name)
        if key not in self._decided:
            try:
                decision = self._model.decide(saga or self._sagas[world.saga], event)
            except EventRefusedError:
                self._decided[key] = (world.saga, ())
            else:
                self._decided[key] = (self._known(decision.saga), _kinds_of(decision.effects))
        number, calls = self._decided[key]
        after = world._replace(saga=number, hand=(*world.hand, *calls))
        return self._unheard(after) if self._is_at_rest(after) else after

    def _is_at_rest(self, world: World) -> bool:
        return self._sagas[world.saga].state.phase in _AT_REST

    # --- what can happen -----------------------------------------------------------------------

    def _steps(self, world: World) -> Iterator[Step]:
        yield from self._sends(world)
        yield from self._arrivals(world)
        yield from self._replies(world)
        yield from self._time(world)
        yield from self._people_and_crashes(world)
        after = forgotten(self._model.habits, world.ledger)
        if after is not None:
            yield Step("the tool drops what it remembers", world._replace(ledger=after))

    def _sends(self, world: World) -> Iterator[Step]:
        for at, kind in enumerate(world.hand):
            rest = world._replace(hand=(*world.hand[:at], *world.hand[at + 1 :]))
            words = f"{_NAMES[kind]} is sent"
            is_heard = not self._is_at_rest(world)
            yield Step(words, self._sent(rest, kind, copies=1, is_heard=is_heard))
            if self._model.has_copies:
                copied = self._sent(rest, kind, copies=2, is_heard=is_heard)
                yield Step(f"{words}, and the network copies it", copied, 2)

    def _sent(self, world: World, kind: str, *, copies: int, is_heard: bool) -> World:
        count = world.sent.count(kind) + 1
        if count > SENDS_MAX:
            return world  # a third send is one that is lost
        is_new = self._model.has_new_key_per_send and kind == DO
        request = Request(kind, f"key {count}" if is_new else "key", copies, is_heard)
        sent = tuple(sorted((*world.sent, kind)))
        return world._replace(sent=sent, requests=_sorted((*world.requests, request)))

    def _arrivals(self, world: World) -> Iterator[Step]:
        ledger, habits = world.ledger, self._model.habits
        for at, request in enumerate(world.requests):
            if at and request == world.requests[at - 1]:
                continue
            others = (*world.requests[:at], *world.requests[at + 1 :])
            left = request._replace(copies=request.copies - 1)
            requests = _sorted((*others, left)) if left.copies else others
            found = answers(habits, ledger, request.kind, request.key, is_late=world.is_late)
            for answer in found:
                self._note(world, request, answer.words)
                replies = world.replies
                if request.is_heard:
                    replies = _sorted({*replies, (request.kind, answer.reply)})
                after = world._replace(requests=requests, replies=replies, ledger=answer.ledger)
                yield Step(f"{_NAMES[request.kind]} {answer.words}", after)

    def _replies(self, world: World) -> Iterator[Step]:
        for kind, said in world.replies:
            event = _reply_event(self._sagas[world.saga], kind, said, _now(world))
            heard = self._without_stale(world, kind)
            after = self._decide(heard, ("reply", kind, said, world.is_late), event)
            yield Step(f"the answer of {_NAMES[kind]} is heard: {said}", after)

    def _time(self, world: World) -> Iterator[Step]:
        saga = self._sagas[world.saga]
        step, now = saga.steps[0], _now(world)
        awaited = _awaited(saga)
        if awaited is not None and awaited not in world.hand:
            lost = _event(e.CallUnknown, saga, awaited, now, error="no answer", jitter=0.0)
            given_up = self._without_stale(world, awaited)
            after = self._decide(given_up, ("lost", awaited, world.is_late), lost)
            yield Step(f"no answer of {_NAMES[awaited]} comes in time", after)
        retry_at = step.retry_at if step.undo is None else step.undo.retry_at
        if retry_at is not None:
            due = e.TimePassed(at=max(now, retry_at))
            yield Step("it is tried again", self._decide(world, ("due", world.is_late), due))
        if world.is_late:
            # The tool's clock and ours differ by less than the margin that the engine adds.
            if step.wait_until is not None:
                over = e.TimePassed(at=max(now, step.wait_until))
                yield Step("its time is over by our clock", self._decide(world, "waited", over))
            return
        if saga.program.steps[0].deadline_s is not None:
            yield Step("its time is over at the tool", world._replace(is_late=True))
        if self._model.habits.collects_late and not world.hand and not world.requests:
            after = world._replace(is_late=True, ledger=world.ledger._replace(memory=()))
            yield Step("the tool's retention is over", after)

    def _people_and_crashes(self, world: World) -> Iterator[Step]:
        saga, now = self._sagas[world.saga], _now(world)
        if saga.stop is None and saga.state.phase is Phase.EXECUTING:
            cancel = e.CancelAsked(at=now, by="Ann")
            after = self._decide(world, ("cancel", world.is_late), cancel)
            yield Step("the saga is cancelled", after)
        if not self._is_at_rest(world):  # who takes up one that rests finds nothing to do
            self._sometimes["another coordinator takes over"] += 1
            resumed = e.Resumed(at=now)
            for words, left, events in self._taken_over(world):
                after = self._decide(left, ("resumed", world.is_late), resumed)
                yield Step(f"the coordinator stops, and another takes over{words}", after, events)
                tired = _often_interrupted(saga)
                after = self._decide(left, ("resumed again", world.is_late), resumed, tired)
                often = LIMITS.interruption_max
                words = f"{often} coordinators stop in a row, and another takes over{words}"
                yield Step(words, after, events + often - 1)

    def _taken_over(self, world: World) -> Iterator[Step]:
        """Yield what is left when nobody listens any more, by what becomes of what was in hand.

        It is lost, or goes out whenever it likes: being in the hand of somebody who was replaced
        and being on the way are the same to everybody else.
        """
        quiet = self._unheard(world)._replace(hand=())
        yield Step("", quiet)
        for copies in range(1, 3 if self._model.has_copies else 2):
            late = quiet
            for kind in world.hand:
                self._sometimes["a coordinator that was replaced sends"] += 1
                late = self._sent(late, kind, copies=copies, is_heard=False)
            if late is not quiet:
                words = "; the old one still sends what it had in hand" + ", twice" * (copies - 1)
                yield Step(words, late, 1 + copies * len(world.hand))

    def _unheard(self, world: World) -> World:
        """Return the world in which nobody listens any more."""
        quiet = (request._replace(is_heard=False) for request in world.requests)
        return world._replace(replies=(), requests=_sorted(quiet))

    def _without_stale(self, world: World, kind: str) -> World:
        """Return the world in which this attempt of a call is not listened to any more."""
        if self._model.has_stale_answers:
            return world
        requests = _sorted(
            request._replace(is_heard=request.is_heard and request.kind != kind)
            for request in world.requests
        )
        replies = tuple(reply for reply in world.replies if reply[0] != kind)
        return world._replace(requests=requests, replies=replies)

    def _without_idle(self, world: World) -> World:
        """Return the world without the requests of which nobody will ever notice anything."""
        habits, ledger = self._model.habits, world.ledger
        left = [
            request
            for request in world.requests
            if request.is_heard
            or request.kind == DO
            or (request.kind == UNDO and not ledger.knows_undo)
            or (request.kind == CHECK and habits.check_fences and not ledger.of(request.key))
        ]
        if len(left) == len(world.requests):
            return world
        return world._replace(requests=tuple(left))

    # --- what is unsafe ------------------------------------------------------------------------

    def _broken(self, world: World) -> str:
        ledger, saga = world.ledger, self._sagas[world.saga]
        left, phase = ledger.effects - ledger.undone, saga.state.phase
        if ledger.effects > 1:
            return "it took effect twice"
        if left < 0:
            return "it was undone twice"
        if phase is Phase.DONE and left != 1:
            return "the saga is DONE, and the effect is not there"
        if phase is Phase.FAILED and left:
            return "the saga is FAILED, and the effect is there"
        return ""

    def _note(self, world: World, request: Request, words: str) -> None:
        is_over = self._sagas[world.saga].state.phase in (Phase.DONE, Phase.FAILED)
        if request.kind == DO and is_over:
            self._sometimes["a copy arrives after the end"] += 1
        if request.kind == UNDO and not world.ledger.effects:
            self._sometimes["an undo comes before its action"] += 1
        for habit, said in _SEEN.items():
            if said in words:
                self._sometimes[habit] += 1


_SEEN = {
    "a late copy meets a tombstone": "is kept out",
    "a late copy meets a deadline": "after its time",
    "a repeat is answered as before": "as before",
    "an undo leaves a tombstone": "before its original",
    "a check leaves a tombstone": "finds nothing and leaves",
}


def _trace(parents: dict[World, tuple[World, str] | None], world: World) -> tuple[str, ...]:
    words: list[str] = []
    found = parents[world]
    while found is not None:
        world, said = found
        words.append(said)
        found = parents[world]
    return tuple(reversed(words))


def _sorted(items: Iterable[T]) -> tuple[T, ...]:
    return tuple(sorted(items))


def _now(world: World) -> float:
    return LATE if world.is_late else EARLY


def _kinds_of(effects: Iterable[Effect]) -> tuple[str, ...]:
    return tuple(_KINDS[effect.direction] for effect in effects if isinstance(effect, CallTool))


def _awaited(saga: Saga) -> str | None:
    """Return which call's answer the engine waits for."""
    step = saga.steps[0]
    if step.status is StepStatus.RUNNING and step.retry_at is None and step.wait_until is None:
        return None if step.awaited is None else _KINDS[step.awaited]
    undo = step.undo
    if step.status is StepStatus.COMPENSATING and undo is not None and undo.retry_at is None:
        return UNDO
    return None


def _reply_event(saga: Saga, kind: str, said: str, now: float) -> e.Event:
    if kind == CHECK:
        output: object = {"status": said}
        if said == "done":
            output = {"status": "done", "output": {"id": "x"}}
        return _event(e.CallSucceeded, saga, CHECK, now, output=output)
    if said == "ok":
        return _event(e.CallSucceeded, saga, kind, now, output={"id": "x"})
    return _event(e.CallRejected, saga, kind, now, error="refused", jitter=0.0)


def _often_interrupted(saga: Saga) -> Saga:
    """Return the saga with a call during which so many processes ended that one more is enough."""
    step, often = saga.steps[0], LIMITS.interruption_max - 1
    undo = None if step.undo is None else replace(step.undo, interruptions=often)
    return replace(saga, steps=(replace(step, interruptions=often, undo=undo),))


def _event(
    make: Callable[..., e.Event], saga: Saga, kind: str, now: float, **facts: object
) -> e.Event:
    step = saga.steps[0]
    req_id = step.req_id
    if kind == UNDO:
        req_id = None if step.undo is None else step.undo.req_id
    return make(at=now, step=0, direction=_DIRECTIONS[kind], req_id=req_id or "gone", **facts)


def _key(saga: Saga) -> Hashable:
    """Return what two sagas differ in that decisions depend on: no text, no position, no time.

    Nor how often a call was interrupted: see ``_often_interrupted``.
    """
    if saga.state.phase in _AT_REST:
        return (saga.state, saga.outcome)
    step = saga.steps[0]
    undo = step.undo
    return (
        saga.state,
        saga.stop is None,
        step.status,
        step.awaited,
        step.attempts,
        step.check_attempts,
        step.is_doubted,
        step.was_refused,
        step.has_bad_output,
        step.retry_at is None,
        step.wait_until is None,
        None
        if undo is None
        else (undo.attempts, undo.is_doubted, undo.was_refused, undo.retry_at is None),
    )
