"""Following one branch after the other leaves nothing out that counts.

While calls run or undos are under way, the argument is that of partial-order reduction, and what
it needs is tried in every configuration: a step that goes first stays the same whatever the others
do, and its moves and theirs lead to the same, whichever comes first. Answers of people are put in
order by an argument of their own (``machine/order.py``); for all of it together, what can become
of each step, and of the saga, is compared with a search of every order.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest

from fsm_saga.core import events as e
from fsm_saga.core.program import Program
from fsm_saga.core.states import Phase
from fsm_saga.machine.canonical import Reduction
from fsm_saga.machine.explore import Space
from fsm_saga.machine.ledger import StepWorld
from fsm_saga.machine.nodes import Arc, Config, Made
from fsm_saga.machine.search import Search
from fsm_saga.machine.verify import bounded
from tests.modelcheck.mixes import BACKWARD, PIVOTS
from tests.modelcheck.programs import (
    APPROVED,
    CHECKED,
    COMPENSATABLE,
    FENCED,
    FENCING_CHECK,
    PIVOT,
    READ_ONLY,
    SEMANTIC,
    TIMED,
    TWICE,
    Step,
    dag_shapes,
    make_program,
)
from tests.support.counting import IS_LONG, Count

BESIDE = ((), ())
THREE = ((), (), ())
RESUMED = "the coordinator stops, and another one resumes"
RESUMED_LATE = "the coordinator stops, and all is due"
TOGETHER = ("all timers fire together", RESUMED_LATE)

SMALL: Mapping[str, Program] = {
    **{
        f"{size} steps {needs}": make_program((COMPENSATABLE,) * size, needs)
        for size in (2, 3)
        for needs in dag_shapes(size)
    },
    **{
        f"{name} beside plain": make_program((step, COMPENSATABLE), BESIDE)
        for name, step in BACKWARD.items()
    },
    **{
        f"{name} beside a pivot": make_program((step, PIVOT), BESIDE, deadline_s=60.0)
        for name, step in (("plain", COMPENSATABLE), ("fenced", FENCED), ("checked", CHECKED))
    },
    **{
        f"plain beside {name}": make_program((COMPENSATABLE, step), BESIDE)
        for name, step in PIVOTS.items()
    },
    "tried twice": make_program((Step(retry=TWICE), COMPENSATABLE), BESIDE),
    "approved": make_program((APPROVED, COMPENSATABLE), BESIDE, deadline_s=60.0),
    "open": make_program((COMPENSATABLE, COMPENSATABLE), BESIDE, is_open=True),
}
LARGE: Mapping[str, Program] = {
    **{f"{name} twice": make_program((step, step), BESIDE) for name, step in BACKWARD.items()},
    "promises": make_program((FENCED, CHECKED, SEMANTIC), THREE),
    "timed": make_program((TIMED, COMPENSATABLE, FENCING_CHECK), THREE),
    "reads": make_program((READ_ONLY, COMPENSATABLE, FENCED), THREE),
    "forgetful beside": make_program((BACKWARD["retention, fenced"], COMPENSATABLE), BESIDE),
    "two chains": make_program((COMPENSATABLE, FENCED, SEMANTIC, CHECKED), ((), (), (0,), (1,))),
    "a square": make_program((COMPENSATABLE, FENCED, CHECKED, SEMANTIC), ((), (), (0, 1), (0, 1))),
    **{f"4 steps {needs}": make_program((COMPENSATABLE,) * 4, needs) for needs in dag_shapes(4)},
}


# A search of these in every order takes longer than all others together.
LARGEST = "4 steps ((), (), (), ())"
COMPARED = [name for name in LARGE if IS_LONG or name != LARGEST]


def everything(space: Space) -> list[Config]:
    """Return every configuration that can be reached, in every order of events.

    Of those that are mirror images of each other it is one, if the space has mirrors.
    """
    seen = {space.canonical(space.initial())[0]}
    front = list(seen)
    while front:
        for _made, moved in space.successors(front.pop(), is_mirrored=False):
            after = space.canonical(moved)[0]
            if after not in seen:
                seen.add(after)
                front.append(after)
    return list(seen)


def name_of(made: Made) -> tuple[int, str]:
    return made.step, made.what


def named(space: Space, config: Config) -> dict[tuple[int, str], Config]:
    return {name_of(made): after for made, after in space.successors(config, is_mirrored=False)}


def of_step(moves: Mapping[tuple[int, str], Config], step: int) -> dict[tuple[int, str], Config]:
    return {name: after for name, after in moves.items() if name[0] == step}


def timer(space: Space, config: Config, step: int) -> Arc | None:
    """Return the timer of a step."""
    for arc in space.arcs_of(space.node(config)):
        if arc.step == step and isinstance(arc.move.event, e.TimePassed):
            return arc
    return None


def one_by_one(space: Space, config: Config, what: str) -> Config:
    """Return what comes of it if the timers that are set now fire one after the other."""
    steps = [i for i in range(len(space.program.steps)) if timer(space, config, i) is not None]
    for arc in space.arcs_of(space.node(config)):
        if arc.what == RESUMED and what.startswith(RESUMED_LATE):
            config = space.make(config, arc) or config
    for step in steps:
        fires = timer(space, config, step)
        assert fires is not None
        config = space.make(config, fires) or config
    return config


def interferences(space: Space, config: Config) -> Iterator[str]:
    """Yield where the moves of a step that goes first and others get in each other's way."""
    node = space.node(config)
    moves = named(space, config)
    for first in space.branches.candidates(node.saga):
        own = of_step(moves, first)
        for name, after in moves.items():
            if name[0] == first:
                continue
            if name[1].startswith(TOGETHER):
                if one_by_one(space, config, name[1]) != after:
                    yield f"{name} is not what its timers are one by one"
                continue
            if first not in space.branches.candidates(space.node(after).saga, least=1):
                yield f"after {name} step {first} does not go first"
            then = of_step(named(space, after), first)
            if set(then) != set(own):
                yield f"{name} changes what can happen to {first}: {set(then) ^ set(own)}"
                continue
            for own_name, own_after in own.items():
                other_way = named(space, own_after).get(name)
                if other_way is None or other_way != then[own_name]:
                    yield f"{name} and {own_name} do not commute"


def check_order(program: Program) -> None:
    """Look at each configuration; `make nightly` looks at their mirror images as well."""
    reduction = Reduction.NONE if IS_LONG else Reduction.MIRRORS
    space = Space(bounded(program), reduction=reduction)
    found = [
        f"{space.node(config).saga.state}: {words}"
        for config in everything(space)
        if space.node(config).saga.state.phase is Phase.COMPENSATING
        for words in interferences(space, config)
    ]
    assert not found, f"{len(found)}: {found[:3]}"


@pytest.mark.parametrize("name", SMALL)
def test_steps_that_go_first_are_in_nobody_s_way(name: str) -> None:
    check_order(SMALL[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", LARGE)
def test_steps_that_go_first_are_in_nobody_s_way_in_larger_programs(name: str) -> None:
    check_order(LARGE[name])


def test_a_step_that_goes_first_and_is_in_the_way_is_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A crash touches every undo in flight whose tool forgets that it refused it."""
    program = SMALL["undo forgets refusals beside plain"]
    check_order(program)
    honest = StepWorld.__init__

    def believed(self: StepWorld, *args: object, **kwargs: object) -> None:
        honest(self, *args, **kwargs)  # type: ignore[arg-type]  # passed on as they came
        self.is_undo_steady = True

    monkeypatch.setattr(StepWorld, "__init__", believed)
    with pytest.raises(AssertionError, match=r"do not commute|changes what can happen"):
        check_order(program)


def told_of_steps(program: Program, reduction: Reduction) -> set[tuple[str, ...]]:
    """Return everything that becomes of any one step; at an end, with what the end is called."""
    space = Space(bounded(program), reduction=reduction)
    search = Search(space, configuration_max=500_000)
    found = search.run()
    assert found.is_exhaustive
    assert not found.breaches
    told: set[tuple[str, ...]] = set()
    for config in search.configs:
        saga = space.node(config).saga
        end: tuple[str, ...] = ()
        if saga.state.is_final:
            end = (str(saga.state), str(saga.outcome), space.word_of(config).name)
        ledgers = space.ledgers_of(config)
        for index, (step, ledger) in enumerate(zip(saga.steps, ledgers, strict=True)):
            told.add((str(index), str(step), str(ledger), *end))
    return told


@pytest.mark.parametrize("name", SMALL)
def test_what_becomes_of_each_step_is_the_same_in_every_order(
    name: str, record_property: Count
) -> None:
    record_property("programs compared", 1)
    ordered = told_of_steps(SMALL[name], Reduction.MERGES | Reduction.ORDER)
    assert ordered == told_of_steps(SMALL[name], Reduction.MERGES)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", COMPARED)
def test_what_becomes_of_each_step_is_the_same_in_every_order_of_larger_programs(
    name: str, record_property: Count
) -> None:
    record_property("programs compared", 1)
    ordered = told_of_steps(LARGE[name], Reduction.MERGES | Reduction.ORDER)
    assert ordered == told_of_steps(LARGE[name], Reduction.MERGES)
