"""What ``doctor`` says of a store in etcd: the members, their versions and space, and the store."""

from __future__ import annotations

from importlib import import_module

from fsm_saga.cli.checks import Finding, Level
from fsm_saga.cli.checks_shared import failed, shared_findings
from fsm_saga.errors import StoreError

_SCHEME = "etcd://"


def is_in_etcd(url: str) -> bool:
    """Return whether the URL names a store in etcd."""
    return url.startswith(_SCHEME)


async def etcd_findings(url: str) -> list[Finding]:
    """Return what holds for the store; nothing is changed in it, and none is made."""
    try:
        cluster = import_module("fsm_saga.stores.etcd_cluster")
        look_at_etcd = import_module("fsm_saga.stores.etcd_look").look_at_etcd
    except ModuleNotFoundError as error:
        said = f"the package {error.name!r} is not installed"
        return [failed(said, "Install fsm-saga[etcd].")]
    try:
        look = await look_at_etcd(url)
    except StoreError as error:
        return [failed(error.message, "Remove the cause, or name another store.")]
    findings = [Finding(name="etcd", level=Level.OK, message=said) for said in look.members]
    findings += [
        Finding(name="etcd", level=Level.WARN, message=said, advice=advice)
        for said, advice in look.warnings
    ]
    findings += [
        Finding(name="etcd", level=Level.FAIL, message=said, advice=advice)
        for said, advice in look.refusals
    ]
    if look.refusals:
        return findings
    return [*findings, *await shared_findings(cluster.open_etcd_cluster, url, look.shown)]
