"""Many kills, on two servers of processes at a time, and what each of them led to."""

from __future__ import annotations

import itertools
import os
import queue
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.support.killing import Killing, judge

SERVERS = 2
_IN_MEMORY = Path("/dev/shm")  # noqa: S108  # a directory of our own is made in it


@contextmanager
def open_grid() -> Iterator[Grid]:
    """Give a grid whose files are in memory where that is possible: a kill loses none of them."""
    with ExitStack() as stack:
        directory = stack.enter_context(open_fast_directory())
        servers = [stack.enter_context(Killing()) for _ in range(SERVERS)]
        yield Grid(directory, servers)


@contextmanager
def open_fast_directory() -> Iterator[Path]:
    """Give a directory of a file system in memory where there is one, else an ordinary one."""
    base = _IN_MEMORY if os.access(_IN_MEMORY, os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=base) as directory:
        yield Path(directory)


class Grid:
    """Runs, kills, copies what a kill left behind, and finishes."""

    def __init__(self, base: Path, servers: list[Killing]) -> None:
        self._base = base
        self._servers: queue.SimpleQueue[Killing] = queue.SimpleQueue()
        for server in servers:
            self._servers.put(server)
        self._numbers = itertools.count(1)

    def each(self, jobs: Iterable[Callable[[Killing], int]]) -> int:
        """Return the sum of what the jobs return, each of which is given a server of its own."""

        def work(job: Callable[[Killing], int]) -> int:
            server = self._servers.get()
            try:
                return job(server)
            finally:
                self._servers.put(server)

        with ThreadPoolExecutor(SERVERS) as pool:
            return sum(pool.map(work, jobs))

    @contextmanager
    def place(self, start: Path | None = None) -> Iterator[Path]:
        """Give a directory for one run, which begins as another one was left."""
        place = self._base / str(next(self._numbers))
        if start is None:
            place.mkdir()
        else:
            shutil.copytree(start, place)
        try:
            yield place
        finally:
            shutil.rmtree(place)

    def kill_at_each(
        self,
        server: Killing,
        plan: str,
        name: str,
        ends: list[str],
        *,
        start: Path | None = None,
        step: int = 1,
    ) -> int:
        """Kill at each pass of a place, finish each time, judge; return how many kills that were.

        Args:
            server: What starts the processes.
            plan: What they run.
            name: The place, a failpoint or ``disk``.
            ends: How the sagas have to end.
            start: What an earlier kill left; nothing to begin with.
            step: Only every so many passes.
        """
        for kills in itertools.count():
            nth = kills * step + 1
            with self.place(start) as place:
                ended = server.run(place, plan, order_of(name, nth))
                assert ended in (0, -signal.SIGKILL), (name, nth, ended)
                if ended:
                    assert server.run(place, plan) == 0, (name, nth)
                assert judge(place, plan) == ends, (name, nth)
            if not ended:
                return kills
        raise AssertionError("it goes on for ever")

    def kill_twice(
        self, server: Killing, plan: str, first: str, seconds: Iterable[str], ends: list[str]
    ) -> int:
        """Kill at one place, then each recovery from that at each pass of the second places."""
        with self.place() as left:
            if server.run(left, plan, first) == 0:
                return 0
            return 1 + sum(
                self.kill_at_each(server, plan, second, ends, start=left) for second in seconds
            )

    def kill_in_a_loop(
        self, server: Killing, plan: str, order: str, times: int, ends: list[str]
    ) -> int:
        """Kill each process at the same place, so often; then let one finish."""
        kills = 0
        with self.place() as place:
            for _ in range(times):
                kills += server.run(place, plan, order) == -signal.SIGKILL
            assert server.run(place, plan) == 0, order
            assert judge(place, plan) == ends, order
        return kills


def order_of(name: str, nth: int) -> str:
    """Return the order that kills at the nth pass of a place."""
    return f"disk:{nth}" if name == "disk" else f"{name}:{nth}:kill"
