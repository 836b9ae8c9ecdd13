"""The played tools keep their contracts, and do the worst where those are silent."""

from __future__ import annotations

from typing import Any

import pytest

from fsm_saga.core.effects import CallTool
from fsm_saga.core.states import Direction
from fsm_saga.ports import CallOutcome, OutcomeKind
from fsm_saga.simulation.plans import RETENTION_S
from fsm_saga.simulation.tools import ToolWorld
from fsm_saga.simulation.world import World


class Watcher:
    def __init__(self, tool: str) -> None:
        self.tool = tool

    def tool_of(self, req_id: str) -> str | None:
        return self.tool

    def took_effect(self, saga_id: str, step: int, req_id: str) -> None:
        pass

    def taken_back(self, saga_id: str, step: int, req_id: str) -> None:
        pass


class Stage:
    """One step's tools, without any fault but those that a test names."""

    def __init__(self, tool: str, *faults: str) -> None:
        self.world = World(0, only=frozenset(faults))
        rates = self.world.faults._rates
        rates.update({name.partition("@")[0]: 1.0 for name in faults})
        self.tools = ToolWorld(self.world)
        self.tools.watcher = Watcher(tool)
        self.tool = tool

    def do(self, **facts: Any) -> CallOutcome | None:
        return self._send(Direction.DO, self.tool, "r1", None, **facts)

    def undo(self, req_id: str = "u1") -> CallOutcome | None:
        return self._send(Direction.UNDO, "undo", req_id, "r1")

    def check(self) -> Any:
        found = self._send(Direction.CHECK, "look", "c1", "r1")
        assert found is not None
        return found.output["status"]

    def _send(
        self, direction: Direction, tool: str, req_id: str, undoes: str | None, **facts: Any
    ) -> CallOutcome | None:
        sent_at = facts.pop("sent_at", self.world.loop.time())
        call = CallTool(
            step=0,
            direction=direction,
            tool=tool,
            params=facts.pop("params", {}),
            req_id=req_id,
            attempt=1,
            timeout_s=1.0,
            undoes=undoes,
            **facts,
        )
        return self.tools.arrive(call, "s0", sent_at=sent_at)

    def wait(self, seconds: float) -> None:
        loop = self.world.loop
        loop.run_while(lambda: True, until=loop.time() + seconds)

    @property
    def ledger(self) -> tuple[int, int]:
        truth = self.tools.truth("s0", 0)
        return truth.effects, truth.undone


def kind(outcome: CallOutcome | None) -> OutcomeKind:
    assert outcome is not None
    return outcome.kind


OK, NO = OutcomeKind.OK, OutcomeKind.REJECTED


def test_a_repeated_call_gets_the_first_answer_and_has_no_second_effect() -> None:
    stage = Stage("keeps")
    first = stage.do()
    assert stage.do() == first
    assert stage.ledger == (1, 0)


def test_without_dedupe_a_second_copy_has_a_second_effect() -> None:
    stage = Stage("bare")
    stage.do()
    stage.do()
    assert stage.ledger == (2, 0)


@pytest.mark.parametrize(("tool", "then"), [("keeps", NO), ("wavers", OK)])
def test_a_refusal_is_remembered_by_those_who_promise_it(tool: str, then: OutcomeKind) -> None:
    stage = Stage(tool, "refuses-first@s0.0.do#1")
    assert [kind(stage.do()), kind(stage.do())] == [NO, then]


@pytest.mark.parametrize(("tool", "late"), [("fences", NO), ("keeps", OK)])
def test_an_undo_that_came_first_keeps_the_call_out_only_where_it_fences(
    tool: str, late: OutcomeKind
) -> None:
    stage = Stage(tool)
    assert kind(stage.undo()) is OK
    assert [kind(stage.do()), kind(stage.do())] == [late, late]
    assert stage.ledger == ((1, 0) if late is OK else (0, 0))


def test_an_undone_call_stays_remembered_and_is_undone_once() -> None:
    stage = Stage("fences")
    stage.do()
    assert [kind(stage.undo()), kind(stage.undo()), kind(stage.do())] == [OK, OK, OK]
    assert stage.ledger == (1, 1)


def test_an_undo_under_another_id_undoes_again() -> None:
    stage = Stage("keeps")
    stage.do()
    stage.undo("u1")
    stage.undo("u2")
    assert stage.ledger == (1, 2)


def test_a_tool_with_a_deadline_refuses_what_comes_after_it() -> None:
    stage = Stage("expires")
    now = stage.world.now()
    assert kind(stage.do(not_after=now - 0.1)) is NO
    assert kind(stage.do(not_after=now + 0.1)) is OK


def test_a_tool_forgets_when_it_said_it_would_and_remembers_anew_from_then() -> None:
    stage = Stage("forgets")
    stage.do()
    stage.wait(RETENTION_S - 0.1)
    stage.do()
    assert stage.ledger == (1, 0)
    stage.wait(0.2)
    stage.do()
    stage.wait(RETENTION_S - 0.1)
    stage.do()
    assert stage.ledger == (2, 0)


def test_no_copy_is_on_its_way_for_longer_than_its_tool_remembers() -> None:
    stage = Stage("forgets")
    stage.do()
    stage.wait(RETENTION_S + 0.1)
    assert stage.do(sent_at=0.0) is None
    assert stage.ledger == (1, 0)


@pytest.mark.parametrize(("tool", "late"), [("checks_hard", NO), ("checks", OK)])
def test_a_check_keeps_the_call_out_only_where_it_fences(tool: str, late: OutcomeKind) -> None:
    stage = Stage(tool)
    assert stage.check() == "absent"
    assert kind(stage.do()) is late


def test_a_check_says_what_became_of_the_call() -> None:
    stage = Stage("checks")
    stage.do()
    assert stage.check() == "done"
    stage = Stage("checks", "refuses-first@s0.0.do#1")
    stage.do()
    assert stage.check() == "refused"


def test_one_id_with_two_params_is_noticed() -> None:
    stage = Stage("keeps")
    stage.do(params={"n": 1})
    stage.do(params={"n": 2})
    assert [violation.code for violation in stage.world.violations] == ["P7"]
