"""The two calls of etcd that are streams: a watch, and the renewal of a lease.

Streams of ``grpc.aio`` have two habits to be kept from the rest: writing to one that has broken
raises ``asyncio.InvalidStateError``, and to cancel a read ends the whole stream.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio

from fsm_saga.etcd import encode
from fsm_saga.etcd import messages as pb
from fsm_saga.etcd.auth import Metadata
from fsm_saga.etcd.channel import ENDPOINT_CODES
from fsm_saga.etcd.data import WatchAnswer, WatchRequest
from fsm_saga.etcd.errors import EtcdUnavailableError, NothingWrittenError
from fsm_saga.etcd.grpc_errors import describe, is_token_refused, read_error, refusal_of
from fsm_saga.etcd.transport import WatchStream

# A lease's stream ended without an answer and without an error.
_NO_ANSWER = "the stream ended without an answer"


async def keep_alive_once(call: Any, message: Any, try_s: float, metadata: Metadata) -> Any:
    """Renew a lease by a stream of its own, which may end at another member the next time.

    Raises:
        grpc.aio.AioRpcError: As for any call.
    """
    stream = call(timeout=try_s, metadata=metadata)
    try:
        await stream.write(message)
        await stream.done_writing()
        answer = await stream.read()
    except asyncio.InvalidStateError:
        answer = grpc.aio.EOF
    finally:
        stream.cancel()
    if answer is grpc.aio.EOF:
        raise grpc.aio.AioRpcError(
            grpc.StatusCode.UNAVAILABLE, grpc.aio.Metadata(), grpc.aio.Metadata(), _NO_ANSWER
        )
    return answer


class WatchCall:
    """One watch on one endpoint."""

    def __init__(
        self,
        call: Any,
        *,
        address: str,
        on_failure: Callable[[], None],
        on_answer: Callable[[], None],
        renew_token: Callable[[], Awaitable[None]] | None,
    ) -> None:
        self._call = call
        self._address = address
        self._on_failure = on_failure
        self._on_answer = on_answer
        self._renew_token = renew_token
        self._what = "a watch"
        self._is_closed = False
        self.created_revision = 0

    async def create(self, request: WatchRequest) -> None:
        """Ask for the watch and wait until etcd has it.

        Raises:
            EtcdUnavailableError: The endpoint failed, or a new token is needed and was fetched.
            NothingWrittenError: Etcd refuses the watch.
        """
        self._what = describe(request)
        await self._send(encode.watch_request(request))
        answer = await self._next()
        self.created_revision = answer.revision
        if answer.is_cancelled:
            await self._refuse(answer.reason)

    async def read(self) -> WatchAnswer:
        """Return the next answer."""
        answer = await self._next()
        if answer.is_cancelled and not answer.compact_revision:
            await self._refuse(answer.reason)
        return answer

    async def request_progress(self) -> None:
        """Ask for an answer now."""
        message = pb.WatchRequest()
        message.progress_request.SetInParent()
        await self._send(message)

    def report_silent(self) -> None:
        """Say that the endpoint does not answer."""
        self._on_failure()

    def close(self) -> None:
        """End the stream."""
        self._is_closed = True
        self._call.cancel()

    async def _next(self) -> WatchAnswer:
        try:
            message = await self._call.read()
        except grpc.aio.AioRpcError as error:
            raise self._broken(error) from error
        if message is grpc.aio.EOF:
            raise self._ended("the stream ended")
        self._on_answer()
        return encode.watch_answer(message)

    async def _send(self, message: pb.WatchRequest) -> None:
        try:
            await self._call.write(message)
        except grpc.aio.AioRpcError as error:
            raise self._broken(error) from error
        except asyncio.InvalidStateError as error:
            raise self._ended("the stream has ended") from error

    def _broken(self, error: grpc.aio.AioRpcError) -> Exception:
        # What we have ended ourselves is no fault of the endpoint.
        if error.code() in ENDPOINT_CODES and not self._is_closed:
            self._on_failure()
        details = error.details() or ""
        return read_error(error.code(), details, what=self._what, endpoint=self._address)

    def _ended(self, why: str) -> EtcdUnavailableError:
        self._on_failure()
        return EtcdUnavailableError(
            f"etcd broke off {self._what}: {why} at {self._address}. Nothing was to be written; "
            "open it again after the last revision that was seen.",
            endpoint=self._address,
        )

    async def _refuse(self, reason: str) -> None:
        if self._renew_token is not None and is_token_refused(reason):
            await self._renew_token()
            raise EtcdUnavailableError(
                f"etcd refused {self._what}: the token had expired. It is renewed; open the watch "
                "again.",
                endpoint=self._address,
            )
        refusal: NothingWrittenError | None = refusal_of(None, reason, what=self._what)
        raise refusal or self._ended(reason or "it was cancelled")


@asynccontextmanager
async def open_watch_call(
    start: Callable[[], Awaitable[WatchCall]], request: WatchRequest, timeout_s: float
) -> AsyncIterator[WatchStream]:
    """Open a watch, and end it with the context.

    Raises:
        EtcdUnavailableError: It was not there within ``timeout_s``.
    """
    call = await start()
    try:
        try:
            async with asyncio.timeout(timeout_s):
                await call.create(request)
        except TimeoutError as error:
            call.report_silent()
            raise EtcdUnavailableError(
                f"etcd did not answer {describe(request)} within {timeout_s} s. Nothing was to be "
                "written; open it again."
            ) from error
        yield call
    finally:
        call.close()
