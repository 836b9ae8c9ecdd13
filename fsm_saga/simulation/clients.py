"""Those who submit, cancel, approve and decide: each saga has a client that sees it through.

A person here never lies: an output is only vouched for where the effect is to be seen. What is
said may be late, double, about an old view of the saga, or not allowed at all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from fsm_saga.core import people
from fsm_saga.core.saga import Saga
from fsm_saga.core.states import Phase, StepStatus
from fsm_saga.errors import CommandError, FsmSagaError
from fsm_saga.plan.model import Plan
from fsm_saga.ports import Command
from fsm_saga.service.answers import Answer
from fsm_saga.service.engine import Engine
from fsm_saga.service.submitting import submission
from fsm_saga.simulation.chance import Draw, between, pick
from fsm_saga.simulation.node import Node
from fsm_saga.simulation.plans import AMENDS, Sketch, more_steps
from fsm_saga.simulation.rules import PERSON
from fsm_saga.simulation.storage import Storage
from fsm_saga.simulation.tools import ToolWorld
from fsm_saga.simulation.watch import Watch
from fsm_saga.simulation.world import World

PATIENCE_S = 8.0
LOOKS_AGAIN_S = 2.5
POST_LOOKS_S = 0.4
ANSWERS_BEFORE_SETTLING = 5


class Client:
    """The client of one saga.

    Attributes:
        is_done: The saga has ended, or rests on a person who will not come.
        is_accepted: The submission was acknowledged.

    Args:
        is_fixed: The plan is submitted whole, as it is; else it may be one that grows.
        arrival: What the client waits for before it comes; None for nothing.
        is_posting: The plan is left in the store for whoever leads.
    """

    def __init__(
        self,
        saga_id: str,
        sketch: Sketch,
        *,
        world: World,
        nodes: Sequence[Node],
        storage: Storage,
        tools: ToolWorld,
        watch: Watch,
        is_fixed: bool = False,
        arrival: Awaitable[None] | None = None,
        is_posting: bool = False,
    ) -> None:
        self.saga_id = saga_id
        self.sketch = sketch
        self.is_done = False
        self.is_accepted = False
        self._world = world
        self._nodes = nodes
        self._storage = storage
        self._tools = tools
        self._watch = watch
        self._answers = 0
        self._is_fixed = is_fixed
        self._arrival = arrival
        self._is_posting = is_posting
        self._draw = world.chance.draw(f"client.{saga_id}")
        self._is_ignored = world.happens("ignored", saga_id, self._draw[0])
        self._changed: asyncio.Future[None] | None = None
        self._plan = Plan.model_copy(sketch.plan, update={"task_id": saga_id})

    def saga_changed(self) -> None:
        """Look at the saga again."""
        if self._changed is not None and not self._changed.done():
            self._changed.set_result(None)

    async def live(self) -> None:
        """See the saga through."""
        world, draw = self._world, self._draw
        if self._arrival is not None:
            await self._arrival
        await asyncio.sleep(2.0 * draw[1] ** 3)
        is_open = draw[2] < 0.07 and not (self._is_fixed or self._is_posting)
        if self._is_posting:
            await self._submit_by_post()
        else:
            await self._submit(is_open)
        if world.happens("cancel", self.saga_id, draw[3]):
            world.spawn(self._cancel(between(0.0, 6.0, draw[4] ** 3)))
        if is_open:
            world.spawn(self._grow())
        elif world.happens("amend", self.saga_id, draw[5]):
            world.spawn(self._amend(between(0.0, 2.0, draw[6] ** 2)))
        while not self._is_over():
            await self._look()
        self.is_done = True

    def _saga(self) -> Saga | None:
        watched = self._watch.sagas.get(self.saga_id)
        return None if watched is None else watched.saga

    def _is_over(self) -> bool:
        saga = self._saga()
        if self.saga_id in self._watch.corrupt:
            return True
        if saga is None:
            return False
        is_resting = saga.state.phase is Phase.NEEDS_HUMAN and self._is_ignored
        return saga.state.is_final or is_resting

    # Submitting.

    async def _submit(self, is_open: bool) -> None:
        world, saga_id = self._world, self.saga_id
        self._watch.submitted[saga_id] = None
        while not self.is_accepted:
            draw = world.chance.draw(world.chance.next_name(f"submit.{saga_id}"))
            work = self._open if is_open else self._run
            first = self._ask(work, draw)
            if world.happens("doubled", f"submit.{saga_id}", draw[0]):
                world.spawn(self._ignore(self._ask(work, draw)))
            found = await first
            if self.saga_id in self._watch.corrupt:
                return
            if isinstance(found, FsmSagaError) or found is None:
                await asyncio.sleep(between(0.1, 0.8, draw[1]))
                if is_open and saga_id in self._watch.sagas:
                    self._accepted()
                continue
            self._accepted()

    async def _submit_by_post(self) -> None:
        """Leave the plan in the store until somebody has answered that it is accepted."""
        saga_id, commands = self.saga_id, self._storage.commands
        self._watch.submitted[saga_id] = None
        while not self.is_accepted:
            number = self._storage.post(submission(self._plan))
            while commands[number].answer is None:
                await asyncio.sleep(POST_LOOKS_S)
                if saga_id in self._watch.corrupt:
                    return
            answer = commands[number].answer or {}
            self._world.counts["submitted by post"] += 1
            if answer.get("ok"):
                self._accepted()
            else:
                await asyncio.sleep(POST_LOOKS_S)

    async def _run(self, engine: Engine) -> Any:  # whatever the engine returns
        return await engine.submit(self.sketch.plan, task_id=self.saga_id)

    async def _open(self, engine: Engine) -> Any:  # as above
        count = int(3 * self._draw[7])
        body = self._body(count)
        return await engine.submit_open(Plan.of(body))

    def _body(self, count: int) -> dict[str, Any]:
        body = self._plan.model_dump(exclude_none=True)
        return {**body, "steps": list(body["steps"][:count])}

    def _accepted(self) -> None:
        """An acknowledged submission is durable, once (O1, V3)."""
        self.is_accepted = True
        if self.saga_id not in self._storage.journals:
            self._world.broken("O1", f"{self.saga_id} was acknowledged and is not in the store")

    async def _ignore(self, work: Awaitable[Any]) -> None:
        await work

    async def _ask(self, work: Callable[[Engine], Awaitable[Any]], draw: Draw) -> Any:
        """Have one of the nodes that believe to lead do something; None if nothing is heard."""
        saga_id = self.saga_id
        leading = [node for node in self._nodes if node.engine_of(saga_id) is not None]
        if not leading:
            return None
        loop = self._world.loop
        answer = pick(leading, draw[7]).ask(work, saga_id=saga_id)
        expiry = loop.call_world(PATIENCE_S, _give_up, answer)
        found = await answer
        expiry.cancel()
        return found

    # Growing and stopping.

    async def _grow(self) -> None:
        """Append the rest of the plan to the open saga, then close it."""
        saga_id, total = self.saga_id, len(self._plan.steps)
        while not self._is_over():
            draw = self._world.chance.draw(self._world.chance.next_name(f"grow.{saga_id}"))
            await asyncio.sleep(between(0.1, 1.5, draw[0]))
            saga = self._saga()
            if saga is None or not saga.program.is_open:
                return
            count = len(saga.steps)
            base, grown = self._body(count), self._body(count + 1)

            async def grow(engine: Engine, base: Any = base, grown: Any = grown) -> Any:
                return await engine.grow(saga_id, Plan.of(grown), base=Plan.of(base))

            async def close(engine: Engine) -> Any:  # as above
                return await engine.close_plan(saga_id)

            if saga.state.phase not in (Phase.PENDING, Phase.EXECUTING):
                continue  # a person may yet bring it back
            found = await self._ask(grow if count < total else close, draw)
            if isinstance(found, FsmSagaError) and found.code == "plan-refused":
                await self._ask(close, draw)

    async def _cancel(self, delay_s: float) -> None:
        await asyncio.sleep(delay_s)
        while not self._is_over():
            found = await self._say(Answer(kind="cancel", by=PERSON), f"cancel.{self.saga_id}")
            if isinstance(found, FsmSagaError):
                self._world.counts["cancel refused"] += isinstance(found, CommandError)
                return
            saga = self._saga()
            if found is not None or (saga is not None and saga.stop is not None):
                return
            await asyncio.sleep(LOOKS_AGAIN_S)

    async def _amend(self, delay_s: float) -> None:
        await asyncio.sleep(delay_s)
        number = int(10_000 * self._draw[7])
        steps = more_steps(number, len(self._plan.steps))
        found = await self._say(Answer(kind="amend", value=steps), f"amend.{self.saga_id}")
        self._world.counts[
            f"amend {'refused' if isinstance(found, FsmSagaError) else 'asked'}"
        ] += 1

    # Deciding.

    async def _look(self) -> None:
        """Decide what is to be decided, then wait until something changes."""
        saga = self._saga()
        world = self._world
        asked = False
        if saga is not None:
            name = world.chance.next_name(f"looks.{self.saga_id}")
            draw = world.chance.draw(name)
            if saga.awaiting:
                asked = await self._approve(saga, name, draw)
            elif saga.state.phase is Phase.NEEDS_HUMAN:
                asked = await self._resolve(saga, name, draw)
        if self._is_over():
            return
        self._changed = world.loop.create_future()
        if asked:
            expiry = world.loop.call_world(LOOKS_AGAIN_S, self.saga_changed)
            await self._changed
            expiry.cancel()
        else:
            await self._changed

    async def _approve(self, saga: Saga, name: str, draw: Draw) -> bool:
        world = self._world
        waiting = [i for i, s in enumerate(saga.steps) if s.status is StepStatus.AWAITING_APPROVAL]
        index = pick(waiting, draw[0])
        place = f"{self.saga_id}.{index}"
        fate = world.chance.draw(f"approval.{place}")
        if world.happens("silence", place, fate[0]):
            return False
        await asyncio.sleep(between(0.05, 1.5, draw[1]))
        is_denied = world.happens("denied", place, fate[1])
        digest = saga.steps[index].digest or ""
        if world.happens("stale-answer", name, draw[2]):
            digest = "0" * 64
        answer = Answer(
            kind="reject" if is_denied else "approve",
            step_id=saga.program.steps[index].step_id,
            by=PERSON,
            digest="" if is_denied else digest,
        )
        found = await self._say(answer, name)
        if answer.digest and digest != saga.steps[index].digest and _was_taken(found):
            world.broken("H1", f"{place}: an approval of other parameters was taken")
        return True

    async def _resolve(self, saga: Saga, name: str, draw: Draw) -> bool:
        world = self._world
        await asyncio.sleep(between(0.05, 2.0, draw[0]))
        if world.happens("comes-late", name, draw[5]):
            await asyncio.sleep(between(5.0, 40.0, draw[6]))
        options = self._options(saga)
        if not options:
            world.broken("ASKED", f"{self.saga_id} asks a person, and takes no answer")
            self.is_done = True
            return False
        self._answers += 1
        settling = [option for option in options if option[1] == people.SETTLED]
        if self._answers > ANSWERS_BEFORE_SETTLING and settling:
            options = settling
        index, choice, value = pick(options, draw[1])
        position = saga.position
        if world.happens("stale-answer", name, draw[2]):
            position -= 1
        if world.happens("wrong-answer", name, draw[3]):
            choice = pick((people.RETRY, people.SETTLED), draw[4])
        answer = Answer(
            kind=choice,
            step_id=saga.program.steps[index].step_id,
            by=PERSON,
            note="looked",
            value=value,
            position=position,
        )
        world.note("person", choice, f"{self.saga_id}.{index}")
        found = await self._say(answer, name)
        if position != saga.position and _was_taken(found):
            world.broken("O5", f"{self.saga_id}: an answer about an older state was taken")
        world.counts[f"person says {choice}"] += not isinstance(found, FsmSagaError)
        return True

    def _options(self, saga: Saga) -> list[tuple[int, str, Any]]:
        """Return the answers that are open and honest: step, answer, value.

        Where the only answer is an output and nothing is there, the person does it by hand.
        """
        found: list[tuple[int, str, Any]] = []
        by_hand: list[tuple[int, str, Any]] = []
        at = self._world.now()
        for index, step in enumerate(saga.steps):
            for choice in people.choices(saga, index, at=at):
                value: Any = None
                if choice == people.CALLS:
                    value = [{"tool": AMENDS, "params": {"n": index}}]
                    value += [{"tool": AMENDS, "params": {"n": -index}}] * (index % 2)
                elif choice == people.OUTPUT:
                    value = self._tools.outputs.whole(self.saga_id, index)
                    is_there = self._tools.truth(self.saga_id, index).left > 0
                    if not is_there and step.status is not StepStatus.REJECTED:
                        by_hand.append((index, choice, value))
                        continue
                found.append((index, choice, value))
        return found or by_hand

    async def _say(self, answer: Answer, name: str) -> Any:  # what the engine says
        """Bring an answer to a coordinator, or leave it in the store for the one that leads."""
        world, saga_id = self._world, self.saga_id
        draw = world.chance.draw(f"say.{name}")
        if world.happens("by-post", name, draw[0]):
            world.counts["answer by post"] += 1
            body = answer.as_json()
            self._storage.post(Command(saga_id=saga_id, kind=answer.kind, body=body))
            return None
        work = self._ask(lambda engine: engine.answer(saga_id, answer), draw)
        if world.happens("doubled", name, draw[1]):
            world.spawn(self._ignore(self._ask(lambda e: e.answer(saga_id, answer), draw)))
        return await work


def _was_taken(found: object) -> bool:
    return found is not None and not isinstance(found, FsmSagaError)


def _give_up(answer: asyncio.Future[Any]) -> None:
    if not answer.done():
        answer.set_result(None)
