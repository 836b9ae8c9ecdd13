"""What ``doctor`` says alike of every store on a server."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from fsm_saga.cli.checks import Finding, Level
from fsm_saga.cli.words import counted
from fsm_saga.errors import StoreError
from fsm_saga.ports import ClusterStore


def failed(message: str, advice: str) -> Finding:
    """Return that the store cannot be used."""
    return Finding(name="store", level=Level.FAIL, message=message, advice=advice)


async def shared_findings(
    opener: Callable[..., Awaitable[ClusterStore]], url: str, shown: str
) -> list[Finding]:
    """Return what is in a store on a server and who writes it; none is made."""
    try:
        cluster = await opener(url, may_create=False)
    except StoreError as error:
        if error.facts.get("is_missing"):
            said = f"{shown} is not there yet and can be made"
            return [Finding(name="store", level=Level.OK, message=said)]
        return [failed(error.message, "Remove the cause, or name another store.")]
    try:
        unfinished = await cluster.reader.heads(only_unfinished=True)
        waiting = await cluster.reader.pending_commands()
        members = (await cluster.roster()).members
    except StoreError as error:
        return [failed(error.message, "Remove the cause, and ask again.")]
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
