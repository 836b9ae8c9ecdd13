"""Group commit over Redis: who shares a batch, in which order, and what each is told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, cast

import pytest

from fsm_saga.errors import (
    ConflictError,
    FencedError,
    InvariantBrokenError,
    StoreError,
    StoreUnavailableError,
)
from fsm_saga.stores.redis_commits import (
    BATCH_APPENDS_MAX,
    BEGINNINGS_TRIED,
    Lead,
    RedisCommits,
)
from fsm_saga.stores.redis_layout import AppendValue, removal_mark
from fsm_saga.stores.redis_link import RedisLink
from fsm_saga.stores.redis_scripts import Script
from fsm_saga.stores.redis_url import parse_redis_url
from tests.conformance.samples import append_of

Answer = Callable[[list[Any]], Any]


class FakeLink(RedisLink):
    """A link on which the test answers; what was sent is kept."""

    def __init__(self) -> None:
        super().__init__(parse_redis_url("redis://host"))
        self.batches: list[list[Any]] = []
        self.answer: Answer = written
        self.gate = asyncio.Event()
        self.gate.set()
        self.dropped = 0

    async def run_in_order(
        self, script: Script, keys: Sequence[bytes], *arguments: bytes | str | int
    ) -> Any:
        self.batches.append(list(arguments))
        await self.gate.wait()
        return self.answer(list(arguments))

    async def drop_order(self) -> None:
        self.dropped += 1


def count_of(arguments: list[Any]) -> int:
    shards: int = arguments[2]
    return (len(arguments) - 3 - 3 * shards) // 7


def written(arguments: list[Any]) -> Any:
    return [b"%d" % arguments[1], [1] * arguments[2], [b""] * count_of(arguments)]


def told(*results: bytes, commits: int = 1) -> Answer:
    return lambda arguments: [b"%d" % arguments[1], [commits] * arguments[2], list(results)]


def value(saga_id: str, position: int = 0) -> AppendValue:
    return AppendValue(append_of(saga_id, position))


@pytest.fixture
async def link() -> FakeLink:
    return FakeLink()


@pytest.fixture
def commits(link: FakeLink) -> RedisCommits:
    return RedisCommits(link)


@pytest.fixture
def lead() -> Lead:
    return Lead(0, 7, "7 me")


async def test_appends_that_come_together_share_a_batch(
    link: FakeLink, commits: RedisCommits, lead: Lead
) -> None:
    other = Lead(1, 8, "8 me")
    await asyncio.gather(
        commits.append(lead, value("a")),
        commits.append(other, value("b")),
        commits.append(lead, value("c")),
    )
    (sent,) = link.batches
    assert sent[:9] == [b"fsm-saga:", 1, 2, 0, "7 me", 0, 1, "8 me", 0]
    assert [sent[at : at + 2] for at in (9, 16, 23)] == [[1, "a"], [2, "b"], [1, "c"]]
    assert (lead.commits, other.commits) == (1, 1)


async def test_a_first_append_names_the_removals_that_are_known_and_no_other_does(
    link: FakeLink, commits: RedisCommits, lead: Lead
) -> None:
    mark = removal_mark("a")
    lead.note_removals(mark, 3)
    lead.note_removals(mark, 2)  # an answer that came late
    await asyncio.gather(commits.append(lead, value("a")), commits.append(lead, value("a", 1)))
    (sent,) = link.batches
    assert (sent[6 + 6], sent[6 + 13]) == (f"{mark}:3", "")


async def test_a_first_append_that_a_removal_overtook_is_sent_anew_with_what_it_learned(
    link: FakeLink, commits: RedisCommits, lead: Lead
) -> None:
    counts = iter((b"removed 4", b"removed 5", b""))
    link.answer = lambda arguments: told(next(counts))(arguments)
    await commits.append(lead, value("a"))
    mark = removal_mark("a")
    assert [batch[-1] for batch in link.batches] == [f"{mark}:0", f"{mark}:4", f"{mark}:5"]


async def test_a_first_append_is_not_sent_anew_for_ever(
    link: FakeLink, commits: RedisCommits, lead: Lead
) -> None:
    link.answer = lambda arguments: told(b"removed %d" % len(link.batches))(arguments)
    with pytest.raises(StoreUnavailableError, match="Nothing was written") as caught:
        await commits.append(lead, value("a"))
    assert type(caught.value) is StoreUnavailableError
    assert len(link.batches) == BEGINNINGS_TRIED


async def test_one_batch_is_under_way_at_a_time_and_none_is_too_large(
    link: FakeLink, commits: RedisCommits, lead: Lead
) -> None:
    link.gate.clear()
    tasks = [
        asyncio.ensure_future(commits.append(lead, value(f"saga-{number}")))
        for number in range(BATCH_APPENDS_MAX + 10)
    ]
    await asyncio.sleep(0.01)
    assert [count_of(batch) for batch in link.batches] == [BATCH_APPENDS_MAX]
    late = asyncio.ensure_future(commits.append(lead, value("late")))
    link.gate.set()
    await asyncio.gather(*tasks, late)
    assert [count_of(batch) for batch in link.batches] == [BATCH_APPENDS_MAX, 11]
    assert [batch[1] for batch in link.batches] == [1, 2]


async def test_each_is_told_what_became_of_its_own(
    link: FakeLink, commits: RedisCommits, lead: Lead
) -> None:
    lead.commits = 5
    link.answer = told(b"", b"conflict 4", b"conflict ", b"fenced 9 other", b"fenced ", b"back 3")
    results = await asyncio.gather(
        *(commits.append(lead, value(f"s{number}", number)) for number in range(6)),
        return_exceptions=True,
    )
    assert results[0] is None
    assert [type(result) for result in results[1:]] == [
        ConflictError,
        ConflictError,
        FencedError,
        FencedError,
        StoreError,
    ]
    facts = [cast("StoreError", result).facts for result in results[1:]]
    assert facts[0] == {"saga_id": "s1", "expected": 1, "found": 4}
    assert facts[1]["found"] is None
    assert [fact["leader"] for fact in facts[2:4]] == [9, None]
    assert facts[4] == {"shard": 0, "found": 3, "confirmed": 5}
    assert lead.commits == 5, "what was confirmed stays the measure"


@pytest.mark.parametrize(
    "answer", [b"OK", None, [b"1", [1], [b""]], [b"3", [1], [b""]], [b"2", [1]]], ids=repr
)
async def test_an_answer_to_something_else_is_an_unknown_outcome(
    link: FakeLink, commits: RedisCommits, lead: Lead, answer: object
) -> None:
    await commits.append(lead, value("a"))
    link.answer = lambda _arguments: answer
    with pytest.raises(StoreUnavailableError, match="no answer of Redis"):
        await commits.append(lead, value("b"))
    assert link.dropped == 1
    link.answer = written
    await commits.append(lead, value("b"))


async def test_a_failure_is_told_to_all_of_its_batch_and_the_next_goes_on(
    link: FakeLink, commits: RedisCommits, lead: Lead
) -> None:
    def fail(_arguments: list[Any]) -> Any:
        raise StoreUnavailableError("it failed", reason="test")

    link.answer = fail
    results = await asyncio.gather(
        *(commits.append(lead, value(name)) for name in "ab"), return_exceptions=True
    )
    assert [type(result) for result in results] == [StoreUnavailableError] * 2
    assert results[0] is not results[1]
    link.answer = written
    await commits.append(lead, value("c"))


async def test_a_bug_leaves_nobody_waiting(
    link: FakeLink, commits: RedisCommits, lead: Lead
) -> None:
    reported: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, said: reported.append(said))
    link.answer = lambda arguments: [b"%d" % arguments[1], [1], []]
    link.gate.clear()
    first = asyncio.ensure_future(commits.append(lead, value("a")))
    await asyncio.sleep(0.001)
    second = asyncio.ensure_future(commits.append(lead, value("b")))
    await asyncio.sleep(0)
    link.gate.set()
    for waiting in (first, second):
        with pytest.raises(InvariantBrokenError, match="broke off"):
            await waiting
    link.answer = written
    await commits.append(lead, value("c"))


async def test_who_stops_waiting_hurts_nobody_and_draining_waits_for_all(
    link: FakeLink, commits: RedisCommits, lead: Lead
) -> None:
    link.gate.clear()
    gone = asyncio.ensure_future(commits.append(lead, value("a")))
    stays = asyncio.ensure_future(commits.append(lead, value("b")))
    await asyncio.sleep(0.001)
    gone.cancel()
    draining = asyncio.ensure_future(commits.drain())
    await asyncio.sleep(0.001)
    assert not draining.done()
    link.gate.set()
    await draining
    await stays
    assert gone.cancelled()
