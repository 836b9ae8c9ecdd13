"""What ``doctor`` says of a store in etcd."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from typer.testing import CliRunner

from fsm_saga.cli.app import app
from fsm_saga.cli.checks import Level
from fsm_saga.cli.checks_etcd import etcd_findings
from fsm_saga.ports import Command
from tests.conformance.samples import append_of, submitted
from tests.conformance.server_backends import EtcdBackend
from tests.integration.etcd_store.test_opening import fill
from tests.support.servers.etcd import EtcdServer


async def said(url: str, level: Level) -> str:
    return "\n".join(f.message for f in await etcd_findings(url) if f.level is level)


async def test_a_store_that_is_not_there_yet_can_be_made_and_nothing_is(
    etcd: EtcdServer, server_prefix: str
) -> None:
    url = f"etcd://{etcd.address}/{server_prefix}"
    told = await said(url, Level.OK)
    assert f"{etcd.address} runs etcd 3.5" in told
    assert "is not there yet and can be made" in told
    assert etcd.keys(server_prefix) == []


async def test_what_waits_in_a_store_and_who_writes_it_is_told(
    etcd: EtcdServer, server_prefix: str
) -> None:
    url = f"etcd://{etcd.address}/{server_prefix}"
    async with EtcdBackend(etcd, server_prefix).writer() as store:
        await store.append(append_of("trip", 0, submitted("trip")))
        await store.post_command(Command(saga_id="trip", kind="cancel", body={}))
        assert "written by" in await said(url, Level.OK)
    assert "1 unfinished saga" in await said(url, Level.OK)
    assert "1 decision not carried out yet" in await said(url, Level.WARN)


async def test_a_member_that_does_not_answer_is_a_warning_and_none_is_a_failure(
    etcd: EtcdServer, server_prefix: str
) -> None:
    told = await said(f"etcd://{etcd.address},127.0.0.1:1/{server_prefix}", Level.WARN)
    assert "127.0.0.1:1 does not answer" in told
    told = await said(f"etcd://127.0.0.1:1/{server_prefix}", Level.FAIL)
    assert "no member of etcd answers" in told


async def test_a_server_without_space_fails_with_the_way_out(
    new_etcd: Callable[..., EtcdServer], server_prefix: str
) -> None:
    server = new_etcd(quota_bytes=4 * 1024 * 1024)
    fill(server)
    assert "etcdctl alarm disarm" in await said(f"etcd://{server.address}/x", Level.FAIL)


async def test_addresses_of_two_clusters_fail(
    etcd: EtcdServer, new_etcd: Callable[..., EtcdServer], server_prefix: str
) -> None:
    url = f"etcd://{etcd.address},{new_etcd().address}/{server_prefix}"
    assert "belong to different clusters of etcd" in await said(url, Level.FAIL)


async def test_the_quota_is_told(new_etcd: Callable[..., EtcdServer], server_prefix: str) -> None:
    server = new_etcd(quota_bytes=16 * 1024 * 1024)
    url = f"etcd://{server.address}/{server_prefix}"
    assert "quota 16.0 MiB" in await said(url, Level.OK)
    assert await said(url, Level.WARN) == ""


async def test_a_quota_that_is_too_small_fails(new_etcd: Callable[..., EtcdServer]) -> None:
    url = f"etcd://{new_etcd(quota_bytes=1_000_000).address}/x"
    assert "has a space quota of 1,000,000 bytes" in await said(url, Level.FAIL)


def test_the_command_prints_it_as_json(etcd: EtcdServer, server_prefix: str) -> None:
    url = f"etcd://{etcd.address}/{server_prefix}"
    done = CliRunner().invoke(app, ["doctor", "--store", url, "--json"])
    found: dict[str, Any] = json.loads(done.stdout)
    assert done.exit_code == 0
    assert found["is_well"] is True
    assert any("runs etcd" in each["message"] for each in found["findings"])
