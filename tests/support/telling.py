"""Tells a story: carries its commands out on a host and gives their answers.

The commands, with what stands in brackets left out or not:

    tools | plan ID | amend | use ID       followed by lines of input, see ``plans``
    exits                                  how each step would be settled if its call got lost
    behave TOOL: BEHAVIOUR, ...            see ``world``
    jitter NUMBER ...                      what the clock gives next
    submit | run | rest | show | wait S    ``run`` submits and waits for rest, ``rest`` waits only
    cancel | approve STEP | reject STEP    [by NAME] [digest TEXT]
    resolve STEP retry|settled|output JSON|calls    [by NAME] [at POSITION]
    undo [partial] [dry]
    history [from N] | ledger | list
    trap before|after append|call N        kill the engine there
    crash | resume | crash everywhere | crash everywhere twice
    agent begins | call TOOL NAME=VALUE | agent leaves | agent raises TEXT
    store fails before|after append N      the append fails, and was (not) written
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Awaitable, Callable
from typing import Any

from fsm_saga.core.contract import ToolFacts
from fsm_saga.errors import FsmSagaError, PlanError
from fsm_saga.machine.compile import compile_plan, declare
from fsm_saga.plan.model import Plan
from fsm_saga.ports import Append
from fsm_saga.service.growing import GrowingSaga
from fsm_saga.service.view import SagaView
from fsm_saga.stores.memory import Fault
from tests.support.crashing import Crashing
from tests.support.hosting import CrashedError, Host
from tests.support.plans import catalogue_of, pairs_of, plan_of, steps_of
from tests.support.showing import headline, history_lines, ledger_lines, saga_lines
from tests.support.stories import Command, Story
from tests.support.virtual_time import run_virtual
from tests.support.world import Behaviour, behaviours_of

Lines = list[str]


def tell(story: Story, name: str) -> str:
    """Return the story with the answers that its commands give now."""
    return run_virtual(_tell(story, name))


async def _tell(story: Story, name: str) -> str:
    teller = Teller(name)
    lines: Lines = []
    try:
        for command in story.commands:
            lines += command.lines(await teller.answer(command))
    finally:
        await teller.close()
    teller.check_sound()
    return "\n".join([*lines, *story.end]) + "\n"


class Teller:
    """Carries out the commands of one story."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._declared = ""
        self._plans: dict[str, Plan] = {}
        self._catalogue: dict[str, ToolFacts] = {}
        self._script: dict[str, list[Behaviour]] = {}
        self._jitters: list[float] = []
        self._saga_id = ""
        self._host = Host(self._catalogue, name=name)
        self._agent: GrowingSaga | None = None

    async def answer(self, command: Command) -> Lines:
        """Return what the command answers."""
        word, _, rest = command.text.partition(" ")
        carry_out: Callable[[str, Lines], Awaitable[Lines]] = getattr(self, f"_do_{word}")
        try:
            return await carry_out(rest, command.given)
        except CrashedError:
            return ["crashed"]
        except PlanError as error:
            return [f"refused: {p.code} at {p.pointer}: {p.message}" for p in error.problems]
        except FsmSagaError as error:
            return [f"refused: {error}"]

    async def close(self) -> None:
        """End what runs."""
        await self._host.kill()

    def check_sound(self) -> None:
        """Return if the tools saw nothing that breaks a rule."""
        self._host.world.check_sound()

    # --- what there is ---------------------------------------------------------------------------

    async def _do_tools(self, _rest: str, given: Lines) -> Lines:
        self._declared = "\n".join(given)
        self._know()
        return []

    async def _do_plan(self, rest: str, given: Lines) -> Lines:
        self._plans[rest] = plan_of(rest, "\n".join(given))
        self._saga_id = rest
        self._know()
        return []

    def _know(self) -> None:
        # The engine holds on to the catalogue that it was given: it is filled, not replaced.
        self._catalogue.update(catalogue_of(self._declared, self._plans.values()))

    async def _do_use(self, rest: str, _given: Lines) -> Lines:
        self._saga_id = rest
        return []

    async def _do_exits(self, _rest: str, _given: Lines) -> Lines:
        plan = self._plans[self._saga_id]
        program = compile_plan(plan, declare(plan, self._catalogue))
        return [f"{step.step_id} {step.name}: {step.exit}" for step in program.steps]

    async def _do_behave(self, rest: str, _given: Lines) -> Lines:
        tool, _, text = rest.partition(": ")
        self._script[tool] = behaviours_of(text)
        self._host.runner.script[tool] = behaviours_of(text)
        return []

    async def _do_jitter(self, rest: str, _given: Lines) -> Lines:
        self._jitters = [float(word) for word in rest.split()]
        self._host.clock.jitters += self._jitters
        return []

    # --- going on --------------------------------------------------------------------------------

    async def _started(self) -> Host:
        if not self._host.is_running:
            await self._host.start()
        return self._host

    async def _do_submit(self, _rest: str, _given: Lines) -> Lines:
        host = await self._started()
        await host.do(host.engine.submit(self._plans[self._saga_id]))
        return [headline(await self._view())]

    async def _do_run(self, _rest: str, _given: Lines) -> Lines:
        host = await self._started()
        return list(saga_lines(await host.do(host.engine.run(self._plans[self._saga_id]))))

    async def _do_rest(self, _rest: str, _given: Lines) -> Lines:
        host = self._host
        return list(saga_lines(await host.do(host.engine.wait(self._saga_id))))

    async def _do_wait(self, rest: str, _given: Lines) -> Lines:
        await self._host.do(asyncio.sleep(float(rest)))
        return [headline(await self._view())]

    async def _do_show(self, _rest: str, _given: Lines) -> Lines:
        return list(saga_lines(await self._view()))

    async def _view(self) -> SagaView:
        return await self._host.engine.get(self._saga_id)

    async def _do_list(self, _rest: str, _given: Lines) -> Lines:
        heads = await self._host.engine.list()
        return [f"{h.saga_id} {h.state} {h.outcome or '-'} {h.waits_for}".rstrip() for h in heads]

    async def _do_history(self, rest: str, _given: Lines) -> Lines:
        store = self._host.store
        journal = await store.load(self._saga_id)
        assert journal is not None
        starts = {position for position, _body in store.memory.sagas[self._saga_id].entries}
        saga = (await self._view()).saga
        first = int(rest.removeprefix("from ") or 0)
        return list(history_lines(journal, saga, starts))[first:]

    async def _do_ledger(self, _rest: str, _given: Lines) -> Lines:
        return list(ledger_lines(self._host.world, (await self._view()).saga))

    # --- people ----------------------------------------------------------------------------------

    async def _do_cancel(self, rest: str, _given: Lines) -> Lines:
        engine = self._host.engine
        by = _options(rest).get("by", "")
        return [headline(await self._host.do(engine.cancel(self._saga_id, by=by)))]

    async def _do_approve(self, rest: str, _given: Lines) -> Lines:
        step_id, engine, options = rest.split()[0], self._host.engine, _options(rest)
        digest = options.get("digest", "")
        command = engine.approve(self._saga_id, step_id, by=options.get("by", ""), digest=digest)
        return [headline(await self._host.do(command))]

    async def _do_reject(self, rest: str, _given: Lines) -> Lines:
        step_id, engine = rest.split()[0], self._host.engine
        command = engine.reject(self._saga_id, step_id, by=_options(rest).get("by", ""))
        return [headline(await self._host.do(command))]

    async def _do_resolve(self, rest: str, given: Lines) -> Lines:
        step_id, kind, *_ = rest.split()
        options = _options(rest)
        value: Any = True
        if kind == "output":
            value, _end = json.JSONDecoder().raw_decode(rest, rest.index("output ") + 7)
        elif kind == "calls":
            value = [{"tool": line.split()[0], "params": pairs_of(line)} for line in given]
            self._catalogue.update(catalogue_of("\n".join(line.split()[0] for line in given)))
            self._know()
        position = int(options["at"]) if "at" in options else None
        command = self._host.engine.resolve(
            self._saga_id,
            step_id,
            by=options.get("by", ""),
            note="seen",
            position=position,
            **{kind: value},
        )
        return [headline(await self._host.do(command))]

    async def _do_amend(self, _rest: str, given: Lines) -> Lines:
        steps = steps_of("\n".join(given))
        self._catalogue.update(catalogue_of("", [Plan.of({"task_id": "-", **steps})]))
        self._know()
        command = self._host.engine.amend(self._saga_id, steps["steps"])
        return [headline(await self._host.do(command))]

    async def _do_undo(self, rest: str, _given: Lines) -> Lines:
        words = rest.split()
        host = self._host
        found, view = await host.do(
            host.engine.undo(
                self._saga_id, is_partial="partial" in words, is_dry_run="dry" in words
            )
        )
        lines = [
            f"{step.step_id} {step.name}: {step.obstacle or f'undone by {step.tool}'}"
            for step in found.steps
        ]
        return lines if view is None else [*lines, *saga_lines(view)]

    # --- agents ----------------------------------------------------------------------------------

    async def _do_agent(self, rest: str, _given: Lines) -> Lines:
        host = await self._started()
        word, _, text = rest.partition(" ")
        agent = self._agent
        if word == "begins":
            self._saga_id = text
            self._agent = await host.engine.saga(text).__aenter__()
            return []
        assert agent is not None
        self._agent = None
        error = RuntimeError(text) if word == "raises" else None
        await host.do(agent.__aexit__(None if error is None else type(error), error, None))
        notes: Lines = [] if error is None else getattr(error, "__notes__", [])
        return [*notes, headline(await self._view())]

    async def _do_call(self, rest: str, _given: Lines) -> Lines:
        assert self._agent is not None
        tool, _, params = rest.partition(" ")
        output = await self._host.do(self._agent.call(tool, **pairs_of(params)))
        return [json.dumps(output)]

    # --- misfortune ------------------------------------------------------------------------------

    async def _do_trap(self, rest: str, _given: Lines) -> Lines:
        when, what, nth = rest.split()
        self._host.set_trap(when, what, int(nth))
        return []

    async def _do_store(self, rest: str, _given: Lines) -> Lines:
        _fails, when, _append, nth = rest.split()
        host = await self._started()
        count = itertools.count(1)
        fault = Fault.NOT_WRITTEN if when == "before" else Fault.WRITTEN

        def fail(_append: Append) -> Fault | None:
            return fault if next(count) == int(nth) else None

        host.store.fault = fail
        return []

    async def _do_crash(self, rest: str, _given: Lines) -> Lines:
        if not rest:
            await self._host.kill()
            return []
        crashing = Crashing(self._plans[self._saga_id], self._catalogue, self._script)
        return await crashing.everywhere(2 if rest.endswith("twice") else 1)

    async def _do_resume(self, _rest: str, _given: Lines) -> Lines:
        await self._host.start()
        await self._host.do(self._host.engine.resume())
        skipped = [f"{key} was left alone: {why}" for key, why in self._host.engine.skipped.items()]
        return [*skipped, *(await self._do_rest("", []))]


def _options(text: str) -> dict[str, str]:
    """Return the words that follow ``by``, ``at`` and ``digest``."""
    words = text.split()
    return {
        word: value for word, value in itertools.pairwise(words) if word in ("by", "at", "digest")
    }
