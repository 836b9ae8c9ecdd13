"""Pydantic's errors, told as problems: where, what, and what to write instead."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from fsm_saga.core.limits import LIMITS, Limits
from fsm_saga.errors import Problem
from fsm_saga.plan.problems import Near, pointer, shown

# What the engine alone decides. A plan that sets one of these tries, by mistake or by design, to
# speak with the engine's voice, which deserves a word of its own.
ENGINE_OWNED = frozenset(
    {
        "req_id",
        "state",
        "status",
        "epoch",
        "leader",
        "contract",
        "approved_by",
        "approvals",
        "outcome",
        "output",
        "attempts",
        "position",
        "idempotency_key",
    }
)
_ENGINE_OWNED_PLAIN = frozenset(name.replace("_", "") for name in ENGINE_OWNED)

_TYPES = {
    "string_type": ("a text", "Write it in double quotes."),
    "string_unicode": ("a text", "Write it with whole characters."),
    "int_type": ("a whole number", "Write it without quotes, point or exponent."),
    "int_from_float": ("a whole number", "Write it without quotes, point or exponent."),
    "float_type": ("a number", "Write it without quotes."),
    "bool_type": ("true, false or an object", "Write true or false, without quotes."),
    "dict_type": ("an object", "Write {...}, or leave the field out."),
    "model_type": ("an object", "Write {...}."),
    "tuple_type": ("a list", "Write [...]."),
}
_RANGES = frozenset({"greater_than", "greater_than_equal", "less_than", "less_than_equal"})
_LENGTHS = frozenset({"string_too_short", "string_too_long"})


def shape_problems(
    error: ValidationError, fields: Mapping[str, tuple[str, ...]], limits: Limits = LIMITS
) -> Iterator[Problem]:
    """Yield one problem for each of pydantic's errors, up to the limit and one beyond it.

    Args:
        error: What validation raised.
        fields: The known fields of each part; a part is called by the last name on the way to
            it, the plan itself by an empty text.
        limits: How many problems are worth telling.
    """
    near = Near()
    for found in error.errors(include_url=False)[: limits.problem_max + 1]:
        # Tags of unions and pydantic's mark for keys are no part of the document.
        whole = found["loc"]
        place = tuple(part for part in whole if part != "[key]" and not _is_tag(part))
        yield _problem(found, pointer(*place), _part_name(whole), fields, near)


def _is_tag(part: str | int) -> bool:
    return isinstance(part, str) and part.startswith("<") and part.endswith(">")


def _part_name(location: tuple[str | int, ...]) -> str:
    """Return the name of the part that holds the field at the end of a location."""
    names = [part for part in location[:-1] if isinstance(part, str)]
    return names[-1] if names else ""


def _problem(
    found: Any, at: str, part: str, fields: Mapping[str, tuple[str, ...]], near: Near
) -> Problem:
    kind, value = found["type"], found["input"]
    field = str(found["loc"][-1]) if found["loc"] else ""
    context = found.get("ctx", {})
    if kind == "missing":
        code, message = "missing-field", f"The field {shown(field)} is missing."
        hint = "Add it."
    elif kind == "extra_forbidden":
        return _extra(field, at, part, fields, near)
    elif kind in _TYPES:
        expected, hint = _TYPES[kind]
        code, message = "wrong-type", f"Expected {expected}, found {shown(value)}."
    elif kind in _RANGES:
        code = "out-of-range"
        bound = found["msg"].removeprefix("Input should be ")
        message = f"{shown(value)} is out of range: it has to be {bound}."
        hint = "Write a number within the range, or leave the field out."
    elif kind in _LENGTHS:
        code = "bad-length"
        rule = found["msg"].removeprefix("String should have ")
        message = f"The text has {len(value)} characters; it has to have {rule}."
        hint = "Write a text of that length, or leave the field out if it is optional."
    elif kind == "literal_error":
        code, message = "unknown-kind", f"{shown(value)} is not one of {context['expected']}."
        words = ("compensatable", "read_only", "pivot", "retriable")
        hint = near.hint(value if isinstance(value, str) else "", words, otherwise="Leave it out.")
    elif "hint" in context:
        code, message, hint = kind, found["msg"], context["hint"]
    else:
        code, message = "bad-value", f"{found['msg']}; found {shown(value)}."
        hint = "Look at the plan's JSON Schema."
    return Problem(code=code, pointer=at, message=message, hint=hint)


def _extra(
    field: str, at: str, part: str, fields: Mapping[str, tuple[str, ...]], near: Near
) -> Problem:
    known = fields.get(part, ())
    if field.casefold().replace("-", "").replace("_", "") in _ENGINE_OWNED_PLAIN:
        return Problem(
            code="engine-owned-field",
            pointer=at,
            message=f"The field {shown(field)} belongs to the engine; a plan cannot set it.",
            hint="Leave it out.",
        )
    if part == "<semantic>":
        hint = "A rollback is either a tool call or a 'semantic' text, not both."
    else:
        names = ", ".join(repr(name) for name in known)
        hint = near.hint(field, known, otherwise=f"Leave it out; the fields are {names}.")
    return Problem(
        code="unknown-field",
        pointer=at,
        message=f"There is no field {shown(field)} here.",
        hint=hint,
    )
