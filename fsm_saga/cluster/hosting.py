"""One coordinator of a cluster as a process runs it: its node, its engines, what measures them."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Any, Protocol

import orjson

from fsm_saga.cluster.node import Node
from fsm_saga.core.contract import ToolFacts
from fsm_saga.ports import Clock, ClusterStore, Member, Store, ToolRunner
from fsm_saga.service.engine import ACTIVE_MAX, Engine
from fsm_saga.service.preparing import Preparer
from fsm_saga.stores.opening import LEASE_TTL_S

logger = logging.getLogger("fsm_saga.cluster")

TELL_S = 5.0
"""Between two looks at the sagas that are left alone."""
TOLD_MAX = 20
"""Sagas left alone that are named in the log one by one."""


class Instrument(Protocol):
    """Sees what every engine of a host does: metrics, traces."""

    def around_runner(self, runner: ToolRunner) -> ToolRunner:
        """Return the runner to be used instead."""

    def around_store(self, store: Store) -> Store:
        """Return the store to be used instead."""

    def follow(self, engine: Engine) -> None:
        """Take notice of an engine before it takes up its sagas."""


class Host:
    """A node whose engines share their tools and what is known of plans.

    Attributes:
        node: The member; ``run`` it, and ``stop`` it.
    """

    def __init__(
        self,
        cluster: ClusterStore,
        runner: ToolRunner,
        member: Member,
        *,
        allow: Collection[str] | None = None,
        ttl_s: float = LEASE_TTL_S,
        active_max: int = ACTIVE_MAX,
        instruments: Sequence[Instrument] = (),
        clock: Clock | None = None,
    ) -> None:
        """Wire the parts.

        Args:
            cluster: The store, open.
            runner: The tools, for all shards.
            member: What the others are told of this process.
            allow: Names of the tools that plans may use; None allows all that are there.
            ttl_s: How long the others wait for a sign of life before they take over.
            active_max: How many sagas of one shard may be under way.
            instruments: What sees every engine; the first stands nearest to the tools.
            clock: The engines' source of time and chance.
        """
        self._runner = runner
        self._allow = allow
        self._active_max = active_max
        self._instruments = instruments
        self._clock = clock
        self._preparer = Preparer(runner.catalogue, allow)
        self.node = Node(cluster, self._engine_over, member, ttl_s=ttl_s)

    @asynccontextmanager
    async def _engine_over(self, store: Store) -> AsyncIterator[Engine]:
        runner = self._runner
        for instrument in self._instruments:
            runner = instrument.around_runner(runner)
            store = instrument.around_store(store)
        async with Engine.over(
            store,
            runner,
            allow=self._allow,
            recover=False,
            active_max=self._active_max,
            preparer=self._preparer,
            clock=self._clock,
        ) as engine:
            for instrument in self._instruments:
                instrument.follow(engine)
            await engine.resume()
            engine.coordinator.spawn(_tell_left_alone(engine), name="left alone")
            yield engine


async def _tell_left_alone(engine: Engine) -> None:
    """Log which sagas are left alone, and which no longer are, until cancelled."""
    told: set[str] = set()
    while True:
        now = dict(engine.skipped)
        new = [saga_id for saga_id in now if saga_id not in told]
        for saga_id in new[:TOLD_MAX]:
            fields = {"event": "left-alone", "saga_id": saga_id}
            logger.warning("saga %r is left alone: %s", saga_id, now[saga_id], extra=fields)
        if len(new) > TOLD_MAX:
            logger.warning("%d more sagas are left alone", len(new) - TOLD_MAX)
        if gone := told - now.keys():
            logger.info("%d sagas are left alone no more", len(gone))
        told = set(now)
        await engine.clock.sleep(TELL_S)


def fingerprint(catalogue: Mapping[str, ToolFacts]) -> str:
    """Return a short text that two processes have in common if their tools promise the same.

    It says nothing of the code behind the tools.

    Example:
        >>> fingerprint({}) == fingerprint({"pay": ToolFacts(name="pay")})
        False
    """
    facts = [asdict(catalogue[name]) for name in sorted(catalogue)]
    for each in facts:
        # What is known of a tool differs from machine to machine; what it promises does not.
        del each["standing"], each["refuted"]
    text = orjson.dumps(facts, option=orjson.OPT_SORT_KEYS, default=_plain)
    return hashlib.sha256(text).hexdigest()[:12]


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else str(value)
