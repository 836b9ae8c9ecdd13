"""How a command waits: one event loop, and an orderly end when it is interrupted."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

T = TypeVar("T")


class InterruptedBySignal(Exception):  # noqa: N818  # no error: somebody wanted it
    """A signal ended the command; ``message`` says what is still true and what to do."""

    def __init__(self, number: int, message: str) -> None:
        super().__init__(message)
        self.number = number
        self.message = message

    @property
    def exit_code(self) -> int:
        """What a shell expects of a program that ended by this signal."""
        return 128 + self.number


class _Stop:
    """Cancels the command at the first signal and ends the process at the second.

    The end at any instruction is safe, for whatever counts is in the store before it is done. The
    first signal is only the politer way.
    """

    def __init__(self, task: asyncio.Task[Any]) -> None:
        self.number: int | None = None
        self._task = task

    def __call__(self, number: int) -> None:
        if self.number is not None:
            os._exit(128 + number)
        self.number = number
        self._task.cancel()


def run_async(
    work: Coroutine[Any, Any, T], *, when_stopped: str | Callable[[], str] = "Nothing was changed."
) -> T:
    """Return what a coroutine returns; Ctrl-C and SIGTERM unwind it in an orderly way.

    Args:
        work: What the command does.
        when_stopped: What is true, and what to do, after an interruption.

    Raises:
        InterruptedBySignal: If a signal ended it; everything that it held open is closed.
    """
    if sys.platform == "win32" or not _is_main_thread():
        return asyncio.run(work)
    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        task = loop.create_task(work)
        stop = _Stop(task)
        with _signals_led_to(stop, loop):
            _run_until_done(task, loop)
        try:
            return task.result()
        except asyncio.CancelledError:
            if stop.number is None:
                raise
            said = when_stopped if isinstance(when_stopped, str) else when_stopped()
            raise InterruptedBySignal(stop.number, said) from None


@contextmanager
def _signals_led_to(stop: _Stop, loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    signals = (signal.SIGINT, signal.SIGTERM)
    for number in signals:
        loop.add_signal_handler(number, stop, number)
    try:
        yield
    finally:
        for number in signals:
            loop.remove_signal_handler(number)


def _run_until_done(task: asyncio.Task[Any], loop: asyncio.AbstractEventLoop) -> None:
    """Run the loop until the task has ended, whatever stops it before.

    The signals are ours. So whatever else stops the loop came out of a task or a callback that a
    tool has started, and is no reason to leave the sagas.
    """
    task.add_done_callback(lambda _ended: loop.stop())
    while not task.done():
        with suppress(KeyboardInterrupt, SystemExit):
            loop.run_forever()


def _is_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def leave_at_once(code: int) -> None:
    """End the process if threads of tools would keep it from ending, now that nobody listens.

    Their calls were recorded as begun; what they come to is found out when the saga goes on.
    """
    others = [t for t in threading.enumerate() if not t.daemon and t is not threading.main_thread()]
    if others:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
