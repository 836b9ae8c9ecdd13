"""A context that one task enters and another one may leave."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager
from typing import Generic, TypeVar

T = TypeVar("T")


class Held(Generic[T]):
    """Holds a context open in a task of its own, as task groups inside it demand."""

    def __init__(self, context: AbstractAsyncContextManager[T], *, name: str) -> None:
        """Open nothing yet."""
        self._context = context
        self._opened: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._closing = asyncio.Event()
        self._task = asyncio.create_task(self._hold(), name=name)

    @classmethod
    async def open(cls, context: AbstractAsyncContextManager[T], *, name: str) -> tuple[T, Held[T]]:
        """Enter the context; return what it gives, and what leaves it again."""
        held = cls(context, name=name)
        try:
            return await asyncio.shield(held._opened), held
        except asyncio.CancelledError:
            await held.close()
            raise

    async def _hold(self) -> None:
        try:
            async with self._context as value:
                self._opened.set_result(value)
                await self._closing.wait()
        except Exception as error:
            # boundary: who opens is told here; who closes is told by the task.
            if self._opened.done():
                raise
            self._opened.set_exception(error)

    async def close(self) -> None:
        """Leave the context. A second call does nothing."""
        self._closing.set()
        if not self._opened.done():
            self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        if not self._task.cancelled() and (error := self._task.exception()) is not None:
            raise error
