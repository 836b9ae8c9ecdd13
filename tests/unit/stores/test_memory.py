"""What the memory store offers beside the promises of every store (see tests/conformance)."""

from __future__ import annotations

import pytest

from fsm_saga.errors import CorruptRecordError, StoreError, StoreUnavailableError
from fsm_saga.ports import Append
from fsm_saga.stores.memory import Fault, MemoryStore, forget_memory
from tests.conformance.samples import append_of, started, store_saga


async def test_stores_without_a_name_share_nothing() -> None:
    first, second = MemoryStore.open("memory://"), MemoryStore.open("memory://")
    await store_saga(first, "trip-7")
    assert await second.load("trip-7") is None


async def test_a_named_memory_outlives_its_stores_until_it_is_forgotten() -> None:
    first = MemoryStore.open("memory://kept", "kept")
    await store_saga(first, "trip-7")
    await first.close()
    second = MemoryStore.open("memory://kept", "kept")
    assert len(await second.load("trip-7") or ()) == 3
    forget_memory("kept")
    with pytest.raises(StoreError, match="no store of this process"):
        MemoryStore.open("memory://kept", "kept", mode="read")
    assert await MemoryStore.open("memory://kept", "kept").load("trip-7") is None
    forget_memory("kept")


async def test_a_memory_without_a_name_cannot_be_read_by_another_store() -> None:
    with pytest.raises(StoreError, match="not opened for reading"):
        MemoryStore.open("memory://", mode="read")


@pytest.mark.parametrize(("fault", "count"), [(Fault.NOT_WRITTEN, 3), (Fault.WRITTEN, 4)])
async def test_a_fault_looks_the_same_whether_the_append_was_written_or_not(
    fault: Fault, count: int
) -> None:
    store = MemoryStore.open("memory://")
    await store_saga(store, "trip-7")

    def fail_once(_append: Append) -> Fault:
        store.fault = None
        return fault

    store.fault = fail_once
    with pytest.raises(StoreUnavailableError, match="read back"):
        await store.append(append_of("trip-7", 3, started(9)))
    assert len(await store.load("trip-7") or ()) == count
    await store.append(append_of("trip-7", count))


async def test_what_is_kept_are_bytes_that_can_be_damaged() -> None:
    store = MemoryStore.open("memory://")
    await store_saga(store, "trip-7")
    await store_saga(store, "trip-8")
    saga = store.memory.sagas["trip-7"]
    whole = saga.entries[1]
    saga.entries[1] = (1, whole[1].replace(b"step", b"stop"))
    with pytest.raises(CorruptRecordError, match="'trip-7'"):
        await store.load("trip-7")
    saga.entries[1] = (2, whole[1])
    with pytest.raises(CorruptRecordError, match="next entry is at 2"):
        await store.load("trip-7")
    assert len(await store.load("trip-8") or ()) == 3
