"""One run of a test: the real engine on a played machine, from submission to rest."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from typing import Any

from fsm_saga.core.program import Program
from fsm_saga.core.records import Record
from fsm_saga.core.saga import Saga
from fsm_saga.core.states import Phase
from fsm_saga.errors import CommandError
from fsm_saga.service.answers import Answer
from fsm_saga.service.view import view_of
from fsm_saga.simulation.election import LeaseElection
from fsm_saga.simulation.ends import Asked, asked_of
from fsm_saga.simulation.judge import bound_s
from fsm_saga.simulation.node import Node
from fsm_saga.simulation.purity import pure
from fsm_saga.simulation.storage import Storage
from fsm_saga.simulation.tools import ToolWorld
from fsm_saga.simulation.watch import Watch
from fsm_saga.simulation.world import World
from fsm_saga.testing.cast import AGENT, AgentCast, Cast, Work
from fsm_saga.testing.end import End
from fsm_saga.testing.fakes import Scripts
from fsm_saga.testing.people import SOMEBODY, Decision, Office, at_once, is_answer
from fsm_saga.testing.runner import Played, ScriptedRunner
from fsm_saga.tools.python import Tool

ASKS_AGAIN_S = 0.5
PATIENCE_S = 20.0
_UNHEARD = object()


class Playing:
    """One run. ``run`` is called once."""

    def __init__(
        self,
        cast: Cast,
        scripts: Scripts,
        real: Mapping[str, Tool[..., Any]],
        *,
        decisions: list[Decision],
        extra_s: float,
        crash_at: tuple[int, bool] | None = None,
    ) -> None:
        world = self.world = World(0, only=frozenset())
        self._cast = cast
        self._extra_s = extra_s
        self._decisions = decisions
        self._played = Played(scripts, real)
        outputs = cast.outputs(scripts, self._program_so_far)
        self._tools = ToolWorld(world, cast.catalogue, outputs)
        people = frozenset({SOMEBODY, AGENT, *(decision.by for decision in decisions)})
        self._watch = Watch(world, self._tools, people=people)
        self._tools.watcher = self._watch
        self._storage = Storage(world.loop, self._watch)
        self._node = Node("node", world, self._storage, self._tools, self._watch)
        self._node.runner_of = lambda node, epoch: ScriptedRunner(node, epoch, self._played)
        # Nothing is lost here, so that nobody has to look again: three days are few events.
        self._node.watch_s = math.inf
        self._office = Office(decisions, self._say)
        self._asked: dict[Asked, None] = {}
        self._is_begun = False
        self._raised: Exception | None = None
        self._heard: asyncio.Future[Any] | None = None
        self._played.on_crash = self._agent_is_gone
        self._played.crash_at = crash_at
        self._started_at = self._rested_at = 0.0
        self._watch.on_change.append(self._changed)

    @property
    def _saga(self) -> Saga | None:
        watched = self._watch.sagas.get(self._cast.saga_id)
        return None if watched is None else watched.saga

    @property
    def records(self) -> list[Record]:
        """The saga's journal."""
        return self._watch.sagas[self._cast.saga_id].records

    @property
    def program(self) -> Program:
        """The saga's program."""
        return self._watch.sagas[self._cast.saga_id].saga.program

    def run(self) -> End:
        """Run the saga until it rests and every message has arrived.

        Raises:
            FsmSagaError: If the submission was refused.
            AssertionError: If a rule of the engine was broken, or it came to no rest.
        """
        with pure():
            try:
                return self._run()
            finally:
                self.world.loop.close()

    def _run(self) -> End:
        world, loop = self.world, self.world.loop
        self._node.start(LeaseElection(self._storage))
        loop.run_while(lambda: self._node.engine is None, until=PATIENCE_S)
        self._started_at = self._played.started_at = loop.time()
        world.spawn(self._begin())
        for decision in self._decisions:
            if decision.at_s is not None:
                loop.call_world(decision.at_s, self._at_once, decision)
        # How long it may take is known only once it is compiled, and an agent's plan grows.
        until = self._until()
        while not loop.run_while(self._is_moving, until=until):
            if self._until() <= until:
                raise AssertionError(f"the saga came to no rest within {until:g} virtual seconds")
            until = self._until()
        loop.run_while(lambda: world.in_flight > 0, until=loop.time() + self._extra_s)
        saga = self._saga
        if saga is None:
            raise self._raised or CommandError("The agent made no call, so there was no saga.")
        if world.violations:
            broken = "\n".join(map(str, world.violations))
            raise AssertionError(f"a rule of the engine was broken, which is a bug:\n{broken}")
        return self._end(saga)

    def _until(self) -> float:
        program = self._program_so_far()
        bound = 0.0 if program is None else 2 * bound_s(program)
        return self._started_at + PATIENCE_S + self._extra_s + bound

    def _program_so_far(self) -> Program | None:
        saga = self._saga
        return None if saga is None else saga.program

    def _is_moving(self) -> bool:
        saga = self._saga
        if not self._is_begun or self._office.busy:
            return True
        if saga is None:
            return self._raised is None and not isinstance(self._cast, AgentCast)
        return not (saga.state.is_final or saga.state.phase is Phase.NEEDS_HUMAN)

    async def _begin(self) -> None:
        self._raised = await self._cast.begin(self)
        self._is_begun = True

    async def live(self, work: Work) -> Any:
        """See ``Stage``."""
        while self._node.engine is None:  # noqa: ASYNC110  # the node has no event for it
            await asyncio.sleep(ASKS_AGAIN_S)
        self._heard = self._node.ask(work)
        found = await self._heard
        return None if found is _UNHEARD else found

    def _agent_is_gone(self) -> None:
        """Tell whoever waits for what ran in the process that it was killed."""
        if self._heard is not None:
            _give_up(self._heard)

    async def ask(self, work: Work) -> Any:
        """See ``Stage``."""
        loop = self.world.loop
        while True:
            if self._node.engine is not None:
                answer = self._node.ask(work)
                expiry = loop.call_world(PATIENCE_S, _give_up, answer)
                found = await answer
                expiry.cancel()
                if found is not _UNHEARD and is_answer(found):
                    return found
            await asyncio.sleep(ASKS_AGAIN_S)

    def _changed(self, saga_id: str) -> None:
        saga = self._watch.sagas[saga_id].saga
        self._rested_at = self.world.loop.time()
        self._asked.update(dict.fromkeys(asked_of(saga)))
        self._office.look(saga)

    def _at_once(self, decision: Decision) -> None:
        self._office.busy += 1
        self._say(decision, at_once(decision))

    def _say(self, decision: Decision, answer: Answer) -> None:
        self.world.spawn(self._bring(decision, answer))

    async def _bring(self, decision: Decision, answer: Answer) -> None:
        await asyncio.sleep(decision.after_s)
        found = await self.ask(lambda engine: engine.answer(self._cast.saga_id, answer))
        self._office.said(decision, found)
        saga = self._saga
        if saga is not None:
            self._office.look(saga)

    def _end(self, saga: Saga) -> End:
        truths = {i: self._tools.truth(saga.saga_id, i) for i in range(len(saga.steps))}
        names = {i: saga.program.steps[i].action.tool for i in truths}
        done = [
            names[int(entry.detail.rpartition(".")[2])]
            for entry in self.world.trace
            if entry.who == "tools" and entry.what == "does"
        ]
        undone = sorted(
            (truth.undone_at, names[i])
            for i, truth in truths.items()
            if truth.undone_at is not None
        )
        return End(
            view=view_of(saga),
            calls=self._played.calls,
            done=done,
            undone=[name for _at, name in undone],
            left=[names[i] for i, truth in truths.items() if truth.left > 0],
            asked=list(self._asked),
            refused=self._office.refused,
            seconds=self._rested_at - self._started_at,
            crashes=self._played.crashes,
            error=self._raised,
        )


def _give_up(answer: asyncio.Future[Any]) -> None:
    if not answer.done():
        answer.set_result(_UNHEARD)
