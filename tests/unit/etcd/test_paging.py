"""More keys than one answer should hold."""

from __future__ import annotations

import pytest

from fsm_saga.etcd.data import Put, Range, SortOrder, Txn, prefix_end
from fsm_saga.etcd.paging import pages
from tests.unit.etcd.fake_etcd import FakeEtcd

WHOLE = Range(key=b"/a/", range_end=prefix_end(b"/a/"))


@pytest.mark.parametrize(
    ("count", "sizes"), [(0, [0]), (1, [1]), (3, [3]), (4, [3, 1]), (6, [3, 3])]
)
async def test_pages_are_full_but_the_last(etcd: FakeEtcd, count: int, sizes: list[int]) -> None:
    etcd.apply(Txn(success=tuple(Put(key=b"/a/%d" % n, value=b"") for n in range(count))))
    found = [page async for page in pages(etcd, WHOLE, page_size=3)]
    assert [len(page.kvs) for page in found] == sizes
    assert {page.revision for page in found} == {etcd.revision}


async def test_later_pages_are_read_at_the_revision_of_the_first(etcd: FakeEtcd) -> None:
    etcd.apply(Txn(success=tuple(Put(key=b"/a/%d" % n, value=b"") for n in range(5))))
    asked: list[Range] = []
    read = etcd._range

    def noted(request: Range) -> object:
        asked.append(request)
        return read(request)

    etcd._range = noted  # type: ignore[method-assign, assignment]  # to see what is asked
    first = etcd.revision
    async for _ in pages(etcd, WHOLE, page_size=2):
        etcd.apply(Txn(success=(Put(key=b"/b", value=b""),)))
    assert [request.revision for request in asked] == [0, first, first]
    assert [request.key for request in asked] == [b"/a/", b"/a/1\0", b"/a/3\0"]


async def test_a_limit_or_an_order_of_its_own_is_refused(etcd: FakeEtcd) -> None:
    for request in (Range(key=b"a", limit=1), Range(key=b"a", sort_order=SortOrder.ASCENDING)):
        with pytest.raises(ValueError, match="pages come in the order of the keys"):
            await anext(pages(etcd, request))
