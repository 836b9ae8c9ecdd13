"""``EtcdClient``: the transport of this package, on ``grpc.aio``.

A read goes from endpoint to endpoint until one answers or its time is over. A write is sent once:
a second copy could be applied after somebody else's newer write, and only the caller knows what
makes that harmless. The one exception is a write whose token had expired: etcd looks at the token
before anything else, so nothing of it was applied.

Every answer tells its cluster. One from another cluster than the first that answered is not taken
for an answer, and before the first write on a new connection the endpoint is asked who it is.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, Self

import grpc
import grpc.aio
from msgspec.structs import replace

from fsm_saga.etcd import encode
from fsm_saga.etcd import messages as pb
from fsm_saga.etcd.auth import Metadata, Tokens
from fsm_saga.etcd.channel import ENDPOINT_CODES, Endpoint, Endpoints, EtcdOptions
from fsm_saga.etcd.clock import Clock
from fsm_saga.etcd.data import EndpointStatus, Range, RangeResult, WatchRequest
from fsm_saga.etcd.errors import (
    EtcdError,
    EtcdUnavailableError,
    ForeignClusterError,
    NotSentError,
    UnknownOutcomeError,
)
from fsm_saga.etcd.grpc_errors import describe, is_token_refused, read_error, write_error
from fsm_saga.etcd.operations import Operations, endpoint_status
from fsm_saga.etcd.streams import WatchCall, keep_alive_once, open_watch_call
from fsm_saga.etcd.transport import WatchStream

# Between two rounds over endpoints that all refuse at once.
ROUND_PAUSE_S = 0.05


class EtcdClient(Operations):
    """A cluster of etcd, by its endpoints. Make it on the event loop that uses it.

    Example:
        >>> import asyncio
        >>> from fsm_saga.etcd.data import EndpointStatus
        >>> async def ask_nobody() -> EndpointStatus:
        ...     async with EtcdClient(EtcdOptions(endpoints=("127.0.0.1:1",))) as client:
        ...         return (await client.statuses())[0]
        >>> asyncio.run(ask_nobody()).problem is None
        False
    """

    def __init__(self, options: EtcdOptions, *, clock: Clock = time.monotonic) -> None:
        self._options = options
        self._clock = clock
        self._endpoints = Endpoints(options, clock=clock)
        self._tokens = Tokens(self._authenticate if options.user is not None else None)

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
        """The endpoint that the next call uses."""
        return self._endpoints.current.address

    async def close(self) -> None:
        """Close every channel; calls under way are cancelled."""
        await self._endpoints.close()

    def open_watch(self, request: WatchRequest) -> AbstractAsyncContextManager[WatchStream]:
        """Open a watch on the current endpoint."""
        return open_watch_call(self._start_watch, request, self._options.try_timeout_s)

    async def _start_watch(self) -> WatchCall:
        metadata = await self._tokens.metadata()
        try_s = self._options.try_timeout_s
        try:
            endpoint = await self._admitted(try_s)
        except grpc.aio.AioRpcError as error:
            raise read_error(
                error.code(), error.details() or "", what="a watch", endpoint=self.endpoint
            ) from error

        async def renew() -> None:
            await self._tokens.renew(metadata)

        # A member without a leader ends such a watch instead of keeping silent.
        call = endpoint.calls["Watch.Watch"](metadata=(("hasleader", "true"), *metadata))
        return WatchCall(
            call,
            address=endpoint.address,
            on_failure=lambda: self._endpoints.report_failure(endpoint),
            on_answer=lambda: self._endpoints.report_answer(endpoint),
            renew_token=renew if self._tokens.is_renewable else None,
        )

    async def statuses(self) -> tuple[EndpointStatus, ...]:
        """Ask every endpoint."""
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._status(each)) for each in self._endpoints.all]
        return tuple(task.result() for task in tasks)

    async def _status(self, endpoint: Endpoint) -> EndpointStatus:
        try:
            answer = await self._ask_status(endpoint, self._options.try_timeout_s)
        except grpc.aio.AioRpcError as error:
            problem = f"{error.code().name} {error.details() or ''}".strip()
            return EndpointStatus(endpoint=endpoint.address, problem=problem)
        except EtcdError as error:
            return EndpointStatus(endpoint=endpoint.address, problem=error.message)
        return endpoint_status(endpoint.address, answer)

    async def _ask_status(self, endpoint: Endpoint, try_s: float) -> Any:
        """Return what an endpoint says of itself, also a stranger, and take note of who it is."""
        answer = await self._call(
            endpoint, "Maintenance.Status", pb.StatusRequest(), try_s, of_anybody=True
        )
        self._endpoints.is_ours(endpoint, answer.header.cluster_id)
        return answer

    async def range_each(self, request: Range) -> tuple[tuple[str, RangeResult | None], ...]:
        """Read at every endpoint, from what that member alone knows; None where none came."""
        message = encode.range_request(replace(request, is_serializable=True))

        async def ask(endpoint: Endpoint) -> RangeResult | None:
            try:
                answer = await self._call(
                    endpoint, "KV.Range", message, self._options.try_timeout_s
                )
            except (grpc.aio.AioRpcError, EtcdError):
                return None
            return encode.range_result(answer, answer.header.revision)

        found = await asyncio.gather(*map(ask, self._endpoints.all))
        return tuple(zip((each.address for each in self._endpoints.all), found, strict=True))

    async def _read(self, name: str, message: Any, what: object, timeout_s: float | None) -> Any:
        """Ask endpoint after endpoint until one answers or the time is over."""
        budget_s = self._options.budget_s if timeout_s is None else timeout_s
        deadline = self._clock() + budget_s
        while True:
            endpoint = self._endpoints.current
            try_s = max(min(self._options.try_timeout_s, deadline - self._clock()), 0.001)
            try:
                return await self._call(endpoint, name, message, try_s)
            except ForeignClusterError as error:
                if self._endpoints.are_strangers:
                    raise
                if self._clock() + ROUND_PAUSE_S >= deadline:
                    raise EtcdUnavailableError(error.message, **error.facts) from error
            except grpc.aio.AioRpcError as error:
                failure = read_error(
                    error.code(),
                    error.details() or "",
                    what=describe(what),
                    endpoint=endpoint.address,
                )
                is_over = self._clock() + ROUND_PAUSE_S >= deadline
                if is_over or not isinstance(failure, EtcdUnavailableError):
                    raise failure from error
            if self._endpoints.current.rest_until > self._clock():
                await asyncio.sleep(ROUND_PAUSE_S)

    async def _write(self, name: str, message: Any, what: object, timeout_s: float | None) -> Any:
        """Send once, to the current endpoint."""
        try_s = self._options.try_timeout_s if timeout_s is None else timeout_s
        endpoint = self._endpoints.current
        try:
            endpoint = await self._admitted(try_s)
            return await self._call(endpoint, name, message, try_s)
        except ForeignClusterError as error:
            if self._endpoints.are_strangers:
                raise
            raise UnknownOutcomeError(
                f"{describe(what)} went to a stranger: {error.message}", **error.facts
            ) from error
        except EtcdUnavailableError as error:
            # Only a token is waited for in there: without one nothing is applied.
            raise NotSentError(
                f"{describe(what)} was not sent: no endpoint gave a token for user "
                f"{self._options.user!r}. Nothing was written; try again later."
            ) from error
        except grpc.aio.AioRpcError as error:
            raise write_error(
                error.code(), error.details() or "", what=describe(what), endpoint=endpoint.address
            ) from error

    async def _admitted(self, try_s: float) -> Endpoint:
        """Return the endpoint for the next call once it is known to be of our cluster.

        Each endpoint is asked once at most. Before any answer there is nothing to compare with.

        Raises:
            ForeignClusterError: Whatever answers is of another cluster.
            grpc.aio.AioRpcError: None of ours answers.
        """
        deadline = self._clock() + try_s
        problem: Exception | None = None
        for _ in self._endpoints.all:
            endpoint = self._endpoints.current
            if not self._endpoints.cluster_id or endpoint.is_admitted:
                return endpoint
            try:
                if await self._admit(endpoint, max(deadline - self._clock(), 0.001)):
                    return endpoint
                problem = problem or self._foreign(endpoint)
            except grpc.aio.AioRpcError as error:
                problem = error
                if error.code() not in ENDPOINT_CODES:
                    break
            if self._clock() >= deadline:
                break
        raise problem or self._foreign(self._endpoints.current)

    async def _admit(self, endpoint: Endpoint, try_s: float) -> bool:
        async with endpoint.admission:
            if not endpoint.is_admitted:
                await self._ask_status(endpoint, try_s)
                endpoint.admit(is_ours=not endpoint.stranger_id)
            return not endpoint.stranger_id

    def _foreign(self, endpoint: Endpoint) -> ForeignClusterError:
        known, found = self._endpoints.cluster_id, endpoint.stranger_id
        return ForeignClusterError(
            f"etcd at {endpoint.address} belongs to the cluster {found:x}, and the one in use is "
            f"{known:x}: the addresses are not of one cluster, or etcd was made anew. Nothing is "
            "read there or written; name members of one cluster, or bring its data back.",
            endpoint=endpoint.address,
            found=found,
            known=known,
        )

    async def _call(
        self,
        endpoint: Endpoint,
        name: str,
        message: Any,
        try_s: float,
        *,
        of_anybody: bool = False,
    ) -> Any:
        answer = await self._call_anybody(endpoint, name, message, try_s)
        if not (of_anybody or self._endpoints.is_ours(endpoint, answer.header.cluster_id)):
            raise self._foreign(endpoint)
        return answer

    async def _call_anybody(self, endpoint: Endpoint, name: str, message: Any, try_s: float) -> Any:
        metadata = await self._tokens.metadata()
        try:
            return await self._attempt(endpoint, name, message, try_s, metadata)
        except grpc.aio.AioRpcError as error:
            if not (self._tokens.is_renewable and is_token_refused(error.details() or "")):
                raise
        await self._tokens.renew(metadata)
        return await self._attempt(endpoint, name, message, try_s, await self._tokens.metadata())

    async def _attempt(
        self, endpoint: Endpoint, name: str, message: Any, try_s: float, metadata: Metadata
    ) -> Any:
        call = endpoint.calls[name]
        try:
            if name == "Lease.LeaseKeepAlive":
                answer = await keep_alive_once(call, message, try_s, metadata)
            else:
                answer = await call(message, timeout=try_s, metadata=metadata)
        except grpc.aio.AioRpcError as error:
            if error.code() in ENDPOINT_CODES:
                self._endpoints.report_failure(endpoint)
            else:
                self._endpoints.report_answer(endpoint)
            raise
        self._endpoints.report_answer(endpoint)
        return answer

    async def _authenticate(self) -> str:
        """Return a new token, or "" from a cluster that asks for none."""
        options = self._options
        message = pb.AuthenticateRequest(name=options.user or "", password=options.password or "")
        deadline = self._clock() + options.budget_s
        while True:
            endpoint = self._endpoints.current
            try:
                answer = await self._attempt(
                    endpoint, "Auth.Authenticate", message, options.try_timeout_s, ()
                )
            except grpc.aio.AioRpcError as error:
                details = error.details() or ""
                if "authentication is not enabled" in details:
                    return ""
                what = f"the password of user {options.user!r}"
                failure = read_error(error.code(), details, what=what, endpoint=endpoint.address)
                is_over = self._clock() + ROUND_PAUSE_S >= deadline
                if is_over or not isinstance(failure, EtcdUnavailableError):
                    raise failure from error
                await asyncio.sleep(ROUND_PAUSE_S)
            else:
                return str(answer.token)
