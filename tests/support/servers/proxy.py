"""A TCP proxy that lies, loses and lingers as it is told, while connections are open.

It runs on a thread with a loop of its own, so a test may wait, block or be paused as it likes. Each
method that changes something returns when it has happened: every byte that comes later meets it.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from enum import Enum
from types import TracebackType
from typing import Self, TypeVar

CHUNK_BYTES = 64 * 1024
CONNECT_S_MAX = 5.0
CONTROL_S_MAX = 5.0
QUEUE_CHUNKS = 256
HOST = "127.0.0.1"
# With a linger time of nothing, a close throws away what is unsent and resets the connection.
RESET_ON_CLOSE = struct.pack("ii", 1, 0)

T = TypeVar("T")


class Way(Enum):
    """In which direction bytes go."""

    TO_SERVER = "to_server"
    TO_CLIENT = "to_client"


BOTH = (Way.TO_SERVER, Way.TO_CLIENT)


@dataclass(slots=True)
class _Lane:
    """What happens to the bytes of one way, on every connection."""

    delay_s: float = 0.0
    is_blackhole: bool = False
    drops: int = 0
    duplicates: int = 0
    garbles: int = 0
    swaps: int = 0
    bytes_left: int | None = None
    gate: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(slots=True, eq=False)
class _Pair:
    """One connection of a client, and ours to the server for it."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter

    def writer(self, way: Way) -> asyncio.StreamWriter:
        return self.server if way is Way.TO_SERVER else self.client

    def abort(self) -> None:
        for writer in (self.client, self.server):
            sock = writer.get_extra_info("socket")
            if sock is not None:
                with contextlib.suppress(OSError):
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
            writer.transport.abort()


class FaultProxy:
    """Stands between clients and one server at ``target``; as a context manager it runs.

    ``way`` is ``Way.TO_SERVER``, ``Way.TO_CLIENT`` or None for both. A chunk is what came with one
    read, for a request and an answer mostly the whole of it.
    """

    def __init__(self, target_port: int, *, seed: int = 0) -> None:
        self.target_port = target_port
        self.port = 0
        self._random = random.Random(seed)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault-proxy")
        self._listener: asyncio.Server | None = None
        self._lanes = {way: _Lane() for way in Way}
        self._pairs: set[_Pair] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._has_door = True
        self._seen = dict.fromkeys(Way, 0)
        self._connections = 0

    @property
    def address(self) -> str:
        """``127.0.0.1:port``: where clients are sent to."""
        return f"{HOST}:{self.port}"

    @property
    def open_connections(self) -> int:
        """How many there are now."""
        return len(self._pairs)

    @property
    def connections(self) -> int:
        """How many there have been."""
        return self._connections

    def bytes_seen(self, way: Way) -> int:
        """Return how many bytes have come in that way, whatever became of them."""
        return self._seen[way]

    def __enter__(self) -> Self:
        self._thread.start()
        self._wait(asyncio.run_coroutine_threadsafe(self._listen(), self._loop))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._wait(asyncio.run_coroutine_threadsafe(self._end(), self._loop))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(CONTROL_S_MAX)
        self._loop.close()

    # --- what a test may ask for -----------------------------------------------------------------

    def heal(self) -> None:
        """Take back every fault that lasts; what is held goes on, new connections are taken."""

        def apply() -> None:
            self._has_door = True
            for lane in self._lanes.values():
                lane.delay_s, lane.is_blackhole, lane.bytes_left = 0.0, False, None
                lane.drops = lane.duplicates = lane.garbles = lane.swaps = 0
                lane.gate.set()

        self._do(apply)

    def delay(self, seconds: float, way: Way | None = None) -> None:
        """Let each chunk arrive so much later, in order."""
        self._each(way, lambda lane: setattr(lane, "delay_s", seconds))

    def blackhole(self, way: Way | None = None) -> None:
        """Throw away all that comes; the connections stay open."""
        self._each(way, lambda lane: setattr(lane, "is_blackhole", True))

    def hold(self, way: Way | None = None) -> None:
        """Keep all that comes until ``release``."""
        self._each(way, lambda lane: lane.gate.clear())

    def release(self, way: Way | None = None) -> None:
        """Pass on what was held, and go on."""
        self._each(way, lambda lane: lane.gate.set())

    def drop(self, chunks: int = 1, way: Way | None = None) -> None:
        """Lose the next chunks."""
        self._each(way, lambda lane: setattr(lane, "drops", chunks))

    def duplicate(self, chunks: int = 1, way: Way | None = None) -> None:
        """Send each of the next chunks twice."""
        self._each(way, lambda lane: setattr(lane, "duplicates", chunks))

    def garble(self, chunks: int = 1, way: Way | None = None) -> None:
        """Replace the next chunks by random bytes, as many as they had."""
        self._each(way, lambda lane: setattr(lane, "garbles", chunks))

    def swap(self, way: Way | None = None) -> None:
        """Send the next chunk after the one that follows it."""
        self._each(way, lambda lane: setattr(lane, "swaps", 1))

    def truncate(self, after_bytes: int, way: Way | None = None) -> None:
        """Pass so many bytes on, then close the connection on which that was."""
        self._each(way, lambda lane: setattr(lane, "bytes_left", after_bytes))

    def half_close(self, way: Way) -> None:
        """Tell the receivers that no more comes this way; the other way goes on."""

        def apply() -> None:
            for pair in self._pairs:
                writer = pair.writer(way)
                if writer.can_write_eof() and not writer.is_closing():
                    writer.write_eof()

        self._do(apply)

    def reset(self) -> None:
        """Reset (RST) each open connection, on both sides; new ones are taken."""
        self._do(self._abort_all)

    def refuse(self) -> None:
        """Reset each new connection; those that are open stay."""
        self._do(lambda: setattr(self, "_has_door", False))

    def cut(self) -> None:
        """Reset each connection, the open and the new ones, until ``heal``."""

        def apply() -> None:
            self._has_door = False
            self._abort_all()

        self._do(apply)

    # --- on the thread ---------------------------------------------------------------------------

    def _each(self, way: Way | None, change: Callable[[_Lane], None]) -> None:
        ways = BOTH if way is None else (way,)

        def apply() -> None:
            for each in ways:
                change(self._lanes[each])

        self._do(apply)

    def _do(self, apply: Callable[[], None]) -> None:
        async def run() -> None:
            apply()

        self._wait(asyncio.run_coroutine_threadsafe(run(), self._loop))

    @staticmethod
    def _wait(future: Future[T]) -> T:
        return future.result(CONTROL_S_MAX)

    async def _listen(self) -> None:
        for lane in self._lanes.values():
            lane.gate.set()
        self._listener = await asyncio.start_server(self._serve, HOST, 0)
        self.port = self._listener.sockets[0].getsockname()[1]

    async def _end(self) -> None:
        if self._listener is not None:
            self._listener.close()
        self._abort_all()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _abort_all(self) -> None:
        for pair in list(self._pairs):
            pair.abort()

    async def _serve(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        self._connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._join(reader, client)
        except asyncio.CancelledError:
            pass  # the proxy ends; a cancelled handler would be told as an error
        finally:
            self._tasks.discard(task)

    async def _join(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        pair = _Pair(client, client)
        if not self._has_door:
            pair.abort()
            return
        try:
            async with asyncio.timeout(CONNECT_S_MAX):
                from_server, pair.server = await asyncio.open_connection(HOST, self.target_port)
        except OSError:
            pair.abort()
            return
        self._pairs.add(pair)
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pump(reader, pair, Way.TO_SERVER))
                both.create_task(self._pump(from_server, pair, Way.TO_CLIENT))
        finally:
            self._pairs.discard(pair)
            client.close()
            pair.server.close()

    async def _pump(self, reader: asyncio.StreamReader, pair: _Pair, way: Way) -> None:
        """Carry one way's bytes; what is delayed overtakes nothing."""
        waiting: asyncio.Queue[tuple[float, bytes] | None] = asyncio.Queue(QUEUE_CHUNKS)
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._take(reader, way, waiting))
                both.create_task(self._pass(pair, way, waiting))
        except* OSError:
            pair.abort()

    async def _take(
        self,
        reader: asyncio.StreamReader,
        way: Way,
        waiting: asyncio.Queue[tuple[float, bytes] | None],
    ) -> None:
        while chunk := await reader.read(CHUNK_BYTES):
            self._seen[way] += len(chunk)
            await waiting.put((self._loop.time() + self._lanes[way].delay_s, chunk))
        await waiting.put(None)

    async def _pass(
        self, pair: _Pair, way: Way, waiting: asyncio.Queue[tuple[float, bytes] | None]
    ) -> None:
        lane, writer = self._lanes[way], pair.writer(way)
        kept: bytes | None = None
        while (item := await waiting.get()) is not None:
            due, chunk = item
            await asyncio.sleep(max(0.0, due - self._loop.time()))
            await lane.gate.wait()
            if lane.swaps and kept is None:
                lane.swaps -= 1
                kept = chunk
                continue
            sent = self._changed(lane, chunk) + (kept or b"")
            kept = None
            if lane.bytes_left is not None and len(sent) >= lane.bytes_left:
                writer.write(sent[: lane.bytes_left])
                lane.bytes_left = None
                await writer.drain()
                pair.client.close()
                pair.server.close()
                while await waiting.get() is not None:
                    pass  # what is still on its way goes nowhere
                return
            if lane.bytes_left is not None:
                lane.bytes_left -= len(sent)
            writer.write(sent)
            await writer.drain()
        await lane.gate.wait()
        if not lane.is_blackhole and not writer.is_closing() and writer.can_write_eof():
            writer.write_eof()

    def _changed(self, lane: _Lane, chunk: bytes) -> bytes:
        """Return what arrives of a chunk."""
        if lane.is_blackhole:
            return b""
        if lane.drops:
            lane.drops -= 1
            return b""
        if lane.garbles:
            lane.garbles -= 1
            return self._random.randbytes(len(chunk))
        if lane.duplicates:
            lane.duplicates -= 1
            return chunk * 2
        return chunk
