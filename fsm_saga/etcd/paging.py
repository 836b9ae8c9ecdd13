"""Reading more keys than one answer should hold."""

from __future__ import annotations

from collections.abc import AsyncIterator

from msgspec.structs import replace

from fsm_saga.etcd.data import Range, RangeResult, SortOrder
from fsm_saga.etcd.transport import EtcdTransport

PAGE_SIZE = 1000


async def pages(
    transport: EtcdTransport,
    request: Range,
    *,
    page_size: int = PAGE_SIZE,
    timeout_s: float | None = None,
) -> AsyncIterator[RangeResult]:
    """Yield the answer page by page in the order of the keys, all of one revision.

    That revision is the one of the request, or the newest when the first page is read; a watch
    from the one after it misses nothing. There is always a first page.

    Args:
        transport: The cluster.
        request: An interval of keys, without a limit of its own and unsorted.
        page_size: The most keys in a page.
        timeout_s: How long one page may take.

    Raises:
        CompactedError: The revision was compacted away meanwhile: begin again.
        ValueError: The request has a limit or an order.
    """
    if request.limit or request.sort_order is not SortOrder.NONE:
        raise ValueError(
            f"The read of {request.key!r} has a limit of {request.limit} and is sorted "
            f"{request.sort_order.name}: pages come in the order of the keys and set the limit."
        )
    request = replace(request, limit=page_size)
    while True:
        page = await transport.range(request, timeout_s=timeout_s)
        # The revision of a page's own header is that of the moment, not of what was asked for.
        pinned = request.revision or page.revision
        yield replace(page, revision=pinned)
        if not page.has_more or not page.kvs:
            return
        request = replace(request, key=page.kvs[-1].key + b"\0", revision=pinned)
