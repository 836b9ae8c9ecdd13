"""What people decide comes from outside: what no journal can hold is refused at the door."""

from __future__ import annotations

from typing import Any

import pytest

from fsm_saga.core.limits import LIMITS
from fsm_saga.errors import CommandError
from fsm_saga.service.answers import Answer, calls_text, checked


def test_an_answer_survives_the_way_through_a_store() -> None:
    answer = Answer(
        kind="output", step_id=2, by="ann", note="seen", value={"id": [1, None]}, position=7
    )
    assert Answer.from_json("output", answer.as_json()) == answer


@pytest.mark.parametrize(
    ("field", "value", "why"),
    [
        ("by", "\ud800", "half a character"),
        ("note", "a\udfff", "half a character"),
        ("digest", "\ud800", "half a character"),
        ("step_id", "\ud800", "half a character"),
        ("by", 5, "by is int, not a text"),
        ("note", None, "note is NoneType, not a text"),
        ("note", "x" * (LIMITS.string_max + 1), "are allowed"),
        ("step_id", ["2"], "names no step"),
        ("step_id", 2.0, "names no step"),
        ("position", "7", "is no position"),
        ("value", float("nan"), "NaN"),
        ("value", {"id": 2**64}, "64 bits"),
        ("value", {"id": object()}, "no form in JSON"),
        ("value", "\ud800", "half a character"),
        ("value", "x" * (LIMITS.output_bytes_max + 1), "larger than"),
    ],
)
def test_what_no_journal_can_hold_is_refused(field: str, value: Any, why: str) -> None:
    body = {"step_id": 2, "by": "ann", "note": "", "value": {}, field: value}
    with pytest.raises(CommandError, match=why):
        checked(Answer(kind="output", **body))
    with pytest.raises(CommandError, match=why):
        Answer.from_json("output", body)


def test_what_a_newer_version_may_add_is_refused_and_not_stumbled_over() -> None:
    with pytest.raises(CommandError, match="'colour'"):
        Answer.from_json("retry", {"step_id": 2, "by": "ann", "colour": "red"})
    with pytest.raises(CommandError, match="'kind'"):
        Answer.from_json("retry", {"kind": "cancel"})
    with pytest.raises(CommandError, match="'pause' is not known"):
        Answer.from_json("pause", {})
    with pytest.raises(CommandError, match="'pause' is not known"):
        checked(Answer(kind="pause"))


def test_an_output_is_kept_as_plain_json() -> None:
    found = checked(Answer(kind="output", by="ann", value={"seats": (1, 2)}))
    assert found.value == {"seats": [1, 2]}


def test_a_list_of_calls_is_taken_in_every_form_in_which_people_write_it() -> None:
    call = {"tool": "refund", "params": {}}
    for given in (
        [call],
        (call,),
        {"calls": [call]},
        '[{"tool":"refund","params":{}}]',
        b' [{"tool":"refund","params":{}}]',
        '{"calls": [{"tool":"refund","params":{}}]}',
    ):
        text = calls_text(given)
        text = text.decode() if isinstance(text, bytes) else text
        assert text.replace(" ", "") == '{"calls":[{"tool":"refund","params":{}}]}'
