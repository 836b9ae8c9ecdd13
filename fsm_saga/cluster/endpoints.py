"""What a coordinator answers over HTTP: is it alive, is it ready, its figures.

It shows no plan, no parameter and no output, asks for no password and changes nothing; even so it
listens where it is told to, by default on this machine alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager

import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from fsm_saga.cluster.metrics import Metrics
from fsm_saga.errors import CommandError

LAG_LOOK_S = 0.5
STOP_S = 2
"""How long requests under way may take to end once it stops."""
LOOPBACK = "127.0.0.1"

Obstacles = Callable[[], Sequence[str]]


def endpoints(obstacles: Obstacles, metrics: Metrics) -> Starlette:
    """Return the application that answers.

    Args:
        obstacles: Says why the coordinator is not ready; nothing when it is.
        metrics: Its figures.
    """

    async def alive(_request: Request) -> Response:
        # The loop that answers is the one that does the work.
        return JSONResponse({"alive": True})

    async def ready(_request: Request) -> Response:
        found = list(obstacles())
        return JSONResponse({"ready": not found, "obstacles": found}, 503 if found else 200)

    async def figures(_request: Request) -> Response:
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)

    return Starlette(
        routes=[
            Route("/healthz", alive, methods=["GET"]),
            Route("/readyz", ready, methods=["GET"]),
            Route("/metrics", figures, methods=["GET"]),
        ]
    )


def parse_address(text: str) -> tuple[str, int]:
    """Return the host and the port of ``HOST:PORT``; a port alone is one of this machine.

    Raises:
        CommandError: It is neither.

    Example:
        >>> parse_address("9090"), parse_address("0.0.0.0:0"), parse_address("[::1]:80")
        (('127.0.0.1', 9090), ('0.0.0.0', 0), ('::1', 80))
    """
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") if colon else LOOPBACK
    if not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise CommandError(
            f"The address {text!r} cannot be listened on: it has to be HOST:PORT or a port, for "
            "example 127.0.0.1:9090. Nothing was started."
        )
    return host, int(port)


def bind(host: str, port: int) -> socket.socket:
    """Return a socket that listens there; port 0 is any that is free.

    Raises:
        CommandError: It is taken, or not this machine's.
    """
    listener = None
    try:
        family, kind, protocol, _name, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM
        )[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen()
    except OSError as error:
        if listener is not None:
            listener.close()
        raise CommandError(
            f"Nothing can listen on {host}:{port}: {error.strerror or error}. Nothing was started; "
            "name another address."
        ) from error
    return listener


@asynccontextmanager
async def answering(app: Starlette, listener: socket.socket) -> AsyncIterator[None]:
    """Answer requests until the end of the block, on the loop of the caller."""
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="off",
        timeout_graceful_shutdown=STOP_S,
        server_header=False,
    )
    server = _Server(config)
    task = asyncio.create_task(server.serve([listener]), name="endpoints")
    try:
        yield
    finally:
        server.should_exit = True
        await asyncio.wait((task,))


class _Server(uvicorn.Server):
    """A server that leaves the signals to whoever started it."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def watch_loop(metrics: Metrics) -> None:
    """Keep the figure of the loop's lag fresh, until cancelled."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + LAG_LOOK_S
        await asyncio.sleep(LAG_LOOK_S)
        metrics.loop_lag.set(max(loop.time() - due, 0.0))
