"""Which versions of etcd a store is opened on, and what the command line makes of a refusal."""

from __future__ import annotations

from typing import Any

import pytest

from fsm_saga.cli.app import main
from fsm_saga.errors import StoreError
from fsm_saga.etcd.client import EtcdClient
from fsm_saga.etcd.data import Alarm, EndpointStatus
from fsm_saga.stores.etcd_checks import check_servers


class Servers:
    """The answers of etcd that are looked at before a store is opened."""

    def __init__(self, *statuses: EndpointStatus) -> None:
        self._statuses = statuses

    async def statuses(self) -> tuple[EndpointStatus, ...]:
        return self._statuses

    async def alarms(self) -> tuple[Alarm, ...]:
        return ()


def member(version: str, *, name: str = "a:1", cluster_id: int = 7) -> EndpointStatus:
    return EndpointStatus(endpoint=name, version=version, cluster_id=cluster_id, leader_id=1)


async def checked(*statuses: EndpointStatus) -> tuple[EndpointStatus, ...]:
    servers: Any = Servers(*statuses)
    return await check_servers(servers, "etcd://a:1/x")


@pytest.mark.parametrize("version", ["3.5.0", "3.5.1", "3.5.2", "3.5.2-rc.1"])
async def test_a_version_that_loses_what_it_confirmed_is_refused(version: str) -> None:
    with pytest.raises(StoreError) as caught:
        await checked(member(version))
    assert f"a:1 runs etcd {version}, whose members can lose" in caught.value.message
    assert "use 3.5.3 or newer" in caught.value.message


@pytest.mark.parametrize("version", ["2.3.8", "3.3.27", "3.3", ""])
async def test_a_version_that_is_too_old_is_refused(version: str) -> None:
    with pytest.raises(StoreError, match=r"3\.4\.0 is the oldest that can be used"):
        await checked(member(version))


@pytest.mark.parametrize("version", ["3.4.0", "3.4.42", "3.5.3", "3.5.30", "3.6.0", "4.0.0"])
async def test_every_other_version_is_taken(version: str) -> None:
    assert await checked(member(version)) == (member(version),)


async def test_one_member_of_such_a_version_is_enough_to_be_refused() -> None:
    with pytest.raises(StoreError, match=r"b:1 runs etcd 3\.5\.1"):
        await checked(member("3.5.30"), member("3.5.1", name="b:1"))


async def test_members_of_two_clusters_are_refused_with_who_belongs_where() -> None:
    with pytest.raises(StoreError, match="different clusters of etcd") as caught:
        await checked(member("3.5.30"), member("3.5.30", name="b:1", cluster_id=0xAB))
    assert "a:1 to 7, b:1 to ab" in caught.value.message


@pytest.mark.parametrize("command", [["list"], ["show", "t"]])
def test_at_the_command_line_such_a_version_is_code_2(
    command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def statuses(_client: EtcdClient) -> tuple[EndpointStatus, ...]:
        return (member("3.5.1"),)

    monkeypatch.setattr(EtcdClient, "statuses", statuses)
    assert main([*command, "--store", "etcd://127.0.0.1:1/x"]) == 2
    assert "runs etcd 3.5.1, whose members can lose acknowledged writes" in capsys.readouterr().err
