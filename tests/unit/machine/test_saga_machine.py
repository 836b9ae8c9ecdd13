"""The saga machine: its rows for small plans, its limits, and what it must not leave behind."""

from __future__ import annotations

import gc
import inspect
import itertools
import re
import weakref
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass
from typing import Any

import pytest
from statemachine import State, StateMachine, registry
from statemachine.signature import SignatureAdapter
from statemachine.transition import Transition

from fsm_saga.core import guards
from fsm_saga.core.guards import GUARDS, Facts, WayBack
from fsm_saga.core.program import Shape
from fsm_saga.core.states import (
    DONE,
    FAILED,
    NEEDS_HUMAN,
    PENDING,
    SagaEvent,
    SagaState,
    compensating,
    executing,
)
from fsm_saga.errors import InvariantBrokenError
from fsm_saga.machine.flatten import saga_table
from fsm_saga.machine.saga_machine import (
    CLASSES_KEPT,
    LIBRARY_CHECK_STEPS_MAX,
    MACHINE_GUARDS,
    _kind,
    check_every_state_can_end,
    saga_machine_class,
    state_id,
)

LINE = Shape(2, 1, 0, False)
OPEN = Shape(1, 1, 0, True)

TWO_STEPS_IN_LINE = """
PENDING start -> EXECUTING(1) [plan_has_a_step]
PENDING cancelled -> FAILED
EXECUTING(1) step_succeeded -> EXECUTING(2) [successes_are_counted]
EXECUTING(1) step_appended -> EXECUTING(1) [leads_forward]
EXECUTING(1) forward_exhausted -> NEEDS_HUMAN [way_back_is_closed, nothing_can_go_on]
EXECUTING(1) step_failed cancelled deadline_passed -> FAILED [way_back_is_open, effects_are_counted]
EXECUTING(1) step_failed cancelled deadline_passed -> COMPENSATING(1) \
[way_back_is_open, effects_are_counted]
EXECUTING(2) step_succeeded -> DONE [plan_is_closed, successes_are_counted]
EXECUTING(2) step_appended -> EXECUTING(2) [leads_forward]
EXECUTING(2) forward_exhausted -> NEEDS_HUMAN [way_back_is_closed, nothing_can_go_on]
EXECUTING(2) step_failed cancelled deadline_passed -> COMPENSATING(1) \
[way_back_is_open, effects_are_counted]
EXECUTING(2) step_failed cancelled deadline_passed -> COMPENSATING(2) \
[way_back_is_open, effects_are_counted]
COMPENSATING(1) effect_cleared -> FAILED [effects_are_counted]
COMPENSATING(1) nothing_left_to_try -> NEEDS_HUMAN [nothing_can_go_on]
COMPENSATING(2) effect_cleared -> COMPENSATING(1) [effects_are_counted]
COMPENSATING(2) nothing_left_to_try -> NEEDS_HUMAN [nothing_can_go_on]
NEEDS_HUMAN human_retries human_settles human_supplies_output -> DONE \
[leads_forward, plan_is_closed, successes_are_counted]
NEEDS_HUMAN human_retries human_settles human_supplies_output -> FAILED \
[leads_back, effects_are_counted]
NEEDS_HUMAN human_retries human_settles human_supplies_output -> EXECUTING(1) \
[leads_forward, successes_are_counted]
NEEDS_HUMAN human_retries human_settles human_supplies_output -> EXECUTING(2) \
[leads_forward, successes_are_counted]
NEEDS_HUMAN human_retries human_settles human_supplies_output human_supplies_calls -> \
COMPENSATING(1) [leads_back, effects_are_counted]
NEEDS_HUMAN human_retries human_settles human_supplies_output human_supplies_calls -> \
COMPENSATING(2) [leads_back, effects_are_counted]
NEEDS_HUMAN cancelled -> NEEDS_HUMAN [way_back_is_open]
"""

OPEN_PLAN_OF_ONE_STEP = """
PENDING step_appended -> PENDING
PENDING plan_closed -> PENDING
EXECUTING(1) step_succeeded -> EXECUTING(2) [successes_are_counted]
EXECUTING(1) step_appended -> EXECUTING(1) [leads_forward]
EXECUTING(1) plan_closed -> EXECUTING(1) [plan_is_open]
EXECUTING(2) step_appended -> EXECUTING(2) [leads_forward]
EXECUTING(2) plan_closed -> DONE [successes_are_counted]
EXECUTING(2) step_failed cancelled deadline_passed -> COMPENSATING(1) \
[way_back_is_open, effects_are_counted]
"""


def lines_of(cls: type[StateMachine]) -> set[str]:
    """Return the transitions of a class, one line for each."""
    lines = set()
    for state in cls.states:
        for transition in state.transitions:
            assert transition.target is not None
            events = " ".join(event.id for event in transition.events)
            names = ", ".join(spec.attr_name for spec in transition.cond)
            guards = f" [{names}]" if names else ""
            lines.add(f"{state.value} {events} -> {transition.target.value}{guards}")
    return lines


def test_two_steps_in_line_on_one_page() -> None:
    assert lines_of(saga_machine_class(LINE)) == set(TWO_STEPS_IN_LINE.strip().splitlines())


def test_an_open_plan_grows_is_closed_and_rests_when_all_its_steps_succeeded() -> None:
    lines = lines_of(saga_machine_class(OPEN))
    assert set(OPEN_PLAN_OF_ONE_STEP.strip().splitlines()) <= lines
    assert not any("forward_exhausted" in line for line in lines if line.startswith("EXECUTING(2)"))


def test_only_an_open_plan_can_be_closed_and_needs_that_to_be_done() -> None:
    closed_rows, open_rows = saga_table(LINE).rows, saga_table(OPEN).rows
    assert not [event for _, event in closed_rows if event is SagaEvent.PLAN_CLOSED]
    ways = {key for key, cell in open_rows.items() if any(row.target == DONE for row in cell)}
    assert ways == {(executing(2), SagaEvent.PLAN_CLOSED)}


def test_calls_that_make_good_lead_back_only() -> None:
    cell = saga_table(LINE).rows[NEEDS_HUMAN, SagaEvent.HUMAN_SUPPLIES_CALLS]
    assert [row.target for row in cell] == [compensating(1), compensating(2)]


def test_states_that_nothing_reaches_are_left_out() -> None:
    assert set(saga_machine_class(Shape(0, 0, 0, False)).states_map) == {PENDING, FAILED}
    assert set(saga_machine_class(Shape(0, 0, 0, True)).states_map) == {
        PENDING,
        executing(1),
        DONE,
        FAILED,
    }


@pytest.mark.parametrize(("width", "effects_max"), [(1, 1), (2, 2), (3, 3)])
def test_a_plan_that_only_reads_counts_no_more_than_what_is_in_flight(
    width: int, effects_max: int
) -> None:
    states = saga_machine_class(Shape(3, width, 3, False)).states_map
    assert compensating(effects_max) in states
    assert compensating(effects_max + 1) not in states


@dataclass(frozen=True)
class Moment:
    """What a plan may look like at one moment of its way forward."""

    shape: Shape
    succeeded: int
    uncleared: int


def moments_of(needs: tuple[int, ...], read_only: int) -> Iterator[Moment]:
    """Yield every moment of a plan given as bitmasks, found by trying all sets of steps."""
    count = len(needs)
    moments = []
    width = 0
    for done in range(1 << count):
        if any(done >> step & 1 and needs[step] & ~done for step in range(count)):
            continue
        ready = [s for s in range(count) if not done >> s & 1 and not needs[s] & ~done]
        width = max(width, len(ready))
        for in_flight in range(len(ready) + 1):
            effects = (done & ~read_only).bit_count() + in_flight
            moments.append((done.bit_count(), effects))
    for is_open in (False, True):
        shape = Shape(count, width, read_only.bit_count(), is_open)
        for succeeded, uncleared in moments:
            if is_open or succeeded < count:
                yield Moment(shape, succeeded, uncleared)


def all_moments(count: int) -> set[Moment]:
    """Return the moments of all plans of so many steps, whatever waits for what."""
    found: set[Moment] = set()
    earlier = [range(1 << step) for step in range(count)]
    for needs in itertools.product(*earlier):
        for read_only in range(1 << count):
            found.update(moments_of(needs, read_only))
    return found


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_whatever_runs_when_a_saga_turns_round_finds_one_row_and_no_row_is_idle(
    count: int,
) -> None:
    """The bounds on the number of effects are exact: compared with all plans, tried out."""
    rows_used: set[tuple[Shape, SagaState, SagaState]] = set()
    for moment in all_moments(count):
        state = executing(moment.succeeded + 1)
        facts = Facts(
            step_count=count,
            succeeded=moment.succeeded,
            uncleared=moment.uncleared,
            is_closed=not moment.shape.is_open,
            way_back=WayBack.OPEN,
            can_go_on=False,
            leads_forward=False,
        )
        verdict = saga_table(moment.shape).verdict(state, SagaEvent.STEP_FAILED, facts)
        wanted = compensating(moment.uncleared) if moment.uncleared else FAILED
        assert verdict.target == wanted, f"{moment} finds {verdict}"
        rows_used.add((moment.shape, state, wanted))
    rows = {
        (shape, state, row.target)
        for shape in {shape for shape, _, _ in rows_used}
        for (state, event), cell in saga_table(shape).rows.items()
        if event is SagaEvent.STEP_FAILED
        for row in cell
    }
    assert rows == rows_used


def test_transitions_stay_linear_in_the_steps_of_a_plan_in_line() -> None:
    counts = [len(lines_of(saga_machine_class(Shape(n, 1, 0, False)))) for n in (10, 20, 30)]
    assert counts == [95, 185, 275]


def test_no_word_of_a_planner_names_a_state_or_an_event() -> None:
    for shape in (LINE, OPEN, Shape(12, 3, 2, False)):
        cls = saga_machine_class(shape)
        for state in cls.states:
            assert state.id == state_id(state.value)
            assert re.fullmatch(r"[EC][1-9][0-9]*|PENDING|DONE|FAILED|NEEDS_HUMAN", state.id)
            assert state.name == str(state.value)
            events = {event.id for event in state.transitions.unique_events}
            assert events <= set(SagaEvent)


def test_each_guard_of_the_class_is_a_synchronous_function_of_the_same_name_as_the_core_s() -> None:
    assert MACHINE_GUARDS.keys() == GUARDS.keys()
    names = [f"{guard.__module__}.{guard.__qualname__}" for guard in MACHINE_GUARDS.values()]
    assert len(set(names)) == len(names)
    assert not any(inspect.iscoroutinefunction(guard) for guard in MACHINE_GUARDS.values())


@pytest.mark.parametrize("name", GUARDS)
def test_a_guard_of_the_class_says_what_the_core_says_of_the_target(name: str) -> None:
    said = set()
    targets = (DONE, FAILED, executing(1), executing(2), compensating(1), compensating(2))
    for holds, counts, target in itertools.product((False, True), (0, 1, 2), targets):
        way_back = WayBack.OPEN if holds else WayBack.CLOSED
        facts = Facts(counts, counts, counts, holds, way_back, holds, holds)
        answer = MACHINE_GUARDS[name](facts, State(value=target))
        assert answer == GUARDS[name](facts, target)
        said.add(answer)
    assert said == {False, True}


@pytest.mark.parametrize(
    "shape",
    [
        Shape(-1, 0, 0, False),
        Shape(2, 3, 0, False),
        Shape(2, 1, 3, False),
        Shape(2, 1, -1, False),
        Shape(2, 0, 0, True),
    ],
)
def test_a_shape_that_no_plan_has_is_refused(shape: Shape) -> None:
    with pytest.raises(InvariantBrokenError, match="is the shape of no plan"):
        saga_machine_class(shape)


def test_plans_of_one_shape_share_one_class() -> None:
    assert saga_machine_class(Shape(3, 1, 0, False)) is saga_machine_class(Shape(3, 1, 0, False))


def test_transitions_of_one_kind_are_as_the_library_would_make_each_of_them() -> None:
    cls = saga_machine_class(Shape(4, 2, 1, True))
    kinds = {}
    for state in cls.states:
        for transition in state.transitions:
            made = Transition(
                state,
                transition.target,
                event=list(transition.events),
                cond=[spec.func for spec in transition.cond],
            )
            assert str(transition) == str(made)
            assert (transition.source, transition.targets) == (made.source, made.targets)
            for name in ("internal", "initial", "is_self", "is_eventless", "event"):
                assert getattr(transition, name) == getattr(made, name)
            for group in ("validators", "before", "on", "after", "cond"):
                assert list(getattr(transition, group)) == list(getattr(made, group))
            assert set(dir(made)) <= set(dir(transition))
            kinds[type(transition)] = transition.events
    assert len(kinds) < 25, "what transitions share is made once"


def test_a_library_that_keeps_the_states_of_a_transition_elsewhere_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def elsewhere(transition: Any, source: State, targets: list[State]) -> None:
        transition.source, transition._goals, transition.is_self = source, targets, False

    monkeypatch.setattr("fsm_saga.machine.saga_machine._between", elsewhere)
    _kind.cache_clear()
    saga_machine_class.cache_clear()
    with pytest.raises(InvariantBrokenError, match="keeps the states of a transition elsewhere"):
        saga_machine_class(LINE)


def five_hundred_shapes() -> Iterator[Shape]:
    shapes = (
        Shape(count, width, read_only_count, is_open)
        for count in itertools.count(1)
        for width in range(1, count + 1)
        for read_only_count in range(count + 1)
        for is_open in (False, True)
    )
    return itertools.islice(shapes, 500)


@pytest.mark.slow
def test_five_hundred_shapes_do_not_stay_in_memory() -> None:
    """The library keeps classes by name and signatures by name: ours always have the same."""
    saga_machine_class(LINE)()
    saga_machine_class(OPEN)()
    names_before = len(registry._REGISTRY)
    signatures = SignatureAdapter.from_callable.__func__.clear_cache.__self__
    signatures_before = len(signatures)
    classes = []
    for shape in five_hundred_shapes():
        cls = saga_machine_class(shape)
        classes.append(weakref.ref(cls))
        if shape.width == shape.read_only_count == 1:
            cls().send("cancelled", facts=None)
        del cls
    gc.collect()
    alive = sum(ref() is not None for ref in classes)
    assert alive <= CLASSES_KEPT + 1, "the registry may hold the newest besides the cache"
    assert len(registry._REGISTRY) == names_before
    assert len(signatures) == signatures_before


def test_a_long_plan_is_searched_once_for_a_way_to_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    searched: list[int] = []

    def spy(leads_to: Mapping[SagaState, Iterable[SagaState]], states: Set[SagaState]) -> None:
        searched.append(len(states))
        check_every_state_can_end(leads_to, states)

    monkeypatch.setattr("fsm_saga.machine.saga_machine.check_every_state_can_end", spy)
    saga_machine_class.cache_clear()
    short = saga_machine_class(Shape(LIBRARY_CHECK_STEPS_MAX, 1, 0, False))
    assert (short.validate_final_reachability, searched) == (True, [])
    long = saga_machine_class(Shape(LIBRARY_CHECK_STEPS_MAX + 1, 1, 0, False))
    assert (long.validate_final_reachability, searched) == (False, [len(long.states)])
    assert len(long.states) == 2 * (LIBRARY_CHECK_STEPS_MAX + 1) + 4


def test_a_state_without_a_way_to_an_end_is_found() -> None:
    leads_to = {
        PENDING: [FAILED, executing(1)],
        executing(1): [executing(1), NEEDS_HUMAN],
        NEEDS_HUMAN: [executing(1)],
    }
    check_every_state_can_end(leads_to, {PENDING, FAILED})
    with pytest.raises(InvariantBrokenError, match=r"from EXECUTING\(1\), NEEDS_HUMAN"):
        check_every_state_can_end(leads_to, {FAILED, *leads_to})


@pytest.mark.parametrize("name", MACHINE_GUARDS)
def test_a_guard_of_a_class_asks_the_core_about_the_same(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[object, SagaState]] = []

    def asking(facts: object, target: SagaState) -> bool:
        asked.append((facts, target))
        return True

    monkeypatch.setattr(guards, name, asking)
    told: Any = object()
    assert MACHINE_GUARDS[name](told, State(value=executing(3)))
    assert asked == [(told, executing(3))]
