"""The engine with tools that hang, lie, shout and leave: whatever they do, it stays in charge."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from fsm_saga.core.states import StepStatus
from fsm_saga.errors import OutcomeUnknown
from fsm_saga.plan.model import Plan
from fsm_saga.service.engine import Engine
from fsm_saga.tools.context import CallContext
from fsm_saga.tools.python import Tool, tool

# A leaving engine gives a coroutine that swallows its cancellation one second.
LEAVING_S_MAX = 10.0

released = threading.Event()
undone: list[str] = []


@tool
def sleep_for_ever(ctx: CallContext) -> None:
    released.wait(60)


@tool
async def wait_for_ever(ctx: CallContext) -> None:
    await asyncio.get_running_loop().create_future()


@tool
async def wait_and_ignore_cancellation(ctx: CallContext) -> None:
    while not released.is_set():
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            continue


@tool
def return_50_megabytes() -> str:
    return "x" * 50_000_000


@tool
async def return_many_megabytes() -> list[str]:
    return ["x" * 1000] * 50_000


@tool
def return_an_object() -> Any:
    return object()


@tool
def return_nan() -> float:
    return float("nan")


@tool
def return_a_promise_that_was_broken() -> int:
    return "no number"  # type: ignore[return-value]


@tool
def return_half_a_character() -> str:
    return "\ud800"


@tool
def raise_an_error() -> None:
    raise ValueError("no room left, password=hunter2")


@tool
async def raise_a_timeout() -> None:
    raise TimeoutError


@tool
def raise_doubt() -> None:
    raise OutcomeUnknown("the line went dead")


@tool
def exit_the_program() -> None:
    raise SystemExit(3)


@tool
async def exit_the_loop() -> None:
    raise SystemExit(3)


@tool
async def cancel_myself() -> None:
    raise asyncio.CancelledError


@tool
def raise_what_cannot_be_shown() -> None:
    raise UnshowableError


class UnshowableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("not even this")


@tool
def work(ctx: CallContext) -> dict[str, str]:
    return {"id": ctx.req_id}


@tool
def undo(what: str) -> None:
    undone.append(what)


TOOLS: list[Tool[..., Any]] = [
    value for value in list(globals().values()) if isinstance(value, Tool)
]


@pytest.fixture(autouse=True)
def world() -> Iterator[None]:
    """Let threads that hang end with the test."""
    released.clear()
    undone.clear()
    yield
    released.set()


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    async with Engine.open(f"sqlite:///{tmp_path}/sagas.db", tools=TOOLS) as opened:
        yield opened


def plan_with(name: str, *, timeout_s: float = 20.0, attempts: int = 1) -> Plan:
    """Return a plan whose second step is the tool in question."""
    return Plan.of(
        {
            "task_id": name,
            "steps": [
                {
                    "step_id": 1,
                    "tool": "work",
                    "rollback": {"tool": "undo", "params": {"what": "first"}},
                },
                {
                    "step_id": 2,
                    "tool": name,
                    "timeout_s": timeout_s,
                    "retry": {"attempts": attempts, "delay_s": 0.01},
                    "rollback": {"tool": "undo", "params": {"what": "second"}},
                },
            ],
        }
    )


@pytest.mark.parametrize(
    "name", ["sleep_for_ever", "wait_for_ever", "wait_and_ignore_cancellation"]
)
async def test_a_tool_that_hangs_times_out_and_keeps_nobody_waiting(
    name: str, engine: Engine
) -> None:
    hanging = asyncio.ensure_future(engine.run(plan_with(name, timeout_s=0.3, attempts=2)))
    started = time.monotonic()
    other = await engine.run(plan_with("work"))
    assert other.state == "DONE"
    assert time.monotonic() - started < LEAVING_S_MAX
    view = await hanging
    assert (view.state, view.step(2).status) == ("NEEDS_HUMAN", "DOUBTFUL")
    assert view.step(2).attempts == 2
    assert view.step(2).error == "no answer within 0.3 s"
    assert undone == [], "time alone proves nothing"


@pytest.mark.parametrize(
    "name", ["sleep_for_ever", "wait_for_ever", "wait_and_ignore_cancellation"]
)
async def test_an_engine_leaves_in_time_while_a_tool_hangs_and_the_next_one_asks_again(
    name: str, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/sagas.db"
    async with Engine.open(url, tools=TOOLS) as engine:
        await engine.submit(plan_with(name))
        await engine.coordinator.wait_until(
            name, lambda saga: saga.steps[1].status is StepStatus.RUNNING
        )
        started = time.monotonic()
    assert time.monotonic() - started < LEAVING_S_MAX
    released.set()
    if name == "wait_for_ever":
        return
    async with Engine.open(url, tools=TOOLS) as engine:
        view = await engine.wait(name)
        assert (view.state, view.step(2).attempts) == ("DONE", 1)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("return_50_megabytes", "larger than 262144 bytes"),
        ("return_many_megabytes", "larger than 262144 bytes"),
        ("return_an_object", "no form in JSON"),
        ("return_nan", "NaN"),
        ("return_a_promise_that_was_broken", "does not fit the declared return type"),
        ("return_half_a_character", "half a character"),
    ],
)
async def test_an_effect_whose_output_cannot_be_kept_is_undone(
    name: str, why: str, engine: Engine
) -> None:
    view = await engine.run(plan_with(name))
    assert (view.state, view.outcome) == ("FAILED", "compensated")
    assert why in (view.step(2).error or "")
    assert undone == ["second", "first"]


async def test_a_tool_that_raises_has_refused_and_its_words_are_shown_without_secrets(
    engine: Engine,
) -> None:
    view = await engine.run(plan_with("raise_an_error"))
    assert (view.state, view.step(2).status) == ("FAILED", "REJECTED")
    assert view.step(2).error == "ValueError: no room left, password=[redacted]"
    assert undone == ["first"], "what was refused is not undone"


async def test_an_error_that_cannot_be_shown_is_an_error_all_the_same(engine: Engine) -> None:
    view = await engine.run(plan_with("raise_what_cannot_be_shown"))
    assert (view.state, view.step(2).status) == ("FAILED", "REJECTED")


@pytest.mark.parametrize(
    "name",
    ["raise_a_timeout", "raise_doubt", "exit_the_program", "exit_the_loop", "cancel_myself"],
)
async def test_a_tool_that_leaves_its_effect_open_makes_nobody_guess(
    name: str, engine: Engine
) -> None:
    view = await engine.run(plan_with(name))
    assert (view.state, view.step(2).status) == ("NEEDS_HUMAN", "DOUBTFUL")
    assert undone == []
    # The engine is as well as before.
    assert (await engine.run(plan_with("work"))).state == "DONE"
