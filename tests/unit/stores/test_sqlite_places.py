"""Where no SQLite store can be: refused before anything is made there."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Literal

import pytest
from filelock import FileLock, Timeout

from fsm_saga.errors import StoreError, StoreLockedError
from fsm_saga.stores.opening import open_cluster, open_store
from fsm_saga.stores.sqlite_lock import acquire_writer_lock
from fsm_saga.stores.sqlite_schema import check_place


@pytest.fixture(params=["pipe", "socket", "link"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Give the path of what is no file, in a folder with nothing else."""
    monkeypatch.chdir(tmp_path)  # the name of a socket may not be long
    if request.param == "socket":
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind("sagas.db")
    elif request.param == "pipe":
        os.mkfifo("sagas.db")
    else:
        os.mkdir("elsewhere")
        os.mkfifo("elsewhere/pipe")
        os.symlink("elsewhere/pipe", "sagas.db")
    return str(tmp_path / "sagas.db")


def everything_in(folder: Path) -> list[str]:
    return sorted(str(each.relative_to(folder)) for each in folder.rglob("*"))


@pytest.mark.parametrize("mode", ["read", "write"])
async def test_what_is_no_file_is_refused_before_anything_is_made(
    place: str, mode: Literal["read", "write"]
) -> None:
    folder = Path(place).parent
    before = everything_in(folder)
    with pytest.raises(StoreError) as caught:
        async with open_store(f"sqlite:///{place}", mode=mode):
            pass
    assert caught.value.message == (
        f"Store {place!r} was not opened: it is a device, a pipe or a socket, and no file. Nothing "
        "was changed; name a file."
    )
    assert everything_in(folder) == before


async def test_coordinators_are_refused_what_is_no_file_as_well(place: str) -> None:
    before = everything_in(Path(place).parent)
    with pytest.raises(StoreError, match="and no file"):
        async with open_cluster(f"sqlite:///{place}"):
            pass
    assert everything_in(Path(place).parent) == before


def test_a_folder_a_file_and_nothing_are_told_apart(tmp_path: Path) -> None:
    file = tmp_path / "sagas.db"
    check_place(str(file))
    file.touch()
    check_place(str(file))
    with pytest.raises(StoreError, match="it is a directory"):
        check_place(str(tmp_path))
    with pytest.raises(StoreError, match="there is no directory"):
        check_place(str(file / "sagas.db"))


def test_where_no_lock_file_can_be_made_nobody_is_said_to_be_the_writer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some folders of a system, as /proc, answer so to whoever makes a file in them."""
    open_file = os.open

    def makes_none(path: str, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_CREAT:
            raise FileNotFoundError(2, "No such file or directory", path)
        return open_file(path, flags, mode)

    path = str(tmp_path / "sagas.db")
    monkeypatch.setattr(os, "open", makes_none)
    with pytest.raises(StoreError) as caught:
        acquire_writer_lock(path)
    assert not isinstance(caught.value, StoreLockedError)
    assert caught.value.message == (
        f"Store {path!r} was not opened for writing: {path + '.lock'!r} could not be locked (no "
        "such file can be made). Nothing was changed; check the permissions of the directory, or "
        "open the store for reading."
    )
    assert isinstance(caught.value.__cause__, Timeout)


def test_what_went_wrong_with_a_lock_is_told_without_words_of_the_system_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_lock: FileLock, *, blocking: bool) -> None:
        raise OSError(f"no lock, and no wait: {blocking}")

    monkeypatch.setattr(FileLock, "acquire", fails)
    with pytest.raises(StoreError, match=r"locked \(no lock, and no wait: False\)\. Nothing"):
        acquire_writer_lock(str(tmp_path / "sagas.db"))
