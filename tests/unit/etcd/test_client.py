"""What is repeated, what never is, and how long a call takes at most."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import grpc.aio
import pytest

from fsm_saga.etcd import messages as pb
from fsm_saga.etcd.channel import EtcdOptions
from fsm_saga.etcd.client import EtcdClient
from fsm_saga.etcd.data import Delete, Put, Range, Txn
from fsm_saga.etcd.errors import (
    EtcdUnavailableError,
    ForeignClusterError,
    LeaseNotFoundError,
    NothingWrittenError,
    NotSentError,
    UnauthenticatedError,
    UnknownOutcomeError,
)

Code = grpc.StatusCode


class Wire:
    """Answers calls in the place of the endpoints; notes each."""

    def __init__(self, client: EtcdClient) -> None:
        self.made: list[tuple[str, str]] = []
        self.tokens: list[str | None] = []
        self.timeouts: list[float] = []
        self.answer: Callable[[str, str], Any] = lambda endpoint, name: pb.PutResponse()
        for endpoint in client._endpoints.all:
            for name in endpoint.calls:
                endpoint.calls[name] = self._call(endpoint.address, name)

    def _call(self, endpoint: str, name: str) -> Any:
        async def call(message: Any, *, timeout: float, metadata: Any) -> Any:  # noqa: ASYNC109
            self.made.append((endpoint, name))
            self.tokens.append(dict(metadata).get("token"))
            self.timeouts.append(timeout)
            await asyncio.sleep(0)
            answer = self.answer(endpoint, name)
            if isinstance(answer, Exception):
                raise answer
            return answer

        return call

    @property
    def endpoints(self) -> list[str]:
        return [endpoint for endpoint, _ in self.made]


def failure(code: grpc.StatusCode, details: str = "") -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), details)


@pytest.fixture
async def client() -> AsyncIterator[EtcdClient]:
    options = EtcdOptions(endpoints=("a:1", "b:1", "c:1"), budget_s=0.2, try_timeout_s=0.1)
    async with EtcdClient(options) as client:
        yield client


@pytest.fixture
def wire(client: EtcdClient) -> Wire:
    return Wire(client)


async def test_a_read_goes_on_to_the_endpoint_that_answers(client: EtcdClient, wire: Wire) -> None:
    wire.answer = lambda endpoint, _: (
        pb.RangeResponse(count=7) if endpoint == "c:1" else failure(Code.UNAVAILABLE)
    )
    assert (await client.range(Range(key=b"k"))).count == 7
    assert wire.endpoints == ["a:1", "b:1", "c:1"]
    await client.range(Range(key=b"k"))
    assert wire.endpoints[3:] == ["c:1"]


@pytest.mark.parametrize("code", [Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED, Code.CANCELLED])
async def test_a_write_is_sent_once_and_the_next_call_goes_elsewhere(
    client: EtcdClient, wire: Wire, code: grpc.StatusCode
) -> None:
    wire.answer = lambda endpoint, _: failure(code, "gone")
    for write in (
        client.put(Put(key=b"k", value=b"")),
        client.delete(Delete(key=b"k")),
        client.txn(Txn()),
    ):
        with pytest.raises(UnknownOutcomeError):
            await write
    assert wire.endpoints == ["a:1", "b:1", "c:1"]
    for other in (client.compact(5), client.grant_lease(5), client.revoke_lease(5)):
        wire.made.clear()
        with pytest.raises(UnknownOutcomeError):
            await other
        assert len(wire.made) == 1


async def test_a_refusal_is_believed_and_moves_nobody(client: EtcdClient, wire: Wire) -> None:
    wire.answer = lambda endpoint, _: failure(
        Code.NOT_FOUND, "etcdserver: requested lease not found"
    )
    with pytest.raises(LeaseNotFoundError):
        await client.put(Put(key=b"k", value=b"", lease=5))
    with pytest.raises(NothingWrittenError):
        await client.range(Range(key=b"k"))
    assert wire.endpoints == ["a:1", "a:1"]


async def test_a_read_ends_within_its_time_when_nobody_answers(
    client: EtcdClient, wire: Wire
) -> None:
    wire.answer = lambda endpoint, _: failure(Code.UNAVAILABLE, "refused")
    began = asyncio.get_running_loop().time()
    with pytest.raises(EtcdUnavailableError, match="refused"):
        await client.range(Range(key=b"k"))
    assert asyncio.get_running_loop().time() - began < 1
    assert set(wire.endpoints) == {"a:1", "b:1", "c:1"}
    assert max(wire.timeouts) <= 0.1
    wire.timeouts.clear()
    with pytest.raises(EtcdUnavailableError):
        await client.range(Range(key=b"k"), timeout_s=0.02)
    assert max(wire.timeouts) <= 0.02


async def test_the_time_of_a_write_is_that_of_one_try_unless_it_is_said(
    client: EtcdClient, wire: Wire
) -> None:
    wire.answer = lambda endpoint, name: pb.TxnResponse()
    await client.txn(Txn())
    await client.txn(Txn(), timeout_s=7)
    assert wire.timeouts == [0.1, 7]


async def test_a_lease_that_has_no_time_left_has_ended(client: EtcdClient, wire: Wire) -> None:
    class Stream:
        async def write(self, message: Any) -> None:
            return

        async def done_writing(self) -> None:
            return

        async def read(self) -> Any:
            return pb.LeaseKeepAliveResponse(ID=5, TTL=0)

        def cancel(self) -> bool:
            return True

    for endpoint in client._endpoints.all:
        endpoint.calls["Lease.LeaseKeepAlive"] = lambda **_: Stream()
    with pytest.raises(LeaseNotFoundError):
        await client.keep_lease_alive(5)


@pytest.fixture
async def user() -> AsyncIterator[EtcdClient]:
    options = EtcdOptions(endpoints=("a:1", "b:1"), user="u", password="p", budget_s=0.2)
    async with EtcdClient(options) as client:
        yield client


async def test_a_write_whose_token_had_expired_is_sent_again_with_a_new_one(
    user: EtcdClient,
) -> None:
    wire = Wire(user)
    tokens = iter(["one", "two"])
    refused = failure(Code.UNAUTHENTICATED, "etcdserver: invalid auth token")

    def answer(endpoint: str, name: str) -> Any:
        if name == "Auth.Authenticate":
            return pb.AuthenticateResponse(token=next(tokens))
        return refused if wire.tokens[-1] == "one" else pb.TxnResponse(succeeded=True)

    wire.answer = answer
    assert (await user.txn(Txn())).succeeded
    assert [name for _, name in wire.made] == [
        "Auth.Authenticate",
        "KV.Txn",
        "Auth.Authenticate",
        "KV.Txn",
    ]
    assert wire.tokens == [None, "one", None, "two"]


async def test_a_new_token_that_is_refused_too_is_the_end(user: EtcdClient) -> None:
    wire = Wire(user)
    refused = failure(Code.UNAUTHENTICATED, "etcdserver: invalid auth token")
    wire.answer = lambda _, name: (
        pb.AuthenticateResponse(token="t") if name == "Auth.Authenticate" else refused
    )
    with pytest.raises(UnauthenticatedError):
        await user.txn(Txn())
    assert [name for _, name in wire.made].count("KV.Txn") == 2


async def test_a_wrong_password_is_asked_for_once_and_told_without_it(user: EtcdClient) -> None:
    wire = Wire(user)
    wire.answer = lambda *_: failure(
        Code.INVALID_ARGUMENT, "etcdserver: authentication failed, invalid user ID or password"
    )
    with pytest.raises(UnauthenticatedError) as caught:
        await user.range(Range(key=b"k"))
    assert [name for _, name in wire.made] == ["Auth.Authenticate"]
    assert "'u'" in str(caught.value)


async def test_a_write_that_gets_no_token_is_not_sent_and_says_so(user: EtcdClient) -> None:
    wire = Wire(user)
    wire.answer = lambda *_: failure(Code.UNAVAILABLE, "away")
    with pytest.raises(NotSentError, match="a transaction of 0 operations was not sent"):
        await user.txn(Txn())
    assert {name for _, name in wire.made} == {"Auth.Authenticate"}
    with pytest.raises(EtcdUnavailableError):
        await user.range(Range(key=b"k"))


async def test_a_token_is_had_from_the_endpoint_that_answers(user: EtcdClient) -> None:
    wire = Wire(user)
    wire.answer = lambda endpoint, name: (
        failure(Code.UNAVAILABLE)
        if endpoint == "a:1"
        else pb.AuthenticateResponse(token="t")
        if name == "Auth.Authenticate"
        else pb.RangeResponse(count=1)
    )
    assert (await user.range(Range(key=b"k"))).count == 1
    assert wire.tokens[-1] == "t"


async def test_where_no_password_is_asked_for_no_token_is_sent(user: EtcdClient) -> None:
    wire = Wire(user)
    wire.answer = lambda _, name: (
        failure(Code.FAILED_PRECONDITION, "etcdserver: authentication is not enabled")
        if name == "Auth.Authenticate"
        else pb.RangeResponse()
    )
    await user.range(Range(key=b"k"))
    await user.range(Range(key=b"k"))
    assert [name for _, name in wire.made] == ["Auth.Authenticate", "KV.Range", "KV.Range"]


OURS, THEIRS = pb.ResponseHeader(cluster_id=7), pb.ResponseHeader(cluster_id=8)


def answers(headers: dict[str, Any]) -> Callable[[str, str], Any]:
    """Return what answers each call with the header, or the failure, of the endpoint."""
    kinds: dict[str, Any] = {
        "KV.Range": pb.RangeResponse,
        "KV.Put": pb.PutResponse,
        "Maintenance.Status": pb.StatusResponse,
    }

    def answer(endpoint: str, name: str) -> Any:
        header = headers[endpoint]
        return header if isinstance(header, Exception) else kinds[name](header=header)

    return answer


async def test_an_answer_of_another_cluster_is_none_and_its_endpoint_is_left_alone(
    client: EtcdClient, wire: Wire
) -> None:
    wire.answer = answers({"a:1": OURS, "b:1": THEIRS, "c:1": OURS})
    await client.range(Range(key=b"k"))
    wire.answer = answers({"a:1": failure(Code.UNAVAILABLE), "b:1": THEIRS, "c:1": OURS})
    await client.range(Range(key=b"k"))
    await client.range(Range(key=b"k"))
    assert wire.endpoints == ["a:1", "a:1", "b:1", "c:1", "c:1"]


async def test_a_write_is_sent_where_the_cluster_is_known_to_be_ours(
    client: EtcdClient, wire: Wire
) -> None:
    wire.answer = answers({"a:1": OURS, "b:1": THEIRS, "c:1": OURS})
    await client.range(Range(key=b"k"))
    wire.answer = answers({"a:1": failure(Code.UNAVAILABLE), "b:1": THEIRS, "c:1": OURS})
    wire.made.clear()
    await client.put(Put(key=b"k", value=b""))
    status = "Maintenance.Status"
    assert wire.made == [("a:1", status), ("b:1", status), ("c:1", status), ("c:1", "KV.Put")]


async def test_where_only_strangers_answer_nothing_is_read_or_written(
    client: EtcdClient, wire: Wire
) -> None:
    wire.answer = answers({"a:1": OURS})
    await client.range(Range(key=b"k"))
    wire.answer = answers({"a:1": THEIRS, "b:1": THEIRS, "c:1": THEIRS})
    wire.made.clear()
    for _ in range(2):
        with pytest.raises(ForeignClusterError, match="belongs to the cluster 8") as caught:
            await client.put(Put(key=b"k", value=b""))
        assert (caught.value.facts["found"], caught.value.facts["known"]) == (8, 7)
    assert "KV.Put" not in [name for _, name in wire.made]
    with pytest.raises(ForeignClusterError):
        await client.range(Range(key=b"k"))


async def test_a_stranger_beside_members_that_are_away_is_a_passing_trouble(
    client: EtcdClient, wire: Wire
) -> None:
    wire.answer = answers({"a:1": OURS})
    await client.range(Range(key=b"k"))
    away = failure(Code.UNAVAILABLE)
    wire.answer = answers({"a:1": away, "b:1": THEIRS, "c:1": away})
    wire.made.clear()
    with pytest.raises(EtcdUnavailableError):
        await client.range(Range(key=b"k"))
    with pytest.raises(UnknownOutcomeError):
        await client.put(Put(key=b"k", value=b""))
    assert "KV.Put" not in [name for _, name in wire.made]


async def test_statuses_tell_strangers_as_they_are(client: EtcdClient, wire: Wire) -> None:
    wire.answer = answers({"a:1": OURS, "b:1": THEIRS, "c:1": failure(Code.UNAVAILABLE)})
    found = await client.statuses()
    assert [each.cluster_id for each in found] == [7, 8, 0]
    assert [each.problem is None for each in found] == [True, True, False]


async def test_each_endpoint_is_read_by_itself(client: EtcdClient, wire: Wire) -> None:
    wire.answer = answers({"a:1": OURS, "b:1": THEIRS, "c:1": failure(Code.UNAVAILABLE)})
    await client.range(Range(key=b"k"))
    found = await client.range_each(Range(key=b"k"))
    assert [(address, answer is None) for address, answer in found] == [
        ("a:1", False),
        ("b:1", True),
        ("c:1", True),
    ]
