from __future__ import annotations

import asyncio
import functools
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any

import pytest
from pydantic import BaseModel, field_validator, model_serializer

from fsm_saga.core.effects import CallTool
from fsm_saga.core.states import Direction
from fsm_saga.errors import OutcomeUnknown
from fsm_saga.ports import CallOutcome, OutcomeKind, ToolRunner
from fsm_saga.tools import CallContext, CheckAnswer, PythonRunner, Registry, Tool, tool

OK, BAD, REJECTED, UNKNOWN = (
    OutcomeKind.OK,
    OutcomeKind.OK_WITH_BAD_OUTPUT,
    OutcomeKind.REJECTED,
    OutcomeKind.UNKNOWN,
)
SHORT_S = 0.005


class SoldOutError(Exception):
    pass


class Booking(BaseModel):
    order_id: str


def request(tool: str, params: Mapping[str, Any] | None = None, **fields: Any) -> CallTool:
    facts: dict[str, Any] = {
        "step": 0,
        "direction": Direction.DO,
        "req_id": "r1",
        "attempt": 1,
        "timeout_s": 5.0,
    }
    return CallTool(tool=tool, params=params or {}, **(facts | fields))


async def call(
    made: Tool[..., Any], params: Mapping[str, Any] | None = None, **f: Any
) -> CallOutcome:
    runner = PythonRunner(Registry([made]))
    try:
        return await runner.call(request(made.name, params, **f), saga_id="trip-7", step_id=3)
    finally:
        await runner.close()


def both(function: Any, **options: Any) -> list[Tool[..., Any]]:
    """Return a sync function as a sync tool and as an async one."""

    @functools.wraps(function)
    async def asynchronous(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return [tool(name="sync", **options)(function), tool(name="async", **options)(asynchronous)]


def test_a_python_runner_is_a_tool_runner() -> None:
    runner: ToolRunner = PythonRunner(Registry(both(lambda: None)))
    assert list(runner.catalogue) == ["sync", "async"]


async def test_a_tool_is_called_with_its_arguments_and_its_output_comes_back() -> None:
    def book(flight: str, seats: int = 1) -> Booking:
        return Booking(order_id=f"{flight}/{seats}")

    for made in both(book):
        assert await call(made, {"flight": "CA1234"}) == CallOutcome(OK, {"order_id": "CA1234/1"})


async def test_the_context_tells_which_call_it_is() -> None:
    def seen(context: CallContext) -> list[Any]:
        return [context.req_id, context.saga_id, context.step_id, context.attempt]

    def undone(order_id: str, *, context: CallContext | None = None) -> list[Any]:
        assert context is not None
        return [order_id, context.direction, context.undoes, context.not_after]

    for made in both(seen):
        assert (await call(made, attempt=2)).output == ["r1", "trip-7", 3, 2]
    for made in both(undone):
        facts = {"direction": Direction.UNDO, "undoes": "r0", "not_after": 12.5}
        outcome = await call(made, {"order_id": "FL-17"}, **facts)
        assert outcome.output == ["FL-17", "undo", "r0", 12.5]


async def test_a_check_is_asked_by_req_id_and_its_answer_is_an_ordinary_output() -> None:
    def was_booked(context: CallContext) -> CheckAnswer:
        assert context.direction == "check"
        return CheckAnswer(status="done", output={"asked": context.undoes})

    for made in both(was_booked):
        outcome = await call(made, direction=Direction.CHECK, undoes="r0")
        assert outcome.output == {"status": "done", "output": {"asked": "r0"}}


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (SoldOutError("no seat left"), REJECTED, "SoldOutError: no seat left"),
        (OutcomeUnknown("no reply"), UNKNOWN, "OutcomeUnknown: no reply"),
        (TimeoutError(), UNKNOWN, "TimeoutError"),
        (ConnectionResetError("reset"), UNKNOWN, "ConnectionResetError: reset"),
        (asyncio.CancelledError(), UNKNOWN, "CancelledError"),
        (SystemExit(3), UNKNOWN, "SystemExit: 3"),
        (KeyboardInterrupt(), UNKNOWN, "KeyboardInterrupt"),
        (GeneratorExit(), UNKNOWN, "GeneratorExit"),
        (MemoryError(), UNKNOWN, "MemoryError"),
        (RecursionError("too deep"), UNKNOWN, "RecursionError: too deep"),
        (
            BaseExceptionGroup("both", [ValueError("no"), KeyboardInterrupt()]),
            UNKNOWN,
            "BaseExceptionGroup: both (2 sub-exceptions)",
        ),
        (
            ExceptionGroup("both", [MemoryError()]),
            UNKNOWN,
            "ExceptionGroup: both (1 sub-exception)",
        ),
        (ValueError("token=abc\x1b[31m\nline"), REJECTED, "ValueError: token=[redacted] line"),
    ],
)
async def test_an_exception_is_classified_and_told_in_one_line(
    error: BaseException, kind: OutcomeKind, text: str
) -> None:
    def fails() -> None:
        raise error

    for made in both(fails):
        assert await call(made) == CallOutcome(kind, None, text)


class Leaving(BaseModel):
    number: int

    @field_validator("number")
    @classmethod
    def leave(cls, number: int) -> int:
        raise SystemExit(number)

    @model_serializer
    def interrupt(self) -> dict[str, int]:
        raise KeyboardInterrupt


class Liar:
    @property  # type: ignore[misc]  # a lie is the point
    def __class__(self) -> Any:
        raise KeyboardInterrupt


class UnshownError(BaseException):
    """Shows nothing of itself, and leaves the program when it is asked to."""

    def __str__(self) -> str:
        raise SystemExit(3)


class HollowDoubt(OutcomeUnknown):
    """Made by somebody who forgot the base class."""

    def __init__(self) -> None:
        pass


async def test_an_exception_that_shows_nothing_of_itself_is_told_all_the_same() -> None:
    def unshown() -> None:
        raise UnshownError

    def hollow() -> None:
        raise HollowDoubt

    for function in (unshown, hollow):
        for made in both(function):
            outcome = await call(made)
            assert outcome.kind is UNKNOWN
            assert outcome.error.endswith("Error: its message cannot be shown") or (
                outcome.error == "HollowDoubt: its message cannot be shown"
            )


async def test_nothing_that_a_tools_own_code_raises_beside_the_call_gets_through() -> None:
    def judge(what: Leaving) -> None: ...

    def serialise() -> Leaving:
        return Leaving.model_construct(number=3)

    def lie() -> Any:
        return Liar()

    for made in both(judge):
        outcome = await call(made, {"what": {"number": 3}})
        assert outcome.kind is REJECTED
        assert not outcome.was_sent
        assert "could not be judged for" in outcome.error
        assert "SystemExit: 3" in outcome.error
    for function in (serialise, lie):
        for made in both(function):
            assert (await call(made)).kind is OutcomeKind.OK_WITH_BAD_OUTPUT


async def test_what_a_tool_declares_of_its_exceptions_holds() -> None:
    def refuses() -> None:
        raise ConnectionRefusedError

    def doubts() -> None:
        raise SoldOutError

    for made in both(refuses, rejected=(ConnectionRefusedError,)):
        assert (await call(made)).kind is REJECTED
    for made in both(doubts, unknown=(SoldOutError,)):
        assert (await call(made)).kind is UNKNOWN


async def test_an_output_that_cannot_be_used_is_no_failure() -> None:
    def returns_nan() -> Any:
        return {"price": float("nan")}

    def returns_too_little() -> Booking:
        return {}  # type: ignore[return-value]

    for made in both(returns_nan):
        outcome = await call(made)
        assert (outcome.kind, outcome.output) == (BAD, None)
        assert outcome.error == "the output has a NaN or an infinity, which JSON does not know"
    for made in both(returns_too_little):
        outcome = await call(made)
        assert outcome.kind is BAD
        assert "order_id: is missing" in outcome.error


async def test_an_output_above_the_limit_is_no_failure_either() -> None:
    @tool
    def talks() -> str:
        return "x" * 100

    runner = PythonRunner(Registry([talks]), output_bytes_max=50)
    outcome = await runner.call(request("talks"), saga_id="s", step_id=1)
    assert outcome == CallOutcome(BAD, None, "the output is larger than 50 bytes of JSON")
    await runner.close()


async def test_a_secret_in_an_output_is_not_passed_on() -> None:
    for made in both(lambda: {"order_id": "FL-17", "password": "hunter2"}):
        assert (await call(made)).output == {"order_id": "FL-17", "password": "[redacted]"}


async def test_a_string_that_looks_like_a_reference_stays_a_string() -> None:
    def echo(text: str) -> str:
        return text

    for made in both(echo):
        outcome = await call(made, {"text": "$output.step_9.secret"})
        assert outcome.output == "$output.step_9.secret"


async def test_a_tool_that_changes_its_params_does_not_change_what_is_journalled() -> None:
    def changes(flights: list[str], extra: Any) -> None:
        flights.append("x")
        extra["a"] = 3

    params = {"flights": ["CA1234"], "extra": {"a": 1}}
    for made in both(changes):
        assert (await call(made, params)).kind is OK
    assert params == {"flights": ["CA1234"], "extra": {"a": 1}}


def never() -> None:
    raise AssertionError("the tool was called")


@pytest.mark.parametrize("params", [{"extra": 1}, {"req_id": "mine"}])
async def test_params_that_do_not_fit_are_refused_before_the_call(params: dict[str, Any]) -> None:
    for made in both(never):
        outcome = await call(made, params)
        assert outcome.kind is REJECTED
        assert outcome.error.startswith("refused before anything was sent: the params do not fit")
        assert "is not declared" in outcome.error


async def test_a_tool_that_is_missing_or_not_allowed_is_not_called() -> None:
    runner = PythonRunner(Registry(both(never), allow=["async"]))
    for name in ("sync", "nowhere", "\x1b[31mred"):
        outcome = await runner.call(request(name), saga_id="s", step_id=1)
        assert outcome.kind is REJECTED
        assert "no tool" in outcome.error
        assert "\x1b" not in outcome.error


async def test_a_later_attempt_that_is_not_sent_says_nothing_of_the_earlier_ones() -> None:
    # Had the first attempt had its effect, calling this one a refusal would lose that effect.
    runner = PythonRunner(Registry(both(never)))
    for name, params in (("nowhere", {}), ("sync", {"extra": 1})):
        outcome = await runner.call(request(name, params, attempt=2), saga_id="s", step_id=1)
        assert outcome.kind is UNKNOWN
        assert outcome.error.startswith("attempt 2 was not sent, earlier ones were: ")


async def test_no_answer_in_time_is_unknown() -> None:
    gate = threading.Event()

    async def hangs() -> None:
        await asyncio.sleep(5)

    for made in (tool(hangs), tool(name="blocks")(gate.wait)):
        outcome = await call(made, timeout_s=SHORT_S)
        assert outcome == CallOutcome(UNKNOWN, None, "no answer within 0.005 s")
    gate.set()


async def test_a_sync_tool_does_not_block_the_loop() -> None:
    gate = threading.Event()

    @tool
    def waits() -> str:
        gate.wait(5)
        return "done"

    @tool
    async def opens() -> None:
        gate.set()

    runner = PythonRunner(Registry([waits, opens]))
    waiting = asyncio.create_task(runner.call(request("waits"), saga_id="s", step_id=1))
    await asyncio.sleep(0)
    assert (await runner.call(request("opens"), saga_id="s", step_id=2)).kind is OK
    assert (await waiting).output == "done"
    await runner.close()


async def test_a_tool_that_hangs_does_not_keep_the_others_from_running() -> None:
    gate = threading.Event()
    hangs = tool(name="hangs")(gate.wait)
    works = tool(name="works")(lambda: 3)
    runner = PythonRunner(Registry([hangs, works]), thread_max=1)
    kinds = [
        (await runner.call(request(name, timeout_s=SHORT_S), saga_id="s", step_id=1)).kind
        for name in ("hangs", "hangs")
    ]
    assert kinds == [UNKNOWN, UNKNOWN]
    outcome = await runner.call(request("works"), saga_id="s", step_id=1)
    assert outcome == CallOutcome(OK, 3)
    gate.set()
    await runner.close()


async def test_a_call_that_found_no_thread_was_not_sent() -> None:
    gate = threading.Event()
    hangs = tool(name="hangs")(gate.wait)
    runner = PythonRunner(Registry([hangs]), thread_max=1)
    first = asyncio.create_task(runner.call(request("hangs"), saga_id="s", step_id=1))
    await asyncio.sleep(0)
    outcome = await runner.call(request("hangs", timeout_s=SHORT_S), saga_id="s", step_id=1)
    assert outcome.kind is REJECTED
    assert "no thread was free within 0.005 s" in outcome.error
    gate.set()
    assert (await first).kind is OK
    await runner.close()


async def test_a_sync_function_that_returns_a_coroutine_is_waited_for() -> None:
    async def inner() -> str:
        await asyncio.sleep(0)
        return "done"

    async def hangs() -> None:
        await asyncio.sleep(5)

    @tool
    def in_time() -> Any:
        return inner()

    @tool
    def too_late() -> Any:
        return hangs()

    assert (await call(in_time)).output == "done"
    late = await call(too_late, timeout_s=SHORT_S)
    assert late == CallOutcome(UNKNOWN, None, "no answer within 0.005 s")


async def test_an_object_that_only_looks_async_is_judged_like_any_other() -> None:
    class Strange:
        async def __call__(self) -> None: ...

    strange = tool(name="t")(Strange())
    broken: Any = strange
    broken.function = lambda: 1 / 0
    assert (await call(strange)).error == "ZeroDivisionError: division by zero"
    broken.function = lambda: sys.exit(3)
    assert await call(strange) == CallOutcome(UNKNOWN, None, "SystemExit: 3")


async def test_only_the_cancellation_of_the_caller_passes_through() -> None:
    gate = threading.Event()

    @tool
    async def sleeps() -> None:
        await asyncio.sleep(5)

    @tool
    def blocks() -> None:
        gate.wait(5)

    runner = PythonRunner(Registry([sleeps, blocks]))
    for name in ("sleeps", "blocks"):
        calling = asyncio.create_task(runner.call(request(name), saga_id="s", step_id=1))
        await asyncio.sleep(SHORT_S)
        calling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await calling
    gate.set()
    await runner.close()


def test_one_runner_may_serve_one_loop_after_another() -> None:
    @tool
    def t() -> int:
        return 3

    runner = PythonRunner(Registry([t]))

    async def once() -> CallOutcome:
        return await runner.call(request("t"), saga_id="s", step_id=1)

    assert [asyncio.run(once()) for _ in range(2)] == [CallOutcome(OK, 3)] * 2
    asyncio.run(runner.close())


async def test_many_calls_at_once_all_come_back() -> None:
    @tool
    def slow(number: int) -> int:
        time.sleep(0.0005)
        return number

    @tool
    async def quick(number: int) -> int:
        await asyncio.sleep(0)
        return number

    runner = PythonRunner(Registry([slow, quick]), thread_max=4)
    calls = [
        runner.call(request(name, {"number": number}), saga_id="s", step_id=number)
        for number in range(100)
        for name in ("slow", "quick")
    ]
    outputs = [outcome.output for outcome in await asyncio.gather(*calls)]
    assert outputs == [number for number in range(100) for _ in range(2)]
    await runner.close()
