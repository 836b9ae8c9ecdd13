"""What a store in etcd gets over by itself: odd prefixes, damaged keys, answers that do not fit."""

from __future__ import annotations

import pytest

from fsm_saga.core.records import ActionSucceeded
from fsm_saga.errors import StoreError, StoreUnavailableError
from fsm_saga.etcd.errors import (
    CompactedError,
    EtcdError,
    InvalidRequestError,
    NotSentError,
    PermissionDeniedError,
    UnknownOutcomeError,
)
from fsm_saga.ports import Command, Member
from fsm_saga.stores.etcd_cluster import open_etcd_cluster
from fsm_saga.stores.etcd_layout import Layout
from tests.conformance.samples import STARTED_AT, append_of, submitted
from tests.conformance.server_backends import EtcdBackend
from tests.support.servers.etcd import EtcdServer


def succeeded(text: str) -> ActionSucceeded:
    return ActionSucceeded(
        at=STARTED_AT, step=0, output={"text": text}, undo_params=None, undo_error=None
    )


@pytest.mark.parametrize("below", ["live/trips", "prod/live", "done/live", "live", "done"])
async def test_a_saga_that_goes_on_after_its_end_is_unfinished_whatever_the_prefix_is_called(
    etcd: EtcdServer, server_prefix: str, below: str
) -> None:
    prefix = f"{server_prefix}/{below}"
    async with EtcdBackend(etcd, prefix).writer() as store:
        await store.append(append_of("trip", 0, submitted("trip")))
        await store.append(append_of("trip", 1, succeeded("a"), state="DONE"))
        await store.append(append_of("trip", 2, succeeded("b")))
        assert [head.saga_id for head in await store.heads(only_unfinished=True)] == ["trip"]
        assert etcd.keys(f"{prefix}/done/") == []
        await store.append(append_of("trip", 3, succeeded("c"), state="DONE"))
        await store.append(append_of("trip", 4, succeeded("came late"), state="DONE"))
        assert etcd.keys(f"{prefix}/live/") == []
        await store.remove("trip")
        assert await store.load("trip") is None


@pytest.mark.parametrize(
    ("kind", "is_passing"),
    [
        (NotSentError, True),
        (CompactedError, True),
        (UnknownOutcomeError, True),
        (PermissionDeniedError, False),
        (InvalidRequestError, False),
    ],
)
async def test_what_passes_by_itself_is_no_refusal(
    etcd: EtcdServer, server_prefix: str, kind: type[EtcdError], *, is_passing: bool
) -> None:
    cluster = await open_etcd_cluster(f"etcd://{etcd.address}/{server_prefix}", shards=1)
    try:
        error = cluster.link.failed("reading", kind("It was told to."))
    finally:
        await cluster.close()
    assert isinstance(error, StoreError)
    assert isinstance(error, StoreUnavailableError) is is_passing


async def test_a_leader_whose_key_is_damaged_hides_no_other_and_can_be_replaced(
    etcd: EtcdServer, server_prefix: str
) -> None:
    cluster = await open_etcd_cluster(f"etcd://{etcd.address}/{server_prefix}", shards=2)
    try:
        seat = await cluster.join(Member(member_id="a", name="a", started_at=0.0), ttl_s=5.0)
        terms = [await seat.campaign(shard) for shard in range(2)]
        assert terms[0] is not None
        etcd.put(Layout(f"{server_prefix}/").leader(0).decode(), "wrong")
        roster = await seat.roster()
        assert roster.leaders[0].member_id == ""
        assert roster.leaders[0].epoch == terms[0].epoch
        assert roster.leaders[1].member_id == "a"
        await seat.resign(terms[0])
        again = await seat.campaign(0)
        assert again is not None
        assert again.epoch > terms[0].epoch
    finally:
        await cluster.close()


async def test_an_answer_that_is_too_long_is_kept_shorter(
    etcd: EtcdServer, server_prefix: str
) -> None:
    async with EtcdBackend(etcd, server_prefix).writer() as store:
        body = {"plan": "x" * 1_000_000}
        number = await store.post_command(Command(saga_id="trip", kind="submit", body=body))
        problems = [{"code": "odd", "message": "y" * 1_000} for _ in range(1_000)]
        answer = {"ok": False, "code": "plan-refused", "message": "z" * 1_000_000}
        await store.answer_command(number, {**answer, "problems": problems})
        assert await store.pending_commands() == []
        found = await store.command_answer(number)
        assert found is not None
        assert (found["ok"], found["code"]) == (False, "plan-refused")
        assert found["message"].startswith("zzz")
