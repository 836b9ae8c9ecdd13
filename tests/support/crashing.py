"""The same saga over and over, killed at every place where a crash makes a difference."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress

from fsm_saga.core.contract import ToolFacts
from fsm_saga.plan.model import Plan
from fsm_saga.service.view import SagaView
from tests.support.hosting import CrashedError, Host
from tests.support.showing import headline
from tests.support.world import Behaviour

Trap = tuple[str, str, int]

PLACES = [(when, what) for what in ("append", "call") for when in ("before", "after")]


class Crashing:
    """Runs of one plan, each in a store and a world of its own."""

    def __init__(
        self,
        plan: Plan,
        catalogue: Mapping[str, ToolFacts],
        script: Mapping[str, Sequence[Behaviour]],
    ) -> None:
        self._plan = plan
        self._catalogue = catalogue
        self._script = script

    async def everywhere(self, times: int) -> list[str]:
        """Return how many runs there were, each killed once or twice, and how they ended.

        After the crash, or the crashes, a new engine takes the saga up; whoever had submitted it
        and got no answer submits it again.
        """
        ends = Counter([end async for end in self._every_end(times)])
        often = "twice" if times == 2 else "once"
        lines = [f"{ends.total()} runs, each killed {often}"]
        for end, count in sorted(ends.items(), key=lambda item: (-item[1], item[0])):
            lines.append(f"{count} ended {end}")
        return lines

    async def _every_end(self, times: int) -> AsyncIterator[str]:
        async for first, end in self._each_place([]):
            if times == 1:
                yield end
                continue
            async for _second, later_end in self._each_place([first]):
                yield later_end

    async def _each_place(self, before: list[Trap]) -> AsyncIterator[tuple[Trap, str]]:
        """Yield each place that a run comes to, after the crashes before, and how it ends then."""
        for when, what in PLACES:
            for nth in itertools.count(1):
                trap = (when, what, nth)
                crashes, end = await self._run([*before, trap])
                if crashes <= len(before):
                    break
                yield trap, end

    async def _run(self, traps: list[Trap]) -> tuple[int, str]:
        host = Host(self._catalogue, name=f"{self._plan.task_id}/crashing")
        host.runner.script = {tool: list(script) for tool, script in self._script.items()}
        host.traps = list(traps)
        view: SagaView | None = None
        while view is None:
            await host.start()
            with suppress(CrashedError):
                view = await host.do(self._go_on(host))
        await host.kill()
        host.world.check_sound()
        left = ", ".join(host.world.left(self._plan.task_id)) or "nothing"
        crashes = len(traps) - len(host.traps)
        return crashes, f"{headline(view)}; left in the world: {left}"

    async def _go_on(self, host: Host) -> SagaView:
        await host.engine.resume()
        known = {head.saga_id for head in await host.engine.list()}
        if self._plan.task_id not in known:
            await host.engine.submit(self._plan)
        return await host.engine.wait(self._plan.task_id)
