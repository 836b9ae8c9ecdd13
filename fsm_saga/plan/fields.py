"""The kinds of value that a plan's fields hold, each with its check and its JSON Schema."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainValidator,
    StringConstraints,
    ValidationInfo,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError

from fsm_saga.core.limits import LIMITS
from fsm_saga.core.references import is_name
from fsm_saga.plan.problems import shown
from fsm_saga.plan.read import read_value

# Words that mean something to a store, a diagram or a language, and so may not name a step.
RESERVED_IDS = frozenset({"input", "output", "leader"})
PROTOTYPE_NAMES = frozenset({"__proto__", "constructor", "prototype", "__class__", "__dict__"})

# The context key under which `Plan.read` says that the values have been looked through already.
ALREADY_READ = "already_read"

_NAME_RULE = "1 to 64 letters, digits, '_' or '-'"
_LINE_BREAKS = frozenset("\n\t\r")
# Marks that reverse or isolate the reading direction make a name read as another one.
_DIRECTION_MARKS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_LINE_SEPARATORS = frozenset("\u2028\u2029")


def _step_id(value: object) -> int | str:
    """Return the id of a step as given; true, 1.0 and "1" are told apart before they are equal."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise PydanticCustomError(
            "wrong-type",
            "A step_id is a whole number or a text, not {value}.",
            {"value": shown(value), "hint": "Write a number like 1 or a text like 'book'."},
        )
    _check_name(str(value), "A step_id")
    if str(value) in RESERVED_IDS:
        raise _reserved(str(value), "a step_id")
    return value


def _input_name(value: str) -> str:
    _check_name(value, "The name of an input")
    return value


def _check_name(text: str, what: str) -> None:
    if not is_name(text):
        raise PydanticCustomError(
            "bad-name",
            "{what} has " + _NAME_RULE + "; {value} is not that.",
            {
                "what": what,
                "value": shown(text),
                "hint": "Choose a short name without dots, spaces or signs.",
            },
        )
    if text in PROTOTYPE_NAMES:
        raise _reserved(text, "a name")


def _reserved(text: str, what: str) -> PydanticCustomError:
    return PydanticCustomError(
        "reserved-id",
        "{value} is reserved and cannot be {what}.",
        {"value": repr(text), "what": what, "hint": "Choose another name."},
    )


def _one_line(value: str) -> str:
    """Return a text that cannot break a line, a terminal or a log, nor read as another text."""
    return value if value.isprintable() else _without_controls(value, frozenset())


def _paragraph(value: str) -> str:
    return value if value.isprintable() else _without_controls(value, _LINE_BREAKS)


def _without_controls(value: str, allowed: frozenset[str]) -> str:
    for char in value:
        is_control = unicodedata.category(char) == "Cc"
        if (is_control or char in _DIRECTION_MARKS or char in _LINE_SEPARATORS) and (
            char not in allowed
        ):
            raise PydanticCustomError(
                "control-character",
                "The text holds the control character U+{number}.",
                {"number": f"{ord(char):04X}", "hint": "Remove it."},
            )
    return value


def _trimmed(value: str) -> str:
    if value != value.strip():
        raise PydanticCustomError(
            "bad-name",
            "{value} begins or ends with white space.",
            {"value": shown(value), "hint": "Remove the white space."},
        )
    return value


def _task_id(value: str) -> str:
    # The id becomes part of store keys, addresses and file names.
    if "/" in value or "\\" in value or value in (".", ".."):
        raise PydanticCustomError(
            "bad-name",
            "{value} cannot name a saga: slashes and dots alone stand for folders elsewhere.",
            {"value": shown(value), "hint": "Use '-' or '_' instead."},
        )
    return value


def _json_object(value: Any, info: ValidationInfo) -> Any:
    """Return a JSON object that the plan owns alone, refusing what JSON cannot say."""
    if not isinstance(value, Mapping) or (info.context and info.context.get(ALREADY_READ)):
        return value
    reading = read_value(value)
    for problem in reading.problems:
        raise PydanticCustomError(
            "not-json-value",
            "{place}: {message}",
            {
                "place": problem.pointer or "/",
                "message": problem.message,
                "hint": problem.hint,
            },
        )
    return reading.value


StepId = Annotated[
    int | str,
    PlainValidator(_step_id),
    WithJsonSchema(
        {"anyOf": [{"type": "integer"}, {"type": "string", "minLength": 1, "maxLength": 64}]}
    ),
]
InputName = Annotated[str, AfterValidator(_input_name)]
Line = Annotated[
    str,
    StringConstraints(min_length=1, max_length=200),
    AfterValidator(_one_line),
    AfterValidator(_trimmed),
]
Paragraph = Annotated[
    str, StringConstraints(min_length=1, max_length=4000), AfterValidator(_paragraph)
]
TASK_ID_CHARS_MAX = 128
TaskId = Annotated[
    str,
    StringConstraints(min_length=1, max_length=TASK_ID_CHARS_MAX),
    AfterValidator(_one_line),
    AfterValidator(_trimmed),
    AfterValidator(_task_id),
]
ToolName = Annotated[
    str,
    StringConstraints(min_length=1, max_length=128),
    AfterValidator(_one_line),
    AfterValidator(_trimmed),
]
Params = Annotated[dict[str, Any], BeforeValidator(_json_object)]
Inputs = Annotated[dict[InputName, Any], BeforeValidator(_json_object)]
TimeoutSeconds = Annotated[float, Field(gt=0, le=LIMITS.timeout_s_max)]
DelaySeconds = Annotated[float, Field(ge=0, le=LIMITS.timeout_s_max)]
DeadlineSeconds = Annotated[float, Field(gt=0, le=LIMITS.deadline_s_max)]
Attempts = Annotated[int, Field(ge=1, le=LIMITS.attempt_max)]
