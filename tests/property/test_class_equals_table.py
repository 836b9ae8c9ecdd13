"""Class and table answer alike: every small shape, every state, every event, all facts.

The table is flattened from the class, but it is read by other code than the class is run by. Here
both are asked the same question and must give the same answer: the class by ``send`` on a machine
that was resumed through its model, the table by ``verdict``.

"All facts" would be millions of questions. A guard, however, reads few of the facts, so the facts
here are chosen only when they are read: one run answers for all combinations of what was not
read, and the next run takes the next choice, until every choice was taken.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from statemachine import StateMachine

from fsm_saga.core.guards import GUARDS, Facts, WayBack
from fsm_saga.core.program import Shape
from fsm_saga.core.states import (
    DONE,
    FAILED,
    NEEDS_HUMAN,
    PENDING,
    SagaEvent,
    SagaState,
    StepEvent,
    StepStatus,
    compensating,
    executing,
)
from fsm_saga.core.table import Table, VerdictKind
from fsm_saga.machine.flatten import flatten_saga, saga_table, step_table
from fsm_saga.machine.saga_machine import saga_machine_class
from fsm_saga.machine.step_machine import StepMachine

# Questions to the classes of all shapes of so many steps, as counted when this was written.
ASKED_MIN = {0: 95, 1: 612, 2: 2_664, 3: 7_216, 4: 15_560}

Domains = Mapping[str, tuple[Any, ...]]


def domains_of(step_count: int) -> Domains:
    """Return the values of each fact that a plan of so many steps can have, and one beyond."""
    counts = tuple(range(step_count + 2))
    return {
        "step_count": tuple(sorted({0, step_count})),
        "succeeded": counts,
        "uncleared": counts,
        "is_closed": (False, True),
        "way_back": tuple(WayBack),
        "can_go_on": (False, True),
        "leads_forward": (False, True),
    }


@dataclass
class ChosenFacts:
    """Facts that are chosen when they are read: as on ``path``, beyond it the first choice."""

    domains: Domains
    path: list[tuple[str, int]]
    read: dict[str, int] = field(default_factory=dict)

    def __getattr__(self, name: str) -> object:
        if name not in self.read:
            place = len(self.read)
            if place < len(self.path):
                assert self.path[place][0] == name, "the guards read other facts than before"
                self.read[name] = self.path[place][1]
            else:
                self.read[name] = 0
        return self.domains[name][self.read[name]]


def all_facts(domains: Domains) -> Iterator[Facts]:
    """Yield facts until each choice of what is read from them was taken once."""
    path: list[tuple[str, int]] = []
    while True:
        chosen = ChosenFacts(domains, path)
        yield cast(Facts, chosen)
        path = list(chosen.read.items())
        while path and path[-1][1] + 1 == len(domains[path[-1][0]]):
            path.pop()
        if not path:
            return
        name, choice = path.pop()
        path.append((name, choice + 1))


def shapes(step_count: int) -> Iterator[Shape]:
    """Yield every shape of so many steps."""
    for width in range(1, step_count + 1):
        for read_only_count in range(step_count + 1):
            for is_open in (False, True):
                yield Shape(step_count, width, read_only_count, is_open)


def thinkable_states(step_count: int) -> list[SagaState]:
    """Return the states of every machine of so many steps, and some that none has."""
    counts = range(1, step_count + 3)
    counted = [make(count) for count in counts for make in (executing, compensating)]
    return [PENDING, DONE, FAILED, NEEDS_HUMAN, *counted]


@dataclass
class Resumed:
    """The model that a machine is resumed through."""

    state: object


class Machine:
    """Answers what a class does with an event in a state, as a coordinator resuming it would."""

    def __init__(self, cls: type[StateMachine], name: object) -> None:
        self.cls = cls
        self.name = name
        self.sent = 0
        self._model = Resumed(None)
        self._machine: StateMachine | None = None

    def resume(self, state: object) -> None:
        """Make a machine that takes its state from the model."""
        self._model = Resumed(state)
        self._machine = self.cls(self._model)

    def answer(self, state: object, event: str, facts: Facts | None = None) -> object:
        """Return the state that the event leads to, or None where it is refused."""
        if self._machine is None or self._machine.is_terminated:
            self.resume(state)
        assert self._machine is not None
        self._model.state = state
        self.sent += 1
        try:
            self._machine.send(event, facts=facts)
        except self.cls.TransitionNotAllowed:
            return None
        return self._model.state


@pytest.mark.parametrize("step_count", [0, 1, 2, 3, 4])
def test_class_and_table_agree_in_every_state_on_every_event_for_all_facts(step_count: int) -> None:
    domains = domains_of(step_count)
    asked = 0
    for shape in shapes(step_count) if step_count else closed_and_open_without_steps():
        machine = Machine(saga_machine_class(shape), shape)
        table = flatten_saga(machine.cls)
        assert set(table.states) == set(machine.cls.states_map)
        for state in machine.cls.states_map:
            machine.resume(state)
            for event in SagaEvent:
                compare_cell(machine, table, state, event, domains)
        asked += machine.sent
    # What was asked must not shrink unseen, by a shape or by a guard that is no longer tried.
    assert asked >= ASKED_MIN[step_count]


def compare_cell(
    machine: Machine, table: Table, state: SagaState, event: SagaEvent, domains: Domains
) -> None:
    for facts in all_facts(domains):
        wanted = table.verdict(state, event, facts)
        got = machine.answer(state, event, facts)
        assert got == wanted.target, f"{machine.name}: {state} on {event} with {facts}"
        assert (got is not None) == (wanted.kind is VerdictKind.MOVE)


def closed_and_open_without_steps() -> Iterator[Shape]:
    """Yield the two shapes of a plan that has no steps (yet)."""
    yield Shape(0, 0, 0, False)
    yield Shape(0, 0, 0, True)


@pytest.mark.parametrize("is_open", [False, True])
def test_class_and_table_agree_on_plain_facts_chosen_one_by_one(is_open: bool) -> None:
    """The same for one step, without the trick of choosing late."""
    shape = Shape(1, 1, 0, is_open)
    machine = Machine(saga_machine_class(shape), shape)
    table = flatten_saga(machine.cls)
    domains = {**domains_of(1), "succeeded": (0, 1), "uncleared": (0, 1)}
    every = [Facts(*values) for values in itertools.product(*domains.values())]
    for state, event in table.rows:
        for facts in every:
            wanted = table.verdict(state, event, facts).target
            assert machine.answer(state, event, facts) == wanted, f"{state} {event} {facts}"


@pytest.mark.parametrize("step_count", [0, 1, 2, 3, 4])
def test_at_most_one_row_of_a_cell_holds(step_count: int) -> None:
    """The rows' order then means nothing, and a picture need not show it."""
    domains = {**domains_of(step_count), "step_count": (step_count,)}
    for shape in shapes(step_count) if step_count else closed_and_open_without_steps():
        for (state, event), cell in saga_table(shape).rows.items():
            for facts in all_facts(domains):
                holding = [
                    str(row.target)
                    for row in cell
                    if all(GUARDS[name](facts, row.target) for name in row.guards)
                ]
                assert len(holding) <= 1, f"{shape}: {state} on {event} leads to {holding}"


@pytest.mark.parametrize("step_count", [0, 1, 2, 3, 4])
def test_the_table_answers_every_state_event_and_facts(step_count: int) -> None:
    """Totality: also for states of other shapes, there is a move, or a reason for none."""
    domains = domains_of(step_count)
    for shape in shapes(step_count) if step_count else closed_and_open_without_steps():
        table = saga_table(shape)
        for state, event in itertools.product(thinkable_states(step_count), SagaEvent):
            for facts in all_facts(domains):
                check_answer(table, state, event, facts)


def check_answer(table: Table, state: SagaState, event: SagaEvent, facts: Facts) -> None:
    verdict = table.verdict(state, event, facts)
    if verdict.kind is VerdictKind.MOVE:
        assert verdict.target in table.states
        assert not state.is_final, f"{event} leaves {state}, which is final"
    else:
        assert verdict.target is None
        assert verdict.reason, f"no reason is given why {event} does nothing in {state}"


def test_step_class_and_step_table_agree_on_every_status_and_event() -> None:
    machine = Machine(StepMachine, "step")
    table = step_table()
    for status, event in itertools.product(StepStatus, StepEvent):
        machine.resume(status)
        assert machine.answer(status, event) == table.get((status, event)), f"{status} on {event}"
    assert machine.sent == len(StepStatus) * len(StepEvent)


def test_late_choice_visits_every_combination_that_matters() -> None:
    """The search itself: it must not skip a choice, nor take one twice."""
    domains = {"is_closed": (False, True), "succeeded": (0, 1, 2)}
    seen = [
        (facts.is_closed, facts.succeeded if facts.is_closed else None)
        for facts in all_facts(domains)
    ]
    assert seen == [(False, None), (True, 0), (True, 1), (True, 2)]
