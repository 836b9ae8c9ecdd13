"""What the memory store offers beside the promises of every store (see tests/conformance)."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from fsm_saga.errors import CorruptRecordError, FencedError, StoreError, StoreUnavailableError
from fsm_saga.ports import SAGA_COMMANDS_MAX, Append
from fsm_saga.stores.memory import Fault, MemoryStore, forget_memory
from tests.conformance.samples import append_of, command_of, started, store_saga


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
    forget_memory("kept")  # which nobody has made since


async def test_a_memory_without_a_name_cannot_be_read_by_another_store() -> None:
    with pytest.raises(StoreError, match="not opened for reading"):
        MemoryStore.open("memory://", mode="read")


@pytest.mark.parametrize(("fault", "count"), [(Fault.NOT_WRITTEN, 3), (Fault.WRITTEN, 4)])
async def test_a_fault_looks_the_same_whether_the_append_was_written_or_not(
    fault: Fault, count: int
) -> None:
    store = MemoryStore.open("memory://")
    await store_saga(store, "trip-7")

    def fail_once(append: Append) -> Fault:
        assert (append.saga_id, append.position) == ("trip-7", 3)
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
    with pytest.raises(CorruptRecordError, match="'trip-7'") as caught:
        await store.load("trip-7")
    assert caught.value.facts == {"saga_id": "trip-7", "position": 1}
    saga.entries[1] = (2, whole[1])
    with pytest.raises(CorruptRecordError, match="next entry is at 2"):
        await store.load("trip-7")
    assert len(await store.load("trip-8") or ()) == 3


async def test_a_command_is_left_without_an_answer_and_answered_once() -> None:
    store = MemoryStore.open("memory://")
    number = await store.post_command(replace(command_of("trip-7"), answer={"ok": True}))
    assert await store.command_answer(number) is None
    assert [each.number for each in await store.pending_commands()] == [number]
    await store.answer_command(number, {"ok": True})
    await store.answer_command(number, {"ok": False})
    assert await store.command_answer(number) == {"ok": True}


async def test_the_latest_commands_of_a_saga_are_shown_oldest_first() -> None:
    store = MemoryStore.open("memory://")
    for _ in range(SAGA_COMMANDS_MAX + 2):
        last = await store.post_command(command_of("trip-7"))
    await store.post_command(command_of("trip-8"))
    numbers = [each.number for each in await store.saga_commands("trip-7")]
    assert numbers == list(range(last - SAGA_COMMANDS_MAX + 1, last + 1))


async def test_what_a_command_asks_is_kept_as_it_was_when_it_was_left() -> None:
    store = MemoryStore.open("memory://")
    asked = {"by": "Ann"}
    await store.post_command(command_of("trip-7", **asked))
    command = command_of("trip-7")
    body = {"by": "Bob"}
    await store.post_command(replace(command, body=body))
    body["by"] = "Eve"
    assert [each.body for each in await store.pending_commands()] == [asked, {"by": "Bob"}]


async def test_a_page_that_has_the_last_saga_says_that_no_other_follows() -> None:
    store = MemoryStore.open("memory://")
    for name in ("one", "two"):
        await store_saga(store, name, state="DONE")
    page = await store.finished(limit=2)
    assert [head.saga_id for head in page.heads] == ["one", "two"]
    assert page.after == ""
    page = await store.finished(limit=1)
    assert ([head.saga_id for head in page.heads], page.after) == (["one"], "1")


async def test_a_writer_that_was_replaced_is_told_by_whom() -> None:
    old = MemoryStore.open("memory://two", "two")
    await store_saga(old, "trip-7", state="DONE")
    number = await old.post_command(command_of("trip-7"))
    new = MemoryStore.open("memory://two", "two")
    for refused in (
        old.append(append_of("trip-7", 3)),
        old.remove("trip-7"),
        old.answer_command(number, {}),
    ):
        with pytest.raises(FencedError, match="'memory://two': epoch 1 tried, but epoch 2") as e:
            await refused
        assert e.value.facts == {"epoch": 1, "leader": 2}
    assert await new.load("trip-7") is not None
    forget_memory("two")


async def test_what_a_reader_may_not_do_is_named() -> None:
    await store_saga(MemoryStore.open("memory://two", "two"), "trip-7")
    reader = MemoryStore.open("memory://two", "two", mode="read")
    for refused, what in (
        (reader.append(append_of("trip-7", 3)), "An append to saga 'trip-7'"),
        (reader.remove("trip-7"), "Removing saga 'trip-7'"),
        (reader.answer_command(7, {}), "Answering command 7"),
    ):
        with pytest.raises(StoreError, match=f"{what} was refused: store 'memory://two' was"):
            await refused
    await reader.close()
    with pytest.raises(StoreError, match="Store 'memory://two' is closed"):
        await reader.heads()
    forget_memory("two")


async def test_a_fault_and_a_damage_name_what_they_are_about() -> None:
    store = MemoryStore.open("memory://")
    await store_saga(store, "trip-7")
    store.fault = lambda _append: Fault.WRITTEN
    with pytest.raises(StoreUnavailableError, match="'memory://' failed while") as failed:
        await store.append(append_of("trip-7", 3))
    assert failed.value.facts == {"reason": "it was told to"}
    saga = store.memory.sagas["trip-7"]
    saga.entries[1] = (2, saga.entries[1][1])
    with pytest.raises(CorruptRecordError, match="damaged at position 1") as damaged:
        await store.load("trip-7")
    assert damaged.value.facts == {"saga_id": "trip-7", "position": 1}
