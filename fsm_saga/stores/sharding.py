"""Which shard a saga belongs to."""

from __future__ import annotations

import hashlib

SHARDS_DEFAULT = 8
SHARDS_MAX = 256


def shard_of(saga_id: str, shards: int) -> int:
    """Return the saga's shard, from 0 up to ``shards`` - 1: the same in every process for ever.

    Example:
        >>> shard_of("trip-7", 8), shard_of("trip-8", 8), shard_of("trip-7", 1)
        (1, 6, 0)
    """
    digest = hashlib.blake2b(saga_id.encode(), digest_size=8).digest()
    return int.from_bytes(digest) % shards
