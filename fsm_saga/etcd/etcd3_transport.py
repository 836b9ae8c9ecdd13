"""The same transport over the ``etcd3`` package, for those who have to use it.

The connection, its encryption and its password are those of an ``etcd3.Etcd3Client``; the calls
are made on its channel, in threads of their own. ``etcd3``'s own methods are not used: they ignore
``limit`` and ``revision`` of a range, know no comparison of leases, and its watcher keeps a core
busy while the server is away.

What stays behind ``EtcdClient``: one endpoint, so no failover; a token that has expired is not
renewed; a call that hangs keeps its thread until its deadline; and about three times the work for
each call, which group commit hides for the most part.
"""

from __future__ import annotations

import asyncio
import queue
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from types import TracebackType
from typing import Any, Final, Self

import grpc
from msgspec.structs import replace

from fsm_saga.etcd import encode
from fsm_saga.etcd import messages as pb
from fsm_saga.etcd.callables import open_callable
from fsm_saga.etcd.channel import CHANNEL_OPTIONS, EtcdOptions
from fsm_saga.etcd.clock import Clock
from fsm_saga.etcd.data import EndpointStatus, Range, RangeResult, WatchAnswer, WatchRequest
from fsm_saga.etcd.errors import EtcdError, EtcdUnavailableError, ForeignClusterError
from fsm_saga.etcd.etcd3_shim import import_etcd3
from fsm_saga.etcd.grpc_errors import describe, read_error, refusal_of, write_error
from fsm_saga.etcd.operations import Operations, endpoint_status
from fsm_saga.etcd.schema import methods
from fsm_saga.etcd.transport import WatchStream

CALL_THREADS: Final = 8
WATCH_THREADS: Final = 32
RETRY_PAUSE_S: Final = 0.1


class Etcd3Transport(Operations):
    """The one endpoint of an ``etcd3.Etcd3Client``, which it closes in the end.

    Args:
        client: The client; of a release that imports, or by ``import_etcd3``.
        endpoint: What to call its endpoint in messages.
        try_timeout_s: How long one request may take.
        budget_s: How long a read may go on, when the call does not say.
        clock: The monotonic clock.
    """

    def __init__(
        self,
        client: Any,
        *,
        endpoint: str,
        try_timeout_s: float = 1.0,
        budget_s: float = 5.0,
        clock: Clock = time.monotonic,
    ) -> None:
        self._client = client
        self._endpoint = endpoint
        self._try_timeout_s = try_timeout_s
        self._budget_s = budget_s
        self._clock = clock
        self._cluster_id = 0
        self._is_admitted = False
        self._calls = {
            f"{method.service}.{method.name}": open_callable(client.channel, method)
            for method in methods()
        }
        self._threads = ThreadPoolExecutor(CALL_THREADS, thread_name_prefix="etcd3")
        # Apart from the calls: a watch keeps its thread as long as it waits.
        self._watch_threads = ThreadPoolExecutor(WATCH_THREADS, thread_name_prefix="etcd3-watch")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    @property
    def endpoint(self) -> str:
        """The one endpoint."""
        return self._endpoint

    async def close(self) -> None:
        """Close the client; calls under way end with an error."""
        self._client.close()
        for threads in (self._threads, self._watch_threads):
            await asyncio.to_thread(threads.shutdown)

    async def statuses(self) -> tuple[EndpointStatus, ...]:
        """Ask the endpoint."""
        try:
            answer = await self._read(
                "Maintenance.Status", pb.StatusRequest(), "its status", self._try_timeout_s
            )
        except EtcdError as error:
            return (EndpointStatus(endpoint=self._endpoint, problem=error.message),)
        return (endpoint_status(self._endpoint, answer),)

    async def range_each(self, request: Range) -> tuple[tuple[str, RangeResult | None], ...]:
        """Read at the endpoint."""
        try:
            return ((self._endpoint, await self.range(replace(request, is_serializable=True))),)
        except EtcdError:
            return ((self._endpoint, None),)

    @asynccontextmanager
    async def open_watch(self, request: WatchRequest) -> AsyncIterator[WatchStream]:
        """Open a watch, and end it with the context."""
        call = self._calls["Watch.Watch"]
        metadata = (("hasleader", "true"), *(self._client.metadata or ()))
        stream = _ThreadedWatch(
            partial(call, metadata=metadata), self._watch_threads, request, self._endpoint
        )
        try:
            try:
                async with asyncio.timeout(self._try_timeout_s):
                    await stream.create()
            except TimeoutError as error:
                raise EtcdUnavailableError(
                    f"etcd did not answer {describe(request)} within {self._try_timeout_s} s. "
                    "Nothing was to be written; open it again."
                ) from error
            yield stream
        finally:
            stream.close()

    async def _read(self, name: str, message: Any, what: object, timeout_s: float | None) -> Any:
        budget_s = self._budget_s if timeout_s is None else timeout_s
        deadline = self._clock() + budget_s
        while True:
            try_s = max(min(self._try_timeout_s, deadline - self._clock()), 0.001)
            try:
                return await self._call(name, message, try_s)
            except grpc.RpcError as error:
                failure = read_error(
                    error.code(),
                    error.details() or "",
                    what=describe(what),
                    endpoint=self._endpoint,
                )
                is_over = self._clock() + RETRY_PAUSE_S >= deadline
                if is_over or not isinstance(failure, EtcdUnavailableError):
                    raise failure from error
            await asyncio.sleep(RETRY_PAUSE_S)

    async def _write(self, name: str, message: Any, what: object, timeout_s: float | None) -> Any:
        try_s = self._try_timeout_s if timeout_s is None else timeout_s
        try:
            if self._cluster_id and not self._is_admitted:
                await self._call("Maintenance.Status", pb.StatusRequest(), try_s)
            return await self._call(name, message, try_s)
        except grpc.RpcError as error:
            raise write_error(
                error.code(), error.details() or "", what=describe(what), endpoint=self._endpoint
            ) from error

    async def _call(self, name: str, message: Any, try_s: float) -> Any:
        ask = _keep_alive_once if name == "Lease.LeaseKeepAlive" else _ask
        work = partial(ask, self._calls[name], message, try_s, self._client.metadata)
        try:
            answer = await asyncio.get_running_loop().run_in_executor(self._threads, work)
        except grpc.RpcError:
            # The next connection may lead to somebody else.
            self._is_admitted = False
            raise
        found = answer.header.cluster_id
        self._cluster_id = self._cluster_id or found
        self._is_admitted = found == self._cluster_id
        if found and not self._is_admitted:
            raise ForeignClusterError(
                f"etcd at {self._endpoint} belongs to the cluster {found:x}, and the one in use "
                f"is {self._cluster_id:x}: it was made anew, or another one is there. Bring its "
                "data back, or name the right address.",
                endpoint=self._endpoint,
                found=found,
                known=self._cluster_id,
            )
        return answer


def _ask(call: Any, message: Any, try_s: float, metadata: Any) -> Any:
    return call(message, timeout=try_s, metadata=metadata)


def _keep_alive_once(call: Any, message: Any, try_s: float, metadata: Any) -> Any:
    stream = call(iter((message,)), timeout=try_s, metadata=metadata)
    try:
        return next(stream)
    finally:
        stream.cancel()


class _ThreadedWatch:
    """One watch; each read waits in a thread."""

    def __init__(
        self,
        start: Callable[[Iterator[Any]], Any],
        threads: ThreadPoolExecutor,
        request: WatchRequest,
        endpoint: str,
    ) -> None:
        self.created_revision = 0
        self._threads = threads
        self._what = describe(request)
        self._endpoint = endpoint
        self._requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._requests.put(encode.watch_request(request))
        self._stream = start(iter(self._requests.get, None))

    async def create(self) -> None:
        """Wait until etcd has the watch."""
        answer = await self._next()
        self.created_revision = answer.revision
        if answer.is_cancelled:
            raise self._refused(answer.reason)

    async def read(self) -> WatchAnswer:
        """Return the next answer."""
        answer = await self._next()
        if answer.is_cancelled and not answer.compact_revision:
            raise self._refused(answer.reason)
        return answer

    async def request_progress(self) -> None:
        """Ask for an answer now."""
        message = pb.WatchRequest()
        message.progress_request.SetInParent()
        self._requests.put(message)

    def close(self) -> None:
        """End the stream; a read that waits ends with it."""
        self._requests.put(None)
        self._stream.cancel()

    async def _next(self) -> WatchAnswer:
        loop = asyncio.get_running_loop()
        try:
            message = await loop.run_in_executor(self._threads, next, self._stream, None)
        except grpc.RpcError as error:
            details = error.details() or ""
            raise read_error(
                error.code(), details, what=self._what, endpoint=self._endpoint
            ) from error
        if message is None:
            raise self._ended("the stream ended")
        return encode.watch_answer(message)

    def _refused(self, reason: str) -> EtcdError:
        refusal = refusal_of(None, reason, what=self._what)
        return refusal or self._ended(reason or "it was cancelled")

    def _ended(self, why: str) -> EtcdUnavailableError:
        return EtcdUnavailableError(
            f"etcd broke off {self._what}: {why} at {self._endpoint}. Nothing was to be written; "
            "open it again after the last revision that was seen.",
            endpoint=self._endpoint,
        )


async def open_etcd3(options: EtcdOptions) -> Etcd3Transport:
    """Connect by the ``etcd3`` package.

    Raises:
        ValueError: More than one endpoint is given, or a name for the server's certificate, which
            ``etcd3`` does not know.
        ModuleNotFoundError: The package is not installed.
        EtcdError: The password is not accepted, or the endpoint does not answer.
    """
    if len(options.endpoints) != 1:
        raise ValueError(
            f"etcd3 knows one endpoint, and these are given: {', '.join(options.endpoints)}. "
            "Name one, or use the other transport."
        )
    (endpoint,) = options.endpoints
    host, _, port = endpoint.rpartition(":")
    grpc_options: list[tuple[str, Any]] = list(CHANNEL_OPTIONS)
    ca = cert = key = None
    if options.tls is not None:
        ca, cert, key = (
            None if path is None else str(path)
            for path in (options.tls.ca, options.tls.cert, options.tls.key)
        )
        if ca is None:
            raise ValueError("etcd3 needs the file of the authority for an encrypted connection.")
        if options.tls.server_name is not None:
            grpc_options.append(("grpc.ssl_target_name_override", options.tls.server_name))
    connect = partial(
        import_etcd3().Etcd3Client,
        host=host,
        port=int(port),
        ca_cert=ca,
        cert_cert=cert,
        cert_key=key,
        timeout=options.budget_s,
        user=options.user,
        password=options.password,
        grpc_options=grpc_options,
    )
    try:
        # With a user it asks for a token at once, and waits.
        client = await asyncio.to_thread(connect)
    except grpc.RpcError as error:
        raise read_error(
            error.code(),
            error.details() or "",
            what=f"the password of user {options.user!r}",
            endpoint=endpoint,
        ) from error
    return Etcd3Transport(
        client, endpoint=endpoint, try_timeout_s=options.try_timeout_s, budget_s=options.budget_s
    )
