"""What tells that a Redis server has lost what it had confirmed, and what is done then.

Each shard counts its commits, and a count never gets smaller. So whoever has seen a count knows a
server that went back: the leader by what was confirmed to it, every other member by its looks at
the roster, several times a second. Who notices it leaves a mark on the server, and from then on no
script writes: whatever a new leader would decide rests on a journal that may lack its end.

A loss is not noticed if nobody is left who has seen what was lost. And where a server may lose what
it has confirmed, ``durability=relaxed``, nobody looks for it: work goes on with what is left.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping

from fsm_saga.errors import StoreError, StoreUnavailableError
from fsm_saga.stores.redis_link import RedisLink
from fsm_saga.stores.redis_scripts import TELL_LOSS

logger = logging.getLogger(__name__)


async def note_commits(
    link: RedisLink, found: Mapping[int, int], *, known: Mapping[int, int]
) -> StoreError | None:
    """Compare how many commits a server counts with what is known; remember the higher ones.

    Args:
        link: The connections.
        found: What the server has answered, by shard.
        known: What was known here before the server was asked.

    Returns:
        The error, if the server has lost commits. It is marked as such then.
    """
    if link.place.is_relaxed:
        return None
    for shard, count in found.items():
        link.commits_seen[shard] = max(count, link.commits_seen.get(shard, 0))
    for shard, confirmed in known.items():
        if found.get(shard, 0) < confirmed:
            error = went_back(link, shard, found=found.get(shard, 0), confirmed=confirmed)
            await mark_loss(link, error)
            return error
    return None


async def mark_loss(link: RedisLink, error: StoreError) -> None:
    """Leave the mark that keeps everybody from writing; the first one stands."""
    logger.error("%s", error)
    with contextlib.suppress(StoreUnavailableError):  # whoever looks next leaves it
        keys = (link.layout.meta, link.layout.lost)
        await link.run(TELL_LOSS, keys, link.store_id, error.message)


def went_back(link: RedisLink, shard: int, *, found: int, confirmed: int) -> StoreError:
    """Return the error for a server that counts fewer commits than it had confirmed."""
    return StoreError(
        f"Nothing was written to store {link.url!r}: it knows of {found} commits to shard "
        f"{shard}, and had confirmed {confirmed}. The server has lost what it had confirmed, as "
        "after a failover to a replica or the return of an old copy. Stop all writers and bring "
        "the newest copy back.",
        shard=shard,
        found=found,
        confirmed=confirmed,
    )


def marked_as_lost(link: RedisLink) -> StoreError:
    """Return the error for a server on which somebody left the mark."""
    return StoreError(
        f"Nothing was written to store {link.url!r}: the server has lost what it had confirmed, "
        f"and says so itself under the key {link.layout.lost.decode(errors='replace')!r}. Stop all "
        "writers and bring the newest copy back. To go on with what is left, where a call that was "
        "made may be made again, delete that key.",
        path=link.url,
    )
