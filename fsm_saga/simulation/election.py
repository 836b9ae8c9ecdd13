"""A small election on the simulated store: a key with a lease, whose creation is the epoch.

It stands in for the cluster's own. A lease is never believed: it only decides when to stop early
and when another may begin; what a leader may write is decided by the store (L1, L3).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from fsm_saga.errors import StoreUnavailableError
from fsm_saga.simulation.chance import between
from fsm_saga.simulation.storage import LEASE_TTL_S, Storage, leads
from fsm_saga.simulation.store import ask_storage

if TYPE_CHECKING:
    from fsm_saga.simulation.node import Node

RETRY_S = 0.5


class LeaseElection:
    """``Election`` over the store's lease."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    async def campaign(self, node: Node) -> int:
        """Return the epoch in which the node leads, once it does.

        A reply that is lost leaves a key that nobody renews, which expires by itself (L6).
        """
        process = node.process
        if process is None:
            raise RuntimeError("a node without a process campaigns")
        while True:
            try:
                epoch = await ask_storage(node, "lease", lambda: self._storage.take_lease(process))
            except StoreUnavailableError:
                await asyncio.sleep(RETRY_S)
                continue
            if epoch is not None:
                self._storage.holder_hears(epoch)
                if leads(self._storage, epoch):
                    return epoch
                continue
            await self._wait_vacancy(node)

    async def _wait_vacancy(self, node: Node) -> None:
        if self._storage.lease is None:
            return
        vacant: asyncio.Future[None] = node.world.loop.create_future()
        self._storage.on_vacancy.append(vacant)
        await vacant
        # Those who wait are told one after the other, and not always in the same order.
        name = node.world.chance.next_name(f"vacancy.{node.name}")
        await asyncio.sleep(between(0.001, 0.2, node.world.chance.draw(name)[0]))

    async def wait_lost(self, node: Node, epoch: int) -> None:
        """Return once the process has heard that its lease is gone; that may take a while."""
        while leads(self._storage, epoch):
            await self._wait_vacancy(node)
        name = node.world.chance.next_name(f"hears.{node.name}")
        await asyncio.sleep(between(0.0, LEASE_TTL_S / 2, node.world.chance.draw(name)[0]))

    async def resign(self, node: Node, epoch: int) -> None:
        """Remove the key, if it is still the node's."""
        try:
            await ask_storage(node, "resign", lambda: self._storage.end_lease(epoch))
        except StoreUnavailableError:
            self._storage.holder_stops_renewing(epoch)
