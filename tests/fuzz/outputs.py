"""The door for tools: whatever a tool returns or raises ends as one of four outcomes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from pydantic import BaseModel
from typing_extensions import TypedDict

from fsm_saga.core.effects import CallTool
from fsm_saga.core.limits import LIMITS
from fsm_saga.core.records import ActionSucceeded
from fsm_saga.core.states import Direction
from fsm_saga.errors import OutcomeUnknown
from fsm_saga.ports import CallOutcome, OutcomeKind
from fsm_saga.stores.codec import CODEC
from fsm_saga.tools.check import CheckAnswer
from fsm_saga.tools.python import Tool, tool
from fsm_saga.tools.registry import Registry
from fsm_saga.tools.runner import PythonRunner
from tests.fuzz.mutate import mutated
from tests.fuzz.odd_values import built, odd_recipe
from tests.fuzz.plan_sources import some_source
from tests.fuzz.tally import Tally, must
from tests.fuzz.target import Target
from tests.fuzz.tree import Tree, places, put, tree_of

ERROR_CHARS_MAX = 4_000
SECRET_SHARE = 0.1
RAISED_SHARE = 0.3
SYNC_SHARE = 0.03
ANY_SHARE = 0.5
SECRETS = (
    "AKIA" + "ABCDEFGHIJKLMNOP",
    "Bearer " + "abcdef.0123456789.xyz",
    "-----BEGIN RSA PRIVATE KEY-----\nMIIabc\n-----END RSA PRIVATE KEY-----",
    "https://user:" + "hunter22@db.example/",
    "ghp_" + "a1B2c3D4e5F6g7H8i9J0a1B2c3D4e5F6g7H8",
)
_CANARIES = ("ABCDEFGHIJKLMNOP", "abcdef.0123456789", "MIIabc", "hunter22", "a1B2c3D4e5F6")


class _Booking(TypedDict):
    id: str
    price: float


class _Answer(BaseModel):
    id: str
    seats: list[int] = []


@dataclass
class _Data:
    id: str
    when: Any = None


class _OddError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


class _OddBaseError(BaseException):
    pass


class _Held:
    """What the tool of the present case returns or raises."""

    value: Any = None
    is_raised = False


DECLARED: dict[str, Any] = {
    "nothing": None, "any": Any, "dict": dict, "texts": dict[str, str], "numbers": list[int],
    "text": str, "number": int, "real": float, "bytes": bytes, "booking": _Booking,
    "answer": _Answer, "data": _Data, "check": CheckAnswer, "either": int | None,
}  # fmt: skip

RAISED: dict[str, Callable[[str], BaseException]] = {
    "value": ValueError, "time": TimeoutError, "connection": ConnectionResetError,
    "os": lambda text: OSError(104, text), "unknown": OutcomeUnknown, "odd": lambda _: _OddError(),
    "base": _OddBaseError, "exit": SystemExit, "stop": StopIteration,
    "stop async": StopAsyncIteration,
    "cancelled": asyncio.CancelledError, "generator": GeneratorExit, "recursion": RecursionError,
    "memory": MemoryError, "key": KeyError, "unicode": lambda text: UnicodeError(text + "\ud800"),
    "group": lambda text: ExceptionGroup(text, [ValueError(text), TimeoutError()]),
    "base group": lambda text: BaseExceptionGroup(text, [KeyboardInterrupt()]),
    "nothing to say": lambda _: ValueError(), "lists": lambda text: ValueError([{text: text}]),
}  # fmt: skip


def _tool_for(name: str, declared: Any, *, is_async: bool) -> Tool[..., Any]:
    async def later() -> Any:
        if _Held.is_raised:
            raise _Held.value
        return _Held.value

    def now() -> Any:
        if _Held.is_raised:
            raise _Held.value
        return _Held.value

    function: Any = later if is_async else now
    if name != "nothing":
        function.__annotations__["return"] = declared
    else:
        del function.__annotations__["return"]
    made: Tool[..., Any] = tool(name=f"{name}-{'async' if is_async else 'sync'}")(function)
    return made


class ToolOutputs(Target):
    """What a tool returns, whatever it declares, and what it raises."""

    name = "outputs"
    about = "what tools return and raise, through the tool runner"
    share = 0.3

    def __init__(self) -> None:
        tools = [
            _tool_for(name, declared, is_async=is_async)
            for name, declared in DECLARED.items()
            for is_async in (True, False)
        ]
        self._runner = PythonRunner(Registry(tools))
        self._loop = asyncio.Runner()

    def make(self, draw: Random) -> tuple[str, str, Tree]:
        way = "async" if draw.random() > SYNC_SHARE else "sync"
        declared = "any" if draw.random() < ANY_SHARE else draw.choice(tuple(DECLARED))
        name = f"{declared}-{way}"
        if draw.random() < RAISED_SHARE:
            return name, draw.choice(tuple(RAISED)), _text(draw)
        tree = mutated(draw.choice(_OUTPUTS), draw, lambda: some_source(draw).tree)
        for place in draw.sample(found := places(tree), min(len(found), draw.randrange(3))):
            put(place, odd_recipe(draw))
        if draw.random() < 0.1:
            tree = odd_recipe(draw)
        if draw.random() < SECRET_SHARE and (found := places(tree)):
            put(draw.choice(found), draw.choice(SECRETS))
        return name, "", tree

    def check(self, case: tuple[str, str, Tree], seen: Tally) -> None:
        name, raised, tree = case
        _Held.is_raised = bool(raised)
        _Held.value = RAISED[raised](tree) if raised else built(tree)
        request = CallTool(
            step=0,
            direction=Direction.DO,
            tool=name,
            params={},
            req_id="r",
            attempt=1,
            timeout_s=30.0,
        )
        with seen.timed(0):
            call = self._runner.call(request, saga_id="s", step_id=1)
            outcome = self._loop.run(call)
        _check_outcome(outcome, is_raised=bool(raised))
        seen.count(outcome.kind.value)
        seen.verdict(f"{outcome.kind.value} {outcome.error}")

    def close(self) -> None:
        self._loop.run(self._runner.close())
        self._loop.close()


_OUTPUTS = [
    tree_of(value)
    for value in (
        {"id": "FL-1", "price": 12.5},
        {"id": "x", "seats": [1, 2, 3], "when": None},
        {"status": "done", "output": {"order": "7"}},
        {"flights": [{"id": "a", "price": 1}, {"id": "b", "price": 2.5}]},
        {"password": "x", "text": "$output.step_2.secret", "nested": {"deep": [[["$input.who"]]]}},
        ["a", 1, None, True, {"x": []}],
    )
]


def _text(draw: Random) -> str:
    parts = ["no seat left", "line\nbreak", "\x1b[31m", "\ud800", "x" * 10_000, "", *SECRETS]
    return " ".join(draw.choices(parts, k=draw.randint(1, 3)))


def _check_outcome(outcome: CallOutcome, *, is_raised: bool) -> None:
    must(isinstance(outcome.kind, OutcomeKind), "an outcome is one of four", outcome)
    error = outcome.error
    must(error.isprintable(), "an error can be printed", repr(error))
    must(len(error) <= ERROR_CHARS_MAX, "an error is bounded", len(error))
    must(not any(each in error for each in _CANARIES), "no secret in an error", error)
    if outcome.kind is not OutcomeKind.OK:
        must(error, "what did not go well has a reason")
        must(outcome.output is None, "only a good output is an output")
        return
    must(not is_raised, "what was raised is no success")
    text = json.dumps(outcome.output, allow_nan=False)
    must(len(text.encode()) <= 6 * LIMITS.output_bytes_max, "an output is bounded", len(text))
    must(not any(each in text for each in _CANARIES), "no known secret in an output", text[:500])
    record = ActionSucceeded(at=0.0, step=0, output=outcome.output)
    must(CODEC.decode(CODEC.encode((record,))) == (record,), "an output comes back from a store")
