"""What ``doctor`` says of a store in Redis: the server's promises, and what waits in the store."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from fsm_saga.cli.checks import Finding, Level
from fsm_saga.cli.words import counted
from fsm_saga.errors import StoreError
from fsm_saga.ports import ClusterStore

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
        return [_failed(said, "Install fsm-saga[redis].")]
    try:
        look = await module.look_at_redis(url)
    except StoreError as error:
        return [_failed(error.message, "Remove the cause, or name another store.")]
    if look.refusal:
        return [_failed(f"{look.shown}: {look.refusal}", "Correct the server, or name another.")]
    return [*await _contents(module, url, look.shown), _durability(look.warning)]


def _failed(message: str, advice: str) -> Finding:
    return Finding(name="store", level=Level.FAIL, message=message, advice=advice)


def _durability(warning: str) -> Finding:
    if warning:
        advice = "docs/stores.md tells what Redis can promise, and what it cannot."
        return Finding(name="durability", level=Level.WARN, message=warning, advice=advice)
    return Finding(
        name="durability",
        level=Level.OK,
        message="the server syncs its journal at each write; a failover may still lose some",
    )


async def _contents(module: Any, url: str, shown: str) -> list[Finding]:
    try:
        cluster: ClusterStore = await module.open_redis_cluster(url, may_create=False)
    except StoreError as error:
        if error.facts.get("is_missing"):
            said = f"{shown} is not there yet and can be made"
            return [Finding(name="store", level=Level.OK, message=said)]
        return [_failed(error.message, "Remove the cause, or name another store.")]
    try:
        unfinished = await cluster.reader.heads(only_unfinished=True)
        waiting = await cluster.reader.pending_commands()
        members = (await cluster.roster()).members
    except StoreError as error:
        return [_failed(error.message, "Remove the cause, and ask again.")]
    finally:
        await cluster.close()
    said = f"{shown}: {counted(len(unfinished), 'unfinished saga')}"
    findings = [Finding(name="store", level=Level.OK, message=said)]
    if waiting and not members:
        findings.append(
            Finding(
                name="decisions",
                level=Level.WARN,
                message=f"{counted(len(waiting), 'decision')} not carried out yet",
                advice="Run `fsm-saga resume` with the tools of these sagas.",
            )
        )
    names = ", ".join(sorted(member.name for member in members.values()))
    writer = f"written by {names}" if members else "none; this process could write"
    return [*findings, Finding(name="writer", level=Level.OK, message=writer)]
