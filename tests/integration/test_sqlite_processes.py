"""The SQLite store among real processes: kill -9, two writers, readers, other users."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fsm_saga.core.records import AttemptStarted
from fsm_saga.errors import StoreError, StoreLockedError
from fsm_saga.ports import Command
from fsm_saga.stores.opening import open_store
from tests.integration.sqlite_children import SAGAS, numbered_append

ROOT = Path(__file__).resolve().parents[2]
KILLS = 20
KILLS_WHILE_OPENING = 12


@contextmanager
def child(role: str, path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Give a process in this role; it is gone at the end of the block."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.integration.sqlite_children", role, str(path)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,  # what one line leaves in a buffer would be lost to communicate()
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate(timeout=30)


def first_line(process: subprocess.Popen[bytes]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().decode().strip()


def acknowledged(lines: str) -> dict[str, int]:
    """Return the highest position that was acknowledged for each saga; a cut-off line is none."""
    whole = lines[: lines.rfind("\n") + 1]
    pairs = (line.split(" ", 1) for line in whole.splitlines())
    return {saga_id: int(position) for saga_id, position in pairs if saga_id.startswith("saga")}


async def check_journals(path: Path, promised: dict[str, int]) -> int:
    """Check that each journal holds what was promised, without a gap; return their total length."""
    total = 0
    async with open_store(f"sqlite:///{path}", mode="read") as store:
        heads = {head.saga_id: head for head in await store.heads()}
        for saga_id, position in promised.items():
            assert heads[saga_id].position >= position, f"{saga_id} lost acknowledged records"
        for saga_id, head in heads.items():
            records = await store.load(saga_id)
            assert records is not None
            steps = [record.step for record in records if isinstance(record, AttemptStarted)]
            assert steps == list(range(head.position))
            total += len(steps)
    return total


def test_nothing_acknowledged_is_lost_when_the_writer_is_killed_again_and_again(
    tmp_path: Path,
) -> None:
    path = tmp_path / "sagas.db"
    rng = random.Random(7)
    promised: dict[str, int] = {}
    total = 0
    for _ in range(KILLS):
        with child("write", path) as writer:
            assert first_line(writer).startswith("open")
            time.sleep(rng.uniform(0.0, 0.15))
            writer.send_signal(signal.SIGKILL)
            output, _ = writer.communicate(timeout=30)
        promised |= acknowledged(output.decode())
        total = asyncio.run(check_journals(path, promised))
    assert len(promised) == SAGAS
    assert total >= sum(promised.values())


def test_a_writer_killed_at_any_moment_of_its_opening_leaves_a_store_that_opens(
    tmp_path: Path,
) -> None:
    rng = random.Random(11)
    for number in range(KILLS_WHILE_OPENING):
        path = tmp_path / f"{number}.db"
        with child("write", path) as writer:
            while not path.exists() and writer.poll() is None:
                time.sleep(0.001)
            time.sleep(rng.uniform(0.0, 0.012))
            writer.send_signal(signal.SIGKILL)
            output, _ = writer.communicate(timeout=30)

        async def open_and_append(path: Path = path) -> None:
            async with open_store(f"sqlite:///{path}") as store:
                await store.append(numbered_append("after", 0, count=1))

        asyncio.run(open_and_append())
        asyncio.run(check_journals(path, acknowledged(output.decode())))


async def test_a_second_writer_is_refused_and_told_who_is_the_first(tmp_path: Path) -> None:
    path = tmp_path / "sagas.db"
    url = f"sqlite:///{path}"
    with child("hold", path) as holder:
        assert first_line(holder) == f"open {holder.pid}"
        with pytest.raises(StoreLockedError) as caught:
            async with open_store(url):
                pass
        assert caught.value.facts["pid"] == holder.pid
        assert caught.value.facts["host"] == os.uname().nodename
        assert abs(caught.value.facts["since"] - time.time()) < 60
        assert f"Process {holder.pid} on" in str(caught.value)
        assert "open the store for reading" in str(caught.value)
        holder.send_signal(signal.SIGKILL)
        holder.wait(timeout=30)
        async with open_store(url) as store:  # the lock died with it
            assert len(await store.load("saga-0") or ()) == 2
            assert store.epoch == 2


async def test_a_second_store_of_the_same_process_is_refused_too(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/sagas.db"
    (tmp_path / "link.db").symlink_to(tmp_path / "sagas.db")
    async with open_store(url):
        for other in (url, f"sqlite:///{tmp_path}/link.db"):
            with pytest.raises(StoreLockedError, match=f"{os.getpid()} .*this process"):
                async with open_store(other):
                    pass
    async with open_store(url) as store:
        assert store.epoch == 2


async def test_readers_and_commands_from_another_process_work_while_a_writer_lives(
    tmp_path: Path,
) -> None:
    path = tmp_path / "sagas.db"
    with child("hold", path) as holder:
        assert first_line(holder).startswith("open")
        async with open_store(f"sqlite:///{path}", mode="read") as reader:
            assert len(await reader.load("saga-0") or ()) == 2
            for _ in range(3):
                number = await reader.post_command(
                    Command(saga_id="saga-0", kind="cancel", body={"by": "ann"})
                )
                answer = None
                for _ in range(500):
                    answer = await reader.command_answer(number)
                    if answer is not None:
                        break
                    await asyncio.sleep(0.01)
                assert answer == {"ok": True, "pid": holder.pid}
        await asyncio.to_thread(holder.communicate, None, 30)  # which ends its standard input
        assert holder.returncode == 0
    assert not path.with_name("sagas.db-wal").exists(), "a clean end leaves one file"


def test_a_file_that_may_not_grow_stops_no_one_for_good(tmp_path: Path) -> None:
    path = tmp_path / "sagas.db"
    with child("fill", path) as writer:
        output, _ = writer.communicate(timeout=60)
        assert writer.returncode == 0
    lines = output.decode().splitlines()
    failures = [line for line in lines if line.startswith("failed")]
    assert len(failures) == 3
    assert all("refused a write" in line or "full" in line for line in failures)
    before = acknowledged("\n".join(lines[: lines.index(failures[0])]) + "\n")["saga-0"]
    after = acknowledged(output.decode())["saga-0"]
    assert after >= before + 20
    asyncio.run(check_journals(path, {"saga-0": after}))


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """Give a directory that every user may reach; pytest's own is closed to all but one."""
    with tempfile.TemporaryDirectory(prefix="fsm-saga-test-") as place:
        directory = Path(place)
        directory.chmod(0o755)
        yield directory
        directory.chmod(0o755)


async def make_store(path: Path) -> None:
    async with open_store(f"sqlite:///{path}") as store:
        await store.append(numbered_append("saga-0", 0, count=3))


def lines_of_nobody(path: Path) -> list[str]:
    with child("nobody", path) as process:
        output, _ = process.communicate(timeout=60)
    return output.decode().splitlines()


def test_a_read_only_store_is_not_written_and_is_read(open_directory: Path) -> None:
    path = open_directory / "sagas.db"
    asyncio.run(make_store(path))
    before = path.read_bytes()
    for file in open_directory.iterdir():
        file.chmod(0o444)
    open_directory.chmod(0o555)
    written, *read = lines_of_nobody(path)
    assert written.startswith("StoreError")
    assert "not opened for writing" in written
    assert read == ["read 3", "read 1"]
    assert path.read_bytes() == before


def test_a_read_only_file_in_an_open_directory_is_not_written(open_directory: Path) -> None:
    path = open_directory / "sagas.db"
    asyncio.run(make_store(path))
    open_directory.chmod(0o777)
    path.chmod(0o444)
    path.with_name("sagas.db.lock").chmod(0o666)
    written, *read = lines_of_nobody(path)
    assert written.startswith("StoreError")
    assert "the file is read-only" in written
    assert read == ["read 3", "read 1"]


def test_a_log_that_may_not_be_read_is_not_passed_over_in_silence(open_directory: Path) -> None:
    path = open_directory / "sagas.db"
    with child("hold", path) as writer:
        assert first_line(writer).startswith("open")
        writer.kill()
        writer.wait(timeout=30)
    path.with_name("sagas.db-shm").unlink()
    open_directory.chmod(0o555)
    for file in open_directory.iterdir():
        file.chmod(0o444)
    _, *read = lines_of_nobody(path)
    assert len(read) == 1
    assert read[0].startswith("StoreError")
    assert "not opened for reading" in read[0]


async def test_a_reader_that_may_not_write_says_so_when_it_leaves_a_command(tmp_path: Path) -> None:
    path = tmp_path / "sagas.db"
    await make_store(path)
    async with open_store(f"sqlite:///{path}", mode="read") as reader:
        path.rename(tmp_path / "moved.db")
        with pytest.raises(StoreError, match="was not left in store"):
            await reader.post_command(Command(saga_id="saga-0", kind="cancel", body={}))
