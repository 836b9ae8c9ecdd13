"""The habits of gRPC's streams, and what is made of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import grpc
import grpc.aio
import pytest

from fsm_saga.etcd import messages as pb
from fsm_saga.etcd.data import WatchRequest
from fsm_saga.etcd.errors import (
    EtcdError,
    EtcdUnavailableError,
    PermissionDeniedError,
    UnauthenticatedError,
)
from fsm_saga.etcd.streams import WatchCall, keep_alive_once, open_watch_call

CREATED = pb.WatchResponse(header=pb.ResponseHeader(revision=7), created=True)
REQUEST = WatchRequest(key=b"k", revision=3)


def failure(code: grpc.StatusCode, details: str = "") -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), details)


class Stream:
    """A stream that answers as told; an exception is raised, silence lasts."""

    def __init__(self, *answers: Any, write_error: Exception | None = None) -> None:
        self.answers = list(answers)
        self.write_error = write_error
        self.written: list[Any] = []
        self.is_cancelled = False

    async def write(self, message: Any) -> None:
        if self.write_error is not None:
            raise self.write_error
        self.written.append(message)

    async def done_writing(self) -> None:
        return

    async def read(self) -> Any:
        if not self.answers:
            await asyncio.sleep(60)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def cancel(self) -> None:
        self.is_cancelled = True


class Seen:
    """What the endpoint of a watch was told of it."""

    def __init__(self) -> None:
        self.failures = 0
        self.answers = 0
        self.renewals = 0

    def failed(self) -> None:
        self.failures += 1

    def answered(self) -> None:
        self.answers += 1

    async def renew(self) -> None:
        self.renewals += 1


@pytest.fixture
def seen() -> Seen:
    return Seen()


def call_of(stream: Stream, seen: Seen, *, has_user: bool = False) -> WatchCall:
    return WatchCall(
        stream,
        address="e:1",
        on_failure=seen.failed,
        on_answer=seen.answered,
        renew_token=seen.renew if has_user else None,
    )


async def opened(stream: Stream, seen: Seen, *, timeout_s: float = 1.0) -> int:
    async def start() -> WatchCall:
        return call_of(stream, seen)

    async with open_watch_call(start, REQUEST, timeout_s) as watch:
        return watch.created_revision


async def test_a_watch_is_there_once_etcd_says_so_and_ends_with_its_context(seen: Seen) -> None:
    stream = Stream(CREATED)
    assert await opened(stream, seen) == 7
    assert stream.written[0].create_request.start_revision == 3
    assert stream.is_cancelled
    assert (seen.answers, seen.failures) == (1, 0)


async def test_an_endpoint_that_does_not_open_a_watch_in_time_has_failed(seen: Seen) -> None:
    stream = Stream()
    with pytest.raises(EtcdUnavailableError, match=r"within 0\.005 s"):
        await opened(stream, seen, timeout_s=0.005)
    assert seen.failures == 1
    assert stream.is_cancelled


@pytest.mark.parametrize(
    ("answer", "kind", "failures"),
    [
        (failure(grpc.StatusCode.UNAVAILABLE, "Socket closed"), EtcdUnavailableError, 1),
        (failure(grpc.StatusCode.CANCELLED), EtcdUnavailableError, 1),
        (
            failure(grpc.StatusCode.PERMISSION_DENIED, "etcdserver: permission denied"),
            PermissionDeniedError,
            0,
        ),
        (grpc.aio.EOF, EtcdUnavailableError, 1),
        (
            pb.WatchResponse(canceled=True, cancel_reason="etcdserver: permission denied"),
            PermissionDeniedError,
            0,
        ),
        (pb.WatchResponse(canceled=True), EtcdUnavailableError, 1),
    ],
)
async def test_each_end_of_a_stream_is_told_as_what_it_means(
    seen: Seen, answer: object, kind: type[EtcdError], failures: int
) -> None:
    call = call_of(Stream(CREATED, answer), seen)
    await call.create(REQUEST)
    with pytest.raises(kind):
        await call.read()
    assert seen.failures == failures
    with pytest.raises(kind):
        await opened(Stream(answer), Seen())


async def test_a_stream_that_we_have_ended_is_no_fault_of_the_endpoint(seen: Seen) -> None:
    call = call_of(Stream(CREATED, failure(grpc.StatusCode.CANCELLED)), seen)
    await call.create(REQUEST)
    call.close()
    with pytest.raises(EtcdUnavailableError):
        await call.read()
    assert seen.failures == 0


async def test_compaction_is_an_answer_and_no_refusal(seen: Seen) -> None:
    call = call_of(Stream(CREATED, pb.WatchResponse(canceled=True, compact_revision=5)), seen)
    await call.create(REQUEST)
    assert (await call.read()).compact_revision == 5


@pytest.mark.parametrize(
    "error", [asyncio.InvalidStateError(), failure(grpc.StatusCode.UNAVAILABLE)]
)
async def test_to_write_to_a_stream_that_has_ended_says_that_it_has(
    seen: Seen, error: Exception
) -> None:
    stream = Stream(CREATED)
    call = call_of(stream, seen)
    await call.create(REQUEST)
    await call.request_progress()
    assert stream.written[1].WhichOneof("request_union") == "progress_request"
    stream.write_error = error
    with pytest.raises(EtcdUnavailableError):
        await call.request_progress()
    assert seen.failures == 1


async def test_a_token_that_expired_is_renewed_and_the_watch_is_to_be_opened_again(
    seen: Seen,
) -> None:
    refused = pb.WatchResponse(canceled=True, cancel_reason="etcdserver: invalid auth token")
    with pytest.raises(EtcdUnavailableError, match="It is renewed"):
        await call_of(Stream(refused), seen, has_user=True).create(REQUEST)
    assert (seen.renewals, seen.failures) == (1, 0)


async def test_without_a_user_a_refused_token_is_the_end(seen: Seen) -> None:
    refused = pb.WatchResponse(canceled=True, cancel_reason="etcdserver: invalid auth token")
    with pytest.raises(UnauthenticatedError):
        await call_of(Stream(refused), seen).create(REQUEST)


def starting(stream: Stream) -> Callable[..., Stream]:
    return lambda **_: stream


async def test_a_lease_is_renewed_by_a_stream_that_ends_at_once() -> None:
    stream = Stream(pb.LeaseKeepAliveResponse(TTL=9))
    answer = await keep_alive_once(starting(stream), pb.LeaseKeepAliveRequest(ID=1), 1.0, ())
    assert answer.TTL == 9
    assert stream.is_cancelled


@pytest.mark.parametrize(
    "stream", [Stream(grpc.aio.EOF), Stream(write_error=asyncio.InvalidStateError())]
)
async def test_a_renewal_without_an_answer_is_a_failure_of_the_endpoint(stream: Stream) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await keep_alive_once(starting(stream), pb.LeaseKeepAliveRequest(ID=1), 1.0, ())
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert stream.is_cancelled
