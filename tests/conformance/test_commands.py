"""What every store promises about commands, by which a process asks the writer for something."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from fsm_saga.errors import InvariantBrokenError, StoreError
from fsm_saga.ports import SAGA_COMMANDS_MAX, Command, Store
from tests.conformance.backends import Backend
from tests.conformance.samples import append_of, command_of, store_saga

HEARD_S_MAX = 10.0


async def test_a_command_is_pending_until_it_is_answered(store: Store) -> None:
    assert list(await store.pending_commands()) == []
    number = await store.post_command(command_of("trip-7", by="安娜", note=None))
    (pending,) = await store.pending_commands()
    assert (pending.number, pending.saga_id, pending.kind) == (number, "trip-7", "cancel")
    assert pending.body == {"by": "安娜", "note": None}
    assert pending.answer is None
    assert await store.command_answer(number) is None
    await store.answer_command(number, {"ok": True, "message": "done"})
    assert list(await store.pending_commands()) == []
    assert await store.command_answer(number) == {"ok": True, "message": "done"}


async def test_commands_come_oldest_first_and_keep_their_numbers(store: Store) -> None:
    numbers = [await store.post_command(command_of(f"trip-{n}")) for n in range(5)]
    assert numbers == sorted(set(numbers))
    await store.answer_command(numbers[1], {"ok": True})
    pending = await store.pending_commands()
    assert [command.number for command in pending] == [numbers[n] for n in (0, 2, 3, 4)]
    assert [command.saga_id for command in pending] == ["trip-0", "trip-2", "trip-3", "trip-4"]


async def heard_of(writer: Store) -> Sequence[Command]:
    """Return the pending commands as soon as there are any: a server may tell of them later."""
    async with asyncio.timeout(HEARD_S_MAX):
        while not (pending := await writer.pending_commands()):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    return pending


async def test_the_writer_sees_what_readers_post_and_they_see_its_answer(
    backend: Backend,
) -> None:
    async with backend.writer() as writer, backend.reader() as reader:
        for _ in range(3):
            assert list(await writer.pending_commands()) == []
            number = await reader.post_command(command_of("trip-7"))
            assert [c.number for c in await heard_of(writer)] == [number]
            assert [c.number for c in await reader.pending_commands()] == [number]
            await writer.append(append_of(f"trip-{number}", 0))
            await writer.answer_command(number, {"ok": False, "message": "too late"})
            assert await reader.command_answer(number) == {"ok": False, "message": "too late"}


async def test_commands_outlive_the_writer(backend: Backend) -> None:
    async with backend.writer() as writer:
        answered = await writer.post_command(command_of("trip-7"))
        open_one = await writer.post_command(command_of("trip-8"))
        await writer.answer_command(answered, {"ok": True})
    async with backend.writer() as writer:
        assert [command.number for command in await writer.pending_commands()] == [open_one]
        assert await writer.command_answer(answered) == {"ok": True}


async def test_the_first_answer_stands(store: Store) -> None:
    number = await store.post_command(command_of("trip-7"))
    await store.answer_command(number, {"ok": True})
    await store.answer_command(number, {"ok": False})
    assert await store.command_answer(number) == {"ok": True}


async def test_the_commands_of_one_saga_come_with_their_answers(store: Store) -> None:
    assert list(await store.saga_commands("trip-7")) == []
    first = await store.post_command(command_of("trip-7", by="Ann"))
    await store.post_command(command_of("trip-8"))
    second = await store.post_command(command_of("trip-7", by="Bob"))
    await store.answer_command(first, {"ok": False, "message": "too late"})
    found = await store.saga_commands("trip-7")
    assert [(c.number, c.saga_id, c.kind) for c in found] == [
        (first, "trip-7", "cancel"),
        (second, "trip-7", "cancel"),
    ]
    assert [c.body["by"] for c in found] == ["Ann", "Bob"]
    assert [c.answer for c in found] == [{"ok": False, "message": "too late"}, None]
    assert list(await store.saga_commands("\ud800")) == []


async def test_only_the_latest_commands_of_a_saga_are_shown(store: Store) -> None:
    numbers = [await store.post_command(command_of("trip-7")) for _ in range(SAGA_COMMANDS_MAX + 3)]
    assert [c.number for c in await store.saga_commands("trip-7")] == numbers[3:]


async def test_a_command_that_is_not_there_has_no_answer_and_gets_none(store: Store) -> None:
    assert await store.command_answer(99) is None
    with pytest.raises(StoreError, match="Command 99"):
        await store.answer_command(99, {"ok": True})


async def test_a_removed_saga_takes_its_commands_along(store: Store) -> None:
    await store_saga(store, "trip-7", state="DONE")
    gone = await store.post_command(command_of("trip-7"))
    await store.answer_command(gone, {"ok": True})
    kept = await store.post_command(command_of("trip-8"))
    await store.remove("trip-7")
    assert [command.number for command in await store.pending_commands()] == [kept]
    assert await store.command_answer(gone) is None
    assert gone not in [command.number for command in await store.saga_commands("trip-7")]


async def test_whoever_waits_for_a_decision_about_a_removed_saga_is_told(backend: Backend) -> None:
    async with backend.writer() as store, backend.reader() as asker:
        await store_saga(store, "trip-7", state="DONE")
        waiting = [await asker.post_command(command_of("trip-7")) for _ in range(45)]
        kept = await asker.post_command(command_of("trip-8"))
        await store.remove("trip-7")
        assert [command.number for command in await store.pending_commands()] == [kept]
        for number in waiting:
            answer = await asker.command_answer(number)
            assert answer is not None
            assert (answer["ok"], answer["code"]) == (False, "unknown-saga")
            assert "'trip-7' was removed" in answer["message"]
            await store.answer_command(number, {"ok": True})  # too late: the first one stands
            assert await asker.command_answer(number) == answer


async def test_a_decision_about_a_saga_that_was_never_there_can_be_answered(store: Store) -> None:
    number = await store.post_command(command_of("trip-9"))
    await store.answer_command(number, {"ok": False, "message": "no such saga"})
    assert list(await store.pending_commands()) == []
    assert await store.command_answer(number) == {"ok": False, "message": "no such saga"}


async def test_a_body_that_is_not_json_is_a_bug_of_ours(store: Store) -> None:
    with pytest.raises(InvariantBrokenError):
        await store.post_command(command_of("trip-7", by="\ud800"))
    with pytest.raises(InvariantBrokenError):
        await store.post_command(command_of("trip-7", at=float("nan")))
    assert list(await store.pending_commands()) == []
