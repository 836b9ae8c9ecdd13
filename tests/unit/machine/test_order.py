from __future__ import annotations

from fsm_saga.core.program import Program
from fsm_saga.core.states import Direction
from fsm_saga.machine.ledger import StepWorld
from fsm_saga.machine.normal import Normaliser
from fsm_saga.machine.order import Branches
from tests.support.play import Play

UNDO = Direction.UNDO
BESIDE = "1 a / ua ; after=-\n2 b / ub ; after=-\n3 c / uc ; after=-"


def candidates(play: Play, *, least: int = 2) -> list[int]:
    program: Program = play.saga.program
    branches = Branches(program, [StepWorld(spec) for spec in program.steps])
    normal, _key = Normaliser().normal(play.saga)
    assert branches.first(normal) == next(iter(branches.candidates(normal)), None)
    return branches.candidates(normal, least=least)


def going_back(tools: str = "") -> Play:
    """Return a saga of three branches that has turned while two calls are in flight."""
    play = Play(BESIDE, tools)
    play.rejected(2)
    return play


def undoing(tools: str = "") -> Play:
    """Return a saga that undoes two of its branches."""
    play = going_back(tools)
    play.ok(1)
    play.ok(3)
    assert play.state == "COMPENSATING(2)"
    return play


def test_while_a_saga_goes_forward_no_branch_goes_first() -> None:
    assert candidates(Play(BESIDE)) == []


def test_calls_that_still_run_when_a_saga_goes_back_are_followed_one_by_one() -> None:
    assert candidates(going_back()) == [0, 2]


def test_undos_are_followed_one_by_one() -> None:
    assert candidates(undoing()) == [0, 2]


def test_where_one_is_left_there_is_nothing_to_choose() -> None:
    play = undoing()
    play.ok(1, direction=UNDO)
    assert candidates(play) == []
    assert candidates(play, least=1) == [2]


def test_an_undo_that_a_crash_leaves_a_mark_on_does_not_go_first() -> None:
    assert candidates(undoing("ua forgets-refusals")) == [2]
    assert candidates(going_back("ua forgets-refusals")) == []


def test_a_call_that_a_crash_leaves_a_mark_on_does_not_go_first() -> None:
    assert candidates(going_back("a no-dedupe")) == [2]


def test_an_undo_that_its_tool_may_have_forgotten_does_not_go_first() -> None:
    assert candidates(undoing("a fenced retention=60")) == [2]
    assert candidates(undoing("a retention=60")) == [0, 2]


def test_an_undo_does_not_go_first_that_may_start_another_on_which_a_crash_leaves_a_mark() -> None:
    plan = "1 a / ua ; after=-\n2 b / ub ; after=1\n3 c / uc ; after=-\n4 d ; after=2,3"
    for tools, expected in (("", [1, 2]), ("ua forgets-refusals", [2])):
        play = Play(plan, tools)
        play.ok(1)
        play.ok(2)
        play.ok(3)
        play.rejected(4)
        assert candidates(play) == expected


def test_a_person_is_asked_about_one_step_after_the_other() -> None:
    play = Play("1 a / ua ; after=- undo-retry=1\n2 b / ub ; after=- undo-retry=1\n3 c ; after=-")
    play.ok(1)
    play.ok(2)
    play.rejected(3)
    play.rejected(1, direction=UNDO)
    play.rejected(2, direction=UNDO)
    assert play.state == "NEEDS_HUMAN"
    assert candidates(play) == [0, 1]


def test_answers_that_may_lead_forward_are_tried_in_every_order() -> None:
    play = Play("1 a / ua ; after=- retry=1\n2 b / ub ; after=- retry=1")
    play.unknown(1)
    play.unknown(2)
    assert play.state == "NEEDS_HUMAN"
    assert candidates(play) == []


def test_a_read_goes_first_as_well() -> None:
    plan = "1 a / ua ; after=-\n2 look ; after=- kind=read_only\n3 c / uc ; after=-\n4 d ; after=-"
    play = Play(plan)
    play.rejected(4)
    assert candidates(play) == [0, 1, 2]
