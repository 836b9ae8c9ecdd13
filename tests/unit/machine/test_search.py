from __future__ import annotations

from typing import Any

import pytest

from fsm_saga.core.program import Program
from fsm_saga.machine.canonical import Reduction
from fsm_saga.machine.explore import Decide, Space
from fsm_saga.machine.nodes import Arc, Config
from fsm_saga.machine.properties import Finding
from fsm_saga.machine.search import Breach, Found, Judge, PathStep, Search
from tests.modelcheck.programs import APPROVED, COMPENSATABLE, PIVOT, make_program
from tests.modelcheck.zoo import DECIDERS

CHAIN = make_program((COMPENSATABLE, COMPENSATABLE))
TWINS = make_program((COMPENSATABLE,) * 3, ((), (), ()))
CHAINS = make_program((COMPENSATABLE,) * 4, ((), (), (0,), (1,)))


def searched(program: Program, decider: Decide, **more: Any) -> Found:
    return Search(Space(program, decider=decider, **more), configuration_max=500).run()


def codes_at_the_end(program: Program, decider: Decide, path: tuple[PathStep, ...]) -> set[str]:
    """Replay a history where nothing is left out, and return what is broken at its end.

    Raises:
        AssertionError: If something is told that cannot happen so.
    """
    space = Space(program, decider=decider, reduction=Reduction.NONE)
    judge = Judge(space)
    start = space.initial()
    found = {finding.code for finding in space.start_findings}
    here: set[Config] = {start}
    assert path[0] == PathStep("submitted", space.node(start).saga)
    for event, saga in path[1:]:
        ends = [
            (made, end)
            for config in here
            for made, end in space.successors(config, is_mirrored=False)
            if space.words(made) == event and space.node(end).saga == saga
        ]
        assert ends, f"{event} leads to no such {saga.state}"
        here = {end for _made, end in ends}
        found = {
            finding.code for made, _ in ends if isinstance(made, Arc) for finding in made.findings
        }
    return found | {finding.code for config in here for finding in judge.findings(config)}


@pytest.mark.parametrize(
    ("name", "program"),
    [
        ("time-out is a failure", CHAIN),
        ("time-out is a failure", TWINS),
        ("time-out is a failure", CHAINS),
        ("lost undo is done", TWINS),
        ("lost undo is done", CHAINS),
        ("bad output is a failure", CHAINS),
        ("sent twice", TWINS),
        ("id per attempt", CHAINS),
        ("breaks", CHAIN),
        ("cancelled for good", TWINS),
        ("cancelled for good", CHAINS),
        ("refuses approvals", make_program((COMPENSATABLE, APPROVED))),
        ("ends reopened", make_program((COMPENSATABLE, PIVOT))),
    ],
)
def test_a_history_that_is_told_can_happen_and_ends_where_the_property_breaks(
    name: str, program: Program
) -> None:
    found = searched(program, DECIDERS[name])
    assert found.breaches
    for code, breach in found.breaches.items():
        assert breach.finding.code == code
        if code not in ("END", "REST"):  # these are judged on the whole graph
            assert code in codes_at_the_end(program, DECIDERS[name], breach.path), breach.finding


def test_each_break_is_counted_and_the_first_is_told() -> None:
    found = Found()
    first, second = (PathStep("a", None),), (PathStep("b", None),)  # type: ignore[arg-type]
    asked: list[int] = []

    def path(number: int) -> tuple[PathStep, ...]:
        asked.append(number)
        return (first, second)[number]

    found.note(Finding("C1", "one"), lambda: path(0))
    found.note(Finding("C1", "two"), lambda: path(1))
    found.note(Finding("C2", "three"), lambda: path(1))
    found.note(Finding("C1", "four"), lambda: path(1))
    assert found.breach_counts == {"C1": 3, "C2": 1}
    assert found.breaches == {
        "C1": Breach(Finding("C1", "one"), first),
        "C2": Breach(Finding("C2", "three"), second),
    }
    assert asked == [0, 1]


def test_above_the_bound_a_search_stops_after_a_whole_number_of_moves() -> None:
    whole = Search(Space(CHAINS), configuration_max=5_000).run()
    part = Search(Space(CHAINS), configuration_max=20).run()
    assert whole.is_exhaustive
    assert not part.is_exhaustive
    assert (whole.unvisited, part.configurations + part.unvisited > 20) == (0, True)
    assert part.depth < whole.depth
