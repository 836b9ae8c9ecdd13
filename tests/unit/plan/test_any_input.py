"""P2: whatever comes in, a plan comes out or a PlanError with problems, and nothing else."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from fsm_saga.core.references import Template
from fsm_saga.errors import PlanError
from fsm_saga.plan.graph import build_graph
from fsm_saga.plan.lint import check_calls, read_plan
from fsm_saga.plan.model import Plan
from fsm_saga.plan.references import index_of
from tests.unit.plan.builders import TOOLS, plan, step

SOUND = json.dumps(
    {
        "task_id": "trip",
        "inputs": {"who": "Ada"},
        "steps": [
            step(1, "read", params={"a": ["$input.who", 1.5, None]}),
            step("b", "do", params={"x": "y"}, retry={"attempts": 2}, depends_on=[1]),
            step(3, "any", rollback={"tool": "undo", "params": {"id": "$output.step_b.id"}}),
            step(4, "send", params={"text": "$output.step_b.id"}, kind="pivot", approval=True),
        ],
    }
)

FIELDS = st.sampled_from(
    [
        "task_id", "goal", "inputs", "steps", "deadline_s", "step_id", "name", "tool", "params",
        "rollback", "depends_on", "kind", "retry", "timeout_s", "approval", "semantic", "attempts",
        "delay_s", "delay_s_max", "expires_s", "req_id", "state", "x", "id", "$output.step_1", "",
        "\0", "\ud800", "é", "e\u0301", "__proto__",
    ]
)  # fmt: skip
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=4)
    | FIELDS
    | st.sampled_from(
        [
            1, "1", "step_1", "read", "do", "any", "pivot", "retriable", "read_only", 1e308, -1,
            "$output.step_1.x", "$output.step_2", "$input.who", "$input", "${a}", "$$", 10**30,
        ]
    ),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(FIELDS, inner, max_size=5),
    max_leaves=12,
)  # fmt: skip
STEPS = st.fixed_dictionaries(
    {"step_id": st.integers(0, 4) | VALUES, "tool": st.sampled_from(sorted(TOOLS)) | VALUES},
    optional={
        "params": st.dictionaries(FIELDS, VALUES, max_size=3) | VALUES,
        "rollback": st.fixed_dictionaries({"tool": VALUES}, optional={"params": VALUES}) | VALUES,
        "depends_on": st.lists(st.integers(0, 4), max_size=3) | VALUES,
        "kind": st.sampled_from(["pivot", "retriable", "read_only"]) | VALUES,
        "retry": VALUES,
        "timeout_s": VALUES,
        "approval": VALUES,
    },
)
PLANS = st.fixed_dictionaries(
    {"task_id": st.just("t") | VALUES, "steps": st.lists(STEPS, max_size=5) | VALUES},
    optional={"inputs": VALUES, "goal": VALUES, "deadline_s": VALUES},
)


def refusal(check: Callable[..., object], *arguments: object) -> PlanError | None:
    """Return why the check refuses its arguments, or None; any other exception goes through."""
    try:
        check(*arguments)
    except PlanError as error:
        return error
    return None


def assert_says_why(refused: PlanError) -> None:
    assert refused.problems
    assert json.dumps([problem.as_json() for problem in refused.problems]).encode()
    assert str(refused).encode()


def look(text: str | bytes) -> None:
    """Read a text in every way there is."""
    refused = refusal(read_plan, text, TOOLS)
    if refused is not None:
        assert_says_why(refused)
    else:
        made, graph = read_plan(text, TOOLS)
        assert graph == build_graph(made)
        assert Plan.read(made.canonical_json()) == made
        assert len(graph.order) == len(made.steps)
        assert_every_reference_can_be_bound(made)
    refused = refusal(check_calls, text, plan(step()), TOOLS)
    if refused is not None:
        assert_says_why(refused)


def assert_every_reference_can_be_bound(made: Plan) -> None:
    index = index_of(made)
    for each in made.steps:
        Template.compile(each.params, index)


@given(st.binary(max_size=200))
@example(b"\xff\xfe{\x00}\x00")
def test_any_bytes(text: bytes) -> None:
    look(text)


@given(st.text(max_size=100))
def test_any_text(text: str) -> None:
    look(text)


@given(PLANS)
def test_any_value_in_the_shape_of_a_plan(value: dict[str, Any]) -> None:
    look(json.dumps(value))
    refused = refusal(Plan.of, value)
    if refused is not None:
        assert_says_why(refused)


@given(st.dictionaries(st.text(max_size=3) | st.integers(), st.from_type(type).map(str) | VALUES))
def test_any_python_mapping(value: Any) -> None:
    refused = refusal(Plan.of, value)
    if refused is not None:
        assert_says_why(refused)


@given(st.integers(0, 2**32))
def test_a_sound_plan_with_some_characters_changed(seed: int) -> None:
    look(SOUND)
    draw = random.Random(seed)
    text = list(SOUND)
    for _ in range(draw.randint(1, 4)):
        at = draw.randrange(len(text))
        change = draw.choice(["drop", "double", "swap", "put"])
        if change == "drop":
            text[at] = ""
        elif change == "double":
            text[at] *= 2
        elif change == "swap":
            other = draw.randrange(len(text))
            text[at], text[other] = text[other], text[at]
        else:
            text[at] = draw.choice('{}[]",:\\/*$.0e-tnu\0\ud800')
    look("".join(text))


@given(st.integers(0, 2**32))
def test_a_sound_plan_with_parts_exchanged(seed: int) -> None:
    draw = random.Random(seed)
    value = json.loads(SOUND)
    places: list[tuple[Any, Any]] = []

    def walk(part: Any) -> None:
        pairs = part.items() if isinstance(part, dict) else enumerate(part)
        for key, item in list(pairs):
            places.append((part, key))
            if isinstance(item, dict | list):
                walk(item)

    walk(value)
    (one, a), (other, b) = draw.sample(places, 2)
    copied = json.loads(json.dumps(other[b]))
    one[a] = copied
    look(json.dumps(value))
