"""A saga that is removed and begun anew while somebody looks at it in several questions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fsm_saga.ports import Head
from fsm_saga.stores.etcd_store import EtcdStore
from tests.conformance.samples import append_of, store_saga, submitted
from tests.conformance.server_backends import EtcdBackend
from tests.support.servers.etcd import EtcdServer


async def test_a_head_read_while_its_saga_was_removed_and_begun_anew_is_of_the_new_life(
    etcd: EtcdServer, server_prefix: str
) -> None:
    async with EtcdBackend(etcd, server_prefix).writer() as store:
        assert isinstance(store, EtcdStore)
        await store_saga(store, "trip-7", state="DONE")
        read_heads = store._heads_at

        async def begin_anew_first(ends: Sequence[Any]) -> list[Head]:
            await store.remove("trip-7", position=3)
            await store.append(append_of("trip-7", 0, submitted("trip-7", {"goal": "again"})))
            return await read_heads(ends)

        store._heads_at = begin_anew_first  # type: ignore[method-assign]  # between two questions
        head = await store.head("trip-7")
    assert head is not None
    assert (head.position, head.goal, head.is_final) == (1, "again", False)
