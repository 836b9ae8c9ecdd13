"""Heads: what their checksum covers, and how they are made again from journals."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from msgspec.structs import replace

from fsm_saga.core.records import (
    ApprovalGiven,
    ApprovalRequested,
    PlanClosed,
    Record,
    ReplyIgnored,
    SagaMoved,
    StepsAppended,
)
from fsm_saga.core.states import Direction, Phase, SagaState
from fsm_saga.errors import CorruptRecordError, FsmSagaError, InvariantBrokenError
from fsm_saga.ports import Append, Head
from fsm_saga.simulation.run import run_seed
from fsm_saga.simulation.storage import Storage
from fsm_saga.stores.heads import DAMAGED, damaged_head, head_checksum, head_from_journal
from tests.conformance.samples import head_of, started, submitted

SEEDS = 60

OTHERWISE: dict[str, Any] = {
    "saga_id": "trip-8",
    "state": "EXECUTING(3)",
    "outcome": "committed",
    "position": 5,
    "created_at": 1.5,
    "updated_at": 1.5,
    "goal": "",
    "is_final": True,
    "waits_for": "person",
}


def test_the_checksum_covers_all_that_a_head_says() -> None:
    head = head_of("trip-7", 4)
    assert set(OTHERWISE) == set(Head.__struct_fields__), "a new field has to be protected too"
    others = {head_checksum(replace(head, **{name: value})) for name, value in OTHERWISE.items()}
    assert len(others | {head_checksum(head)}) == len(OTHERWISE) + 1


def test_the_checksum_is_the_same_whichever_way_a_number_was_written() -> None:
    head = replace(head_of("trip-7", 4), created_at=3, updated_at=4)
    assert head_checksum(head) == head_checksum(replace(head, created_at=3.0, updated_at=4.0))
    zero = replace(head, created_at=0.0, updated_at=0.0)
    assert head_checksum(replace(zero, created_at=-0.0)) == head_checksum(zero), "SQLite keeps 0.0"
    assert head_checksum(replace(zero, updated_at=-0.0)) == head_checksum(zero)


def test_a_head_that_is_no_text_is_a_bug_of_ours() -> None:
    with pytest.raises(InvariantBrokenError, match="trip-7"):
        head_checksum(replace(head_of("trip-7", 4), state="\ud800"))


def test_a_head_made_from_the_journal_is_the_one_that_the_coordinator_wrote(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: Counter[str] = Counter()
    wrong: list[tuple[Head, Head]] = []
    real = Storage.append

    def append(storage: Storage, epoch: int, append: Append) -> FsmSagaError | None:
        before: tuple[Record, ...] = ()
        journal = storage.journals.get(append.saga_id)
        if journal is not None and not journal.is_corrupt:
            before = storage.load(append.saga_id) or ()
        if len(before) == append.position:
            made = head_from_journal(append.saga_id, before + append.records)
            assert made == append.head
            seen[f"{made.state.partition('(')[0]} {made.waits_for}"] += 1
        return real(storage, epoch, append)

    monkeypatch.setattr(Storage, "append", append)
    for seed in range(SEEDS):
        run_seed(seed)
    assert not wrong
    assert {"EXECUTING approval", "NEEDS_HUMAN person", "DONE ", "FAILED "} <= set(seen)
    assert {"COMPENSATING ", "EXECUTING "} <= set(seen)
    assert sum(seen.values()) > 10 * SEEDS


def test_a_journal_of_another_saga_or_of_none_makes_no_head() -> None:
    for journal in ((), (started(),), (submitted("trip-8"),)):
        with pytest.raises(CorruptRecordError, match="'trip-7'"):
            head_from_journal("trip-7", journal)


def test_a_journal_with_a_state_that_no_saga_has_makes_no_head() -> None:
    nonsense = SagaMoved(at=1.0, event="start", state="FLYING")
    moved = SagaMoved(at=1.0, event="start", state="EXECUTING(1)")
    asked = ApprovalRequested(at=1.0, step=0, params={}, digest="d", expires_at=2.0)
    for journal in (
        (submitted("trip-7"), nonsense),
        (submitted("trip-7"), asked, nonsense, moved),
    ):
        with pytest.raises(CorruptRecordError, match="FLYING"):
            head_from_journal("trip-7", journal)


def test_the_head_of_a_saga_that_cannot_be_read_says_so_in_words_that_all_know() -> None:
    head = damaged_head("trip-7")
    assert (head.saga_id, head.state, head.is_final) == ("trip-7", DAMAGED, False)
    assert SagaState.parse(head.state).phase is Phase.NEEDS_HUMAN
    assert (head.outcome, head.waits_for) == ("unknown", "person")
    assert "damaged in the store" in (head.goal or "")


def test_a_damaged_head_names_its_saga_and_nothing_that_nobody_knows() -> None:
    assert damaged_head("trip-7") == Head(
        saga_id="trip-7",
        state=DAMAGED,
        outcome="unknown",
        position=0,
        created_at=0.0,
        updated_at=0.0,
        goal="damaged in the store: `fsm-saga doctor` tells more",
        is_final=False,
        waits_for="person",
    )


def test_a_journal_that_makes_no_head_is_named() -> None:
    moved = SagaMoved(at=1.0, event="start", state="FLYING")
    sound = replace(moved, state="EXECUTING(1)")
    for journal in ((), (submitted("trip-7"), moved), (submitted("trip-7"), moved, sound)):
        with pytest.raises(CorruptRecordError) as caught:
            head_from_journal("trip-7", journal)
        assert caught.value.facts == {"saga_id": "trip-7"}


def test_only_what_happens_to_its_step_ends_the_waiting_for_an_approval() -> None:
    asked = ApprovalRequested(at=1.0, step=1, params={}, digest="d", expires_at=2.0)
    given = ApprovalGiven(at=1.0, step=1, digest="d", by="Ann")
    late = ReplyIgnored(at=1.0, step=1, direction=Direction.DO, outcome="success", detail="late")
    undoing = SagaMoved(at=1.0, event="cancel", state="COMPENSATING(1)")
    for records, waits_for in (
        ((), "approval"),
        ((PlanClosed(at=1.0),), "approval"),
        ((given,), "approval"),
        ((late,), "approval"),
        ((started(0),), "approval"),
        ((started(1),), ""),
        ((replace(undoing, state="EXECUTING(1)"),), "approval"),
        ((undoing,), ""),
    ):
        head = head_from_journal("trip-7", (submitted("trip-7"), asked, *records))
        assert head.waits_for == waits_for, records


def test_the_goal_is_that_of_the_newest_plan() -> None:
    first = submitted("trip-7", {"goal": "see blossoms", "steps": []})
    more = StepsAppended(at=2.0, plan_hash="cd34", plan={"goal": "see leaves"}, tools={})
    silent = replace(more, plan={"steps": []})
    odd = replace(more, plan={"goal": 7})
    for journal, goal in (
        ((first,), "see blossoms"),
        ((first, more), "see leaves"),
        ((first, more, silent), None),
        ((first, odd), None),
    ):
        assert head_from_journal("trip-7", journal).goal == goal


def test_a_head_made_from_the_journal_has_its_times_and_its_end() -> None:
    done = SagaMoved(at=9.5, event="finished", state="DONE", outcome="committed")
    head = head_from_journal("trip-7", (submitted("trip-7"), started(), done))
    assert (head.created_at, head.updated_at, head.position) == (submitted("trip-7").at, 9.5, 3)
    assert (head.state, head.outcome, head.is_final, head.waits_for) == (
        "DONE",
        "committed",
        True,
        "",
    )
    fresh = head_from_journal("trip-7", (submitted("trip-7"),))
    assert (fresh.state, fresh.outcome, fresh.is_final) == ("PENDING", None, False)
