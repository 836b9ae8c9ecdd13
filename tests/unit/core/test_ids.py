from __future__ import annotations

import itertools

import pytest

from fsm_saga.core.ids import approval_digest, canonical_json, req_id
from fsm_saga.core.states import Direction


def test_a_req_id_is_the_same_in_every_process_and_for_ever() -> None:
    """INV-2. The texts are pinned: sagas that are under way when we are upgraded depend on them."""
    assert req_id("trip-7", 0, Direction.DO, 0) == "r17dd18d13c2cbae3d88921791086c941"
    assert req_id("Reise-ß", 11, Direction.UNDO, 1, 2) == "r32fc425ae431172f7da0e1e55365b203"
    assert req_id("trip-7", 0, Direction.CHECK, 0) == "r7fc58c4da9210d44a1ce32223ec3bb3c"


def test_each_thing_that_a_call_is_for_has_an_id_of_its_own() -> None:
    ids = [
        req_id(saga_id, step, direction, revision, call)
        for saga_id, step, direction, revision, call in itertools.product(
            ("a", "b"), (0, 1, 11), Direction, (0, 1), (0, 1)
        )
    ]
    assert len(set(ids)) == len(ids)


def test_an_id_that_holds_separators_cannot_pose_as_another_saga() -> None:
    assert req_id("a\x1f1", 1, Direction.DO, 0) != req_id("a", 1, Direction.DO, 0)
    assert req_id("a\x1f1\x1fdo\x1f0\x1f0", 1, Direction.DO, 0) != req_id("a", 1, Direction.DO, 0)
    assert req_id("1\x1fa", 0, Direction.DO, 0) != req_id("a", 0, Direction.DO, 0)


def test_equal_values_have_one_canonical_json() -> None:
    assert canonical_json({"b": 1, "a": [1.5, None, "é"]}) == '{"a":[1.5,null,"é"],"b":1}'.encode()
    with pytest.raises(ValueError, match="Out of range float values"):
        canonical_json(float("nan"))


def test_an_approval_is_bound_to_each_part_of_what_was_shown() -> None:
    shown = approval_digest("trip", 1, "pay", {"sum": 100})
    assert shown == approval_digest("trip", 1, "pay", {"sum": 100})
    others = [
        approval_digest("trap", 1, "pay", {"sum": 100}),
        approval_digest("trip", 2, "pay", {"sum": 100}),
        approval_digest("trip", 1, "refund", {"sum": 100}),
        approval_digest("trip", 1, "pay", {"sum": 101}),
        approval_digest("trip", 1, "pay", {"sum": 100, "to": None}),
    ]
    assert shown not in others
