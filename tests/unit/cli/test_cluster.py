"""``cluster`` and what ``serve`` refuses, at a desk."""

from __future__ import annotations

import asyncio
from importlib import import_module
from types import ModuleType

import pytest

from fsm_saga.cli import cluster, serve
from fsm_saga.cluster.survey import Survey
from fsm_saga.ports import Leader, Member, Roster
from fsm_saga.stores.opening import open_store
from tests.unit.cli.desk import Desk, Ended


def test_a_store_that_is_not_there_is_refused(desk: Desk) -> None:
    ended = desk.on_store("cluster")

    assert ended.code == 2
    assert "There is no store" in ended.err
    assert not (desk.folder / "sagas.db").exists()


def test_a_store_in_which_all_is_done_needs_nobody(desk: Desk) -> None:
    desk.run("a")
    ended = desk.on_store("cluster")

    assert (ended.code, ended.err) == (0, "")
    assert "Nobody serves this store." in ended.out


def test_a_saga_that_needs_a_person_needs_attention(desk: Desk) -> None:
    desk.run("glue", "nothing")
    ended = desk.on_store("cluster")
    document = desk.on_store("cluster", "--json").json

    assert ended.code == 1
    assert "1 saga needs a person" in ended.err
    assert [each["code"] for each in document["needs_attention"]] == ["unserved", "person-asked"]


async def test_the_writer_of_a_file_is_told_with_its_process(desk: Desk) -> None:
    async with open_store(desk.store):
        ended: Ended = await asyncio.to_thread(desk.on_store, "cluster")

    assert ended.code == 0
    assert "is the writer" in ended.out


def test_shards_members_and_what_is_wrong_are_printed(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    members = [
        Member(
            member_id=name,
            name=name,
            started_at=10.0,
            version="1.0",
            tools=tools,
            address="http://127.0.0.1:1",
            facts={"sagas_under_way": 3},
        )
        for name, tools in (("a\x1b[31m", "t"), ("b", "u"))
    ]
    leader = Leader(shard=0, epoch=7, member_id="b")
    roster = Roster(members={m.member_id: m for m in members}, leaders={0: leader})

    async def look(_url: str) -> Survey:
        return Survey(
            store="etcd://x/y",
            shards=2,
            roster=roster,
            unfinished={0: 3, 1: 1},
            pending={1: 2},
            waits={},
            at=75.0,
        )

    monkeypatch.setattr(cluster, "_look", look)
    ended = desk.type("cluster", "--store", "etcd://x/y")

    assert ended.code == 1
    assert "1 of 2 shards are led; 4 unfinished sagas" in ended.out
    assert "leads 1, for 1m05s, version 1.0, tools u, 3 sagas under way" in ended.out
    assert "no leader  1 unfinished, 2 commands" in ended.out
    assert "Shard 1 has no leader" in ended.err
    assert "different tools" in ended.err
    assert "\x1b" not in ended.out + ended.err


def test_an_extra_that_is_missing_is_named(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> ModuleType:
        if name == "fsm_saga.cluster.endpoints":
            raise ModuleNotFoundError("No module named 'uvicorn'", name="uvicorn")
        return import_module(name)

    monkeypatch.setattr(serve, "import_module", missing)
    ended = desk.on_store("serve", "--listen", "0", has_tools=True)

    assert ended.code == 2
    assert "'uvicorn'" in ended.err
    assert "fsm-saga[serve]" in ended.err


@pytest.mark.parametrize("words", [("--lease-ttl", "0"), ("--shards", "0"), ("--shards", "1000")])
def test_figures_out_of_bounds_are_refused(desk: Desk, words: tuple[str, str]) -> None:
    assert desk.on_store("serve", *words, has_tools=True).code == 2


def test_a_store_that_nobody_else_can_reach_is_not_served(desk: Desk) -> None:
    ended = desk.type("serve", "--store", "memory://", "--tools", desk.tools)

    assert ended.code == 2
    assert "seen by its own process only" in ended.err
