"""What ``doctor`` says of the contents of a store: records, heads and commands."""

from __future__ import annotations

import asyncio
from pathlib import Path

from fsm_saga.cli.checks import Finding, Level
from fsm_saga.cli.words import counted
from fsm_saga.errors import StoreError
from fsm_saga.stores.opening import sqlite_path
from fsm_saga.stores.sqlite_check import Contents, Damage, check_contents

SECONDS_MAX = 10.0
DAMAGES_SHOWN_MAX = 10


async def contents_findings(url: str, *, is_thorough: bool) -> list[Finding]:
    """Return whether what the store holds is whole; nothing for a store without a file.

    Args:
        url: The store.
        is_thorough: Look at everything, however long it takes.
    """
    if not url.startswith("sqlite:///"):
        return []
    try:
        path = sqlite_path(url)
        if not await asyncio.to_thread(Path(path).is_file):
            return []
        seconds_max = None if is_thorough else SECONDS_MAX
        contents = await asyncio.to_thread(check_contents, path, seconds_max=seconds_max)
    except StoreError:
        return []  # that it cannot be opened was found before
    shown = [_damage(damage) for damage in contents.damages[:DAMAGES_SHOWN_MAX]]
    return [_summary(contents), *shown]


def _summary(contents: Contents) -> Finding:
    looked_at = (
        f"{counted(contents.sagas, 'saga')} of {counted(contents.records, 'record')}, "
        f"{counted(contents.commands, 'command')}"
    )
    rest = f"; not looked at: {', '.join(contents.left_out)}" if contents.left_out else ""
    advice = "Look at all of it with --thorough." if contents.left_out else ""
    if not contents.damages:
        level = Level.WARN if contents.left_out else Level.OK
        message = f"{looked_at}: all whole{rest}"
        return Finding(name="contents", level=level, message=message, advice=advice)
    is_harmless = all(damage.is_harmless for damage in contents.damages)
    return Finding(
        name="contents",
        level=Level.WARN if is_harmless else Level.FAIL,
        message=f"{looked_at}: damage in {counted(len(contents.damages), 'place')}{rest}",
        advice=advice or "A disk or its memory may be failing. Copy the store to another one.",
    )


def _damage(damage: Damage) -> Finding:
    return Finding(
        name="damage",
        level=Level.WARN if damage.is_harmless else Level.FAIL,
        message=damage.message,
        advice="" if damage.is_harmless else "What else the store holds is not affected.",
    )
