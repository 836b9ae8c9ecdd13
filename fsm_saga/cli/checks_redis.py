"""What ``doctor`` says of a store in Redis: the server's promises, and what waits in the store."""

from __future__ import annotations

from importlib import import_module

from fsm_saga.cli.checks import Finding, Level
from fsm_saga.cli.checks_shared import failed, shared_findings
from fsm_saga.errors import StoreError

_SCHEMES = ("redis://", "rediss://")


def is_in_redis(url: str) -> bool:
    """Return whether the URL names a store in Redis."""
    return url.startswith(_SCHEMES)


async def redis_findings(url: str) -> list[Finding]:
    """Return what holds for the store; nothing is changed in it, and none is made."""
    try:
        module = import_module("fsm_saga.stores.redis_cluster")
    except ModuleNotFoundError as error:
        said = f"the package {error.name!r} is not installed"
        return [failed(said, "Install fsm-saga[redis].")]
    try:
        look = await module.look_at_redis(url)
    except StoreError as error:
        return [failed(error.message, "Remove the cause, or name another store.")]
    if look.refusal:
        return [failed(f"{look.shown}: {look.refusal}", "Correct the server, or name another.")]
    return [
        *await shared_findings(module.open_redis_cluster, url, look.shown),
        _durability(look.warning),
    ]


def _durability(warning: str) -> Finding:
    if warning:
        advice = "docs/stores.md tells what Redis can promise, and what it cannot."
        return Finding(name="durability", level=Level.WARN, message=warning, advice=advice)
    return Finding(
        name="durability",
        level=Level.OK,
        message="the server syncs its journal at each write; a failover may still lose some",
    )
