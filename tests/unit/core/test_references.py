"""Tests of the grammar of references, of templates and of their resolving."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsm_saga.core.limits import LIMITS
from fsm_saga.core.references import (
    Reference,
    ReferenceMissing,
    ReferenceRefused,
    ReferenceText,
    Template,
    escape_pointer,
    is_name,
    name_key,
    name_keys,
    resolve,
    scan,
    scan_key,
)

INDEX = {"1": 0, "pay": 1}

JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["", "$", "$5", "$output.step_1.a", "$input.x", "$output.step_9", "a.b"])
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=12,
)


def made(value: Any) -> Template:
    return Template.compile(value, INDEX)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$output.step_1", ReferenceText("output", "1", ())),
        ("$output.step_1.id", ReferenceText("output", "1", ("id",))),
        ("$output.step_a-b_c.x.0.y", ReferenceText("output", "a-b_c", ("x", "0", "y"))),
        ("$output.step_step_1.x", ReferenceText("output", "step_1", ("x",))),
        ("$output.step_-1", ReferenceText("output", "-1", ())),
        ("$output.step_1.@id.x:y.a-b", ReferenceText("output", "1", ("@id", "x:y", "a-b"))),
        ("$output.step_यात्रा.मूल्य", ReferenceText("output", "यात्रा", ("मूल्य",))),
        ("$input.name", ReferenceText("input", "name", ())),
        ("$input.user.tags.0", ReferenceText("input", "user", ("tags", "0"))),
    ],
)
def test_a_whole_dotted_text_is_a_reference(text: str, expected: ReferenceText) -> None:
    assert scan(text) == expected


@pytest.mark.parametrize(
    "text",
    ["", "a", "$", "$5.00", "$ 5", "5$", "US$5", "A$AP", "$.x", "$-x", "^a$|b", "a$b", "$(x)"],
)
def test_money_and_ordinary_texts_are_no_references(text: str) -> None:
    assert scan(text) is None
    assert not scan_key(text)


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("embedded-reference", "Order $output.step_1.id ok"),
        ("embedded-reference", "a$INPUT"),
        ("embedded-reference", " $output.step_1"),
        ("embedded-reference", "$output.step_1 "),
        ("embedded-reference", "$output.step_1\t"),
        ("malformed-reference", "${output.step_1}"),
        ("malformed-reference", "x ${y}"),
        ("malformed-reference", "$$output.a"),
        ("malformed-reference", "$output"),
        ("malformed-reference", "$output."),
        ("malformed-reference", "$output.step_"),
        ("malformed-reference", "$output.step_1."),
        ("malformed-reference", "$output..x"),
        ("malformed-reference", "$output.1"),
        ("malformed-reference", "$output.step_1.a[0]"),
        ("malformed-reference", "$output.step_1.keys()"),
        ("malformed-reference", "$output.step_1\u200b"),
        ("malformed-reference", "$output.step_1.\u0301"),
        ("malformed-reference", "$output.step_" + "a" * 65),
        ("malformed-reference", "$input.x" + ".a" * LIMITS.reference_max),
        ("malformed-reference", "$input"),
        ("unknown-namespace", "$env.HOME"),
        ("unknown-namespace", "$Output.step_1"),
        ("unknown-namespace", "$_"),
        ("unknown-namespace", "$é"),
    ],
)
def test_what_only_looks_like_a_reference_is_refused(code: str, text: str) -> None:
    with pytest.raises(ReferenceRefused) as refused:
        scan(text)
    assert refused.value.code == code
    assert refused.value.why.endswith(".")
    assert refused.value.hint.endswith(".")
    assert scan_key(text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("x $output.step_1", "inside a longer text"),
        ("x" * 2000 + "$output", "inside a longer text"),
        ("$input.x" + ".a" * LIMITS.reference_max, "longer than 1024 characters"),
        ("${x}", "uses ${...}"),
        ("$$x", "two dollar signs"),
        ("$output.step_1 .x", "holds a space"),
        ("$env.x", "names 'env'"),
        ("$output.step_1.", "an empty part"),
        ("$output.", "an empty part"),
        ("$input..x", "an empty part"),
        ("$output.step_1.x[0]", "uses brackets"),
        ("$input.x[0]", "uses brackets"),
        ("$output", "does not say which step"),
        ("$output.1.x", "does not say which step"),
        ("$input", "does not say which input"),
        ("$input:x", "does not say which input"),
        ("$output.step_1.x()", "not a dotted path of names"),
        ("$input.x*2", "not a dotted path of names"),
    ],
)
def test_a_refusal_names_the_slip(text: str, why: str) -> None:
    with pytest.raises(ReferenceRefused) as refused:
        scan(text)
    assert why in refused.value.why


PARTS = "Write '$output.step_<id>' or '$input.<name>', then '.<key>' or '.<index>' as needed."
WHOLE = (
    "Write a reference as the whole value, like '$output.step_1.id'. If the text is meant as it "
    "stands, put it into inputs and refer to it by '$input.<name>'."
)


@pytest.mark.parametrize(
    ("text", "why", "hint"),
    [
        ("$$x", "begins with two dollar signs; there is no escape and no second pass.", WHOLE),
        ("${x}", "uses ${...}, and there is no such form.", WHOLE),
        ("$output x", "holds a space, and a reference has none.", WHOLE),
        (
            "x $output",
            "holds a reference inside a longer text, and texts are not put together.",
            "Make the reference the whole value, or let a step of its own compose the text.",
        ),
        (
            "$env-x.y",
            "names 'env'; a plan can refer to '$output' and '$input' only.",
            "Use '$output.step_<id>.<path>' for what a step returned or '$input.<name>' for an "
            "input of the plan; there is no access to the environment, to secrets or to files.",
        ),
        ("$input..x", "has an empty part between or after its dots.", PARTS),
        (
            "$input.x[0]",
            "uses brackets; an index is a part like any other.",
            "Write '.items.0.id' for items[0].id.",
        ),
        (
            "$output.x",
            "does not say which step: it has to begin with '$output.step_<id>'.",
            "Put 'step_' and the step_id there.",
        ),
        (
            "$input",
            "does not say which input: it has to begin with '$input.<name>'.",
            "Put the name of an input there.",
        ),
        (
            "$input.x()",
            "is not a dotted path of names; expressions and calls do not exist here.",
            PARTS,
        ),
    ],
)
def test_a_refusal_shows_the_text_and_says_what_to_write(text: str, why: str, hint: str) -> None:
    with pytest.raises(ReferenceRefused) as refused:
        scan(text)
    assert refused.value.why == f"{text!r} {why}"
    assert refused.value.hint == hint
    assert str(refused.value) == f"{text!r} {why} {hint}"


def test_a_text_is_shown_up_to_eighty_characters() -> None:
    for text, shown in (
        ("$$" + "x" * 78, "$$" + "x" * 78),
        ("$$" + "x" * 79, "$$" + "x" * 75 + "..."),
    ):
        with pytest.raises(ReferenceRefused) as refused:
            scan(text)
        assert refused.value.why.startswith(f"{shown!r} begins")


def test_a_reference_may_be_as_long_as_the_limit_and_no_longer() -> None:
    longest = "$input." + "x" * 60 + ".y" * ((LIMITS.reference_max - 67) // 2)
    longest += "y" * (LIMITS.reference_max - len(longest))
    assert scan(longest) is not None
    with pytest.raises(ReferenceRefused, match=r"is longer than 1024 characters\."):
        scan(longest + "y")
    with pytest.raises(ReferenceRefused, match="not a dotted path of names"):
        scan(longest[:-1] + "!")


def test_a_key_that_is_a_reference_is_shown() -> None:
    with pytest.raises(ReferenceRefused) as refused:
        made({"$input.x": 1})
    assert refused.value.code == "reference-in-key"
    assert refused.value.why == "'$input.x' is a key."
    assert refused.value.hint == "A reference can only be a value; write the key out."


def test_a_step_that_the_plan_lacks_is_named() -> None:
    with pytest.raises(ReferenceRefused) as refused:
        made("$output.step_9.x")
    assert refused.value.code == "unknown-step-reference"
    assert (
        refused.value.why == "'$output.step_9.x' names the step '9', which the plan does not have."
    )
    assert refused.value.hint == "Refer to a step of this plan by its step_id."


@pytest.mark.parametrize(
    ("reference", "output", "why"),
    [
        ("$output.step_1.a", {}, "the output has no 'a'; it has: nothing"),
        ("$output.step_1.a", {"b": 1, "c": 2}, "the output has no 'a'; it has: b, c"),
        (
            "$output.step_1.a",
            dict.fromkeys("cbdefghij"),
            "the output has no 'a'; it has: b, c, d, e, f, g, h, i, ...",
        ),
        (
            "$output.step_1.a",
            dict.fromkeys("bcdefghi"),
            "the output has no 'a'; it has: b, c, d, e, f, g, h, i",
        ),
        ("$output.step_1.a.b.x", {"a": {"b": {}}}, "'a.b' has no 'x'; it has: nothing"),
        ("$output.step_1.a.2", {"a": [1, 2]}, "'a' has 2 items, so none at 2"),
        ("$output.step_1.3", [1], "the output has 1 items, so none at 3"),
        ("$output.step_1.a.x", {"a": []}, "'a' is a list, so 'x' cannot be looked up in it"),
        ("$output.step_1.a.x", {"a": None}, "'a' is null, so it has no 'x'"),
        ("$output.step_1.a.b.x", {"a": {"b": "t"}}, "'a.b' is a text, so it has no 'x'"),
        ("$output.step_1.x", 1.5, "the output is a number, so it has no 'x'"),
        ("$output.step_1.x", True, "the output is true or false, so it has no 'x'"),
        ("$output.step_2.x", None, "the step has no recorded output"),
        ("$input.y", None, "the plan's inputs has no 'y'; it has: z"),
    ],
)
def test_what_is_missing_is_said_with_its_place(reference: str, output: Any, why: str) -> None:
    template = Template.compile({"p": [reference]}, {"1": 0, "2": 1})
    with pytest.raises(ReferenceMissing) as missing:
        template.resolve({0: output}, {"z": 1})
    assert missing.value.why == why
    assert (missing.value.pointer, missing.value.reference) == ("/p/0", reference)
    assert str(missing.value) == f"{reference!r} at /p/0 cannot be resolved: {why}"


def test_a_missing_reference_that_is_the_whole_template_is_at_its_root() -> None:
    with pytest.raises(ReferenceMissing, match=r"^'\$input\.y' at / cannot") as missing:
        made("$input.y").resolve({}, {})
    assert missing.value.pointer == ""


def test_a_refusal_shows_only_the_beginning_of_a_long_text() -> None:
    with pytest.raises(ReferenceRefused) as refused:
        scan("$secret." + "x" * 5000)
    assert len(str(refused.value)) < 400


@given(st.text(alphabet="$outpinse_tgp1.{}[ ]x", max_size=40))
def test_any_text_is_a_reference_an_ordinary_text_or_refused(text: str) -> None:
    try:
        found = scan(text)
    except ReferenceRefused:
        return
    if found is not None:
        prefix = "$output.step_" if found.kind == "output" else "$input."
        assert prefix + ".".join((found.name, *found.path)) == text


@pytest.mark.parametrize(
    "name", ["a", "A-1_b", "1", "é", "e\u0301", "यात्रा", "订机票", "a" * 64, "é" * 64]
)
def test_letters_digits_and_marks_make_a_name(name: str) -> None:
    assert is_name(name)


@pytest.mark.parametrize(
    "name", ["", "a b", "a.b", "a/b", "a$", "\u0301a", "a" * 65, "é" * 65, "a\0", "a\u200d", "a:b"]
)
def test_anything_else_makes_none(name: str) -> None:
    assert not is_name(name)


def test_ids_are_compared_as_text_after_nfc() -> None:
    assert name_key(1) == name_key("1")
    assert name_key("e\u0301") == name_key("é")
    assert name_keys("step_1") == ("step_1", "1")
    assert name_keys("step_") == ("step_",)
    assert name_keys("1") == ("1",)


def test_a_pointer_segment_is_escaped_in_the_order_of_the_standard() -> None:
    assert escape_pointer("a/b~c~1") == "a~1b~0c~01"


def test_a_template_without_references_gives_back_the_very_value() -> None:
    value = {"a": [1, {"b": "$5"}]}
    template = made(value)
    assert template.resolve({}, {}) is value
    assert template.references == ()
    assert not template.steps
    assert not template.inputs


def test_references_are_replaced_wherever_they_stand() -> None:
    template = made(
        {
            "keep": {"deep": [1, 2]},
            "a": "$output.step_1.id",
            "b": [0, {"c": "$input.who"}, "$output.step_pay"],
        }
    )
    outputs = {0: {"id": 7}, 1: None}
    resolved = template.resolve(outputs, {"who": "Ada"})
    assert resolved == {"keep": {"deep": [1, 2]}, "a": 7, "b": [0, {"c": "Ada"}, None]}
    assert list(resolved) == ["keep", "a", "b"]
    assert template.steps == {0, 1}
    assert template.inputs == {"who"}
    assert template.references == (
        Reference(kind="output", step=0, path=("id",)),
        Reference(kind="input", step=-1, path=("who",)),
        Reference(kind="output", step=1, path=()),
    )
    assert template.value["a"] == "$output.step_1.id"


def test_a_whole_template_can_be_one_reference() -> None:
    assert resolve(made("$input.x"), outputs={}, inputs={"x": [1]}) == [1]


def test_resolving_does_not_change_the_template() -> None:
    template = made({"a": ["$input.x"]})
    assert template.resolve({}, {"x": 1}) == {"a": [1]}
    assert template.resolve({}, {"x": 2}) == {"a": [2]}


def test_what_comes_back_is_never_looked_at_again() -> None:
    # P5: an output that contains the text of a reference stays that text.
    hostile = {"x": "$output.step_9.secret", "$input.y": "${env}"}
    template = made({"a": "$output.step_1", "b": "$output.step_1.x"})
    resolved = template.resolve({0: hostile}, {})
    assert resolved == {"a": hostile, "b": "$output.step_9.secret"}


def test_outputs_may_come_from_a_function() -> None:
    asked: list[int] = []

    def output(step: int) -> Any:
        asked.append(step)
        return {"id": step}

    assert made(["$output.step_pay.id"]).resolve(output, {}) == [1]
    assert asked == [1]


@pytest.mark.parametrize(
    ("reference", "why"),
    [
        ("$output.step_1.nope", "the output has no 'nope'"),
        ("$output.step_1.list.3", "has 3 items"),
        ("$output.step_1.list.-1", "is a list"),
        ("$output.step_1.list.01", "is a list"),
        ("$output.step_1.list.name", "is a list"),
        ("$output.step_1.list.99999999999", "is a list"),
        ("$output.step_1.none.x", "is null"),
        ("$output.step_1.text.0", "is a text"),
        ("$output.step_1.number.real", "is a number"),
        ("$output.step_1.flag.x", "is true or false"),
        ("$output.step_1.odd.x", "is object"),
        ("$output.step_1.__class__", "has no '__class__'"),
        ("$output.step_1.keys", "has no 'keys'"),
        ("$output.step_1.list.__len__", "is a list"),
        ("$output.step_pay", "no recorded output"),
        ("$input.nope", "the plan's inputs has no 'nope'"),
    ],
)
def test_a_reference_to_nothing_says_what_is_there_instead(reference: str, why: str) -> None:
    output = {
        "list": [1, 2, 3],
        "none": None,
        "text": "abc",
        "number": 1.5,
        "flag": True,
        "odd": object(),
    }
    with pytest.raises(ReferenceMissing) as missing:
        made({"p": [0, reference]}).resolve({0: output}, {"a": 1})
    assert missing.value.pointer == "/p/1"
    assert missing.value.reference == reference
    assert why in missing.value.why
    assert reference in str(missing.value)


def test_a_missing_field_names_keys_and_no_values() -> None:
    output = {f"key{number}": f"secret{number}" for number in range(20)}
    with pytest.raises(ReferenceMissing, match=r"key0, key1, .*\.\.\.") as missing:
        made("$output.step_1.x").resolve({0: output}, {})
    assert "secret" not in str(missing.value)
    with pytest.raises(ReferenceMissing, match="nothing"):
        made("$output.step_1.x").resolve({0: {}}, {})


def test_digits_are_a_key_in_an_object_and_an_index_in_a_list() -> None:
    template = made(["$output.step_1.0", "$output.step_pay.0"])
    assert template.resolve({0: {"0": "key"}, 1: ("index",)}, {}) == ["key", "index"]


def test_compiling_refuses_what_a_lint_would_have_refused() -> None:
    for value, code in [
        ({"a": "$output.step_9"}, "unknown-step-reference"),
        ({"a": "x $output"}, "embedded-reference"),
        ({"$input.x": 1}, "reference-in-key"),
    ]:
        with pytest.raises(ReferenceRefused) as refused:
            made(value)
        assert refused.value.code == code


def test_templates_and_their_errors_survive_copying() -> None:
    template = made({"a": "$output.step_1.id"})
    again = copy.deepcopy(template)
    assert again == template
    assert again.resolve({0: {"id": 1}}, {}) == {"a": 1}
    missing = copy.copy(ReferenceMissing("/a", "$input.x", "why"))
    assert (missing.pointer, missing.reference, missing.why) == ("/a", "$input.x", "why")
    refused = copy.copy(ReferenceRefused("code", "Why.", "Hint."))
    assert (refused.code, refused.why, refused.hint) == ("code", "Why.", "Hint.")


def naive(value: Any, outputs: dict[int, Any], inputs: dict[str, Any]) -> Any:
    """Resolve the slow way: look at every value, every time."""
    if isinstance(value, dict):
        return {key: naive(item, outputs, inputs) for key, item in value.items()}
    if isinstance(value, list):
        return [naive(item, outputs, inputs) for item in value]
    if value == "$output.step_1.a":
        return outputs[0]["a"]
    if value == "$input.x":
        return inputs["x"]
    return value


@given(JSON_VALUES, JSON_VALUES, JSON_VALUES)
def test_a_template_resolves_like_a_naive_walk(value: Any, output: Any, given_input: Any) -> None:
    outputs, inputs = {0: {"a": output}}, {"x": given_input}
    try:
        template = made(value)
    except ReferenceRefused:
        return
    assert template.resolve(outputs, inputs) == naive(value, outputs, inputs)
