"""What every store promises about journals and heads."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

import pytest

from fsm_saga.core.records import AttemptFailed, CallsSupplied
from fsm_saga.core.states import Direction
from fsm_saga.errors import (
    ConflictError,
    FencedError,
    InvariantBrokenError,
    StoreError,
)
from fsm_saga.ports import Append, Store
from tests.conformance.backends import Backend
from tests.conformance.samples import (
    append_of,
    command_of,
    head_of,
    started,
    store_saga,
    submitted,
    succeeded,
)

# --- appends and loads --------------------------------------------------------------------------


async def test_what_was_appended_is_loaded_in_order_and_equal(store: Store) -> None:
    first = (submitted("trip-7"), started(flight="CA1234"))
    second = (
        AttemptFailed(
            at=2.5,
            step=0,
            direction=Direction.UNDO,
            attempt=1,
            outcome="unknown",
            error="timeout",
            retry_at=3.5,
        ),
        CallsSupplied(at=4.0, step=0, calls=({"tool": "t"},), tools={}, by="ann", note=""),
        succeeded(output={"price": 12.25, "tags": ["a", None, True], "big": 2**63}),
    )
    await store.append(append_of("trip-7", 0, *first))
    await store.append(append_of("trip-7", 2, *second))
    assert await store.load("trip-7") == first + second


async def test_a_saga_that_was_never_stored_is_none(store: Store) -> None:
    assert await store.load("trip-7") is None
    assert await store.head("trip-7") is None


async def test_the_head_is_what_the_last_append_brought(store: Store) -> None:
    await store.append(append_of("trip-7", 0, submitted("trip-7")))
    last = Append(
        saga_id="trip-7",
        position=1,
        records=(started(),),
        head=head_of("trip-7", 2, state="NEEDS_HUMAN", goal="to Beijing"),
    )
    await store.append(last)
    assert await store.head("trip-7") == last.head
    assert (await store.heads())[0] == last.head


@pytest.mark.parametrize(
    "saga_id",
    ["行程-7", "a b/c?d=e&f", "'; DROP TABLE heads; --", "𝔘𝔫𝔦 🙂", "x" * 300, "nul\0inside", " "],
)
async def test_any_text_is_a_saga_id(store: Store, saga_id: str) -> None:
    await store.append(append_of(saga_id, 0, submitted(saga_id), succeeded(output="完成")))
    assert await store.load(saga_id) == (submitted(saga_id), succeeded(output="完成"))
    assert [head.saga_id for head in await store.heads()] == [saga_id]


async def test_ids_that_look_alike_are_different_sagas(store: Store) -> None:
    ids = ["ﬁ", "fi", "é", "e\u0301", "Trip", "trip", "trip "]
    for saga_id in ids:
        await store.append(append_of(saga_id, 0, submitted(saga_id)))
    for saga_id in ids:
        assert await store.load(saga_id) == (submitted(saga_id),)


async def test_a_large_body_comes_back_whole(store: Store) -> None:
    output = {"report": "é" * 100_000, "rows": list(range(20_000))}
    await store.append(append_of("big", 0, submitted("big"), succeeded(output=output)))
    assert await store.load("big") == (submitted("big"), succeeded(output=output))


async def test_a_long_journal_has_no_gap_and_no_double(store: Store) -> None:
    position = 0
    for size in (1, 3, 2, 7, 1, 1, 5) * 5:
        records = tuple(started(position + index) for index in range(size))
        await store.append(append_of("long", position, *records))
        position += size
    records_loaded = await store.load("long")
    assert records_loaded == tuple(started(index) for index in range(position))


# --- conflicts ----------------------------------------------------------------------------------


@pytest.mark.parametrize("position", [0, 1, 2, 4, 1_000])
async def test_an_append_at_another_position_writes_nothing(store: Store, position: int) -> None:
    await store.append(append_of("trip-7", 0, submitted("trip-7"), started(), succeeded()))
    before = await store.load("trip-7"), await store.head("trip-7")
    with pytest.raises(ConflictError) as caught:
        await store.append(append_of("trip-7", position))
    assert (await store.load("trip-7"), await store.head("trip-7")) == before
    assert caught.value.facts == {"saga_id": "trip-7", "expected": position, "found": 3}
    assert "'trip-7'" in str(caught.value)
    assert "Nothing was written" in str(caught.value)


async def test_an_append_to_a_saga_that_does_not_exist_is_a_conflict(store: Store) -> None:
    with pytest.raises(ConflictError, match="no such saga"):
        await store.append(append_of("trip-7", 3))
    assert await store.load("trip-7") is None


async def test_a_saga_is_created_once_however_many_try_at_the_same_time(store: Store) -> None:
    tries = [store.append(append_of("trip-7", 0, started(n))) for n in range(20)]
    results = await asyncio.gather(*tries, return_exceptions=True)
    refused = [result for result in results if result is not None]
    assert len(refused) == 19
    assert all(isinstance(result, ConflictError) for result in refused)
    assert await store.load("trip-7") == (started(results.index(None)),)


async def test_a_conflict_hurts_no_other_saga_of_the_same_moment(store: Store) -> None:
    await store_saga(store, "taken")
    tries = [store.append(append_of(f"new-{n}", 0)) for n in range(5)]
    tries.insert(2, store.append(append_of("taken", 0)))
    results = await asyncio.gather(*tries, return_exceptions=True)
    assert [type(result) for result in results].count(ConflictError) == 1
    assert isinstance(results[2], ConflictError)
    assert len(await store.heads()) == 6


async def test_appends_of_one_saga_are_applied_in_the_order_of_the_calls(store: Store) -> None:
    await asyncio.gather(*(store.append(append_of("s", n, started(n))) for n in range(30)))
    assert await store.load("s") == tuple(started(n) for n in range(30))


async def test_128_sagas_append_at_once_and_each_journal_is_its_own(store: Store) -> None:
    async def run_saga(saga_id: str) -> None:
        await store.append(append_of(saga_id, 0, submitted(saga_id)))
        for position in range(1, 9, 2):
            state = "DONE" if position == 7 else f"EXECUTING({position})"
            records = started(position, saga=saga_id), succeeded(position)
            await store.append(append_of(saga_id, position, *records, state=state))

    ids = [f"trip-{number}" for number in range(128)]
    await asyncio.gather(*map(run_saga, ids))
    for saga_id in ids:
        records = await store.load(saga_id)
        assert records is not None
        assert records[0] == submitted(saga_id)
        assert records[1::2] == tuple(started(n, saga=saga_id) for n in range(1, 9, 2))
    assert await store.heads(only_unfinished=True) == []


# --- what must not be stored --------------------------------------------------------------------


@pytest.mark.parametrize(
    "output",
    [float("nan"), {"a": [float("inf")]}, "\ud800", {"\udfff": 1}, 2**64, {1: 2}, {1, 2}, b"x"],
    ids=repr,
)
async def test_what_is_not_json_is_a_bug_of_ours_and_writes_nothing(
    store: Store, output: object
) -> None:
    good = store.append(append_of("good", 0))
    bad = store.append(append_of("bad", 0, succeeded(output=output)))
    results = await asyncio.gather(good, bad, return_exceptions=True)
    assert results[0] is None
    assert isinstance(results[1], InvariantBrokenError)
    assert await store.load("bad") is None
    assert await store.load("good") is not None


async def test_an_id_or_a_goal_that_is_no_text_is_a_bug_of_ours(store: Store) -> None:
    torn = "trip-\ud800"
    goal = head_of("trip-7", 1, goal=torn)
    for append in (
        append_of(torn, 0),
        Append(saga_id="trip-7", position=0, records=(started(),), head=goal),
    ):
        with pytest.raises(InvariantBrokenError, match="lone surrogate"):
            await store.append(append)
    with pytest.raises(InvariantBrokenError, match="lone surrogate"):
        await store.post_command(command_of(torn))
    assert await store.heads() == []


async def test_no_saga_has_an_id_that_is_no_text(store: Store) -> None:
    torn = "trip-\ud800"
    assert await store.load(torn) is None
    assert await store.head(torn) is None
    await store.remove(torn)


async def test_a_head_that_does_not_fit_its_records_is_a_bug_of_ours(store: Store) -> None:
    fits = append_of("s", 0, started(0), started(1))
    wrong = [
        Append(saga_id="s", position=0, records=fits.records, head=head_of("s", 1)),
        Append(saga_id="s", position=0, records=fits.records, head=head_of("t", 2)),
        Append(saga_id="s", position=0, records=(), head=head_of("s", 0)),
        Append(saga_id="s", position=-1, records=fits.records, head=head_of("s", 1)),
    ]
    for append in wrong:
        with pytest.raises(InvariantBrokenError):
            await store.append(append)
    assert await store.head("s") is None


# --- epochs -------------------------------------------------------------------------------------


async def test_each_writer_has_a_higher_epoch_and_sees_what_the_last_one_wrote(
    backend: Backend,
) -> None:
    epochs = []
    for number in range(3):
        async with backend.writer() as store:
            epochs.append(store.epoch)
            assert len(await store.heads()) == number
            await store_saga(store, f"trip-{number}")
    assert epochs == sorted(set(epochs))
    assert epochs[0] > 0


async def test_a_replaced_writer_writes_nothing_more(backend: Backend) -> None:
    async with backend.writer() as old:
        await store_saga(old, "trip-7", state="DONE")
        number = await old.post_command(command_of("trip-7"))
        async with backend.usurper() as new:
            assert new.epoch > old.epoch
            for _ in range(2):
                with pytest.raises(FencedError, match=f"epoch {new.epoch} leads"):
                    await old.append(append_of("trip-7", 3))
            with pytest.raises(FencedError):
                await old.append(append_of("trip-8", 0))
            with pytest.raises(FencedError):
                await old.remove("trip-7")
            with pytest.raises(FencedError):
                await old.answer_command(number, {"ok": True, "message": ""})
            assert len(await new.load("trip-7") or ()) == 3
            assert await new.load("trip-8") is None
            assert await new.command_answer(number) is None
            await new.append(append_of("trip-7", 3, state="DONE"))


# --- heads --------------------------------------------------------------------------------------


async def test_heads_come_newest_first_whatever_was_appended_later(store: Store) -> None:
    for number in range(5):
        await store_saga(store, f"trip-{number}")
    await store.append(append_of("trip-0", 3))
    assert [head.saga_id for head in await store.heads()] == [f"trip-{n}" for n in (4, 3, 2, 1, 0)]


@pytest.mark.parametrize(
    ("limit", "count"), [(-1, 0), (0, 0), (1, 1), (3, 3), (5, 5), (9, 5), (None, 5)]
)
async def test_heads_are_limited_to_the_newest(store: Store, limit: int | None, count: int) -> None:
    for number in range(5):
        await store_saga(store, f"trip-{number}")
    heads = await store.heads(limit=limit)
    assert [head.saga_id for head in heads] == [f"trip-{n}" for n in (4, 3, 2, 1, 0)][:count]


async def test_only_unfinished_leaves_out_what_is_done_or_failed(store: Store) -> None:
    for state in ("DONE", "FAILED", "NEEDS_HUMAN", "PENDING", "COMPENSATING(2)"):
        await store_saga(store, state, state=state)
    heads = await store.heads(only_unfinished=True)
    assert [head.saga_id for head in heads] == ["COMPENSATING(2)", "PENDING", "NEEDS_HUMAN"]
    assert [h.saga_id for h in await store.heads(only_unfinished=True, limit=1)] == [
        "COMPENSATING(2)"
    ]


async def test_a_late_reply_can_be_recorded_after_the_end(store: Store) -> None:
    await store_saga(store, "trip-7", state="DONE")
    await store.append(append_of("trip-7", 3, state="DONE"))
    assert len(await store.load("trip-7") or ()) == 4
    assert await store.heads(only_unfinished=True) == []


async def test_a_saga_that_leaves_its_end_is_unfinished_again(store: Store) -> None:
    await store_saga(store, "trip-7", state="DONE")
    await store.append(append_of("trip-7", 3, state="EXECUTING(2)"))
    assert [head.saga_id for head in await store.heads(only_unfinished=True)] == ["trip-7"]


async def finished_by_pages(store: Store, limit: int) -> list[str]:
    """Return the names of the sagas that have ended, read page by page."""
    found: list[str] = []
    after, pages = "", 0
    while not pages or after:
        page = await store.finished(after=after, limit=limit)
        assert len(page.heads) <= limit
        assert all(head.is_final for head in page.heads)
        found += [head.saga_id for head in page.heads]
        after, pages = page.after, pages + 1
        assert pages < 100
    return found


@pytest.mark.parametrize("limit", [1, 2, 5, 6, 100])
async def test_the_finished_come_page_by_page_each_once(store: Store, limit: int) -> None:
    assert await finished_by_pages(store, limit) == []
    ended = [f"ended/{number} é" for number in range(5)]
    for number, saga_id in enumerate(ended):
        await store_saga(store, f"open-{number}")
        await store_saga(store, saga_id, state="FAILED" if number % 2 else "DONE")
    assert sorted(await finished_by_pages(store, limit)) == ended
    assert await store.finished(limit=limit) == await store.finished(after="", limit=limit)


async def test_what_is_removed_while_pages_are_read_hides_no_other(backend: Backend) -> None:
    async with backend.writer() as store, backend.reader() as reader:
        names = [f"trip-{number}" for number in range(7)]
        for saga_id in names:
            await store_saga(store, saga_id, state="DONE")
        assert sorted(await finished_by_pages(reader, 3)) == names
        found: list[str] = []
        after = ""
        while True:
            page = await store.finished(after=after, limit=2)
            for head in page.heads:
                found.append(head.saga_id)
                await store.remove(head.saga_id, position=head.position)
            after = page.after
            if not after:
                break
        assert sorted(found) == names
        assert await store.heads() == []


# --- removal ------------------------------------------------------------------------------------


async def test_a_removed_saga_leaves_nothing_and_its_id_is_free(store: Store) -> None:
    await store_saga(store, "trip-6", state="DONE")
    await store_saga(store, "trip-7", state="FAILED")
    await store.remove("trip-7")
    assert await store.load("trip-7") is None
    assert [head.saga_id for head in await store.heads()] == ["trip-6"]
    await store.append(append_of("trip-7", 0, started(9)))
    assert await store.load("trip-7") == (started(9),)
    assert len(await store.load("trip-6") or ()) == 3


@pytest.mark.parametrize("state", ["PENDING", "EXECUTING(1)", "COMPENSATING(1)", "NEEDS_HUMAN"])
async def test_a_saga_that_is_not_at_its_end_is_not_removed(store: Store, state: str) -> None:
    await store_saga(store, "trip-7", state=state)
    with pytest.raises(ConflictError, match="trip-7") as caught:
        await store.remove("trip-7")
    assert state in str(caught.value)
    assert len(await store.load("trip-7") or ()) == 3


async def test_a_saga_that_went_on_is_not_removed_as_it_was(store: Store) -> None:
    await store_saga(store, "trip-7", state="DONE")
    await store.append(append_of("trip-7", 3, succeeded(output="came late"), state="DONE"))
    for position in (0, 3, 5):
        with pytest.raises(ConflictError, match="its journal is at 4") as caught:
            await store.remove("trip-7", position=position)
        assert caught.value.facts == {"saga_id": "trip-7", "expected": position, "found": 4}
    assert len(await store.load("trip-7") or ()) == 4
    assert len(await store.heads()) == 1
    await store.remove("trip-7", position=4)
    assert await store.load("trip-7") is None
    await store.remove("trip-7", position=4)


async def test_of_an_append_and_a_removal_at_one_time_one_is_refused(store: Store) -> None:
    """Whichever comes first: no record is confirmed and then gone."""
    ids = [f"trip-{number}" for number in range(20)]
    for saga_id in ids:
        await store_saga(store, saga_id, state="DONE")

    async def outcome_of(call: Awaitable[None]) -> bool:
        try:
            await call
        except ConflictError:
            return False
        return True

    calls: list[Awaitable[bool]] = []
    for number, saga_id in enumerate(ids):
        append = outcome_of(store.append(append_of(saga_id, 3, state="DONE")))
        removal = outcome_of(store.remove(saga_id, position=3))
        calls += (append, removal) if number % 2 else (removal, append)
    results = await asyncio.gather(*calls)
    for number, saga_id in enumerate(ids):
        both = results[2 * number : 2 * number + 2]
        is_appended, is_removed = both if number % 2 else reversed(both)
        assert is_appended is not is_removed
        assert len(await store.load(saga_id) or ()) == (4 if is_appended else 0)


async def test_removing_what_is_not_there_does_nothing(store: Store) -> None:
    await store.remove("trip-7")
    assert await store.heads() == []


# --- readers ------------------------------------------------------------------------------------


async def test_a_reader_sees_each_append_while_the_writer_lives(backend: Backend) -> None:
    async with backend.writer() as writer, backend.reader() as reader:
        assert reader.epoch == 0
        assert await reader.heads() == []
        for position in range(10):
            await writer.append(append_of("trip-7", position, started(position)))
            records = await reader.load("trip-7")
            assert records == tuple(started(n) for n in range(position + 1))
        assert await reader.head("trip-7") == await writer.head("trip-7")


async def test_a_reader_writes_nothing(backend: Backend) -> None:
    async with backend.writer() as writer, backend.reader() as reader:
        await store_saga(writer, "trip-7", state="DONE")
        number = await writer.post_command(command_of("trip-7"))
        with pytest.raises(StoreError, match="opened for reading"):
            await reader.append(append_of("trip-7", 3))
        with pytest.raises(StoreError, match="opened for reading"):
            await reader.remove("trip-7")
        with pytest.raises(StoreError, match="opened for reading"):
            await reader.answer_command(number, {"ok": True})
        assert len(await writer.load("trip-7") or ()) == 3


# --- closing ------------------------------------------------------------------------------------


async def test_closing_finishes_what_was_accepted(backend: Backend) -> None:
    async with backend.writer() as store:
        tasks = [asyncio.ensure_future(store.append(append_of(f"trip-{n}", 0))) for n in range(50)]
        await asyncio.sleep(0)  # each task has come as far as its append
        await store.close()
        assert await asyncio.gather(*tasks) == [None] * 50
    async with backend.reader() as reader:
        assert len(await reader.heads()) == 50


async def test_an_append_that_nobody_waits_for_any_more_is_still_whole(backend: Backend) -> None:
    async with backend.writer() as store:
        task = asyncio.ensure_future(store.append(append_of("trip-7", 0, started(1))))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await store.append(append_of("trip-8", 0))
        assert await store.load("trip-7") in [None, (started(1),)]


async def test_a_closed_store_refuses_and_closing_it_again_does_nothing(backend: Backend) -> None:
    async with backend.writer() as store:
        await store.close()
        await store.close()
        with pytest.raises(StoreError, match="is closed"):
            await store.append(append_of("trip-7", 0))
        with pytest.raises(StoreError, match="is closed"):
            await store.load("trip-7")
        with pytest.raises(StoreError, match="is closed"):
            await store.remove("trip-7")
        with pytest.raises(StoreError, match="is closed"):
            await store.pending_commands()
        with pytest.raises(StoreError, match="is closed"):
            await store.finished(limit=1)


async def test_a_store_knows_the_url_it_was_opened_by(store: Store) -> None:
    assert "://" in store.url
