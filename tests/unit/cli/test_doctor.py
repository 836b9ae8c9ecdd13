from __future__ import annotations

import asyncio
import shutil
import sys
from importlib import metadata
from typing import NamedTuple

import apsw
import pytest

from fsm_saga.cli import checks
from fsm_saga.cli.checks import Level, machine_findings, store_findings
from fsm_saga.stores.opening import open_store
from fsm_saga.stores.sqlite_schema import SqliteLibrary
from tests.unit.cli.desk import Desk


class Disk(NamedTuple):
    """What `shutil.disk_usage` returns."""

    total: int
    used: int
    free: int


async def levels(url: str) -> dict[str, Level]:
    return {finding.name: finding.level for finding in await store_findings(url)}


def test_a_sound_machine_passes_with_a_line_for_each_check(desk: Desk) -> None:
    desk.run("a")
    text = desk.on_store("doctor", has_tools=True)
    as_json = desk.on_store("doctor", "--json", has_tools=True)

    assert (text.code, as_json.code) == (0, 0)
    assert as_json.json["is_well"] is True
    names = {finding["name"] for finding in as_json.json["findings"]}
    assert {"python", "sqlite", "graphviz", "store", "writer", "disk", "tools"} <= names
    for name in names:
        assert name in text.out


def test_a_store_that_is_not_there_is_not_made(desk: Desk) -> None:
    ended = desk.on_store("doctor")

    assert ended.code == 0
    assert "is not there yet and can be made" in ended.out
    assert not (desk.folder / "sagas.db").exists()


@pytest.mark.parametrize(
    "url", ["sqlite:///missing/sagas.db", "sqlite:///", "wat", "sqlite:///tools.py", "sqlite:///."]
)
def test_a_store_that_cannot_be_used_fails_with_advice(desk: Desk, url: str) -> None:
    ended = desk.type("doctor", "--store", url, "--json")

    assert ended.code == 1
    failed = [f for f in ended.json["findings"] if f["level"] == "fail"]
    assert [f["name"] for f in failed] == ["store"]
    assert failed[0]["advice"]


def test_tools_that_cannot_be_used_fail(desk: Desk) -> None:
    bad = "from fsm_saga import tool\n\n\n@tool(undo='missing')\ndef take() -> None: ...\n"
    for tools in (desk.write("bad.py", bad), "no_such_module"):
        ended = desk.on_store("doctor", "--tools", tools)
        assert ended.code == 1
        assert "fail  tools" in ended.out


async def test_who_writes_the_store_is_named(desk: Desk) -> None:
    async with open_store(desk.store):
        found = {finding.name: finding for finding in await store_findings(desk.store)}

    assert found["writer"].level is Level.OK
    assert "is the writer" in found["writer"].message
    assert found["durability"].level is Level.OK


async def test_memory_is_worth_a_warning() -> None:
    assert await levels("memory://") == {"store": Level.WARN}


def test_decisions_that_wait_are_worth_a_warning(desk: Desk) -> None:
    desk.run("a", approval=True)
    desk.on_store("approve", "trip", "--step", "1", "--by", "Ann")

    assert asyncio.run(levels(desk.store))["decisions"] is Level.WARN


@pytest.mark.parametrize(
    ("free", "level"), [(2 << 30, Level.OK), (100 << 20, Level.WARN), (1 << 20, Level.FAIL)]
)
async def test_a_full_disk_is_told_in_time(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, free: int, level: Level
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: Disk(0, 0, free))

    assert (await levels(desk.store))["disk"] is level


def test_what_a_machine_lacks_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    old = SqliteLibrary(sqlite_version="3.40.1", apsw_version="x", is_safe=False, remark="races")
    monkeypatch.setattr(sys, "version_info", (3, 10, 1))
    monkeypatch.setattr(sys, "__stdout__", None)
    monkeypatch.setattr(checks, "sqlite_library", lambda: old)
    monkeypatch.setattr(checks, "available_renderers", lambda: iter(()))
    monkeypatch.setattr(checks, "cjk_font_available", lambda: False)
    monkeypatch.setattr(metadata, "version", lambda _name: "9.1.0")
    found = {finding.name: finding for finding in machine_findings()}

    assert [f.level for f in found.values()] == [
        Level.FAIL,
        Level.FAIL,
        Level.FAIL,
        Level.WARN,
        Level.WARN,
        Level.WARN,
    ]
    assert all(finding.advice for finding in found.values())


async def test_a_store_that_lost_its_log_mode_fails(desk: Desk) -> None:
    async with open_store(desk.store):
        pass
    path = desk.folder / "sagas.db"
    connection = apsw.Connection(str(path))
    connection.pragma("journal_mode", "delete")
    connection.close()

    assert checks._durability(path).level is Level.FAIL
    assert checks._durability(desk.folder / "none.db").level is Level.WARN
