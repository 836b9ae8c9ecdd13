"""What every store says when it refuses: the values, and the facts that a program reads."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from fsm_saga.errors import (
    ConflictError,
    FencedError,
    FsmSagaError,
    InvariantBrokenError,
    StoreError,
)
from fsm_saga.ports import Append, Command
from fsm_saga.stores.refusals import (
    check_command,
    check_fits,
    closed,
    conflict,
    fenced,
    grown,
    is_text,
    no_command,
    not_final,
    read_only,
    removed_answer,
)
from tests.conformance.samples import append_of, head_of, started

URL = "memory://trips"
LONE = "\ud800"


@pytest.mark.parametrize(
    ("refusal", "kind", "words", "facts"),
    [
        (
            lambda: conflict("trip-7", expected=4, found=None),
            ConflictError,
            "Saga 'trip-7' refused an append at position 4: there is no such saga. ",
            {"saga_id": "trip-7", "expected": 4, "found": None},
        ),
        (
            lambda: conflict("trip-7", expected=4, found=6),
            ConflictError,
            "Saga 'trip-7' refused an append at position 4: its journal is at 6. ",
            {"saga_id": "trip-7", "expected": 4, "found": 6},
        ),
        (
            lambda: fenced(URL, epoch=3, leader=5),
            FencedError,
            f"Nothing was written to store {URL!r}: epoch 3 tried, but epoch 5 leads now. ",
            {"epoch": 3, "leader": 5},
        ),
        (
            lambda: not_final("trip-7", "EXECUTING(2)"),
            ConflictError,
            "Saga 'trip-7' was not removed: it is EXECUTING(2), ",
            {"saga_id": "trip-7", "state": "EXECUTING(2)"},
        ),
        (
            lambda: grown("trip-7", expected=4, found=6),
            ConflictError,
            "Saga 'trip-7' was not removed: its journal is at 6, and it was to be removed as it "
            "was at 4. ",
            {"saga_id": "trip-7", "expected": 4, "found": 6},
        ),
        (lambda: no_command(12), StoreError, "Command 12 was not answered: ", {}),
        (
            lambda: read_only(URL, "Removing saga 'trip-7'"),
            StoreError,
            f"Removing saga 'trip-7' was refused: store {URL!r} was opened for reading. ",
            {},
        ),
        (lambda: closed(URL), StoreError, f"Store {URL!r} is closed. Nothing was written", {}),
    ],
    ids=[
        "no saga",
        "conflict",
        "fenced",
        "not final",
        "grown",
        "no command",
        "read only",
        "closed",
    ],
)
def test_a_refusal_names_what_it_is_about(
    refusal: Callable[[], FsmSagaError],
    kind: type[FsmSagaError],
    words: str,
    facts: dict[str, object],
) -> None:
    error = refusal()  # not before: what is made of a module when it is read says nothing of it
    assert type(error) is kind
    assert error.message.startswith(words)
    assert error.facts == facts


def test_text_is_what_can_be_written_as_utf_8() -> None:
    assert is_text("行程 7")
    assert is_text("")
    assert not is_text(f"trip{LONE}")


def with_head(append: Append, **head: object) -> Append:
    return replace(append, head=replace(append.head, **head))


def test_an_append_fits_the_head_that_it_brings() -> None:
    check_fits(append_of("trip-7", 0))
    check_fits(append_of("trip-7", 3, started(0), started(1)))
    check_fits(with_head(append_of("trip-7", 3), goal="看花"))


@pytest.mark.parametrize(
    "append",
    [
        with_head(append_of("trip-7", 3), position=3),
        with_head(append_of("trip-7", 3), position=5),
        with_head(append_of("trip-7", 3), saga_id="trip-8"),
        append_of("trip-7", -1),
        Append(saga_id="trip-7", position=3, records=(), head=head_of("trip-7", 3)),
    ],
    ids=["behind", "ahead", "another saga", "before the first", "nothing"],
)
def test_an_append_that_does_not_fit_its_head_is_a_bug_of_ours(append: Append) -> None:
    with pytest.raises(InvariantBrokenError, match=f"at {append.position} does not fit its head"):
        check_fits(append)


@pytest.mark.parametrize(
    "append",
    [
        append_of(f"trip{LONE}", 0),
        with_head(append_of("trip-7", 0), goal=f"see {LONE}"),
    ],
    ids=["id", "goal"],
)
def test_an_append_with_half_a_character_is_a_bug_of_ours(append: Append) -> None:
    with pytest.raises(InvariantBrokenError, match="lone surrogate"):
        check_fits(append)


def test_a_command_with_half_a_character_is_a_bug_of_ours() -> None:
    check_command(Command(saga_id="trip-7", kind="cancel", body={}))
    for saga_id, kind in ((LONE, "cancel"), ("trip-7", LONE)):
        with pytest.raises(InvariantBrokenError, match="lone surrogate"):
            check_command(Command(saga_id=saga_id, kind=kind, body={}))


def test_a_command_that_waits_for_a_removed_saga_is_answered_with_what_became_of_it() -> None:
    answer = removed_answer("trip-7")
    assert (answer["ok"], answer["code"]) == (False, "unknown-saga")
    assert answer["message"].startswith("Saga 'trip-7' was removed from the store, ")
    assert answer["message"].endswith("nothing of it was changed.")
