"""Who commits what, when, and where: with a writer that only notes what it is told."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import Any

import pytest

from fsm_saga.errors import (
    ConflictError,
    FencedError,
    FsmSagaError,
    InvariantBrokenError,
    StoreUnavailableError,
)
from fsm_saga.stores import group_commit
from fsm_saga.stores.group_commit import GroupCommit, RowRefusedError, WriterBusyError


@dataclass(frozen=True)
class FakeRow:
    name: str
    size: int = 100


class Clock:
    """A clock that moves when a commit takes its time."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now


class FakeWriter:
    """Keeps the names of the rows of each commit, and fails as it is told."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.commits: list[list[str]] = []
        self.log: list[str] = []
        self.commit_s = 0.0001
        self.is_open = True
        self.needs_checkpoint = False
        self.errors: dict[str, deque[BaseException]] = {
            step: deque() for step in ("open", "prepare", "commit", "checkpoint")
        }
        self._prepared: list[str] | None = None

    def open(self) -> None:
        self.log.append("open")
        self._fail("open")
        self.is_open = True

    def prepare(self, rows: Sequence[FakeRow], *, wait: bool) -> list[FsmSagaError | None]:
        self.log.append("prepare and wait" if wait else "prepare")
        assert self.is_open
        assert self._prepared is None, "two transactions at a time"
        self._fail("prepare")
        if any(row.name == "bad" for row in rows):
            raise RowRefusedError("NOT NULL constraint failed")
        self._prepared = [row.name for row in rows if row.name != "conflict"]
        return [ConflictError("taken") if row.name == "conflict" else None for row in rows]

    def commit(self) -> None:
        self.log.append("commit")
        assert self._prepared is not None
        prepared, self._prepared = self._prepared, None
        self.clock.now += self.commit_s
        self._fail("commit")
        self.commits.append(prepared)

    def checkpoint(self) -> None:
        self.log.append("checkpoint")
        self.needs_checkpoint = False
        self._fail("checkpoint")

    def abandon(self) -> None:
        self.log.append("abandon")
        self.is_open, self._prepared = False, None

    def _fail(self, step: str) -> None:
        if self.errors[step]:
            error = self.errors[step].popleft()
            if isinstance(error, StoreUnavailableError):
                self.is_open, self._prepared = False, None
            raise error


class ManualExecutor(Executor):
    """A thread that works when it is told to."""

    def __init__(self) -> None:
        self.waiting: deque[tuple[Future[Any], Callable[[], Any]]] = deque()
        self.done = 0

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self.waiting.append((future, lambda: fn(*args, **kwargs)))
        return future

    def work(self) -> None:
        """Do the next piece of work."""
        future, job = self.waiting.popleft()
        self.done += 1
        try:
            future.set_result(job())
        except BaseException as error:  # noqa: BLE001  # as a thread of a pool does
            future.set_exception(error)


class Bench:
    """A group commit over the fakes."""

    def __init__(self, clock: Clock) -> None:
        self.writer = FakeWriter(clock)
        self.executor = ManualExecutor()
        self.commits = GroupCommit(self.writer, self.executor)

    def append(self, *names: str, size: int = 100) -> list[asyncio.Task[None]]:
        return [asyncio.create_task(self.commits.append(FakeRow(name, size))) for name in names]

    async def turns(self, count: int = 6) -> None:
        """Let the loop turn a few times."""
        for _ in range(count):
            await asyncio.sleep(0)

    async def make_slow(self) -> None:
        """Let one commit take long, so that the next ones go to the thread."""
        self.writer.commit_s = 0.02
        await asyncio.gather(*self.append("slow"))
        self.writer.commits.clear()
        self.writer.log.clear()


@pytest.fixture
async def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    clock = Clock()
    monkeypatch.setattr(group_commit, "time", clock)
    return Bench(clock)


# --- where a commit happens ----------------------------------------------------------------------


async def test_appends_of_one_turn_of_the_loop_share_a_commit(bench: Bench) -> None:
    await asyncio.gather(*bench.append("a", "b", "c"))
    assert bench.writer.commits == [["a", "b", "c"]]


async def test_a_fast_disk_is_committed_to_without_the_thread(bench: Bench) -> None:
    for name in "abc":
        await asyncio.gather(*bench.append(name))
    assert bench.writer.commits == [["a"], ["b"], ["c"]]
    assert not bench.executor.waiting
    assert bench.executor.done == 0


async def test_a_slow_disk_is_left_to_the_thread_and_the_loop_goes_on(bench: Bench) -> None:
    await bench.make_slow()
    tasks = bench.append("a", "b")
    await bench.turns()
    assert len(bench.executor.waiting) == 1
    assert not any(task.done() for task in tasks)
    bench.executor.work()
    await asyncio.gather(*tasks)
    assert bench.writer.commits == [["a", "b"]]


async def test_what_comes_during_a_commit_shares_the_next(bench: Bench) -> None:
    await bench.make_slow()
    first = bench.append("a")
    await bench.turns()
    later = bench.append("b", "c")
    await bench.turns()
    later += bench.append("d")
    await bench.turns()
    assert len(bench.executor.waiting) == 1, "the writer is used by one at a time"
    bench.executor.work()
    await bench.turns()
    assert all(task.done() for task in first)
    assert not any(task.done() for task in later)
    bench.executor.work()
    await asyncio.gather(*first, *later)
    assert bench.writer.commits == [["a"], ["b", "c", "d"]]


async def test_a_disk_that_has_become_fast_again_is_committed_to_at_once(bench: Bench) -> None:
    await bench.make_slow()
    bench.writer.commit_s = 0.0001
    for number in range(20):
        tasks = bench.append(str(number))
        await bench.turns()
        if bench.executor.waiting:
            bench.executor.work()
        await asyncio.gather(*tasks)
    assert 3 <= bench.executor.done <= 15
    done = bench.executor.done
    await asyncio.gather(*bench.append("last"))
    assert bench.executor.done == done


async def test_much_to_write_is_left_to_the_thread(bench: Bench) -> None:
    await asyncio.gather(*bench.append("enough", size=group_commit.INLINE_BYTES_MAX))
    assert bench.executor.done == 0
    bench.writer.log.clear()
    tasks = bench.append("big", size=group_commit.INLINE_BYTES_MAX + 1)
    await bench.turns()
    bench.executor.work()
    await asyncio.gather(*tasks)
    assert bench.writer.log == ["prepare", "commit"]


async def test_a_batch_has_a_limit_in_appends_and_in_bytes(bench: Bench) -> None:
    count = 2 * group_commit.BATCH_APPENDS_MAX + 1
    await asyncio.gather(*bench.append(*map(str, range(count))))
    sizes = [len(commit) for commit in bench.writer.commits]
    assert sizes == [group_commit.BATCH_APPENDS_MAX] * 2 + [1]
    bench.writer.commits.clear()
    tasks = bench.append("a", "b", "c", size=group_commit.BATCH_BYTES_MAX // 2 + 1)
    for _ in range(2):
        await bench.turns()
        bench.executor.work()
    await asyncio.gather(*tasks)
    assert bench.writer.commits == [["a", "b"], ["c"]]


# --- what becomes of it --------------------------------------------------------------------------


async def test_a_refused_append_hurts_no_other(bench: Bench) -> None:
    results = await asyncio.gather(*bench.append("a", "conflict", "b"), return_exceptions=True)
    assert [type(result) for result in results] == [type(None), ConflictError, type(None)]
    assert bench.writer.commits == [["a", "b"]]


@pytest.mark.parametrize("step", ["prepare", "commit"])
async def test_a_failure_is_told_to_everybody_of_the_batch_each_by_an_error_of_its_own(
    bench: Bench, step: str
) -> None:
    cause = OSError("no space")
    error = StoreUnavailableError("The disk is full.", reason="the disk is full")
    error.__cause__ = cause
    bench.writer.errors[step].append(error)
    results = await asyncio.gather(*bench.append("a", "b"), return_exceptions=True)
    assert all(isinstance(result, StoreUnavailableError) for result in results)
    first, second = results
    assert first is not second
    assert isinstance(first, StoreUnavailableError)
    assert first.facts == {"reason": "the disk is full"}
    assert first.__cause__ is cause


@pytest.mark.parametrize("is_slow", [False, True])
async def test_a_failed_commit_leaves_a_refusal_a_refusal(bench: Bench, is_slow: bool) -> None:
    if is_slow:
        await bench.make_slow()
    bench.writer.errors["commit"].append(StoreUnavailableError("The disk is full."))
    tasks = bench.append("conflict", "a")
    await bench.turns()
    if is_slow:
        bench.executor.work()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result) for result in results] == [ConflictError, StoreUnavailableError]


async def test_after_a_failure_the_thread_opens_the_writer_again_and_goes_on(bench: Bench) -> None:
    bench.writer.errors["commit"].append(StoreUnavailableError("The disk is full."))
    await asyncio.gather(*bench.append("a"), return_exceptions=True)
    bench.writer.log.clear()
    tasks = bench.append("b")
    await bench.turns()
    assert bench.writer.log == [], "opening may wait for the disk"
    bench.executor.work()
    await asyncio.gather(*tasks)
    assert bench.writer.log == ["open", "prepare and wait", "commit"]
    assert bench.writer.commits == [["b"]]


async def test_as_long_as_the_writer_does_not_open_each_append_is_told_why(bench: Bench) -> None:
    bench.writer.is_open = False
    bench.writer.errors["open"] += [StoreUnavailableError("Full."), FencedError("Replaced.")]
    for kind in (StoreUnavailableError, FencedError):
        tasks = bench.append("a", "b")
        await bench.turns()
        bench.executor.work()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(result) for result in results] == [kind, kind]
    tasks = bench.append("c")
    await bench.turns()
    bench.executor.work()
    await asyncio.gather(*tasks)
    assert bench.writer.commits == [["c"]]


async def test_another_process_in_the_way_is_waited_for_on_the_thread(bench: Bench) -> None:
    bench.writer.errors["prepare"].append(WriterBusyError())
    tasks = bench.append("a", "b")
    await bench.turns()
    bench.executor.work()
    await asyncio.gather(*tasks)
    assert bench.writer.log == ["prepare", "prepare and wait", "commit"]
    assert bench.writer.commits == [["a", "b"]]


async def test_a_row_that_cannot_be_stored_hurts_no_other(bench: Bench) -> None:
    tasks = bench.append("a", "bad", "conflict", "b")
    await bench.turns()
    bench.executor.work()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    kinds = [type(result) for result in results]
    assert kinds == [type(None), InvariantBrokenError, ConflictError, type(None)]
    assert "NOT NULL constraint failed" in str(results[1])
    assert [row for commit in bench.writer.commits for row in commit] == ["a", "b"]


async def test_a_fault_among_rows_written_one_by_one_is_told_to_its_own_row(bench: Bench) -> None:
    bench.writer.errors["commit"].append(StoreUnavailableError("The disk is full."))
    tasks = bench.append("a", "bad", "b")
    await bench.turns()
    bench.executor.work()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    kinds = [type(result) for result in results]
    assert kinds == [StoreUnavailableError, InvariantBrokenError, type(None)]
    assert bench.writer.commits == [["b"]]


@pytest.mark.parametrize("is_slow", [False, True])
async def test_a_bug_of_the_writer_leaves_nobody_waiting(
    bench: Bench, caplog: pytest.LogCaptureFixture, is_slow: bool
) -> None:
    if is_slow:
        await bench.make_slow()
    bench.writer.errors["commit"].append(RuntimeError("a bug"))
    tasks = bench.append("a")
    await bench.turns()
    if is_slow:
        bench.executor.work()
    with pytest.raises(InvariantBrokenError) as caught:
        await asyncio.wait_for(tasks[0], 1)
    assert isinstance(caught.value.__cause__, RuntimeError)
    caplog.clear()  # on the loop, asyncio logs the bug too


async def test_a_waiter_that_was_cancelled_disturbs_nobody(bench: Bench) -> None:
    await bench.make_slow()
    first, second = bench.append("a", "b")
    await bench.turns()
    first.cancel()
    await bench.turns()
    bench.executor.work()
    await second
    assert bench.writer.commits == [["a", "b"]]


# --- jobs ----------------------------------------------------------------------------------------


async def test_a_job_has_the_writer_to_itself(bench: Bench) -> None:
    job = asyncio.create_task(bench.commits.run(lambda: bench.writer.log.append("job")))
    await bench.turns()
    tasks = bench.append("a")
    await bench.turns()
    assert bench.writer.log == []
    bench.executor.work()
    await asyncio.gather(job, *tasks)
    assert bench.writer.log == ["job", "prepare", "commit"]


async def test_jobs_run_in_order_and_appends_come_in_between(bench: Bench) -> None:
    log = bench.writer.log
    jobs = [asyncio.create_task(bench.commits.run(lambda n=n: log.append(n))) for n in "123"]  # type: ignore[misc]
    tasks = bench.append("a")
    for _ in range(3):
        await bench.turns()
        bench.executor.work()
    await asyncio.gather(*jobs, *tasks)
    assert log == ["1", "prepare", "commit", "2", "3"]


async def test_the_error_of_a_job_is_its_own(bench: Bench) -> None:
    def refuse() -> None:
        raise ConflictError("not final")

    job = asyncio.create_task(bench.commits.run(refuse))
    await bench.turns()
    bench.executor.work()
    with pytest.raises(ConflictError):
        await job
    await asyncio.gather(*bench.append("a"))


async def test_a_job_that_nobody_waits_for_any_more_disturbs_nobody(bench: Bench) -> None:
    job = asyncio.create_task(bench.commits.run(lambda: 1))
    await bench.turns()
    job.cancel()
    await bench.turns()
    bench.executor.work()
    await asyncio.gather(*bench.append("a"))
    assert bench.writer.commits == [["a"]]


async def test_a_job_opens_a_writer_that_had_failed(bench: Bench) -> None:
    bench.writer.is_open = False
    job = asyncio.create_task(bench.commits.run(lambda: bench.writer.log.append("job")))
    await bench.turns()
    bench.executor.work()
    await job
    assert bench.writer.log == ["open", "job"]


async def test_a_quick_job_runs_at_once_if_the_writer_is_free(bench: Bench) -> None:
    assert await bench.commits.run_quick(lambda: 7) == 7
    assert bench.executor.done == 0
    await bench.make_slow()
    tasks = bench.append("a")
    await bench.turns()
    quick = asyncio.create_task(bench.commits.run_quick(lambda: 8))
    await bench.turns()
    assert not quick.done()
    bench.executor.work()
    await bench.turns()
    bench.executor.work()
    assert await quick == 8
    await asyncio.gather(*tasks)


async def test_a_quick_job_does_not_overtake_a_job_that_waits(bench: Bench) -> None:
    order: list[str] = []
    jobs = [
        asyncio.create_task(bench.commits.run(lambda: order.append("first"))),
        asyncio.create_task(bench.commits.run_quick(lambda: order.append("quick"))),
    ]
    for _ in jobs:
        await bench.turns()
        bench.executor.work()
    await asyncio.gather(*jobs)
    assert order == ["first", "quick"]


async def test_a_quick_job_opens_a_writer_that_had_failed(bench: Bench) -> None:
    bench.writer.is_open = False
    quick = asyncio.create_task(bench.commits.run_quick(lambda: bench.writer.is_open))
    await bench.turns()
    bench.executor.work()
    assert await quick is True


# --- tidying up and closing ----------------------------------------------------------------------


async def test_a_checkpoint_runs_on_the_thread_before_anything_that_waits(bench: Bench) -> None:
    bench.writer.needs_checkpoint = True
    await asyncio.gather(*bench.append("a"))
    tasks = bench.append("b")
    await bench.turns()
    assert not tasks[0].done()
    bench.executor.work()
    await asyncio.gather(*tasks)
    assert bench.writer.log == ["prepare", "commit", "checkpoint", "prepare", "commit"]


async def test_a_checkpoint_that_fails_is_logged_and_loses_nothing(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.writer.needs_checkpoint = True
    bench.writer.errors["checkpoint"].append(StoreUnavailableError("The disk is full."))
    await asyncio.gather(*bench.append("a"))
    tasks = bench.append("b")
    await bench.turns()
    with caplog.at_level(logging.WARNING):
        bench.executor.work()
        await bench.turns()
    (record,) = caplog.records
    assert record.getMessage() == "checkpoint failed"
    assert record.exc_info is not None
    assert "The disk is full." in str(record.exc_info[1])
    bench.executor.work()
    await asyncio.gather(*tasks)
    assert bench.writer.commits == [["a"], ["b"]]


async def test_draining_waits_for_all_that_was_accepted(bench: Bench) -> None:
    await bench.make_slow()
    tasks = bench.append("a")
    await bench.turns()
    tasks += bench.append("b")
    await bench.turns()
    job = asyncio.create_task(bench.commits.run(lambda: bench.writer.log.append("job")))
    await bench.turns()
    drained = asyncio.create_task(bench.commits.drain())
    for _ in range(3):
        await bench.turns()
        assert not drained.done()
        bench.executor.work()
    await drained
    await asyncio.gather(job, *tasks)
    assert bench.writer.commits == [["a"], ["b"]]
    assert not bench.executor.waiting


async def test_draining_waits_for_what_was_accepted_and_has_not_begun(bench: Bench) -> None:
    found: list[list[list[str]]] = []

    async def drain() -> None:
        await bench.commits.drain()
        found.append(list(bench.writer.commits))

    tasks = bench.append("a")
    await asyncio.gather(*tasks, asyncio.create_task(drain()))
    assert found == [[["a"]]]


async def test_who_gives_up_draining_leaves_the_others_waiting_to_the_end(bench: Bench) -> None:
    broken: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, told: broken.append(told))
    await bench.make_slow()
    tasks = bench.append("a")
    await bench.turns()
    patient, hasty = (asyncio.create_task(bench.commits.drain()) for _ in range(2))
    await bench.turns()
    hasty.cancel()
    await bench.turns()
    assert hasty.cancelled()
    assert not patient.done()
    bench.executor.work()
    await asyncio.wait_for(patient, 1)
    assert all(task.done() for task in tasks)
    assert broken == []


async def test_draining_what_is_idle_returns_at_once(bench: Bench) -> None:
    await asyncio.wait_for(bench.commits.drain(), 1)
