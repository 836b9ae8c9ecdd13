"""The parsing files of JSONTestSuite (github.com/nst/JSONTestSuite, MIT, see json_texts.LICENSE).

Names begin with y (every parser must accept it), n (none may) or i (undecided). Each text is read
as a plan, and inside a plan as the value of an input. Where we differ on purpose, the code says so.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fsm_saga.errors import PlanError
from fsm_saga.plan.model import Plan

FILE = Path(__file__).with_name("json_texts.json")


def _texts() -> dict[str, bytes]:
    """Return the texts by name; bytes are kept as the characters of the same numbers."""
    rows = json.loads(FILE.read_text(encoding="utf-8"))
    return {
        name: text.encode("latin-1") * (repeats[0] if repeats else 1)
        for name, text, *repeats in rows
    }


TEXTS = _texts()

# Every parser must accept these; but which of the two values counts depends on the parser.
REFUSED_ON_PURPOSE = {
    "y_object_duplicated_key": "duplicate-key",
    "y_object_duplicated_key_and_value": "duplicate-key",
}
# No parser has to accept these: comments, which models write.
ACCEPTED_ON_PURPOSE = frozenset(
    {
        "n_object_trailing_comment",
        "n_object_trailing_comment_slash_open",
        "n_structure_object_with_comment",
    }
)


def codes_of(text: bytes) -> list[str]:
    """Return the codes of the problems with a text read as a plan; none if it is one."""
    try:
        Plan.read(text)
    except PlanError as refused:
        return [problem.code for problem in refused.problems]
    return []


def inside_a_plan(text: bytes) -> bytes:
    step = b'{"step_id": 1, "tool": "look"}'
    return b'{"task_id": "t", "inputs": {"x": ' + text + b'\n}, "steps": [' + step + b"]}"


@pytest.mark.parametrize("name", TEXTS)
def test_a_text_of_the_suite_is_never_a_plan(name: str) -> None:
    assert codes_of(TEXTS[name])


@pytest.mark.parametrize("name", TEXTS)
def test_a_value_inside_a_plan_is_read_as_the_suite_says(name: str) -> None:
    codes = codes_of(inside_a_plan(TEXTS[name]))
    if name in REFUSED_ON_PURPOSE:
        assert codes == [REFUSED_ON_PURPOSE[name]]
    elif name.startswith("y") or name in ACCEPTED_ON_PURPOSE:
        assert codes == []
    elif name.startswith("n"):
        assert codes


def test_what_is_read_is_what_the_standard_parser_reads() -> None:
    read = 0
    for name, text in TEXTS.items():
        if name.startswith("y") and name not in REFUSED_ON_PURPOSE:
            assert Plan.read(inside_a_plan(text)).inputs == {"x": json.loads(text)}
            read += 1
    assert read > 80
