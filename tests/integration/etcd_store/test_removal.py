"""What of a command stays in etcd when its saga goes, or was never there: nothing for ever."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from typing import Any

import pytest

from fsm_saga.errors import ConflictError, StoreError
from fsm_saga.ports import Store
from tests.conformance.samples import append_of, command_of, store_saga
from tests.conformance.server_backends import EtcdBackend
from tests.support.servers.etcd import EtcdServer


@pytest.fixture
async def store(etcd: EtcdServer, server_prefix: str) -> AsyncIterator[Store]:
    async with EtcdBackend(etcd, server_prefix).writer() as opened:
        yield opened


def leases_below(server: EtcdServer, prefix: str) -> dict[str, int]:
    """Return the lease of each key that does not belong to the cluster; 0 for one without."""
    key, end = (base64.b64encode(text.encode()).decode() for text in (f"{prefix}/", f"{prefix}0"))
    found = server.call("kv/range", {"key": key, "range_end": end}).get("kvs", [])
    leases = {base64.b64decode(kv["key"]).decode(): int(kv.get("lease", 0)) for kv in found}
    below = {key.removeprefix(f"{prefix}/"): lease for key, lease in leases.items()}
    return {key: lease for key, lease in below.items() if not key.startswith(("cluster/", "meta"))}


async def test_what_is_left_of_a_decision_after_its_saga_goes_by_itself(
    store: Store, etcd: EtcdServer, server_prefix: str
) -> None:
    await store_saga(store, "trip-7", state="DONE")
    answered = await store.post_command(command_of("trip-7"))
    await store.answer_command(answered, {"ok": True})
    waiting = [await store.post_command(command_of("trip-7")) for _ in range(2)]
    await store.remove("trip-7")
    left = leases_below(etcd, server_prefix)
    assert sorted(left) == [f"commands/{number:020}" for number in waiting]
    assert all(left.values())
    assert len(set(left.values())) == 1, "each has taken a lease of its own"


async def test_a_decision_that_comes_while_its_saga_is_removed_is_answered_too(
    store: Store, etcd: EtcdServer, server_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store_saga(store, "trip-7", state="DONE")
    first = await store.post_command(command_of("trip-7"))
    commands: Any = getattr(store, "_commands")  # noqa: B009  # of this store alone
    clear = commands.clear
    late: list[int] = []

    async def clear_and_post(*arguments: Any) -> None:
        await clear(*arguments)
        if len(late) < 2:
            late.append(await store.post_command(command_of("trip-7")))

    monkeypatch.setattr(commands, "clear", clear_and_post)
    await store.remove("trip-7")
    assert await store.load("trip-7") is None
    for number in (first, *late):
        answer = await store.command_answer(number)
        assert answer is not None
        assert "'trip-7' was removed" in answer["message"]
    left = leases_below(etcd, server_prefix)
    assert sorted(left) == [f"commands/{number:020}" for number in (first, *late)]
    assert all(left.values())


async def test_a_saga_of_which_something_is_asked_again_and_again_is_not_removed_then(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store_saga(store, "trip-7", state="DONE")
    commands: Any = getattr(store, "_commands")  # noqa: B009  # of this store alone
    clear = commands.clear

    async def clear_and_post(*arguments: Any) -> None:
        await clear(*arguments)
        await store.post_command(command_of("trip-7"))

    monkeypatch.setattr(commands, "clear", clear_and_post)
    with pytest.raises(ConflictError, match="again and again"):
        await store.remove("trip-7")
    assert len(await store.load("trip-7") or ()) == 3
    monkeypatch.undo()
    await store.remove("trip-7")
    assert await store.load("trip-7") is None


async def test_an_answer_about_a_saga_that_is_not_there_goes_by_itself(
    store: Store, etcd: EtcdServer, server_prefix: str
) -> None:
    for _ in range(2):
        number = await store.post_command(command_of("trip-9"))
        await store.answer_command(number, {"ok": False, "message": "no such saga"})
    left = leases_below(etcd, server_prefix)
    assert len(left) == 4
    assert len(set(left.values())) == 1
    assert all(left.values())


async def test_a_lease_for_answers_that_ended_too_soon_is_taken_anew(
    store: Store, etcd: EtcdServer, server_prefix: str
) -> None:
    first = await store.post_command(command_of("trip-9"))
    await store.answer_command(first, {"ok": False})
    (lease,) = set(leases_below(etcd, server_prefix).values())
    etcd.call("lease/revoke", {"ID": str(lease)})
    assert await store.command_answer(first) is None
    second = await store.post_command(command_of("trip-9"))
    with pytest.raises(StoreError, match="lease"):
        await store.answer_command(second, {"ok": False})
    await store.answer_command(second, {"ok": False})
    assert await store.command_answer(second) == {"ok": False}


async def test_an_answer_about_a_saga_that_is_there_stays_with_it(
    store: Store, etcd: EtcdServer, server_prefix: str
) -> None:
    number = await store.post_command(command_of("trip-7"))
    await store.append(append_of("trip-7", 0))
    await store.answer_command(number, {"ok": True})
    left = leases_below(etcd, server_prefix)
    assert set(left.values()) == {0}
    assert f"commands/{number:020}" in left


async def test_a_mark_without_a_command_keeps_nobody_busy(
    store: Store, etcd: EtcdServer, server_prefix: str
) -> None:
    etcd.put(f"{server_prefix}/pending/0000/{7:020}", "")
    etcd.put(f"{server_prefix}/pending/0000/odd", "")
    assert list(await store.pending_commands()) == []
    assert etcd.keys(f"{server_prefix}/pending/") == [f"{server_prefix}/pending/0000/odd"]
