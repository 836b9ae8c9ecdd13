"""A watch that outlives endpoints: every change once, in order, or a word that some are gone.

It resumes after the last revision whose events it has handed out. Nothing is read ahead of the
caller but one answer; what the caller does not take waits in etcd.

Silence is normal on a watch, and also what a paused member sounds like. So after some of it the
watch asks for a sign of life, and without one it opens itself again, which either works at once or
moves to another endpoint.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

from msgspec.structs import replace

from fsm_saga.etcd.data import WatchAnswer, WatchRequest
from fsm_saga.etcd.errors import CompactedError, EtcdUnavailableError
from fsm_saga.etcd.transport import EtcdTransport, WatchStream

PAUSE_S_MIN = 0.05
PAUSE_S_MAX = 1.0


class Watch:
    """Iterates over answers that have events; used as a context, which ends it.

    Attributes:
        next_revision: Where it goes on: everything before was handed out, or was asked not to be.
            0 as long as a watch from now has not begun.

    Example:
        async with Watch(client, WatchRequest(key=b"/a", revision=read.revision + 1)) as watch:
            async for answer in watch:
                ...
    """

    def __init__(
        self,
        transport: EtcdTransport,
        request: WatchRequest,
        *,
        silence_s: float = 5.0,
        sign_of_life_s: float = 1.0,
    ) -> None:
        self.next_revision = request.revision
        self._transport = transport
        self._request = request
        self._silence_s = silence_s
        self._sign_of_life_s = sign_of_life_s
        self._stack = AsyncExitStack()
        self._stream: WatchStream | None = None
        self._reading: asyncio.Task[WatchAnswer] | None = None
        self._pause_s = 0.0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._drop()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> WatchAnswer:
        """Return the next answer with events, however long it takes.

        Raises:
            CompactedError: Events were compacted away before they were handed out: list again,
                and watch from there. ``facts`` has ``revision`` and ``compact_revision``.
            NothingWrittenError: Etcd refuses the watch.
        """
        while True:
            try:
                answer = await self._next_answer()
            except EtcdUnavailableError:
                await self._drop()
                await self._pause()
                continue
            self._pause_s = 0.0
            if answer.compact_revision:
                await self._drop()
                raise self._compacted(answer)
            # A stream that was opened twice over one fault must not tell anything twice.
            events = tuple([e for e in answer.events if e.kv.mod_revision >= self.next_revision])
            if events:
                self.next_revision = events[-1].kv.mod_revision + 1
                return (
                    answer if len(events) == len(answer.events) else replace(answer, events=events)
                )

    async def start(self) -> int:
        """Return the first revision that is watched, once etcd has the watch.

        Needed only by who watches from now and must know since when.
        """
        while self._stream is None:
            try:
                await self._open()
            except EtcdUnavailableError:
                await self._drop()
                await self._pause()
        return self.next_revision

    async def _next_answer(self) -> WatchAnswer:
        stream = self._stream or await self._open()
        if self._reading is None:
            self._reading = asyncio.create_task(stream.read(), name="etcd watch")
        done, _ = await asyncio.wait({self._reading}, timeout=self._silence_s)
        if not done:
            try:
                async with asyncio.timeout(self._sign_of_life_s):
                    await stream.request_progress()
            except TimeoutError as error:
                raise self._silent() from error
            done, _ = await asyncio.wait({self._reading}, timeout=self._sign_of_life_s)
            if not done:
                raise self._silent()
        answer = self._reading.result()
        self._reading = None
        return answer

    async def _open(self) -> WatchStream:
        request = replace(self._request, revision=self.next_revision)
        stream = await self._stack.enter_async_context(self._transport.open_watch(request))
        if self.next_revision == 0:
            self.next_revision = stream.created_revision + 1
        self._stream = stream
        return stream

    async def _drop(self) -> None:
        reading, self._reading, self._stream = self._reading, None, None
        await self._stack.aclose()
        if reading is not None:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    async def _pause(self) -> None:
        await asyncio.sleep(self._pause_s)
        self._pause_s = min(max(self._pause_s * 2, PAUSE_S_MIN), PAUSE_S_MAX)

    def _silent(self) -> EtcdUnavailableError:
        return EtcdUnavailableError(
            f"etcd is silent on the watch of {self._request.key!r}: no sign of life within "
            f"{self._sign_of_life_s} s. Nothing was to be written; it is opened again."
        )

    def _compacted(self, answer: WatchAnswer) -> CompactedError:
        return CompactedError(
            f"etcd refused the watch of {self._request.key!r} from revision {self.next_revision}: "
            f"everything before {answer.compact_revision} is compacted away. Changes may have "
            "been missed; list the keys again and watch from there.",
            revision=self.next_revision,
            compact_revision=answer.compact_revision,
        )
