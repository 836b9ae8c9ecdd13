"""The saga machine: one python-statemachine class for each shape of plan.

The states carry counts, so that a plan of N steps needs about 2N of them however its steps
branch. In EXECUTING(n) n-1 steps have succeeded; in COMPENSATING(k) k effects are, or may be, in
the world. A transition that changes a count has one candidate for each count it may lead to, and
the guards choose among them by the facts. Hence the machine needs no more than the plan's
``Shape``, and plans of one shape share one class.

Reading order: ``_moves`` and the five functions it calls are the machine; the rest hands them
over to python-statemachine, which checks their structure when the class is made.

Three things keep that library from surprising us. Guards are plain functions of this module with
names of their own, because signatures are cached by name. The class always has the same name,
because classes are kept in a registry by name, for ever. States and events are named by indexes
and by our own words, never by a planner's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from functools import lru_cache
from types import new_class
from typing import Any, NamedTuple, cast

from statemachine import Event, State, StateMachine
from statemachine.transition import Transition

from fsm_saga.core import guards
from fsm_saga.core.guards import Facts
from fsm_saga.core.invariants import check
from fsm_saga.core.program import Shape
from fsm_saga.core.states import (
    DONE,
    FAILED,
    NEEDS_HUMAN,
    PENDING,
    Phase,
    SagaEvent,
    SagaState,
    compensating,
    executing,
)

CLASSES_KEPT = 4
"""Classes of recently used shapes that stay in memory: 1 MB for 200 steps in line, 3 MB abreast."""

KINDS_MAX = 64
"""Transitions that differ in more than their states; there are about twenty."""

STATES_MAX = 512
"""Counted states of one phase that stay in memory: more than a plan may have steps."""

LIBRARY_CHECK_STEPS_MAX = 20
"""Above this many steps the way to an end is checked here: the library searches from each state."""


def plan_has_a_step(facts: Facts, target: State) -> bool:
    """See ``core.guards``."""
    return guards.plan_has_a_step(facts, target.value)


def successes_are_counted(facts: Facts, target: State) -> bool:
    """See ``core.guards``."""
    return guards.successes_are_counted(facts, target.value)


def effects_are_counted(facts: Facts, target: State) -> bool:
    """See ``core.guards``."""
    return guards.effects_are_counted(facts, target.value)


def plan_is_closed(facts: Facts, target: State) -> bool:
    """See ``core.guards``."""
    return guards.plan_is_closed(facts, target.value)


def plan_is_open(facts: Facts, target: State) -> bool:
    """See ``core.guards``."""
    return guards.plan_is_open(facts, target.value)


def way_back_is_open(facts: Facts, target: State) -> bool:
    """See ``core.guards``."""
    return guards.way_back_is_open(facts, target.value)


def way_back_is_closed(facts: Facts, target: State) -> bool:
    """See ``core.guards``."""
    return guards.way_back_is_closed(facts, target.value)


def nothing_can_go_on(facts: Facts, target: State) -> bool:
    """See ``core.guards``."""
    return guards.nothing_can_go_on(facts, target.value)


def leads_forward(facts: Facts, target: State) -> bool:
    """See ``core.guards``."""
    return guards.leads_forward(facts, target.value)


def leads_back(facts: Facts, target: State) -> bool:
    """See ``core.guards``."""
    return guards.leads_back(facts, target.value)


MachineGuard = Callable[[Facts, State], bool]

MACHINE_GUARDS: Mapping[str, MachineGuard] = {
    guard.__name__: guard
    for guard in (
        plan_has_a_step,
        successes_are_counted,
        effects_are_counted,
        plan_is_closed,
        plan_is_open,
        way_back_is_open,
        way_back_is_closed,
        nothing_can_go_on,
        leads_forward,
        leads_back,
    )
}

_TURNS = (SagaEvent.STEP_FAILED, SagaEvent.CANCELLED, SagaEvent.DEADLINE_PASSED)
_SETTLING_ANSWERS = (
    SagaEvent.HUMAN_RETRIES,
    SagaEvent.HUMAN_SETTLES,
    SagaEvent.HUMAN_SUPPLIES_OUTPUT,
)
# Calls that make good for a step take effects back: they never lead forward, nor to the end.
_ANSWERS = (*_SETTLING_ANSWERS, SagaEvent.HUMAN_SUPPLIES_CALLS)


class _Move(NamedTuple):
    """One transition to be: on any of the events, if all guards hold."""

    source: SagaState
    events: tuple[SagaEvent, ...]
    target: SagaState
    guards: tuple[MachineGuard, ...] = ()


# A machine names each state many times: one object for all is made once and found faster.
_executing = lru_cache(maxsize=STATES_MAX)(executing)
_compensating = lru_cache(maxsize=STATES_MAX)(compensating)


def _moves(shape: Shape) -> Iterator[_Move]:
    yield from _from_pending(shape)
    yield from _from_executing(shape)
    yield from _back_from_executing(shape)
    yield from _from_compensating(shape)
    yield from _from_needs_human(shape)


def _executing_counts(shape: Shape) -> range:
    """An open plan whose steps have all succeeded rests in one more state until it grows."""
    return range(1, shape.step_count + (2 if shape.is_open else 1))


def _effects_possible(shape: Shape, count: int) -> range:
    """Return how many effects there may be in EXECUTING(count).

    Of the ``count - 1`` steps that succeeded, those that only read have no effect. In flight are
    at most ``width`` of the other steps, and these count even if they only read: a saga does not
    end before its calls have (INV-7).
    """
    succeeded = count - 1
    in_flight_max = min(shape.width, shape.step_count - succeeded)
    lasting_max = min(succeeded, shape.step_count - shape.read_only_count)
    return range(max(0, succeeded - shape.read_only_count), lasting_max + in_flight_max + 1)


def _effects_max(shape: Shape) -> int:
    return max((_effects_possible(shape, n)[-1] for n in _executing_counts(shape)), default=0)


def _going_back(effects: int) -> SagaState:
    return _compensating(effects) if effects else FAILED


def _from_pending(shape: Shape) -> Iterator[_Move]:
    if _executing_counts(shape):
        yield _Move(PENDING, (SagaEvent.START,), _executing(1), (plan_has_a_step,))
    yield _Move(PENDING, (SagaEvent.CANCELLED,), FAILED)
    if shape.is_open:
        yield _Move(PENDING, (SagaEvent.STEP_APPENDED,), PENDING)
        yield _Move(PENDING, (SagaEvent.PLAN_CLOSED,), PENDING)


def _from_executing(shape: Shape) -> Iterator[_Move]:
    last = shape.step_count
    for n in range(1, last + 1):
        here, succeeded = _executing(n), (SagaEvent.STEP_SUCCEEDED,)
        if n < last or shape.is_open:
            yield _Move(here, succeeded, _executing(n + 1), (successes_are_counted,))
        else:
            yield _Move(here, succeeded, DONE, (plan_is_closed, successes_are_counted))
        yield _Move(
            here,
            (SagaEvent.FORWARD_EXHAUSTED,),
            NEEDS_HUMAN,
            (way_back_is_closed, nothing_can_go_on),
        )
    # The facts are those before the plan grew or was closed; the state is read by the new table.
    for n in _executing_counts(shape):
        here = _executing(n)
        yield _Move(here, (SagaEvent.STEP_APPENDED,), here, (leads_forward,))
        if not shape.is_open:
            continue
        if n <= last:
            yield _Move(here, (SagaEvent.PLAN_CLOSED,), here, (plan_is_open,))
        else:
            yield _Move(here, (SagaEvent.PLAN_CLOSED,), DONE, (successes_are_counted,))


def _back_from_executing(shape: Shape) -> Iterator[_Move]:
    for n in _executing_counts(shape):
        for effects in _effects_possible(shape, n):
            yield _Move(
                _executing(n),
                _TURNS,
                _going_back(effects),
                (way_back_is_open, effects_are_counted),
            )


def _from_compensating(shape: Shape) -> Iterator[_Move]:
    for k in range(1, _effects_max(shape) + 1):
        here = _compensating(k)
        yield _Move(here, (SagaEvent.EFFECT_CLEARED,), _going_back(k - 1), (effects_are_counted,))
        yield _Move(here, (SagaEvent.NOTHING_LEFT_TO_TRY,), NEEDS_HUMAN, (nothing_can_go_on,))


def _from_needs_human(shape: Shape) -> Iterator[_Move]:
    # The ends come first: the library's search for a way to an end then finds one at once.
    if not shape.is_open:
        done = (leads_forward, plan_is_closed, successes_are_counted)
        yield _Move(NEEDS_HUMAN, _SETTLING_ANSWERS, DONE, done)
    yield _Move(NEEDS_HUMAN, _SETTLING_ANSWERS, FAILED, (leads_back, effects_are_counted))
    for n in _executing_counts(shape):
        forward = (leads_forward, successes_are_counted)
        yield _Move(NEEDS_HUMAN, _SETTLING_ANSWERS, _executing(n), forward)
    for k in range(1, _effects_max(shape) + 1):
        back = (leads_back, effects_are_counted)
        yield _Move(NEEDS_HUMAN, _ANSWERS, _compensating(k), back)
    yield _Move(NEEDS_HUMAN, (SagaEvent.CANCELLED,), NEEDS_HUMAN, (way_back_is_open,))


def state_id(state: SagaState) -> str:
    """Return the identifier of a state in the class: ``E2``, ``C1``, or the phase's own word."""
    match state.phase:
        case Phase.EXECUTING:
            return f"E{state.count}"
        case Phase.COMPENSATING:
            return f"C{state.count}"
        case _:
            return state.phase.value


class _PlainState(State):
    """A state without callbacks by convention.

    To each state and transition the library adds six to fifteen specifications of callbacks, for
    methods such as ``on_enter_E1``. Our classes have no methods (``flatten`` refuses them), and
    without the specifications a class is made in half the time. Should a later version name the
    hook otherwise, they come back: slower, and still right.
    """

    def _setup(self) -> None:
        pass


class _PlainTransition(Transition):
    """A transition without callbacks by convention; see ``_PlainState``."""

    def _setup(self) -> None:
        pass


_PHASE_ORDER = {phase: place for place, phase in enumerate(Phase)}

# Events are immutable texts, so the classes share them.
_EVENTS = {event: Event(id=event.value, name=event.value) for event in SagaEvent}


@lru_cache(maxsize=KINDS_MAX)
def _kind(
    events: tuple[SagaEvent, ...], machine_guards: tuple[MachineGuard, ...]
) -> Callable[[State, list[State]], Transition]:
    """Return the class of the transitions on these events and with these guards.

    A machine may have twenty thousand transitions, but of twenty kinds: those of one kind differ
    in their two states alone. So the library makes one of each kind, what it says of that one
    belongs to the class, and the others are made of their states in a fiftieth of the time.
    Nothing writes to what is shared: a machine is complete when it is handed over.

    Raises:
        InvariantBrokenError: If the library keeps the states of a transition elsewhere by now.
    """
    here, there = State(), State()
    first = _PlainTransition(
        here, here, event=[_EVENTS[event] for event in events], cond=machine_guards
    )
    shared = {name: value for name, value in vars(first).items() if name not in _OWN}
    kind: Any = type("_TransitionOfKind", (_PlainTransition,), {**shared, "__init__": _between})
    made = kind(here, [there])
    check(
        vars(made).keys() == set(_OWN) <= vars(first).keys()
        # By identity: the library takes states of one name for equal.
        and (made.source is here and made.target is there and not made.is_self),
        "this version of python-statemachine keeps the states of a transition elsewhere",
    )
    return cast("Callable[[State, list[State]], Transition]", kind)


# What the transitions of one kind do not share.
_OWN = ("source", "_targets", "is_self")


def _between(self: Transition, source: State, targets: list[State]) -> None:
    """Be the transition between these states."""
    self.source = source
    self._targets = targets
    self.is_self = source is targets[0]


@lru_cache(maxsize=CLASSES_KEPT)
def saga_machine_class(shape: Shape) -> type[StateMachine]:
    """Return the saga machine of all plans of this shape.

    The values of its states are ``SagaState``, its events those of ``SagaEvent``, its guards take
    ``facts`` from the event: ``machine.send("start", facts=facts)``. States that no transition
    reaches are left out, such as COMPENSATING(k) for a k that the plan cannot have.

    Raises:
        InvariantBrokenError: If the numbers of the shape contradict each other, or some state of
            the machine has no way to an end.
    """
    _check_shape(shape)
    moves: dict[SagaState, list[_Move]] = {}
    for move in _moves(shape):
        moves.setdefault(move.source, []).append(move)
    leads_to = {source: [move.target for move in each] for source, each in moves.items()}
    reached = _reachable([PENDING], leads_to)
    states = _wired_states(reached, moves)
    namespace: dict[str, Any] = {
        "__module__": __name__,
        "__qualname__": "SagaMachine",
        "__doc__": "The saga machine of one shape of plan.",
        **{state_id(value): state for value, state in states.items()},
    }
    if shape.step_count > LIBRARY_CHECK_STEPS_MAX:
        namespace["validate_final_reachability"] = False
        check_every_state_can_end(leads_to, reached)
    made = new_class("SagaMachine", (StateMachine,), exec_body=lambda body: body.update(namespace))
    return cast("type[StateMachine]", made)


def _wired_states(
    reached: Set[SagaState], moves: Mapping[SagaState, Sequence[_Move]]
) -> dict[SagaState, State]:
    """Return the states in reading order, each with its transitions."""
    states: dict[SagaState, State] = {
        value: _PlainState(str(value), value=value, initial=value == PENDING, final=value.is_final)
        for value in sorted(reached, key=_reading_order)
    }
    targets = {value: [state] for value, state in states.items()}
    for value, state in states.items():
        state.transitions.add_transitions(
            _kind(move.events, move.guards)(state, targets[move.target])
            for move in moves.get(value, ())
        )
    return states


def check_every_state_can_end(
    leads_to: Mapping[SagaState, Iterable[SagaState]], states: Set[SagaState]
) -> None:
    """Return if a path leads from each of the states to DONE or FAILED.

    One search backwards from the ends, where the library searches forwards from each state.

    Args:
        leads_to: For each state those to which a transition leads.
        states: The states to be looked at.

    Raises:
        InvariantBrokenError: If some state has no path to an end.
    """
    comes_from: dict[SagaState, list[SagaState]] = {}
    for source, targets in leads_to.items():
        for target in targets:
            comes_from.setdefault(target, []).append(source)
    stuck = states - _reachable([state for state in states if state.is_final], comes_from)
    named = ", ".join(sorted(map(str, stuck)))
    check(not stuck, f"no way to an end of the saga from {named}")


def _reachable(
    starts: Iterable[SagaState], leads_to: Mapping[SagaState, Iterable[SagaState]]
) -> set[SagaState]:
    """Return the states to which some path leads, the starts included."""
    found = set(starts)
    waiting = list(found)
    while waiting:
        new = set(leads_to.get(waiting.pop(), ())) - found
        found |= new
        waiting.extend(new)
    return found


def _reading_order(state: SagaState) -> tuple[int, int]:
    return _PHASE_ORDER[state.phase], state.count


def _check_shape(shape: Shape) -> None:
    numbers: Iterable[int] = shape[:3]
    is_sound = (
        min(numbers) >= 0
        and max(shape.width, shape.read_only_count) <= shape.step_count
        and (shape.width > 0 or shape.step_count == 0)
    )
    check(is_sound, f"{shape} is the shape of no plan: its numbers contradict each other")
