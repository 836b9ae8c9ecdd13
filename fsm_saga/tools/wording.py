"""How an error of a tool is put into one line that may be stored, logged and shown.

The line never has a stack trace, a control character, a value that a tool was given or
returned, or a secret that can be recognised.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import get_args

from pydantic import ValidationError
from pydantic_core.core_schema import ErrorType

from fsm_saga.errors import FsmSagaError
from fsm_saga.tools.redact import redact_text

ERROR_CHARS_MAX = 500

# Redaction needs to see more than is shown, or a secret could hide behind the cut.
_READ_CHARS_MAX = 8_192
_PROBLEMS_MAX = 5
_NAME_CHARS_MAX = 40

_ESCAPES = re.compile(
    r"\x1b(?:"
    r"\[[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor
    r"|[\]PX^_].*?(?:\x07|\x1b\\|\Z)"  # OSC and other strings: titles, links, the clipboard
    r"|[ -/]*[0-~])"
    r"|\x9b[0-?]*[ -/]*[@-~]",
    re.DOTALL,
)
# Controls, line breaks of every kind, marks that turn the reading direction, halves of characters.
_UNSEEN = re.compile(
    r"[\x00-\x20\x7f-\xa0\u2028\u2029\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\ud800-\udfff]+"
)
# pydantic's own kinds of error; the messages of the three, and of kinds made by users, can repeat
# what was validated.
_QUOTING_KINDS = frozenset({"union_tag_invalid", "value_error", "assertion_error"})
_DISCREET_KINDS = frozenset(get_args(ErrorType)) - _QUOTING_KINDS


def clean_line(text: str, *, chars_max: int = ERROR_CHARS_MAX) -> str:
    r"""Return the text as one line of visible characters without secrets, cut to ``chars_max``.

    Example:
        >>> clean_line("seat\n\x1b[31mtaken\x1b[0m, password=hunter2")
        'seat taken, password=[redacted]'
    """
    line = _ESCAPES.sub("", text[:_READ_CHARS_MAX])
    line = redact_text(_UNSEEN.sub(" ", line).strip())
    return line if len(line) <= chars_max else line[: chars_max - 3] + "..."


def error_line(error: BaseException) -> str:
    """Return the type and the message of what a tool raised, as one clean line.

    Example:
        >>> error_line(ValueError("no seat left"))
        'ValueError: no seat left'
    """
    message = _message(error)
    kind = type(error).__name__
    return clean_line(f"{kind}: {message}" if message else kind)


def _message(error: BaseException) -> str:
    try:
        if isinstance(error, ValidationError):
            # Its own text repeats the values that it was given.
            return validation_line(error, may_quote=True)
        return str(error.message if isinstance(error, FsmSagaError) else error)
    except BaseException:  # noqa: BLE001  # boundary: a tool's exception may fail in its __str__
        return "its message cannot be shown"


def validation_line(error: ValidationError, *, may_quote: bool) -> str:
    """Return what pydantic found wrong, by place and reason, without any of the values.

    Args:
        error: What pydantic raised.
        may_quote: Whether a validator's own message may be shown: it can hold the value.

    Example:
        >>> from pydantic import TypeAdapter
        >>> try:
        ...     TypeAdapter(dict[str, int]).validate_python({"price": "cheap"})
        ... except ValidationError as error:
        ...     validation_line(error, may_quote=False)
        'price: Input should be a valid integer, unable to parse string as an integer'
    """
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    said = [
        f"{place}: {reason}" if place else reason
        for place, reason in (
            (_place(problem["loc"]), _reason(problem["type"], problem["msg"], may_quote=may_quote))
            for problem in problems[:_PROBLEMS_MAX]
        )
    ]
    if len(problems) > _PROBLEMS_MAX:
        said.append(f"and {len(problems) - _PROBLEMS_MAX} more")
    return clean_line("; ".join(said))


def _place(location: Iterable[int | str]) -> str:
    # A name that is no identifier may be data: the key of a mapping, for example.
    return ".".join(
        str(part)
        if isinstance(part, int) or (part.isidentifier() and len(part) <= _NAME_CHARS_MAX)
        else "..."
        for part in location
    )


def _reason(kind: str, message: str, *, may_quote: bool) -> str:
    if kind in ("extra_forbidden", "unexpected_keyword_argument"):
        return "is not declared"
    if kind in ("missing", "missing_argument"):
        return "is missing"
    if may_quote or kind in _DISCREET_KINDS:
        return message
    return "is refused by a validator"
