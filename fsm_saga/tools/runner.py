"""Calls of Python tools, each ending in one of four outcomes, whatever the tool does.

A call that the tool never saw is refused **here**: its name or its params do not fit, or no
thread was free. On the first attempt that is a definite rejection. On a later one it is doubt,
because an earlier attempt may have had its effect and this refusal knows nothing of it.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Mapping
from typing import Any

from fsm_saga.core.contract import ToolFacts
from fsm_saga.core.effects import CallTool
from fsm_saga.ports import CallOutcome, OutcomeKind
from fsm_saga.tools.classify import is_doubtful
from fsm_saga.tools.context import TRACEPARENT, CallContext
from fsm_saga.tools.coroutines import run_coroutine
from fsm_saga.tools.ended import Ended, How
from fsm_saga.tools.output import OUTPUT_BYTES_MAX, BadOutputError, json_output
from fsm_saga.tools.python import Tool
from fsm_saga.tools.registry import Registry
from fsm_saga.tools.signature import ParamsRefusedError
from fsm_saga.tools.threads import THREAD_MAX, ThreadPool
from fsm_saga.tools.wording import clean_line, error_line


class PythonRunner:
    """Runs the tools of a registry: async ones on the event loop, sync ones in threads.

    It satisfies :class:`fsm_saga.ports.ToolRunner`. One runner serves one event loop at a time.

    Args:
        registry: The tools that may be called.
        output_bytes_max: How large an output may be, as JSON.
        thread_max: How many sync calls run at a time.
    """

    def __init__(
        self,
        registry: Registry,
        *,
        output_bytes_max: int = OUTPUT_BYTES_MAX,
        thread_max: int = THREAD_MAX,
    ) -> None:
        self._registry = registry
        self._output_bytes_max = output_bytes_max
        self._thread_max = thread_max
        self._threads: ThreadPool | None = None

    @property
    def catalogue(self) -> Mapping[str, ToolFacts]:
        """What the checks and the compiler may know of each tool, by name."""
        return self._registry.catalogue

    async def call(self, request: CallTool, *, saga_id: str, step_id: int | str) -> CallOutcome:
        """Call the tool once, within ``request.timeout_s``, and classify what came of it.

        Raises:
            asyncio.CancelledError: If the caller was cancelled; nothing else is raised.
        """
        tool = self._registry.get(request.tool)
        if tool is None:
            return _not_sent(request, f"no tool {request.tool!r} is registered and allowed here")
        try:
            signature = tool.signature
            arguments = signature.arguments(request.params)
        except ParamsRefusedError as error:
            return _not_sent(request, f"the params do not fit {request.tool!r}: {error}")
        except BaseException as error:  # noqa: BLE001  # boundary: validators are the tool's own
            why = f"the params could not be judged for {request.tool!r}: {error_line(error)}"
            return _not_sent(request, why)
        if signature.context_name is not None:
            arguments[signature.context_name] = CallContext(
                req_id=request.req_id,
                saga_id=saga_id,
                step_id=step_id,
                direction=request.shown_direction.value,
                attempt=request.attempt,
                undoes=request.undoes,
                not_after=request.not_after,
                traceparent=TRACEPARENT.get(),
            )
        if tool.is_async:
            ended = await _run_async(tool, arguments, request.timeout_s)
        else:
            ended = await self._run_sync(tool, arguments, request.timeout_s)
        return self._outcome(tool, request, ended)

    async def close(self) -> None:
        """End the idle threads. Calls in flight are the caller's to end before."""
        if self._threads is not None:
            self._threads.close()
            self._threads = None

    async def _run_sync(
        self, tool: Tool[..., Any], arguments: dict[str, Any], timeout_s: float
    ) -> Ended:
        threads = self._threads
        if threads is None or threads.loop is not asyncio.get_running_loop():
            await self.close()
            threads = self._threads = ThreadPool(thread_max=self._thread_max)
        function = tool.function
        started = threads.loop.time()
        ended = await threads.run(tool.name, lambda: function(**arguments), timeout_s=timeout_s)
        if ended.how is How.RETURNED and _is_awaitable(ended.value):
            # A sync wrapper around an async function: what it returned is still to be done.
            left_s = max(0.0, timeout_s - (threads.loop.time() - started))
            return await run_coroutine(ended.value, timeout_s=left_s)
        return ended

    def _outcome(self, tool: Tool[..., Any], request: CallTool, ended: Ended) -> CallOutcome:
        match ended.how:
            case How.RETURNED:
                return self._returned(tool, ended.value)
            case How.RAISED:
                doubt = is_doubtful(ended.value, unknown=tool.unknown, rejected=tool.rejected)
                kind = OutcomeKind.UNKNOWN if doubt else OutcomeKind.REJECTED
                return CallOutcome(kind, error=error_line(ended.value))
            case How.SILENT:
                why = f"no answer within {request.timeout_s:g} s"
                return CallOutcome(OutcomeKind.UNKNOWN, error=why)
            case How.NOT_STARTED:
                return _not_sent(
                    request, f"{request.tool!r} was not started: {ended.value}", is_final=False
                )

    def _returned(self, tool: Tool[..., Any], value: Any) -> CallOutcome:
        declared = tool.signature.returns
        try:
            output = json_output(value, declared=declared, bytes_max=self._output_bytes_max)
        except BadOutputError as error:
            return CallOutcome(OutcomeKind.OK_WITH_BAD_OUTPUT, error=clean_line(str(error)))
        return CallOutcome(OutcomeKind.OK, output)


async def _run_async(tool: Tool[..., Any], arguments: dict[str, Any], timeout_s: float) -> Ended:
    try:
        coroutine = tool.function(**arguments)
    except BaseException as error:  # noqa: BLE001  # boundary: a callable that only looks async
        return Ended(How.RAISED, error)
    return await run_coroutine(coroutine, timeout_s=timeout_s)


def _is_awaitable(value: object) -> bool:
    try:
        return inspect.isawaitable(value)
    except BaseException:  # noqa: BLE001  # boundary: the value may lie about its class
        return False


def _not_sent(request: CallTool, why: str, *, is_final: bool = True) -> CallOutcome:
    if request.attempt <= 1 and not request.is_repeat:
        error = clean_line(f"refused before anything was sent: {why}")
        return CallOutcome(OutcomeKind.REJECTED, error=error, was_sent=not is_final)
    error = clean_line(f"attempt {request.attempt} was not sent, earlier ones were: {why}")
    return CallOutcome(OutcomeKind.UNKNOWN, error=error)
