"""Values in Redis that are not what was written: found, told, and never taken for the truth."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from typing import Any

import pytest
import redis.asyncio as redis_py

from fsm_saga.errors import CorruptRecordError
from fsm_saga.stores.heads import DAMAGED
from tests.conformance.samples import append_of, command_of, store_saga, submitted, succeeded
from tests.integration.redis_store.rigs import Coordinator, coordinator_at
from tests.support.servers.redis import RedisServer

BITS = 40


@pytest.fixture
async def ours(redis: RedisServer, server_prefix: str) -> AsyncIterator[Coordinator]:
    async with coordinator_at(f"{redis.url}?prefix={server_prefix}") as opened:
        await store_saga(opened.store, "trip-7")
        yield opened


@pytest.fixture
async def admin(redis: RedisServer) -> AsyncIterator[Any]:
    async with redis_py.Redis.from_url(redis.url) as client:
        yield client


def flipped(value: bytes, chance: random.Random) -> bytes:
    bit = chance.randrange(8 * len(value))
    changed = bytearray(value)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


async def test_a_flipped_bit_in_a_journal_is_found_wherever_it_is(
    ours: Coordinator, admin: Any, server_prefix: str
) -> None:
    key, chance = f"{server_prefix}:journal:trip-7", random.Random(7)
    for index in (0, 1):
        (sound,) = await admin.lrange(key, index, index)
        for _ in range(BITS):
            await admin.lset(key, index, flipped(sound, chance))
            with pytest.raises(CorruptRecordError, match="'trip-7'"):
                await ours.store.load("trip-7")
        await admin.lset(key, index, sound)
    assert len(await ours.store.load("trip-7") or ()) == 3


async def test_a_journal_without_its_end_or_with_an_entry_of_another_saga_is_found(
    ours: Coordinator, admin: Any, server_prefix: str
) -> None:
    key = f"{server_prefix}:journal:trip-7"
    last = await admin.rpop(key)
    with pytest.raises(CorruptRecordError, match="should go on to 3"):
        await ours.store.load("trip-7")
    await admin.rpush(key, last)
    await store_saga(ours.store, "trip-8")
    (other,) = await admin.lrange(f"{server_prefix}:journal:trip-8", 1, 1)
    await admin.lset(key, 1, other)
    with pytest.raises(CorruptRecordError, match="checksum"):
        await ours.store.load("trip-7")


async def test_a_damaged_head_is_made_again_from_the_journal_and_mended_by_the_next_append(
    ours: Coordinator, admin: Any, server_prefix: str
) -> None:
    before, key, chance = (
        await ours.store.head("trip-7"),
        f"{server_prefix}:heads",
        random.Random(7),
    )
    sound = await admin.hget(key, "trip-7")
    for _ in range(BITS):
        await admin.hset(key, "trip-7", flipped(sound, chance))
        found = await ours.store.head("trip-7")
        assert found is not None
        assert before is not None
        assert (found.position, found.is_final) == (before.position, before.is_final)
        assert [head.saga_id for head in await ours.store.heads()] == ["trip-7"]
    assert len(await ours.store.load("trip-7") or ()) == 3
    last = append_of("trip-7", 3)
    await ours.store.append(last)
    assert await admin.hget(key, "trip-7") != sound
    assert await ours.store.head("trip-7") == last.head


async def test_a_saga_of_which_nothing_can_be_read_is_listed_as_damaged(
    ours: Coordinator, admin: Any, server_prefix: str
) -> None:
    await store_saga(ours.store, "trip-8")
    await admin.hset(f"{server_prefix}:heads", "trip-7", "nonsense")
    await admin.lset(f"{server_prefix}:journal:trip-7", 0, "nonsense")
    assert [head.state for head in await ours.store.heads()] == ["EXECUTING(1)", DAMAGED]
    with pytest.raises(CorruptRecordError):
        await ours.store.head("trip-7")
    with pytest.raises(CorruptRecordError):
        await ours.store.load("trip-7")
    await ours.store.append(append_of("trip-8", 3, succeeded()))


async def test_a_damaged_command_is_refused_and_whoever_left_it_is_told(
    ours: Coordinator, admin: Any, server_prefix: str
) -> None:
    number = await ours.store.post_command(command_of("trip-7", by="Ann"))
    sound = await ours.store.post_command(command_of("trip-7", by="Bob"))
    value = await admin.hget(f"{server_prefix}:command", str(number))
    await admin.hset(f"{server_prefix}:command", str(number), flipped(value, random.Random(1)))
    reader = ours.cluster.reader
    assert [command.number for command in await reader.pending_commands()] == [sound]
    assert await reader.command_answer(number) is None
    assert [command.number for command in await ours.store.pending_commands()] == [sound]
    answer = await reader.command_answer(number)
    assert answer is not None
    assert (answer["ok"], answer["code"]) == (False, "corrupt-record")
    shown = await reader.saga_commands("trip-7")
    assert [command.number for command in shown] == [number, sound]
    assert shown[0].answer == answer


async def test_a_damaged_answer_is_told_as_such(
    ours: Coordinator, admin: Any, server_prefix: str
) -> None:
    number = await ours.store.post_command(command_of("trip-7"))
    await ours.store.answer_command(number, {"ok": True})
    await admin.hset(f"{server_prefix}:answer", str(number), "12345678 {}")
    with pytest.raises(CorruptRecordError, match=f"command {number}"):
        await ours.store.command_answer(number)
    (shown,) = await ours.store.saga_commands("trip-7")
    assert shown.answer is not None
    assert shown.answer["ok"] is False


async def test_old_answers_are_dropped_with_all_that_belongs_to_them(
    ours: Coordinator,
    admin: Any,
    server_prefix: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("fsm_saga.stores.redis_store.ANSWERED_COMMANDS_MAX", 3)
    await ours.store.append(append_of("other", 0, submitted("other")))
    numbers = []
    for _ in range(6):
        number = await ours.store.post_command(command_of("trip-7"))
        numbers.append(number)
        await ours.store.answer_command(number, {"ok": True})
    assert [c.number for c in await ours.store.saga_commands("trip-7")] == numbers[3:]
    assert await ours.store.command_answer(numbers[0]) is None
    for key in ("command", "answer"):
        assert await admin.hlen(f"{server_prefix}:{key}") == 3
    for key in ("answered", "of-saga:trip-7"):
        assert await admin.zcard(f"{server_prefix}:{key}") == 3


async def test_a_removed_saga_leaves_no_key(
    ours: Coordinator, admin: Any, server_prefix: str
) -> None:
    number = await ours.store.post_command(command_of("trip-7"))
    await ours.store.answer_command(number, {"ok": True})
    await ours.store.append(append_of("trip-7", 3, state="DONE"))
    before = {key.decode() for key in await admin.keys(f"{server_prefix}:*")}
    await ours.store.remove("trip-7")
    after = {key.decode() for key in await admin.keys(f"{server_prefix}:*")}
    fixed = {"meta", "epoch", "leaders", "commits", "members", "sagas", "commands", "removals:0"}
    member = f"member:{ours.seat.member_id}"
    assert after == {f"{server_prefix}:{name}" for name in fixed | {member}}
    assert after - {f"{server_prefix}:removals:0"} < before


async def test_of_a_removed_saga_s_commands_those_stay_that_somebody_waits_for(
    ours: Coordinator, admin: Any, server_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until as many later ones were answered as are kept."""
    monkeypatch.setattr("fsm_saga.stores.redis_store.ANSWERED_COMMANDS_MAX", 3)
    answered, waits = [await ours.store.post_command(command_of("trip-7")) for _ in range(2)]
    await ours.store.answer_command(answered, {"ok": True})
    await ours.store.append(append_of("trip-7", 3, state="DONE"))
    await ours.store.remove("trip-7")
    for key in ("command", "answer"):
        assert [int(name) for name in await admin.hkeys(f"{server_prefix}:{key}")] == [waits]
    assert not await admin.keys(f"{server_prefix}:*trip-7")
    assert not await admin.exists(f"{server_prefix}:pending:0")
    for _ in range(4):
        number = await ours.store.post_command(command_of("trip-8"))
        await ours.store.answer_command(number, {"ok": True})
    assert await ours.store.command_answer(waits) is None
    assert await admin.hlen(f"{server_prefix}:command") == 3
