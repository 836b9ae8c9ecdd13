"""Which URL opens which store, and what is said of those that open none."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from fsm_saga.errors import StoreError
from fsm_saga.stores import opening
from fsm_saga.stores.memory import MemoryStore, forget_memory
from fsm_saga.stores.opening import open_store
from fsm_saga.stores.sqlite import SqliteReadStore, SqliteWriteStore


async def test_the_scheme_chooses_the_store(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/sagas.db"
    async with open_store("memory://") as memory:
        assert isinstance(memory, MemoryStore)
    async with open_store(url) as sqlite:
        assert isinstance(sqlite, SqliteWriteStore)
        assert sqlite.url == url
    async with open_store(url, mode="read") as reader:
        assert isinstance(reader, SqliteReadStore)
        assert not isinstance(reader, SqliteWriteStore)


async def test_three_slashes_mean_a_path_from_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with open_store("sqlite:///行程 #7?.db"):
        assert (tmp_path / "行程 #7?.db").is_file()


async def test_a_store_stays_where_it_was_opened_when_the_process_goes_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with open_store("sqlite:///sagas.db") as store:
        (tmp_path / "other").mkdir()
        monkeypatch.chdir(tmp_path / "other")
        assert await store.heads() == []
    assert list((tmp_path / "other").iterdir()) == []


async def test_memory_stores_of_one_name_are_one() -> None:
    async with (
        open_store("memory://shared") as writer,
        open_store("memory://shared", mode="read") as reader,
    ):
        assert reader.epoch == 0
        assert writer.epoch == 1
    forget_memory("shared")


@pytest.mark.parametrize("scheme", ["postgresql", "mysql+pymysql", "SQLITE", ""])
async def test_a_backend_that_is_not_there_is_named_with_those_that_are(scheme: str) -> None:
    with pytest.raises(StoreError) as caught:
        async with open_store(f"{scheme}://user:geheim@127.0.0.1/1"):
            pass
    message = str(caught.value)
    assert f"no backend {scheme!r}" in message
    assert "'sqlite:///relative.db'" in message
    assert "'memory://'" in message
    assert "geheim" not in message


@pytest.mark.parametrize("scheme", ["etcd", "redis", "rediss"])
async def test_an_extra_that_is_not_installed_is_named(
    scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError("No module named 'driver'", name="driver")

    monkeypatch.setattr(opening, "import_module", missing)
    with pytest.raises(StoreError, match="Install fsm-saga") as caught:
        async with open_store(f"{scheme}://user:geheim@127.0.0.1/1", mode="read"):
            pass
    assert "'driver'" in caught.value.message
    assert "geheim" not in caught.value.message


@pytest.mark.parametrize(
    "url",
    ["", "sagas.db", "sqlite:sagas.db", "sqlite://", "sqlite:///", "sqlite://sagas.db",
     "sqlite://host/sagas.db", "sqlite:///a\0b", "sqlite:///\ud800.db", "sqlite:///:memory:"],
)  # fmt: skip
@pytest.mark.parametrize("mode", ["read", "write"])
async def test_a_url_without_a_path_is_refused_with_an_example(url: str, mode: str) -> None:
    with pytest.raises(StoreError, match=re.escape("sqlite:///relative.db")):
        async with open_store(url, mode="read" if mode == "read" else "write"):
            pass


@pytest.mark.parametrize("mode", ["read", "write"])
async def test_a_directory_that_is_missing_or_in_the_way_is_named(
    tmp_path: Path, mode: str
) -> None:
    for path, words in ((tmp_path, "is a directory"), (tmp_path / "a" / "b.db", "no directory")):
        with pytest.raises(StoreError, match=words) as caught:
            async with open_store(f"sqlite:///{path}", mode="read" if mode == "read" else "write"):
                pass
        assert repr(str(path)) in str(caught.value)
    assert os.listdir(tmp_path) == []
