from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from fsm_saga.coordinator.reading import read_saga
from fsm_saga.errors import StoreError
from fsm_saga.plan.model import Plan
from fsm_saga.service.engine import Engine
from fsm_saga.testing import SagaTest
from fsm_saga.testing import replay as module
from fsm_saga.tools.python import Tool, tool

PLAN = {
    "task_id": "order",
    "steps": [
        {
            "step_id": 1,
            "tool": "hold",
            "params": {"count": 2},
            "rollback": {"tool": "release", "params": {"id": "$output.step_1.id"}},
        },
        {"step_id": 2, "tool": "pay", "params": {"cents": 5}, "kind": "pivot", "approval": True},
    ],
}


def made(name: str, function: Any, **promises: Any) -> Tool[..., Any]:
    found: Tool[..., Any] = tool(name=name, **promises)(function)
    return found


def hold(count: int) -> dict[str, str]:
    return {"id": f"H-{count}"}


def release(id: str) -> None:  # as the plan names it
    del id


def pay(cents: int) -> None:
    del cents


TOOLS = {"hold": made("hold", hold), "release": made("release", release), "pay": made("pay", pay)}


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store with a saga that waits for an approval, and one that is done."""
    path = tmp_path / "copy.db"

    async def fill() -> None:
        async with Engine.open(f"sqlite:///{path}", tools=list(TOOLS.values())) as engine:
            await engine.run(Plan.of(PLAN))
            await engine.run(Plan.of({**PLAN, "task_id": "done", "steps": PLAN["steps"][:1]}))

    asyncio.run(fill())
    return path


def told(store: Path, *tools: Tool[..., Any]) -> str:
    with pytest.raises(AssertionError) as error:
        SagaTest().replays(store, tools=tools)
    return str(error.value)


def test_sagas_go_on_with_the_tools_that_they_were_begun_with(store: Path) -> None:
    found = SagaTest(store.parent).replays("copy.db", tools=TOOLS.values())

    assert (found.sagas, found.unfinished, found.problems) == (2, 1, [])
    assert SagaTest().replays(f"sqlite:///{store}").sagas == 2


def test_a_tool_that_is_still_needed_must_be_there(store: Path) -> None:
    said = told(store, TOOLS["hold"], TOOLS["release"])

    assert "order (EXECUTING(2)): /steps/1/tool: There is no tool 'pay'" in said
    assert "done" not in said


def test_the_undo_of_what_was_done_must_be_there(store: Path) -> None:
    assert "no tool 'release'" in told(store, TOOLS["hold"], TOOLS["pay"])


def test_a_tool_that_has_been_called_for_good_may_go(store: Path) -> None:
    SagaTest().replays(store, tools=[TOOLS["release"], TOOLS["pay"]])


def test_parameters_that_have_changed_are_told(store: Path) -> None:
    def pay_more(euros: int) -> None:
        del euros

    said = told(store, TOOLS["hold"], TOOLS["release"], made("pay", pay_more))
    assert "/steps/1/params" in said


@pytest.mark.parametrize(
    ("promises", "promise"),
    [
        ({"dedupe": False}, "dedupe"),
        ({"sticky_failures": False}, "sticky_failures"),
        ({"retention_s": 60}, "to remember calls for ever"),
    ],
)
def test_a_tool_that_promises_less_than_it_did_is_told(
    store: Path, promises: dict[str, Any], promise: str
) -> None:
    said = told(store, TOOLS["hold"], TOOLS["release"], made("pay", pay, **promises))

    assert f"tool 'pay' promised {promise} when it was submitted" in said


def test_a_tool_may_promise_more_than_it_did(store: Path) -> None:
    better = made("hold", hold, deadline=True)
    SagaTest().replays(store, tools=[better, TOOLS["release"], TOOLS["pay"]])


def test_a_journal_that_is_read_otherwise_is_told(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "read_saga", lambda journal: read_saga(journal[:1]))

    with pytest.raises(AssertionError, match="and is now read as PENDING"):
        SagaTest().replays(store)


def test_many_problems_are_told_in_part() -> None:
    text = module.Replays(problems=[f"p{number}" for number in range(25)]).text()

    assert text.endswith("p19\n... and 5 more")


def test_a_store_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError):
        SagaTest().replays(tmp_path / "none.db")


def test_it_can_be_asked_where_a_loop_runs(store: Path) -> None:
    async def ask() -> int:
        return SagaTest().replays(store, tools=list(TOOLS.values())).sagas

    assert asyncio.run(ask()) == 2
