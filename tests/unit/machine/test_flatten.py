"""Flattening: what a class says goes into the table, and what a table cannot say is refused."""

from __future__ import annotations

from collections.abc import Callable
from types import new_class
from typing import Any

import pytest
from statemachine import Event, HistoryState, State, StateChart, StateMachine
from statemachine.states import States

from fsm_saga.core.program import Shape
from fsm_saga.core.states import (
    DONE,
    FAILED,
    PENDING,
    SagaEvent,
    StepEvent,
    StepStatus,
    executing,
)
from fsm_saga.core.table import Row
from fsm_saga.errors import InvariantBrokenError
from fsm_saga.machine.flatten import flatten_saga, flatten_step, saga_table, step_table
from fsm_saga.machine.saga_machine import (
    leads_forward,
    plan_has_a_step,
    saga_machine_class,
    successes_are_counted,
)
from fsm_saga.machine.step_machine import StepMachine


def made(name: str, body: dict[str, Any]) -> Any:
    """Return the class that a class statement with this body would make."""
    return new_class(name, (StateMachine,), exec_body=lambda namespace: namespace.update(body))


def small(*, start: Any = PENDING, end: Any = FAILED, final: bool = True, **transition: Any) -> Any:
    """Return a machine of two states and one transition, to be spoiled by the arguments."""
    first = State(value=start, initial=True)
    last = State(value=end, final=final)
    go = first.to(last, event=transition.pop("event", "cancelled"), **transition)
    if not final:
        go |= last.to(first, event="start")
    return made("Small", {"first": first, "last": last})


def test_rows_keep_events_guards_targets_and_their_order() -> None:
    class Small(StateMachine):
        pending = State(value=PENDING, initial=True)
        executing = State(value=executing(1))
        done = State(value=DONE, final=True)

        start = pending.to(executing, cond=plan_has_a_step) | pending.to(
            done, cond=[leads_forward, successes_are_counted]
        )
        cancelled = deadline_passed = executing.to(done)

    rows = flatten_saga(Small).rows
    assert dict(rows) == {
        (PENDING, SagaEvent.START): (
            Row(("plan_has_a_step",), executing(1)),
            Row(("leads_forward", "successes_are_counted"), DONE),
        ),
        (executing(1), SagaEvent.CANCELLED): (Row((), DONE),),
        (executing(1), SagaEvent.DEADLINE_PASSED): (Row((), DONE),),
    }


def test_events_with_the_same_transitions_share_one_cell() -> None:
    rows = saga_table(Shape(2, 1, 0, False)).rows
    failed, cancelled = SagaEvent.STEP_FAILED, SagaEvent.CANCELLED
    assert rows[executing(1), failed] is rows[executing(1), cancelled]


def test_tables_are_kept_and_cannot_be_changed() -> None:
    shape = Shape(2, 1, 0, False)
    assert saga_table(shape) is saga_table(Shape(2, 1, 0, False))
    assert step_table() is step_table()
    with pytest.raises(TypeError, match="does not support item assignment"):
        saga_table(shape).rows[PENDING, SagaEvent.START] = ()  # type: ignore[index]
    with pytest.raises(TypeError, match="does not support item assignment"):
        step_table()[StepStatus.SKIPPED, StepEvent.RESENT] = StepStatus.RUNNING  # type: ignore[index]


def test_the_table_names_every_state_of_the_class() -> None:
    cls = saga_machine_class(Shape(5, 2, 1, True))
    assert set(flatten_saga(cls).states) == set(cls.states_map)


def a_callback(facts: object) -> None:
    """Does nothing; that it is there is what is refused."""


def other_guard(facts: object) -> bool:
    """Holds, but is none of the closed set."""
    return bool(facts)


def with_hook() -> type[StateMachine]:
    class Hooked(StateMachine):
        pending = State(value=PENDING, initial=True)
        failed = State(value=FAILED, final=True)
        cancelled = pending.to(failed)

        def on_cancelled(self) -> None:
            """Would run unseen."""

    return Hooked


def with_hook_that_is_no_function() -> type[StateMachine]:
    class Hooked(StateMachine):
        pending = State(value=PENDING, initial=True)
        failed = State(value=FAILED, final=True)
        cancelled = pending.to(failed)
        on_enter_failed = print

    return Hooked


def with_preparation() -> type[StateMachine]:
    class Prepared(StateMachine):
        pending = State(value=PENDING, initial=True)
        failed = State(value=FAILED, final=True)
        cancelled = pending.to(failed)
        prepare_event = dict

    return Prepared


def with_listener() -> type[StateMachine]:
    class Heard(StateMachine):
        listeners = [object]  # noqa: RUF012  # the library's own way to say it
        pending = State(value=PENDING, initial=True)
        failed = State(value=FAILED, final=True)
        cancelled = pending.to(failed)

    return Heard


def with_delay() -> type[StateMachine]:
    class Delayed(StateMachine):
        pending = State(value=PENDING, initial=True)
        failed = State(value=FAILED, final=True)
        cancelled = Event(pending.to(failed), delay=10)

    return Delayed


def with_internal_event() -> type[StateMachine]:
    class Inward(StateMachine):
        pending = State(value=PENDING, initial=True)
        failed = State(value=FAILED, final=True)
        cancelled = Event(pending.to(failed), internal=True)

    return Inward


def with_entry_action() -> type[StateMachine]:
    class Entered(StateMachine):
        pending = State(value=PENDING, initial=True)
        failed = State(value=FAILED, final=True, enter=a_callback)
        cancelled = pending.to(failed)

    return Entered


def with_nested_states() -> Any:
    inner, outer = State(initial=True), State(final=True)
    inner._set_id("inner")
    outer._set_id("outer")
    inner.to(outer, event="start")
    pending = State(value=PENDING, initial=True, states=[inner, outer])
    failed = State(value=FAILED, final=True)
    pending.to(failed, event="cancelled")
    return made("Nested", {"pending": pending, "failed": failed})


def with_history() -> Any:
    class Remembering(StateMachine):
        pending = State(value=PENDING, initial=True)
        failed = State(value=FAILED, final=True)
        cancelled = pending.to(failed)

    Remembering.pending.history.append(HistoryState())
    return Remembering


def with_one_value_twice() -> type[StateMachine]:
    class Twice(StateMachine):
        pending = State(value=PENDING, initial=True)
        failed = State(value=FAILED, final=True)
        gone = State(value=FAILED, final=True)
        cancelled = pending.to(failed)
        start = pending.to(gone)

    return Twice


def with_another_start() -> type[StateMachine]:
    class Late(StateMachine):
        executing = State(value=executing(1), initial=True)
        failed = State(value=FAILED, final=True)
        cancelled = executing.to(failed)

    return Late


def chart() -> Any:
    class Chart(StateChart[Any]):
        pending = State(value=PENDING, initial=True)
        failed = State(value=FAILED, final=True)
        cancelled = pending.to(failed)

    return Chart


def tolerant() -> type[StateMachine]:
    class Tolerant(StateMachine):
        allow_event_without_transition = True
        pending = State(value=PENDING, initial=True)
        failed = State(value=FAILED, final=True)
        cancelled = pending.to(failed)

    return Tolerant


def without_event() -> type[StateMachine]:
    class Restless(StateMachine):
        pending = State(value=PENDING, initial=True)
        failed = State(value=FAILED, final=True)
        cancelled = pending.to(failed)
        pending.to(failed, cond=plan_has_a_step)

    return Restless


def to_nowhere() -> Any:
    cls = small()
    cls.states_map[PENDING].to(None, event="start")
    return cls


def to_a_stranger() -> Any:
    cls = small()
    cls.states_map[PENDING].to(State("Stranger", value=DONE), event="start")
    return cls


def within_itself() -> Any:
    cls = small()
    pending = cls.states_map[PENDING]
    pending.to(pending, event="start", internal=True)
    return cls


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "validator": (lambda: small(validators=a_callback), "validator callback 'a_callback'"),
    "before": (lambda: small(before=a_callback), "before callback 'a_callback'"),
    "on": (lambda: small(on=a_callback), "on callback 'a_callback'"),
    "after": (lambda: small(after=a_callback), "after callback 'a_callback'"),
    "unless": (lambda: small(unless=plan_has_a_step), "condition !plan_has_a_step"),
    "expression": (lambda: small(cond="plan_has_a_step and ready"), "'plan_has_a_step and ready'"),
    "name of a guard": (lambda: small(cond="plan_has_a_step"), "condition 'plan_has_a_step'"),
    "other guard": (lambda: small(cond=other_guard), "it is no guard of ours"),
    "unknown event": (lambda: small(event="exploded"), "waits for 'exploded'"),
    "any event": (lambda: small(event="*"), r"waits for '\*'"),
    "value of another kind": (lambda: small(start="PENDING"), "has the value 'PENDING'"),
    "not final": (lambda: small(final=False), "final=False on FAILED"),
    "method": (with_hook, "the method 'on_cancelled'"),
    "hook": (with_hook_that_is_no_function, "enter callback 'on_enter_failed'"),
    "preparation": (with_preparation, "prepare callback 'prepare_event'"),
    "listener": (with_listener, "it has listeners"),
    "delay": (with_delay, "event 'cancelled' is delayed or internal"),
    "internal event": (with_internal_event, "event 'cancelled' is delayed or internal"),
    "entry action": (with_entry_action, "enter callback 'a_callback'"),
    "nested states": (with_nested_states, "has states or a history"),
    "history": (with_history, "has states or a history"),
    "one value twice": (with_one_value_twice, "two states have the value FAILED"),
    "another start": (with_another_start, r"initial=True on 'executing'"),
    "statechart": (chart, "it is no StateMachine"),
    "tolerant class": (tolerant, "swallows illegal events"),
    "no event": (without_event, "internal, initial or without event"),
    "no target": (to_nowhere, "has not one source and one target"),
    "target of another kind": (lambda: small(end="FAILED"), "has the value 'FAILED'"),
    "foreign target": (to_a_stranger, "that is no state of the class"),
    "internal transition": (within_itself, "internal, initial or without event"),
}


WHY = {
    "rows have none": ("validator", "before", "on", "after", "hook", "preparation", "entry action"),
    "a row's guards must hold": ("unless",),
    "it is no guard of ours": ("expression", "name of a guard", "other guard"),
    "no event of ours is so named": ("unknown event", "any event"),
    "it is not one of ours": ("value of another kind", "target of another kind"),
    "the state itself says otherwise": ("not final",),
    "rows have no callbacks": ("method", "listener"),
    "no crash may lose it": ("delay", "internal event"),
    "a table is flat": ("nested states", "history"),
    "a record names one": ("one value twice",),
    "all starts at PENDING": ("another start",),
    "others swallow illegal events and failing guards": ("statechart",),
    "both are bugs to be seen": ("tolerant class",),
    "a row waits for one": ("no event", "internal transition"),
    "a row has": ("no target",),
    "that is no state of the class": ("foreign target",),
}


@pytest.mark.parametrize("why", WHY)
def test_a_refusal_says_why(why: str) -> None:
    for spoiled in WHY[why]:
        cls = REFUSED[spoiled][0]()
        with pytest.raises(InvariantBrokenError) as refusal:
            flatten_saga(cls)
        message = refusal.value.message
        assert message.startswith(f"class {cls.__name__!r} cannot become a table: ")
        assert message.endswith(
            f", but {why}. No saga was touched; say it with states, events and guards."
        )


def test_every_refusal_has_a_reason() -> None:
    assert {name for names in WHY.values() for name in names} == set(REFUSED)


@pytest.mark.parametrize("spoiled", REFUSED)
def test_what_a_row_cannot_say_is_refused(spoiled: str) -> None:
    make, message = REFUSED[spoiled]
    with pytest.raises(InvariantBrokenError, match=message) as refusal:
        flatten_saga(make())
    assert "cannot become a table" in refusal.value.message
    assert "No saga was touched" in refusal.value.message


def test_the_unspoiled_class_is_accepted() -> None:
    """Else the refusals above could all have one other cause."""
    assert flatten_saga(small()).rows == {(PENDING, SagaEvent.CANCELLED): (Row((), FAILED),)}


def step_class(**more: Any) -> Any:
    """Return a step machine that knows one event and what ``more`` adds."""
    status = States.from_enum(
        StepStatus, initial=StepStatus.WAITING, final=set(StepStatus) - {StepStatus.WAITING}
    )
    for value in set(StepStatus) - {StepStatus.WAITING, StepStatus.SKIPPED}:
        status.WAITING.to(getattr(status, value.name), event="launched")
    body = {"status": status, "validate_disconnected_states": False}
    body["skipped"] = status.WAITING.to(status.SKIPPED, **more)
    return made("Steps", body)


def test_a_step_machine_with_two_ways_for_one_event_is_refused() -> None:
    why = "two transitions leave WAITING on launched, but one could never win"
    with pytest.raises(InvariantBrokenError, match=why):
        flatten_step(step_class())


def test_a_step_machine_with_a_guard_is_refused() -> None:
    class Guarded(StepMachine):
        pass

    assert flatten_step(Guarded) == step_table()
    added = (plan_has_a_step, leads_forward)
    for guard in added:
        Guarded.states[0].transitions[0].cond.add(guard, expected_value=True)
    why = "is guarded by plan_has_a_step, leads_forward, but no step is guarded"
    try:
        with pytest.raises(InvariantBrokenError, match=why):
            flatten_step(Guarded)
    finally:
        for _ in added:
            Guarded.states[0].transitions[0].cond.list.items.pop()


def test_a_state_of_the_other_machine_is_refused() -> None:
    with pytest.raises(InvariantBrokenError, match="it is not one of ours"):
        flatten_step(saga_machine_class(Shape(1, 1, 0, False)))
    with pytest.raises(InvariantBrokenError, match="it is not one of ours"):
        flatten_saga(StepMachine)
