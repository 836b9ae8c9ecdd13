"""Text to JSON value: strict where parsers disagree, lenient where models write habitually.

Accepted besides JSON: one Markdown code fence with prose around it, ``//`` and ``/* */`` comments
outside texts, and a UTF-8 byte order mark, which is dropped. Everything that two parsers could
read differently is refused: duplicate keys (also such as look alike after Unicode normalisation),
NaN, numbers beyond 64 bits, lone surrogates, other encodings, data after the value.

There is one parser, the standard library's. Its hooks leave marks in the value where something
is wrong, and one walk over the value turns marks into problems with pointers and puts neutral
values in their place, so that the checks that follow can speak up in the same answer.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from fsm_saga.core.limits import LIMITS, Limits
from fsm_saga.errors import PlanError, Problem
from fsm_saga.plan.problems import Path, Problems, shown

_WHITESPACE = " \t\r\n"
_INT_MIN, _INT_MAX = -(2**63), 2**63 - 1
_INT_DIGITS_MAX = 20

# Possessive, and with an optional end: an unclosed text or comment is matched once, to the end
# of the input, instead of being tried again from each quote in it.
_TEXT = r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?'
_TEXTS = re.compile(_TEXT, re.DOTALL)
_TEXTS_AND_COMMENTS = re.compile(rf"{_TEXT}|//[^\r\n]*+|/\*.*?(?:\*/|\Z)", re.DOTALL)
_BRACKETS = re.compile(r"[\[{]+|[\]}]+")
_NO_MARKS = bytes(set(range(256)) - set(b'"\\[]{}'))
_SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_STRAY_COMMA = re.compile(r",[ \t\r\n]*[\]},]")
_FENCE = re.compile(r"^[ \t]*```+[ \t]*(?:[A-Za-z][\w+.-]*)?", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A JSON object as read, and what was wrong in it; bad parts hold neutral values."""

    value: dict[str, Any]
    problems: tuple[Problem, ...]


def read_json(text: str | bytes, *, limits: Limits = LIMITS) -> Reading:
    """Return the JSON object in a text, with the problems that did not stop the reading.

    Size and depth are checked before anything is built in proportion to them.

    Args:
        text: UTF-8 bytes or a string.
        limits: The bounds to hold the text to.

    Raises:
        PlanError: If no JSON object can be read from the text at all.
    """
    json_text = _unwrap(_decoded(text, limits))
    try:
        return _parsed(json_text, limits)
    except _StoppedError as stop:
        # No comment reaches the parser unseen: outside a text it is a syntax error. So only a
        # text that was refused is searched for comments, and most plans are scanned once.
        if "//" not in json_text and "/*" not in json_text:
            raise PlanError([stop.problem]) from None
    try:
        return _parsed(_without_comments(json_text), limits)
    except _StoppedError as stop:
        raise PlanError([stop.problem]) from None


def read_value(value: object, *, limits: Limits = LIMITS) -> Reading:
    """Return a Python mapping as the JSON object that it stands for, with what is wrong in it.

    The result shares nothing with ``value``.

    Raises:
        PlanError: If ``value`` is not a mapping.
    """
    walk = _Walk(limits)
    clean = walk.clean(value, (), 1)
    if not isinstance(clean, dict):
        _refuse("not-an-object", f"The value is {shown(value)}.", _OBJECT_HINT)
    return Reading(value=clean, problems=walk.problems.as_tuple())


# --- from bytes to the JSON text ----------------------------------------------------------------


def _decoded(text: object, limits: Limits) -> str:
    """Return the text as a string of bounded size without a byte order mark."""
    size = len(text) if isinstance(text, str | bytes | bytearray) else 0
    if size > limits.plan_bytes_max:
        _refuse_size(size, limits)
    if isinstance(text, bytes | bytearray):
        if b"\0" in text[:4]:
            _refuse_encoding("The text looks like UTF-16 or UTF-32.")
        try:
            return text.decode("utf-8").removeprefix("\ufeff")
        except UnicodeDecodeError as error:
            _refuse_encoding(f"Byte {error.start} does not belong to UTF-8: {error.reason}.")
    if not isinstance(text, str):
        _refuse("not-utf8", f"A plan is a text, not {shown(text)}.", "Pass a str or bytes.")
    if not text.isascii():
        size = len(text.encode("utf-8", "surrogatepass"))
        if size > limits.plan_bytes_max:
            _refuse_size(size, limits)
    return text.removeprefix("\ufeff")


def _refuse_size(size: int, limits: Limits) -> NoReturn:
    _refuse(
        "too-large",
        f"The text has {size} bytes or more; {limits.plan_bytes_max} are allowed.",
        _MANY_HINT,
    )


def _refuse_encoding(why: str) -> NoReturn:
    _refuse("not-utf8", why, "Send the plan as UTF-8, uncompressed.")


def _unwrap(text: str) -> str:
    """Return what stands in the one code fence of the text, or the text itself."""
    body = text.strip(_WHITESPACE)
    if not body:
        _refuse("empty", "There is no plan in the text.", "Send one JSON object.")
    if body[0] in '{["/':
        return body
    fence = _FENCE.search(body)
    if fence is None:
        return body
    rest = body[fence.end() :]
    closing = _FENCE.search(rest)
    # A fence on one line closes in the middle of it; within a JSON text no line can begin so.
    end = closing.start() if closing else rest.rfind("```")
    if end < 0:
        _refuse(
            "fence-not-closed",
            "The code fence around the plan is not closed; the text may have been cut off.",
            "Send the whole plan, and close the fence or leave it out.",
        )
    if closing and _FENCE.search(rest, closing.end()):
        _refuse(
            "several-fences",
            "The text has more than one code fence, so it is unclear which one is the plan.",
            "Send one fence with one JSON object in it.",
        )
    inside = rest[:end].strip(_WHITESPACE)
    if not inside:
        _refuse("empty", "The code fence is empty.", "Put one JSON object into it.")
    return inside


def _without_comments(text: str) -> str:
    """Return the text with comments blanked, so that lines and columns stay what they were."""
    return _TEXTS_AND_COMMENTS.sub(_blanked, text)


def _blanked(match: re.Match[str]) -> str:
    found = match.group()
    if found[0] == '"':
        return found
    if found.startswith("/*") and (len(found) < 4 or not found.endswith("*/")):
        _refuse("comment-not-closed", "A '/*' comment is not closed.", "Close it with '*/'.")
    return "".join(char if char in "\r\n" else " " for char in found)


# --- from the JSON text to a value --------------------------------------------------------------


class _StoppedError(Exception):
    """Parsing cannot go on; another look with comments removed may."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


@dataclass(frozen=True, slots=True)
class _BadNumber:
    """Stands in the parsed value for a number that JSON, or we, do not have."""

    text: str
    code: str


class _Doubled(dict[str, Any]):
    """An object in which keys were written twice."""

    def __init__(self, pairs: list[tuple[str, Any]], names: list[str]) -> None:
        super().__init__(pairs)
        self.names = names


class _Hooks:
    """The parser's hooks; ``found_bad`` tells whether any of them left a mark."""

    def __init__(self, *, has_unicode: bool) -> None:
        self.found_bad = False
        self._has_unicode = has_unicode

    def object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        value = dict(pairs)
        if len(value) == len(pairs) and not self._has_unicode:
            return value
        names = [key for key, _ in pairs]
        doubled = _doubled_names(names)
        if not doubled:
            return value
        self.found_bad = True
        return _Doubled(pairs, doubled)

    def integer(self, text: str) -> int | _BadNumber:
        if len(text) < _INT_DIGITS_MAX - 1:
            return int(text)
        # int() refuses thousands of digits and takes long for hundreds.
        if len(text) <= _INT_DIGITS_MAX and _INT_MIN <= (number := int(text)) <= _INT_MAX:
            return number
        return self._bad(text, "number-too-large")

    def real(self, text: str) -> float | _BadNumber:
        number = float(text)
        return number if math.isfinite(number) else self._bad(text, "not-finite")

    def constant(self, text: str) -> _BadNumber:
        return self._bad(text, "not-finite")

    def _bad(self, text: str, code: str) -> _BadNumber:
        self.found_bad = True
        return _BadNumber(text, code)


def _doubled_names(names: list[str]) -> list[str]:
    """Return the keys that equal an earlier one, as written or to a reader's eye (NFKC)."""
    seen: set[str] = set()
    doubled = []
    for name in names:
        key = name if name.isascii() else unicodedata.normalize("NFKC", name)
        if key in seen:
            doubled.append(name)
        seen.add(key)
    return doubled


def _parsed(text: str, limits: Limits) -> Reading:
    _check_structure(text, limits)
    has_escapes = "\\u" in text
    hooks = _Hooks(has_unicode=has_escapes or not text.isascii())
    decoder = json.JSONDecoder(
        object_pairs_hook=hooks.object,
        parse_int=hooks.integer,
        parse_float=hooks.real,
        parse_constant=hooks.constant,
    )
    try:
        value = decoder.decode(text)
    except json.JSONDecodeError as error:
        raise _StoppedError(_syntax_problem(error)) from None
    if not isinstance(value, dict):
        what = "a number" if isinstance(value, _BadNumber) else shown(value)
        _refuse("not-an-object", f"The text is {what}, not an object.", _OBJECT_HINT)
    may_hold_surrogates = (has_escapes and _SURROGATE_ESCAPE.search(text)) or (
        not text.isascii() and _SURROGATE.search(text)
    )
    may_hold_long_text = len(text) > limits.string_max and any(
        len(each) > limits.string_max for each in _TEXTS.findall(text)
    )
    if not (hooks.found_bad or may_hold_surrogates or may_hold_long_text):
        return Reading(value=value, problems=())
    walk = _Walk(limits)
    return Reading(value=walk.clean(value, (), 1), problems=walk.problems.as_tuple())


def _check_structure(text: str, limits: Limits) -> None:
    """Refuse what is nested too deeply or has too many parts, before the parser sees it.

    The parser recurses, and everything after it takes time in proportion to the parts.
    """
    opened = text.count("{") + text.count("[")
    is_flat = opened <= limits.depth_max or _is_well_nested(text, limits.depth_max)
    if is_flat and text.count(",") + opened < limits.value_max:
        return
    bare = _TEXTS.sub("", text)
    depth = 0
    for brackets in _BRACKETS.findall(bare):
        if brackets[0] in "[{":
            depth += len(brackets)
            if depth > limits.depth_max:
                raise _StoppedError(_problem("too-deep", _too_deep(limits), _DEPTH_HINT))
        else:
            depth -= len(brackets)
    # Each value but the first in its object or list has a comma before it.
    if bare.count(",") + bare.count("{") + bare.count("[") >= limits.value_max:
        raise _StoppedError(_problem("too-many-values", _too_many(limits), _MANY_HINT))


def _is_well_nested(text: str, depth_max: int) -> bool:
    """Return whether a quick look shows that brackets close each other within so many levels.

    It finds the texts by their quotes alone, so it says no to whatever has a backslash.
    """
    marks = text.encode("utf-8", "surrogatepass").translate(None, _NO_MARKS)
    if b"\\" in marks:
        return False
    bare = b"".join(marks.split(b'"')[::2])
    for _ in range(depth_max // 2):
        if not bare:
            return True
        # Each of the two takes away one level at most.
        bare = bare.replace(b"{}", b"").replace(b"[]", b"")
    return not bare


def _too_many(limits: Limits) -> str:
    return f"The text has more than {limits.value_max} values."


_MANY_HINT = "Pass large contents by a name or an address instead of in full."


def _too_deep(limits: Limits) -> str:
    return f"Objects and lists are nested more than {limits.depth_max} levels deep."


_DEPTH_HINT = "Flatten the value."
_OBJECT_HINT = "A plan is one JSON object with 'task_id' and 'steps'."


def _syntax_problem(error: json.JSONDecodeError) -> Problem:
    """Return what stopped the parser, with a hint for the slips that models make."""
    text, at = error.doc, error.pos
    where = f"line {error.lineno}, column {error.colno}"
    before, after = text[:at].rstrip(_WHITESPACE), text[at:].lstrip(_WHITESPACE)
    code, hint = "not-json", "Send one JSON object (RFC 8259) and nothing else."
    if error.msg.startswith("Extra data"):
        code = "trailing-data"
        hint = "Send one JSON object and nothing after it."
    elif error.msg.startswith("Invalid control character"):
        hint = "Write line breaks and tabs inside a text as \\n and \\t."
    elif _STRAY_COMMA.match(after) or (before.endswith(",") and after[:1] in ("]", "}", ",")):
        code = "trailing-comma"
        hint = "Remove the comma that has no value after it."
    elif not after or error.msg.startswith("Unterminated string"):
        hint = "The text ends in the middle of a value: send the plan whole."
    elif after[0] in "'\u2018\u2019\u201c\u201d":
        hint = "Put keys and texts into straight double quotes."
    elif after.startswith(("True", "False", "None", "undefined")):
        hint = "Write true, false and null."
    elif "{" in text and text[0] not in "{[":
        hint = "Send the JSON alone, or put it into one ```json fence."
    elif after[0].isalpha() or after[0] == "_":
        hint = "Put keys and texts into double quotes."
    elif after[0] == "#":
        hint = "Comments are written // like this; better leave them out."
    return _problem(code, f"{error.msg} at {where}.", hint)


# --- what is wrong inside a value ---------------------------------------------------------------


class _Walk:
    """Goes over a value once: notes what is wrong and returns a clean copy."""

    def __init__(self, limits: Limits) -> None:
        self.problems = Problems(limits)
        self._limits = limits
        self._size = 0
        self._count = 0

    def clean(self, value: object, path: Path, depth: int) -> Any:
        """Return a JSON value that shares nothing with ``value``; bad parts become neutral."""
        # A Python list that holds one list many times is small in memory and vast as JSON.
        self._size += 1
        self._count += 1
        if self._size > self._limits.plan_bytes_max:
            _refuse_size(self._size, self._limits)
        if self._count > self._limits.value_max:
            _refuse("too-many-values", _too_many(self._limits), _MANY_HINT)
        if isinstance(value, str):
            return self._text(value, path, "The text")
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, int | float):
            return self._number(value, path)
        if isinstance(value, _BadNumber):
            return self._bad_number(value.code, value.text, path)
        if isinstance(value, Mapping | list | tuple):
            if depth > self._limits.depth_max:
                self.problems.add("too-deep", path, _too_deep(self._limits), _DEPTH_HINT)
                return None
            if isinstance(value, Mapping):
                return self._object(value, path, depth)
            return [self.clean(item, (*path, i), depth + 1) for i, item in enumerate(value)]
        self.problems.add(
            "not-json-value",
            path,
            f"{shown(value).capitalize()} cannot be written as JSON.",
            "Use texts, numbers, true, false, null, lists and objects only.",
        )
        return None

    def _object(self, value: Mapping[Any, Any], path: Path, depth: int) -> dict[str, Any]:
        clean: dict[str, Any] = {}
        for key, item in value.items():
            if not isinstance(key, str):
                self.problems.add(
                    "not-json-value",
                    path,
                    f"The key {shown(key)} is not a text.",
                    "Keys of JSON objects are texts.",
                )
                continue
            name = self._text(key, (*path, key), "The key")
            if len(name) == len(key):
                clean[name] = self.clean(item, (*path, name), depth + 1)
        doubled = value.names if isinstance(value, _Doubled) else ()
        if not doubled and not isinstance(value, _Doubled) and len(clean) > 1:
            doubled = _doubled_names(list(clean)) if not all(map(str.isascii, clean)) else ()
        for name in dict.fromkeys(doubled):
            self.problems.add(
                "duplicate-key",
                (*path, name),
                f"The key {shown(name)} appears twice in one object (compared as NFKC).",
                "Keep one of them: which one counts would depend on who reads it.",
            )
        return clean

    def _text(self, text: str, path: Path, what: str) -> str:
        # str.__str__: members of a StrEnum and the like become plain texts.
        text = str.__str__(text)
        self._size += len(text)
        if len(text) > self._limits.string_max:
            self.problems.add(
                "text-too-long",
                path,
                f"{what} has {len(text)} characters; {self._limits.string_max} are allowed.",
                _MANY_HINT,
            )
            return text[:1]
        if not text.isascii() and _SURROGATE.search(text):
            self.problems.add(
                "lone-surrogate",
                path,
                f"{what} {shown(text)} holds half of a surrogate pair, which is no character.",
                "Write the character itself, or both halves of its escape.",
            )
            return _SURROGATE.sub("\ufffd", text)
        return text

    def _number(self, number: float, path: Path) -> float:
        if isinstance(number, int):
            number = int(number)
            if _INT_MIN <= number <= _INT_MAX:
                return number
            return self._bad_number("number-too-large", hex(number), path)
        number = float(number)
        if math.isfinite(number):
            return number
        return self._bad_number("not-finite", repr(number), path)

    def _bad_number(self, code: str, text: str, path: Path) -> int:
        number = text if len(text) <= 24 else f"{text[:24]}..."
        if code == "not-finite":
            message = f"{number} is not a finite number."
            hint = "Write a number that exists; JSON has neither NaN nor Infinity."
        else:
            message = f"The number {number} does not fit into 64 bits."
            hint = "Write long numbers, such as ids, as texts."
        self.problems.add(code, path, message, hint)
        return 0


def _refuse(code: str, message: str, hint: str) -> NoReturn:
    raise PlanError([_problem(code, message, hint)])


def _problem(code: str, message: str, hint: str) -> Problem:
    return Problem(code=code, pointer="", message=message, hint=hint)
