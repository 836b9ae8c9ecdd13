"""A server as a process of its own, which can be killed, paused and started again."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

READY_S_MAX = 30.0
STOP_S_MAX = 10.0
POLL_S = 0.02
LOG_LINES_SHOWN = 40


class ServerFailedError(Exception):
    """A server did not do what a test relies on; the message ends with its log."""


def free_port() -> int:
    """Return a port of 127.0.0.1 on which nothing listens now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    assert isinstance(port, int)
    return port


def wait_until(is_so: Callable[[], bool], *, what: str, timeout_s: float = READY_S_MAX) -> None:
    """Return as soon as ``is_so()``.

    Raises:
        TimeoutError: It was not so in time.
    """
    ends_at = time.monotonic() + timeout_s
    while not is_so():
        if time.monotonic() > ends_at:
            raise TimeoutError(f"not within {timeout_s:g} s: {what}")
        time.sleep(POLL_S)


class ServerProcess:
    """One server. A subclass says by which command it starts and when it is ready.

    Used as a context manager it is started, and at the end stopped for good.

    Attributes:
        directory: Where it keeps its data and its log.
        port: Where it listens; the same one after each start.
    """

    name = "server"

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = free_port()
        self.log_path = directory / f"{self.name}.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._is_paused = False
        directory.mkdir(parents=True, exist_ok=True)

    @property
    def command(self) -> Sequence[str]:
        """What starts it."""
        raise AssertionError(f"{type(self).__name__} does not say how it starts")

    def is_ready(self) -> bool:
        """Return True once it answers."""
        raise AssertionError(f"{type(self).__name__} does not say when it is ready")

    @property
    def address(self) -> str:
        """``127.0.0.1:port``."""
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """The number of the process, which has to run."""
        assert self._process is not None, f"{self.name} does not run"
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """True from its start to its end, paused or not."""
        return self._process is not None and self._process.poll() is None

    @property
    def is_paused(self) -> bool:
        """True from ``pause`` to ``resume``."""
        return self._is_paused

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self, *, wait: bool = True) -> None:
        """Start it on the data that it has, and return when it answers."""
        assert not self.is_running, f"{self.name} runs already"
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                self.command,
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # ctrl-C at pytest is not for it
            )
        if wait:
            self.wait_ready()

    def wait_ready(self, *, timeout_s: float = READY_S_MAX) -> None:
        """Return when it answers.

        Raises:
            ServerFailedError: It ended, or did not answer in time.
        """

        def is_settled() -> bool:
            return not self.is_running or self.is_ready()

        try:
            wait_until(is_settled, what=f"{self.name} answers", timeout_s=timeout_s)
        except TimeoutError as error:
            raise ServerFailedError(f"{error}\n{self.log_tail()}") from error
        if not self.is_running:
            raise ServerFailedError(f"{self.name} ended at once\n{self.log_tail()}")

    def kill(self) -> None:
        """End it as ``kill -9`` does; return when it is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(STOP_S_MAX)
            self._is_paused = False

    def pause(self) -> None:
        """Stop it where it is (SIGSTOP): its connections stay open and nothing answers."""
        self._process_of("paused").send_signal(signal.SIGSTOP)
        self._is_paused = True

    def resume(self) -> None:
        """Let it go on (SIGCONT)."""
        self._process_of("resumed").send_signal(signal.SIGCONT)
        self._is_paused = False

    def restart(self) -> None:
        """Kill it and start it again."""
        self.kill()
        self.start()

    def stop(self) -> None:
        """End it politely, or by force if it does not listen. A second call does nothing."""
        if self._process is None:
            return
        if self.is_running and not self._is_paused:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_S_MAX)
        self.kill()
        self._process = None

    def log_tail(self) -> str:
        """Return the last lines of its log."""
        if not self.log_path.exists():
            return f"{self.name}: no log"
        lines = self.log_path.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join([f"--- log of {self.name}:", *lines[-LOG_LINES_SHOWN:]])

    def _process_of(self, what: str) -> subprocess.Popen[bytes]:
        assert self._process is not None, f"{self.name} cannot be {what}: it does not run"
        assert self.is_running, f"{self.name} cannot be {what}: it has ended\n{self.log_tail()}"
        return self._process
