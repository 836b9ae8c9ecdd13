"""The archive beside real stores: a process killed at each place, and etcd, which must not grow."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from fsm_saga import Engine
from fsm_saga.cluster.hosting import Host
from fsm_saga.service.archive import Archive
from fsm_saga.service.archiving import Archivist, archive_finished
from fsm_saga.stores.opening import open_cluster, open_store, this_member
from fsm_saga.tools.registry import Registry
from fsm_saga.tools.runner import PythonRunner
from tests.integration.test_archive import give_back, names_in, plan_of, take, until_gone
from tests.support.archive_child import NOW, POINTS
from tests.support.servers.etcd import EtcdServer

ROOT = Path(__file__).resolve().parents[2]
NAMES = [f"trip-{number}" for number in range(7)]
CHILD_S_MAX = 60.0

pytestmark = pytest.mark.slow


async def run_sagas(url: str, names: Sequence[str]) -> None:
    async with Engine.open(url, tools=[take, give_back]) as engine:
        for name in names:
            await engine.run(plan_of(name, "cup", "pot"))


@pytest.mark.parametrize("point", POINTS)
async def test_killed_where(point: str, tmp_path: Path) -> None:
    """Nothing is lost, and at the end each saga has one line and is in the store no more."""
    url, folder = f"sqlite:///{tmp_path / 'sagas.db'}", tmp_path / "archive"
    await run_sagas(url, NAMES)
    async with open_store(url, mode="read") as store:
        journals = {name: await store.load(name) for name in NAMES}
    ended = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "tests.support.archive_child", url, str(folder), point],
        cwd=ROOT,
        timeout=CHILD_S_MAX,
        check=False,
    )
    assert ended.returncode == -signal.SIGKILL

    async with open_store(url) as store:
        left = {head.saga_id for head in await store.heads()}
        archive = Archive(folder)
        for name in set(NAMES) - left:
            assert archive.find(name) == journals[name], "removed before it was durable elsewhere"
        await archive_finished(store, archive, older_than_s=0, now=NOW)
        assert await store.heads() == []

    assert sorted(names_in(folder)) == NAMES
    assert {name: Archive(folder).find(name) for name in NAMES} == journals


async def test_etcd_is_as_small_after_many_sagas_as_before(
    etcd: EtcdServer, server_prefix: str, tmp_path: Path
) -> None:
    url = f"etcd://{etcd.address}/{server_prefix}"
    prefix = f"{server_prefix}/"
    async with open_store(url) as store:
        assert await store.heads() == []
    before = set(await asyncio.to_thread(etcd.keys, prefix))
    await run_sagas(url, NAMES)
    assert len(await asyncio.to_thread(etcd.keys, prefix)) > len(before) + len(NAMES)

    async with open_store(url) as store:
        journals = {name: await store.load(name) for name in NAMES}
        done = await archive_finished(store, tmp_path, older_than_s=0, now=NOW)

    assert {head.saga_id for head in done.heads} == set(NAMES)
    assert set(await asyncio.to_thread(etcd.keys, prefix)) <= before
    assert {name: Archive(tmp_path).find(name) for name in NAMES} == journals


async def test_the_leaders_of_etcd_s_shards_archive_each_their_own(
    etcd: EtcdServer, server_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fsm_saga.service.archiving.LOOK_AGAIN_S", 0.1)
    url = f"etcd://{etcd.address}/{server_prefix}"
    await run_sagas(url, NAMES)
    async with open_cluster(url) as cluster:
        host = Host(cluster, PythonRunner(Registry([take, give_back])), this_member(is_ready=True))
        host.node.attach = Archivist(
            Archive(tmp_path), older_than_s=0.1, shards=cluster.shards, first_s=0.0
        ).attach
        running = asyncio.create_task(host.node.run())
        await until_gone(cluster.reader, *NAMES)
        host.node.stop()
        await running

    assert sorted(names_in(tmp_path)) == NAMES
