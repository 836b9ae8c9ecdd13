"""A command whose bytes are damaged is never carried out, and whoever left it is told."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import apsw
import pytest
import redis.asyncio as redis_py

from tests.conformance.backends import BACKENDS, Backend
from tests.conformance.samples import command_of, store_saga

Damage = Callable[[int], Awaitable[None]]


def _in_sqlite(directory: Path) -> Damage:
    async def damage(number: int) -> None:
        connection = apsw.Connection(str(directory / "sagas.db"))
        connection.execute("UPDATE commands SET body = x'7b' WHERE number = ?", (number,))
        connection.close()

    return damage


def _in_etcd(server: Any, prefix: str) -> Damage:
    async def damage(number: int) -> None:
        key = b64encode(f"{prefix}/commands/{number:020}".encode()).decode()
        (found,) = server.call("kv/range", {"key": key})["kvs"]
        value = bytearray(b64decode(found["value"]))
        value[len(value) // 2] ^= 1
        server.call("kv/put", {"key": key, "value": b64encode(value).decode()})

    return damage


def _in_redis(server: Any, prefix: str) -> Damage:
    async def damage(number: int) -> None:
        async with redis_py.Redis.from_url(server.url) as client:
            asked: Any = client.hset(f"{prefix}:command", str(number), b"\xff\x00 torn")
            await asked

    return damage


@pytest.fixture(params=["sqlite", "etcd", "etcd3", "redis"])
def damaged_at(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Backend, Damage]]:
    """Give a place for stores, and what damages a command there."""
    with ExitStack() as stack:
        place = stack.enter_context(BACKENDS[request.param](request, tmp_path))
        if request.param == "sqlite":
            yield place, _in_sqlite(tmp_path)
            return
        server = request.getfixturevalue(request.param.removesuffix("3"))
        damage = _in_redis if request.param == "redis" else _in_etcd
        yield place, damage(server, request.getfixturevalue("server_prefix"))


async def test_a_damaged_command_is_refused_by_its_writer(
    damaged_at: tuple[Backend, Damage],
) -> None:
    backend, damage = damaged_at
    async with backend.writer() as writer:
        await store_saga(writer, "trip-7")
    async with backend.reader() as asker:
        torn = await asker.post_command(command_of("trip-7", by="Ann"))
        sound = await asker.post_command(command_of("trip-7", by="Bob"))
        await damage(torn)
        assert [command.number for command in await asker.pending_commands()] == [sound]
        async with backend.writer() as writer:
            assert [command.number for command in await writer.pending_commands()] == [sound]
            answer = await asker.command_answer(torn)
            assert answer is not None
            assert (answer["ok"], answer["code"]) == (False, "corrupt-record")
            assert f"Command {torn} was refused" in answer["message"]
            shown = await asker.saga_commands("trip-7")
            assert [(c.number, c.saga_id, c.answer) for c in shown] == [
                (torn, "trip-7", answer),
                (sound, "trip-7", None),
            ]
            await writer.answer_command(sound, {"ok": True})
            assert list(await writer.pending_commands()) == []


async def test_a_damaged_command_goes_with_its_saga(damaged_at: tuple[Backend, Damage]) -> None:
    backend, damage = damaged_at
    async with backend.writer() as writer:
        await store_saga(writer, "trip-7", state="DONE")
        torn = await writer.post_command(command_of("trip-7"))
        await damage(torn)
        await writer.remove("trip-7")
        assert list(await writer.pending_commands()) == []
        assert await writer.load("trip-7") is None
        answer = await writer.command_answer(torn)
        assert answer is not None
        assert answer["code"] == "unknown-saga"
