"""What lies in etcd: large appends in pieces, and damage that is never taken for truth."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator

import pytest

from fsm_saga.core.records import ActionSucceeded
from fsm_saga.errors import CorruptRecordError
from fsm_saga.ports import Command, Store
from fsm_saga.stores.heads import DAMAGED
from tests.conformance.samples import STARTED_AT, append_of, submitted
from tests.conformance.server_backends import EtcdBackend
from tests.support.servers.etcd import EtcdServer


@pytest.fixture
async def store(etcd: EtcdServer, server_prefix: str) -> AsyncIterator[Store]:
    async with EtcdBackend(etcd, server_prefix).writer() as opened:
        yield opened


def raw(server: EtcdServer, prefix: str) -> dict[str, bytes]:
    """Return what is below a prefix, as bytes."""
    end = prefix[:-1] + chr(ord(prefix[-1]) + 1)
    asked = {"key": _b64(prefix.encode()), "range_end": _b64(end.encode())}
    found = server.call("kv/range", asked).get("kvs", [])
    return {
        base64.b64decode(kv["key"]).decode(): base64.b64decode(kv.get("value", "")) for kv in found
    }


def put(server: EtcdServer, key: str, value: bytes) -> None:
    server.call("kv/put", {"key": _b64(key.encode()), "value": _b64(value)})


def _b64(value: bytes) -> str:
    return base64.b64encode(value).decode()


def succeeded(text: str) -> ActionSucceeded:
    return ActionSucceeded(
        at=STARTED_AT, step=0, output={"text": text}, undo_params=None, undo_error=None
    )


async def test_an_append_larger_than_any_request_is_kept_in_pieces_and_removed_with_them(
    store: Store, etcd: EtcdServer, server_prefix: str
) -> None:
    large = succeeded("x" * 3_000_000)
    await store.append(append_of("trip", 0, submitted("trip")))
    await store.append(append_of("trip", 1, large, state="DONE"))
    assert await store.load("trip") == (submitted("trip"), large)
    parts = raw(etcd, f"{server_prefix}/journal-parts/")
    assert len(parts) == 6
    assert max(len(value) for value in parts.values()) < 600_000
    await store.remove("trip")
    below = raw(etcd, f"{server_prefix}/")
    assert {key.split("/")[1] for key in below} == {"meta", "cluster"}


async def test_a_piece_that_is_missing_or_wrong_is_told_and_harms_no_other_saga(
    store: Store, etcd: EtcdServer, server_prefix: str
) -> None:
    for saga_id in ("trip", "other"):
        await store.append(append_of(saga_id, 0, submitted(saga_id)))
        await store.append(append_of(saga_id, 1, succeeded(saga_id * 500_000)))
    parts = raw(etcd, f"{server_prefix}/journal-parts/trip/")
    key, value = next(iter(parts.items()))
    put(etcd, key, value[:-1] + b"?")
    with pytest.raises(CorruptRecordError, match="trip"):
        await store.load("trip")
    etcd.call("kv/deleterange", {"key": _b64(key.encode())})
    with pytest.raises(CorruptRecordError, match="a piece of it is missing"):
        await store.load("trip")
    journal = await store.load("other")
    assert journal is not None
    assert len(journal) == 2


async def test_every_flipped_byte_of_a_journal_is_noticed(
    store: Store, etcd: EtcdServer, server_prefix: str
) -> None:
    await store.append(append_of("trip", 0, submitted("trip")))
    ((key, value),) = raw(etcd, f"{server_prefix}/journal/").items()
    for at in range(len(value)):
        put(etcd, key, value[:at] + bytes([value[at] ^ 1]) + value[at + 1 :])
        with pytest.raises(CorruptRecordError):
            await store.load("trip")
    put(etcd, key, value)
    assert await store.load("trip") == (submitted("trip"),)


async def test_a_value_that_turns_up_under_another_key_is_noticed(
    store: Store, etcd: EtcdServer, server_prefix: str
) -> None:
    for saga_id in ("trip", "other"):
        await store.append(append_of(saga_id, 0, submitted(saga_id)))
    values = raw(etcd, f"{server_prefix}/journal/")
    trip, other = sorted(values, reverse=True)
    put(etcd, trip, values[other])
    with pytest.raises(CorruptRecordError, match="trip"):
        await store.load("trip")


async def test_an_entry_that_is_gone_is_noticed(
    store: Store, etcd: EtcdServer, server_prefix: str
) -> None:
    for position in range(3):
        records = (submitted("trip"),) if position == 0 else ()
        await store.append(append_of("trip", position, *records))
    keys = sorted(raw(etcd, f"{server_prefix}/journal/"))
    etcd.call("kv/deleterange", {"key": _b64(keys[1].encode())})
    with pytest.raises(CorruptRecordError, match="damaged at position 1"):
        await store.load("trip")


async def test_a_head_that_cannot_be_read_is_made_from_the_journal_or_shown_as_damaged(
    store: Store, etcd: EtcdServer, server_prefix: str
) -> None:
    await store.append(append_of("trip", 0, submitted("trip"), state="PENDING"))
    right = await store.head("trip")
    ((live, value),) = raw(etcd, f"{server_prefix}/live/").items()
    put(etcd, live, b"00000000 7")
    found = await store.head("trip")
    assert right is not None
    assert found is not None
    assert (found.state, found.position) == (right.state, right.position)
    put(etcd, live, value)
    ((entry, value),) = raw(etcd, f"{server_prefix}/journal/").items()
    put(etcd, entry, b"")
    (head,) = await store.heads()
    assert (head.saga_id, head.state) == ("trip", DAMAGED)


async def test_a_command_that_cannot_be_read_is_told_and_hides_no_other(
    store: Store, etcd: EtcdServer, server_prefix: str
) -> None:
    number = await store.post_command(Command(saga_id="trip", kind="cancel", body={"by": "me"}))
    ((key, value),) = raw(etcd, f"{server_prefix}/commands/").items()
    put(etcd, key, value.replace(b"cancel", b"cancal"))
    with pytest.raises(CorruptRecordError, match=f"Command {number}"):
        await store.command_answer(number)
    # It keeps nobody from the commands beside it.
    sound = await store.post_command(Command(saga_id="trip", kind="cancel", body={"by": "me"}))
    assert [command.number for command in await store.saga_commands("trip")] == [number, sound]
    assert [command.number for command in await store.pending_commands()] == [sound]


async def test_ids_of_every_kind_stay_apart(store: Store) -> None:
    ids = ["a", "a/b", "a/b/0000000001", "a%2Fb", "é ü", "..", "a/", "journal", "*", "\x00"]
    for saga_id in ids:
        await store.append(append_of(saga_id, 0, submitted(saga_id)))
    for saga_id in ids:
        assert await store.load(saga_id) == (submitted(saga_id),)
    assert {head.saga_id for head in await store.heads()} == set(ids)
    assert {head.saga_id for head in await store.heads(only_unfinished=True)} == set(ids)
