"""What is answered over HTTP, and where it listens."""

from __future__ import annotations

import asyncio
import json
import socket

import pytest

from fsm_saga.cluster.endpoints import answering, bind, endpoints, parse_address
from fsm_saga.cluster.metrics import Metrics
from fsm_saga.errors import CommandError


async def get(port: int, path: str) -> tuple[int, str]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    answer = (await reader.read()).decode()
    writer.close()
    head, _, body = answer.partition("\r\n\r\n")
    return int(head.split()[1]), body


async def test_health_readiness_and_figures_are_answered() -> None:
    obstacles: list[str] = []
    listener = bind("127.0.0.1", 0)
    port = listener.getsockname()[1]
    async with answering(endpoints(lambda: obstacles, Metrics(version="9")), listener):
        assert await get(port, "/healthz") == (200, '{"alive":true}')
        assert (await get(port, "/readyz"))[0] == 200
        obstacles.append("shard 3 stopped: the disk is gone")
        code, body = await get(port, "/readyz")
        assert code == 503
        assert json.loads(body)["obstacles"] == obstacles
        assert 'fsm_saga_info{tools="",version="9"} 1.0' in (await get(port, "/metrics"))[1]
        assert (await get(port, "/else"))[0] == 404


async def test_signals_stay_with_whoever_started_it() -> None:
    import signal  # noqa: PLC0415  # only here

    before = signal.getsignal(signal.SIGTERM)
    async with answering(endpoints(lambda: (), Metrics()), bind("127.0.0.1", 0)):
        await asyncio.sleep(0)
        assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize("text", ["", "x", "127.0.0.1:", ":80", "127.0.0.1:70000", "::", "a:-1"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(CommandError, match="Nothing was started"):
        parse_address(text)


def test_an_address_that_is_taken_is_refused() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(CommandError, match="name another address"):
            bind("127.0.0.1", taken.getsockname()[1])
