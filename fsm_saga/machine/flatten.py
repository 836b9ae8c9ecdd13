"""From a machine's class to the table that the engine runs.

Flattening reads the public structure of a python-statemachine class (states, transitions,
events, guards) and writes it down as rows. A table knows sources, events, guards and targets and
nothing else, so whatever else a class can say is refused here: callbacks, validators, negated or
written-out conditions, delays, nesting, history. What is refused is never silently lost.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from types import FunctionType, MappingProxyType
from typing import Generic, NoReturn, TypeVar

from statemachine import Event, HistoryState, State, StateMachine
from statemachine.callbacks import CallbackGroup, CallbackSpec
from statemachine.transition import Transition

from fsm_saga.core.program import Shape, StepTable
from fsm_saga.core.states import PENDING, SagaEvent, SagaState, StepEvent, StepStatus
from fsm_saga.core.table import Row, Table
from fsm_saga.errors import InvariantBrokenError
from fsm_saga.machine.collector import collector_off
from fsm_saga.machine.saga_machine import MACHINE_GUARDS, saga_machine_class
from fsm_saga.machine.step_machine import StepMachine

TABLES_KEPT = 64
"""Tables of recently used shapes that stay in memory: 1 MB for 200 steps in line, 14 abreast."""

_SAGA_EVENTS = {event.value: event for event in SagaEvent}
_STEP_EVENTS = {event.value: event for event in StepEvent}

EventT = TypeVar("EventT", bound=enum.StrEnum)
ValueT = TypeVar("ValueT", SagaState, StepStatus)


@lru_cache(maxsize=TABLES_KEPT)
def saga_table(shape: Shape) -> Table:
    """Return the table of all sagas whose plan has this shape.

    Raises:
        InvariantBrokenError: If there can be no plan of this shape.
    """
    with collector_off():
        return flatten_saga(saga_machine_class(shape))


@lru_cache(maxsize=1)
def step_table() -> StepTable:
    """Return the table of the step machine; the same for every plan."""
    return flatten_step(StepMachine)


def flatten_saga(cls: type[StateMachine]) -> Table:
    """Return the rows of a saga machine, in the order in which the class tries its transitions.

    Raises:
        InvariantBrokenError: If the class says anything that a row cannot.
    """
    reader = _Reader(cls, _SAGA_EVENTS)
    rows: dict[tuple[int, int], Row] = {}
    cells: dict[tuple[SagaState, SagaEvent], list[Row]] = {}
    for source, transitions in _plain_transitions(cls, start=PENDING):
        found: dict[SagaEvent, list[Row]] = {}
        for transition in transitions:
            names, target = reader.guard_names(transition), reader.target(transition)
            # Transitions between other states with the same guards and target are one row.
            key = id(names), id(target)
            row = rows.get(key)
            if row is None:
                row = rows[key] = Row(names, target.value)
            for event in reader.events(transition):
                cell = found.get(event)
                if cell is None:
                    cell = found[event] = []
                cell.append(row)
        for event, cell in found.items():
            cells[source, event] = cell
    return Table(MappingProxyType(_shared(cells)))


def flatten_step(cls: type[StateMachine]) -> StepTable:
    """Return where each event takes a step, for the statuses in which it may occur.

    Raises:
        InvariantBrokenError: If the class says anything else, or one thing in two ways.
    """
    reader = _Reader(cls, _STEP_EVENTS)
    table: dict[tuple[StepStatus, StepEvent], StepStatus] = {}
    for source, transitions in _plain_transitions(cls, start=StepStatus.WAITING):
        for transition in transitions:
            names = reader.guard_names(transition)
            if names:
                _refuse(cls, f"{transition} is guarded by {', '.join(names)}", "no step is guarded")
            for event in reader.events(transition):
                if (source, event) in table:
                    _refuse(
                        cls, f"two transitions leave {source} on {event}", "one could never win"
                    )
                table[source, event] = reader.target(transition).value
    return MappingProxyType(table)


def _shared(
    cells: Mapping[tuple[SagaState, SagaEvent], list[Row]],
) -> dict[tuple[SagaState, SagaEvent], tuple[Row, ...]]:
    """Events that share their transitions share one cell, which keeps wide plans small."""
    known: dict[tuple[int, ...], tuple[Row, ...]] = {}
    return {key: known.setdefault(tuple(map(id, rows)), tuple(rows)) for key, rows in cells.items()}


def _plain_transitions(
    cls: type[StateMachine], *, start: ValueT
) -> Iterator[tuple[ValueT, Sequence[Transition]]]:
    """Yield each state's value and transitions, once all is known to be plain."""
    _check_class(cls)
    names = frozenset(dir(cls))
    # The library files callbacks of every kind in one list; any kind's group leads to it.
    _check_specs(cls, "the class", cls.prepare.list, names)
    for state in cls.states:
        _check_state(cls, state, start)
        _check_specs(cls, state, state.enter.list, names)
    checked: set[int] = set()
    for state in cls.states:
        transitions = state.transitions.transitions
        for transition in transitions:
            _check_transition(cls, state, transition)
            specs = transition.cond.list
            if id(specs) not in checked:  # transitions of one kind share the list
                _check_specs(cls, transition, specs, names)
                checked.add(id(specs))
        yield state.value, transitions


def _check_class(cls: type[StateMachine]) -> None:
    if not issubclass(cls, StateMachine):
        _refuse(cls, "it is no StateMachine", "others swallow illegal events and failing guards")
    if cls.allow_event_without_transition or cls.catch_errors_as_events:
        _refuse(cls, "it swallows illegal events or failing guards", "both are bugs to be seen")
    if getattr(cls, "listeners", None):
        _refuse(cls, "it has listeners", "rows have no callbacks")
    for base in cls.__mro__[: cls.__mro__.index(StateMachine)]:
        for name, thing in vars(base).items():
            if isinstance(thing, FunctionType | property | classmethod | staticmethod):
                _refuse(cls, f"it has the method {name!r}", "rows have no callbacks")
            if isinstance(thing, Event) and (thing.delay or thing.internal):
                _refuse(cls, f"event {thing.id!r} is delayed or internal", "no crash may lose it")


def _check_state(cls: type[StateMachine], state: State, start: SagaState | StepStatus) -> None:
    value = state.value
    if not isinstance(value, type(start)):
        _refuse(cls, f"state {state.id!r} has the value {value!r}", "it is not one of ours")
    if cls.states_map.get(value) is not state:
        _refuse(cls, f"two states have the value {value}", "a record names one")
    if state.initial != (value == start):
        _refuse(cls, f"initial={state.initial!r} on {state.id!r}", f"all starts at {start}")
    if isinstance(value, SagaState) and state.final != value.is_final:
        _refuse(cls, f"final={state.final!r} on {value}", "the state itself says otherwise")
    if state.parallel or state.states or state.history or isinstance(state, HistoryState):
        _refuse(cls, f"state {state.id!r} has states or a history", "a table is flat")


def _check_transition(cls: type[StateMachine], state: State, transition: Transition) -> None:
    if transition.source is not state or len(transition.targets) != 1:
        _refuse(cls, f"{transition} has not one source and one target", "a row has")
    if transition.internal or transition.initial or transition.is_eventless:
        _refuse(cls, f"{transition} is internal, initial or without event", "a row waits for one")


def _check_specs(
    cls: type[StateMachine], owner: object, specs: Iterable[CallbackSpec], names: frozenset[str]
) -> None:
    """Refuse every callback but conditions; those by convention only if they are there."""
    for spec in specs:
        if spec.group is not CallbackGroup.COND and (
            not spec.is_convention or spec.attr_name in names
        ):
            kind = spec.group.name.lower()
            _refuse(cls, f"{owner} has the {kind} callback {spec.attr_name!r}", "rows have none")


class _Reader(Generic[EventT]):
    """Reads the parts of a class's transitions; what several of them share is read once.

    What was read is known by its identity, which lasts: the class holds it.
    """

    def __init__(self, cls: type[StateMachine], known: Mapping[str, EventT]) -> None:
        self._cls = cls
        self._known = known
        self._guards: dict[int, tuple[str, ...]] = {}
        self._events: dict[int, tuple[EventT, ...]] = {}
        self._states = {id(state) for state in cls.states_map.values()}

    def guard_names(self, transition: Transition) -> tuple[str, ...]:
        """Return the names of the guards that must hold."""
        names = self._guards.get(id(transition.cond))
        if names is None:
            names = self._guards[id(transition.cond)] = tuple(self._read_guards(transition))
        return names

    def _read_guards(self, transition: Transition) -> Iterator[str]:
        for spec in transition.cond:
            if spec.expected_value is not True or spec.cond is not None:
                what = f"{transition} has the condition {spec}"
                _refuse(self._cls, what, "a row's guards must hold")
            if MACHINE_GUARDS.get(spec.attr_name) is not spec.func:
                what = f"{transition} has the condition {spec.func!r}"
                _refuse(self._cls, what, "it is no guard of ours")
            yield spec.attr_name

    def events(self, transition: Transition) -> tuple[EventT, ...]:
        """Return the events on which the transition is taken."""
        events = self._events.get(id(transition.events))
        if events is None:
            events = self._events[id(transition.events)] = tuple(self._read_events(transition))
        return events

    def _read_events(self, transition: Transition) -> Iterator[EventT]:
        for event in transition.events:
            if event.id not in self._known:
                what = f"{transition} waits for {event.id!r}"
                _refuse(self._cls, what, "no event of ours is so named")
            yield self._known[event.id]

    def target(self, transition: Transition) -> State:
        """Return the state that the transition leads to."""
        target = transition.target
        if target is None or id(target) not in self._states:
            what = f"{transition} leads to {target!r}"
            _refuse(self._cls, what, "that is no state of the class")
        return target


def _refuse(cls: type[StateMachine], what: str, why: str) -> NoReturn:
    message = (
        f"class {cls.__name__!r} cannot become a table: {what}, but {why}. "
        f"No saga was touched; say it with states, events and guards."
    )
    raise InvariantBrokenError(message)
