"""One channel for each endpoint, and the choice which of them is used.

gRPC's own choosing among addresses is not used: it holds on to a member that is paused, whose
connection is up and whose answers never come. Here each call names its endpoint, and a call that
fails by the endpoint's fault moves all following calls to the next one. An endpoint that failed is
left alone for a while, longer with each failure in a row, unless all of them failed.

The first cluster that answers is the one that is meant. An address can come to lead to another
one: it was never of the same cluster, or its etcd was made anew. So an endpoint is admitted for
writes by its cluster's id, once for each connection, and left alone as long as it is a stranger.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import grpc
import grpc.aio

from fsm_saga.etcd.callables import open_callable
from fsm_saga.etcd.clock import Clock
from fsm_saga.etcd.schema import methods

logger = logging.getLogger("fsm_saga.etcd")

# Verified against a member that was killed and one that was paused. The ping's own timeout is the
# one that notices a paused peer; keepalive pings below 5 s apart make etcd cut the connection.
CHANNEL_OPTIONS: Final = (
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.http2.ping_timeout_ms", 3_000),
    ("grpc.keepalive_timeout_ms", 3_000),
    # etcd ends a connection that pings without a call under way.
    ("grpc.keepalive_permit_without_calls", 0),
    ("grpc.http2.max_pings_without_data", 0),
    # Never a second copy of a write that we did not send ourselves.
    ("grpc.enable_retries", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 500),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
)

REST_S_MIN = 0.5
REST_S_MAX = 8.0

# The member is at fault, or what lies between: another one may answer.
ENDPOINT_CODES = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.INTERNAL,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """The files for an encrypted connection.

    Attributes:
        ca: The certificates to trust, or None for those of the system.
        cert: Our own certificate, when the server asks for one; with ``key``.
        key: The private key of ``cert``.
        server_name: The name to expect in the server's certificate, when it is not the host.
    """

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    server_name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EtcdOptions:
    """How to reach a cluster.

    Attributes:
        endpoints: ``host:port`` of members, in order of preference.
        try_timeout_s: How long one endpoint may take to answer one request.
        budget_s: How long a read may go on over all endpoints, when the call does not say.
    """

    endpoints: tuple[str, ...]
    tls: Tls | None = None
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    try_timeout_s: float = 1.0
    budget_s: float = 5.0

    def __post_init__(self) -> None:
        if not self.endpoints:
            raise ValueError("No endpoint of etcd was given: at least one 'host:port' is needed.")
        if self.try_timeout_s <= 0 or self.budget_s <= 0:
            raise ValueError(
                f"try_timeout_s={self.try_timeout_s} and budget_s={self.budget_s} must be above 0."
            )


class Endpoint:
    """One channel and its calls, by their path without the package: ``calls["KV.Txn"]``.

    Attributes:
        stranger_id: The id of the cluster that it belongs to, if that is not ours; else 0.
        admission: Held while it is asked for its cluster.
    """

    def __init__(self, address: str, options: EtcdOptions) -> None:
        self.address = address
        self.rest_until = 0.0
        self.failures = 0
        self.stranger_id = 0
        self.admission = asyncio.Lock()
        self._is_admitted = False
        self._channel = _open_channel(address, options.tls)
        self.calls = {f"{m.service}.{m.name}": open_callable(self._channel, m) for m in methods()}

    @property
    def is_admitted(self) -> bool:
        """True if what answers on this very connection is known to be of our cluster."""
        if self._channel.get_state() is not grpc.ChannelConnectivity.READY:
            # The next connection may lead to somebody else.
            self._is_admitted = False
        return self._is_admitted

    def admit(self, *, is_ours: bool) -> None:
        """Note whether what answers is of our cluster."""
        self._is_admitted = is_ours

    async def close(self) -> None:
        """Close the channel; calls under way end with CANCELLED."""
        await self._channel.close(grace=None)


class Endpoints:
    """The endpoints of one cluster and the one in use."""

    def __init__(self, options: EtcdOptions, *, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self.all = tuple(Endpoint(address, options) for address in options.endpoints)
        self.cluster_id = 0
        self._current = 0

    @property
    def current(self) -> Endpoint:
        """The endpoint that the next call uses."""
        return self.all[self._current]

    def report_failure(self, endpoint: Endpoint) -> None:
        """Let the endpoint rest and move on, unless another call has moved on already."""
        now = self._clock()
        endpoint.admit(is_ours=False)
        if endpoint.rest_until <= now:
            # Many calls can fail by one fault; it counts once.
            endpoint.failures += 1
            rest_s = min(REST_S_MIN * 2 ** (endpoint.failures - 1), REST_S_MAX)
            endpoint.rest_until = now + rest_s
        if endpoint is self.current:
            self._current = self._next(now)

    def report_answer(self, endpoint: Endpoint) -> None:
        """Note that the endpoint answered, whatever it said."""
        if endpoint.failures:
            endpoint.failures = 0
            endpoint.rest_until = 0.0

    @property
    def are_strangers(self) -> bool:
        """True if whatever answers is of another cluster than the first that answered."""
        return all(endpoint.stranger_id for endpoint in self.all)

    def is_ours(self, endpoint: Endpoint, cluster_id: int) -> bool:
        """Note which cluster has answered at an endpoint and return whether it is ours.

        The first that answers is. A stranger is left alone, and the next calls go elsewhere.
        """
        if not cluster_id:
            return True  # some answers do not say
        self.cluster_id = self.cluster_id or cluster_id
        if cluster_id == self.cluster_id:
            endpoint.stranger_id = 0
            return True
        if endpoint.stranger_id != cluster_id:
            logger.error(
                "%s is not used: it belongs to the etcd cluster %x, and the one in use is %x. "
                "Name members of one cluster; if etcd was made anew, bring its data back.",
                endpoint.address,
                cluster_id,
                self.cluster_id,
            )
        endpoint.stranger_id = cluster_id
        endpoint.admit(is_ours=False)
        now = self._clock()
        endpoint.rest_until = now + REST_S_MAX
        if endpoint is self.current:
            self._current = self._next(now)
        return False

    async def close(self) -> None:
        """Close every channel."""
        for endpoint in self.all:
            await endpoint.close()

    def _next(self, now: float) -> int:
        count = len(self.all)
        order = [(self._current + step) % count for step in range(1, count + 1)]
        rested = [index for index in order if self.all[index].rest_until <= now]
        return rested[0] if rested else min(order, key=lambda index: self.all[index].rest_until)


def _open_channel(address: str, tls: Tls | None) -> grpc.aio.Channel:
    options: list[tuple[str, Any]] = list(CHANNEL_OPTIONS)
    if tls is None:
        return grpc.aio.insecure_channel(address, options=options)
    if tls.server_name is not None:
        options.append(("grpc.ssl_target_name_override", tls.server_name))
    credentials = grpc.ssl_channel_credentials(
        root_certificates=_read(tls.ca),
        private_key=_read(tls.key),
        certificate_chain=_read(tls.cert),
    )
    return grpc.aio.secure_channel(address, credentials, options=options)


def _read(path: Path | None) -> bytes | None:
    return None if path is None else path.read_bytes()
