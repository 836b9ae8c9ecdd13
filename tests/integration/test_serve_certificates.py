"""Every command against an etcd that speaks TLS, asks for a certificate and for a password."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.servers.certificates import Certificates
from tests.support.servers.etcd import EtcdServer
from tests.support.serving import Site, open_site, wait_until

PASSWORD = "correct-horse"
BY = ("--by", "Ann", "--json")


@pytest.fixture
def server(new_etcd: Callable[..., EtcdServer], certificates: Certificates) -> EtcdServer:
    return new_etcd(tls=certificates, password=PASSWORD)


@pytest.fixture
def site(server: EtcdServer, certificates: Certificates, tmp_path: Path) -> Iterator[Site]:
    files = f"ca={certificates.ca}&cert={certificates.client_cert}&key={certificates.client_key}"
    with open_site(tmp_path, f"etcd://root:{PASSWORD}@{server.address}/trips?{files}") as opened:
        yield opened


def hide_password(site: Site) -> None:
    """Leave the password to the environment from now on."""
    site.env["FSM_SAGA_STORE"] = site.store.replace(f"root:{PASSWORD}@", "root@")
    site.env["FSM_SAGA_ETCD_PASSWORD"] = PASSWORD


def asking(site: Site, name: str) -> str:
    path = Path(site.plan("a", "b", name=name))
    plan = json.loads(path.read_text())
    plan["steps"][1]["approval"] = True
    path.write_text(json.dumps(plan))
    return str(path)


@pytest.mark.timeout(300)
def test_decisions_are_carried_out_beside_a_member_and_without_one(site: Site) -> None:
    tools = ("--tools", "tools.py")
    alone = [
        site.type("run", asking(site, "first"), *tools, "--json"),
        site.type("approve", "first", "--step", "2", *tools, *BY),
    ]
    hide_password(site)
    site.serve().wait_for("leads")
    beside = [
        site.type("run", asking(site, "second"), "--json"),
        site.type("reject", "second", "--step", "2", *BY),
        site.type("undo", "first", "--json"),
    ]

    def states() -> dict[str, str]:
        heads = json.loads(site.type("list", "--json")[1])
        return {head["saga_id"]: head["state"] for head in heads}

    assert [code for code, _out, _err in alone] == [3, 0], alone
    assert [code for code, _out, _err in beside] == [3, 0, 0], beside
    decided = [json.loads(out)["decision"] for _code, out, _err in (alone[1], beside[1])]
    assert decided == ["carried out"] * 2
    ended = {"first": "DONE", "first.undo": "DONE", "second": "FAILED"}
    wait_until(lambda: states() == ended, lambda: str(states()))
    for _code, out, err in (*alone, *beside):
        assert PASSWORD not in out + err
