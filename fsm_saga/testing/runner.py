"""The tools of a test as a coordinator sees them: played, scripted, and asked with real params."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from fsm_saga.core.contract import ToolFacts
from fsm_saga.core.effects import CallTool
from fsm_saga.core.states import Direction
from fsm_saga.ports import CallOutcome, OutcomeKind
from fsm_saga.simulation.tools import Memory
from fsm_saga.testing.end import Call
from fsm_saga.testing.fakes import Deed, Scripted, Scripts
from fsm_saga.tools.signature import ParamsRefusedError

if TYPE_CHECKING:
    from fsm_saga.coordinator.coordinator import Coordinator
    from fsm_saga.simulation.node import Node
    from fsm_saga.tools.python import Tool

TRAVEL_S = 0.01
"""How long a message to a tool, or back, is on its way."""

_NEVER_ARRIVES = frozenset({Deed.LOSES_REQUEST, Deed.HANGS})


class Played:
    """What the coordinators of one run share: scripts, and the calls that were made.

    Attributes:
        calls: All of them, in order.
        crashes: How often a call killed its coordinator.
        started_at: When the saga was submitted, on the loop's clock.
        on_crash: Called when the coordinator was killed.
        crash_at: The number of the call that kills its coordinator, and whether before it leaves.
    """

    def __init__(self, scripts: Scripts, real: Mapping[str, Tool[..., Any]]) -> None:
        self.scripts = scripts
        self.real = real
        self.calls: list[Call] = []
        self.crashes = 0
        self.started_at = 0.0
        self.refusals: dict[str, str] = {}
        self.on_crash: Callable[[], None] = lambda: None
        self.crash_at: tuple[int, bool] | None = None

    def misfit(self, request: CallTool) -> str | None:
        """Return why the real tool could not be called with these params, or None."""
        tool = self.real.get(request.tool)
        if tool is None:
            return None
        try:
            tool.signature.arguments(request.params)
        except ParamsRefusedError as error:
            return f"the params do not fit {request.tool!r}: {error}"
        return None


class ScriptedRunner:
    """The ``ToolRunner`` port for one term of one coordinator."""

    coordinator: Coordinator

    def __init__(self, node: Node, epoch: int, played: Played) -> None:
        self._node = node
        self._world = node.world
        self._tools = node.tools
        self._process = node.process
        self._played = played
        self._epoch = epoch

    @property
    def catalogue(self) -> Mapping[str, ToolFacts]:
        """What the checks and the compiler may know of each tool, by name."""
        return self._tools.catalogue

    async def call(self, request: CallTool, *, saga_id: str, step_id: int | str) -> CallOutcome:
        """See ``ToolRunner.call``."""
        played, loop = self._played, self._world.loop
        call = Call(
            tool=request.tool,
            step_id=step_id,
            direction=request.shown_direction.value,
            params=request.params,
            req_id=request.req_id,
            attempt=request.attempt,
            at=loop.time() - played.started_at,
        )
        played.calls.append(call)
        why = played.misfit(request)
        if why is not None:
            outcome = _not_sent(request, why)
        else:
            self._node.watch.sent(self._node, self.coordinator, request, saga_id)
            reply: asyncio.Future[CallOutcome | None] = loop.create_future()
            await self._send(request, saga_id, str(step_id), reply)
            expiry = loop.call_later(request.timeout_s, _answer, reply, None)
            heard = await reply
            expiry.cancel()
            silence = f"no answer within {request.timeout_s:g} s"
            outcome = heard or CallOutcome(OutcomeKind.UNKNOWN, error=silence)
        call.answer, call.error = outcome.kind.value, outcome.error
        return outcome

    async def _send(
        self,
        request: CallTool,
        saga_id: str,
        step: str,
        reply: asyncio.Future[CallOutcome | None],
    ) -> None:
        """Let the call travel, if the script does not stop it."""
        number = len(self._played.calls) - 1
        if self._played.crash_at == (number, True):
            await self._die()
        is_deadly = self._played.crash_at == (number, False)
        attempt = (request.req_id, request.direction, request.attempt)
        scripted = self._played.scripts.next(request.tool, step, attempt=attempt)
        deed = None if scripted is None else scripted.deed
        if deed is Deed.CRASHES_BEFORE:
            await self._die()
        if deed in _NEVER_ARRIVES:
            return
        sent_at = self._world.loop.time()
        delay_s = TRAVEL_S + (0.0 if scripted is None else scripted.seconds)
        for copy in range(2 if deed is Deed.DUPLICATE else 1):
            self._world.in_flight += 1
            self._world.loop.call_world(
                delay_s * (1 + copy),
                self._arrive,
                request,
                saga_id,
                scripted,
                sent_at,
                reply,
                is_deadly,
            )

    async def _die(self) -> None:
        self._played.crashes += 1
        self._world.loop.call_world(0.0, self._played.on_crash)
        await self._node.crash_here("as the test says")

    def _arrive(
        self,
        request: CallTool,
        saga_id: str,
        scripted: Scripted | None,
        sent_at: float,
        reply: asyncio.Future[CallOutcome | None],
        is_deadly: bool,
    ) -> None:
        world, process = self._world, self._process
        world.in_flight -= 1
        outcome = self._act(request, saga_id, scripted, sent_at)
        deed = None if scripted is None else scripted.deed
        is_deadly |= deed is Deed.CRASHES
        if is_deadly and process is not None and not process.is_dead:
            self._played.crashes += 1
            self._node.crash("as the test says")
            self._played.on_crash()
        if outcome is None or is_deadly or deed is Deed.LOSES_REPLY:
            return
        if process is not None and not process.is_dead:
            world.loop.call_world(TRAVEL_S, _answer, reply, outcome)

    def _act(
        self, request: CallTool, saga_id: str, scripted: Scripted | None, sent_at: float
    ) -> CallOutcome | None:
        """Have the tool deal with the call as the script says, as far as its contract allows it."""
        deed = None if scripted is None else scripted.deed
        text = "" if scripted is None else scripted.text
        tools, played = self._tools, self._played
        if deed is Deed.FAILS:
            return CallOutcome(OutcomeKind.UNKNOWN, error=text)
        contract = tools.catalogue[request.tool].contract
        keeps_nothing = contract.read_only or request.direction is Direction.CHECK
        if deed is Deed.REJECTS and keeps_nothing:
            return CallOutcome(OutcomeKind.REJECTED, error=text)
        found = tools.memory(request.req_id)
        if deed is Deed.REJECTS and found.memory is Memory.NOTHING:
            if contract.sticky_failures:
                found.memory = Memory.REFUSED
            played.refusals[request.req_id] = text
            return CallOutcome(OutcomeKind.REJECTED, error=text)
        is_known = found.memory is Memory.DONE
        outcome = tools.arrive(request, saga_id, sent_at=sent_at)
        if outcome is None:
            return None
        if outcome.kind is OutcomeKind.REJECTED:
            error = played.refusals.get(request.req_id, outcome.error)
            return CallOutcome(OutcomeKind.REJECTED, error=error)
        if deed is Deed.ANSWERS_BADLY and not is_known:
            outcome = CallOutcome(OutcomeKind.OK_WITH_BAD_OUTPUT, error=text)
            found.answer = outcome
        elif request.direction is not Direction.DO and outcome.kind is OutcomeKind.OK:
            has_output, output = played.scripts.output(request.tool, "")
            if has_output:
                return CallOutcome(OutcomeKind.OK, output)
        return outcome


def _answer(reply: asyncio.Future[CallOutcome | None], outcome: CallOutcome | None) -> None:
    if not reply.done():
        reply.set_result(outcome)


def _not_sent(request: CallTool, why: str) -> CallOutcome:
    if request.attempt <= 1 and not request.is_repeat:
        return CallOutcome(OutcomeKind.REJECTED, error=why, was_sent=False)
    return CallOutcome(OutcomeKind.UNKNOWN, error=why)
