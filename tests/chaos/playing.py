"""A round: sagas come in while one fault after the other strikes, and what came of both."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from tests.chaos.judge import Verdict, judge
from tests.chaos.town import Strike, Town

Fault = Callable[[Town], Awaitable[None]]

SUBMIT_EVERY_S = 0.1
WAVE = 12
"""So many sagas are submitted together right before a fault, so that it finds some under way."""
UNDER_WAY_MIN = 3
ENDED_MIN = 10
"""A fault that found fewer sagas under way, or after which fewer came to an end, shows nothing."""
USEFUL_MIN = 40
"""A round of which fewer came to an end after its first fault had struck shows nothing either."""
ENDED_S_MAX = 30.0
REST_S_MAX = 90.0


async def play(town: Town, *faults: Fault) -> Verdict:
    """Let sagas come in while one fault after the other happens; return what came of them.

    What is wrong is looked for in all sagas of the town, also in those of former rounds; states are
    those of this round.
    """
    first = len(town.asked)
    over = asyncio.Event()
    submitting = asyncio.create_task(town.keep_submitting(every_s=SUBMIT_EVERY_S, until=over))
    struck_at = await _ended(town)
    try:
        for fault in faults:
            await _strike(town, fault)
        useful = await _ended_since(town, struck_at, at_least=USEFUL_MIN)
    finally:
        over.set()
        await submitting
    heads = await town.rest(within_s=REST_S_MAX)
    return judge(town.asked, heads, town.shop.books, since=first, useful=useful)


async def _strike(town: Town, fault: Fault) -> None:
    """Let a fault happen, and return when enough sagas have ended since it began."""
    await asyncio.gather(*(town.submit(1) for _ in range(WAVE)))
    under_way, ended = await _under_way(town), await _ended(town)
    await fault(town)
    since = await _ended_since(town, ended, at_least=ENDED_MIN)
    town.strikes.append(Strike(fault=fault.__name__, under_way=under_way, ended=since))


async def _under_way(town: Town) -> int:
    """Return how many sagas are under way, once there are enough or it took too long."""
    gives_up_at = time.monotonic() + ENDED_S_MAX
    while (found := len(await town.heads(only_unfinished=True))) < UNDER_WAY_MIN:
        if time.monotonic() > gives_up_at:
            break
        await asyncio.sleep(0.01)
    return found


async def _ended_since(town: Town, before: int, *, at_least: int) -> int:
    """Return how many more sagas have ended, once these are enough or it took too long."""
    gives_up_at = time.monotonic() + ENDED_S_MAX
    while (found := await _ended(town) - before) < at_least:
        if time.monotonic() > gives_up_at:
            break
        await asyncio.sleep(0.2)
    return found


async def _ended(town: Town) -> int:
    return sum(head.is_final for head in (await town.heads()).values())
