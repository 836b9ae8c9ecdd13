"""References: how a step's parameters use what an earlier step returned.

A reference is a whole text, never a part of one, in one of two forms::

    $output.step_<id>[.<key or index>]...
    $input.<name>[.<key or index>]...

There is no expression language, and that is the point: the engines that had one are where plans
became programs. A template is compiled once per step and resolved once per call, by dictionary and
list lookup only. What comes back is data: it is put in place and never looked at again, so
an output that itself contains the text of a reference stays that text.

Read `scan` for the grammar, then `Template`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypeAlias

from fsm_saga.core.limits import LIMITS

# A value out of JSON. It was checked where it came in; here it is only carried and looked up.
JSON: TypeAlias = Any
Outputs: TypeAlias = Mapping[int, JSON] | Callable[[int], JSON]
ReferenceKind: TypeAlias = Literal["output", "input"]

NAME_CHARS_MAX = 64
STEP_PREFIX = "step_"

_PLAIN_NAME = re.compile(r"[A-Za-z0-9_-]+")
_SEGMENT = re.compile(r"[\w:@-]+")
# A list index: no sign, no leading zero, and few enough digits for int() to be cheap.
_INDEX = re.compile(r"0|[1-9][0-9]{0,8}")
# What a planner can only have meant as a reference. "$5.00", "$ 5" and "$" are amounts of money.
_SUSPICIOUS = re.compile(r"^\$[^\W\d]|^\$[_$]|\$\{|\$output|\$input", re.IGNORECASE)


class ReferenceRefused(ValueError):  # noqa: N818  # named for what happened to the reference
    """A text looks like a reference and is none. ``code``, ``why`` and ``hint`` say more."""

    def __init__(self, code: str, why: str, hint: str) -> None:
        super().__init__(f"{why} {hint}")
        self.code = code
        self.why = why
        self.hint = hint

    def __reduce__(self) -> tuple[object, ...]:
        return (ReferenceRefused, (self.code, self.why, self.hint))


class ReferenceMissing(Exception):  # noqa: N818  # the word that the engine's records use
    """A well-formed reference found nothing; no call may be made with these parameters.

    Attributes:
        pointer: Where the reference stands in the template, as a JSON pointer.
        reference: Its text.
        why: What was found instead. Names keys and types, never values.
    """

    def __init__(self, pointer: str, reference: str, why: str) -> None:
        super().__init__(f"{reference!r} at {pointer or '/'} cannot be resolved: {why}")
        self.pointer = pointer
        self.reference = reference
        self.why = why

    def __reduce__(self) -> tuple[object, ...]:
        return (ReferenceMissing, (self.pointer, self.reference, self.why))


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """What a reference points to.

    Attributes:
        kind: ``output`` of a step, or ``input`` of the saga.
        step: Index of the step; -1 for an input.
        path: Keys and indexes as written; an input's name comes first.
    """

    kind: ReferenceKind
    step: int
    path: tuple[str, ...]


class ReferenceText(NamedTuple):
    """A well-formed reference as written: the step or input it names, and the path into it."""

    kind: ReferenceKind
    name: str
    path: tuple[str, ...]


def name_key(step_id: int | str) -> str:
    """Return the text under which a step id is compared.

    Example:
        >>> name_key(1) == name_key("1")
        True
    """
    return unicodedata.normalize("NFC", str(step_id))


def name_keys(step_id: int | str) -> tuple[str, ...]:
    """Return every text after ``$output.step_`` that means this step.

    A planner that calls its step ``step_1`` writes ``$output.step_1``, not
    ``$output.step_step_1``; both mean that step.

    Example:
        >>> name_keys("step_1"), name_keys(1)
        (('step_1', '1'), ('1',))
    """
    key = name_key(step_id)
    short = key.removeprefix(STEP_PREFIX)
    return (key,) if short in (key, "") else (key, short)


def is_name(text: str) -> bool:
    """Return whether a text may name a step or an input: letters, digits, ``_`` and ``-``."""
    if _PLAIN_NAME.fullmatch(text):
        return len(text) <= NAME_CHARS_MAX
    text = unicodedata.normalize("NFC", text)
    return 0 < len(text) <= NAME_CHARS_MAX and _has_only_word_chars(text, "_-")


def escape_pointer(segment: str) -> str:
    """Return one segment of a JSON pointer (RFC 6901), without its slash."""
    return segment.replace("~", "~0").replace("/", "~1")


def scan(text: str) -> ReferenceText | None:
    """Return the reference that a text is, or None for an ordinary text.

    Raises:
        ReferenceRefused: If the text looks like a reference, or holds one, and is none.

    Example:
        >>> scan("$output.step_1.seats.0")
        ReferenceText(kind='output', name='1', path=('seats', '0'))
        >>> scan("$5.00") is None
        True
    """
    if "$" not in text:
        return None
    if text.startswith(("$output.step_", "$input.")) and len(text) <= LIMITS.reference_max:
        head, *path = text[1:].split(".")
        name, *path = path
        if head == "output":
            name = name.removeprefix(STEP_PREFIX)
        if is_name(name) and all(map(_is_segment, path)):
            kind: ReferenceKind = "output" if head == "output" else "input"
            return ReferenceText(kind, name_key(name), tuple(path))
    if _SUSPICIOUS.search(text):
        raise _refused(text)
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """Parameters as planned: a JSON value in which some texts are references.

    Attributes:
        value: The value as written, references included.
        references: Every reference in it, in order of appearance.
        steps: Indexes of the steps whose output it uses.
        inputs: Names of the saga's inputs that it uses.
    """

    value: JSON
    references: tuple[Reference, ...]
    steps: frozenset[int]
    inputs: frozenset[str]
    _node: _Node | None = field(repr=False, compare=False)

    @staticmethod
    def compile(value: JSON, index_of: Mapping[str, int]) -> Template:
        """Return the template of a JSON value.

        Args:
            value: Parameters as written; must not be changed afterwards.
            index_of: The step index for each name that a reference may use, see `name_keys`.

        Raises:
            ReferenceRefused: If a text in it looks like a reference and is none, or names a
                step that is not in ``index_of``. A linted plan never causes it.
        """
        found: list[Reference] = []
        node = _compile(value, "", index_of, found)
        return Template(
            value=value,
            references=tuple(found),
            steps=frozenset(each.step for each in found if each.kind == "output"),
            inputs=frozenset(each.path[0] for each in found if each.kind == "input"),
            _node=node,
        )

    def resolve(self, outputs: Outputs, inputs: Mapping[str, JSON]) -> JSON:
        """Return the value with each reference replaced by what it points to.

        A template without references returns ``value`` itself. What is returned shares its
        parts with ``value``, ``outputs`` and ``inputs``: it is to be read, not changed.

        Args:
            outputs: Step index to recorded output, as a mapping or a function that raises
                `LookupError` for a step without one.
            inputs: The saga's inputs.

        Raises:
            ReferenceMissing: If a reference points to nothing.
        """
        if self._node is None:
            return self.value
        output = outputs if callable(outputs) else outputs.__getitem__
        return self._node.resolve(output, inputs)


def resolve(template: Template, *, outputs: Outputs, inputs: Mapping[str, JSON]) -> JSON:
    """Return `Template.resolve` of the template, for those who prefer a function."""
    return template.resolve(outputs, inputs)


@dataclass(frozen=True, slots=True)
class _Lookup:
    """A reference in a compiled template."""

    reference: Reference
    text: str
    pointer: str

    def resolve(self, output: Callable[[int], JSON], inputs: Mapping[str, JSON]) -> JSON:
        path = self.reference.path
        if self.reference.kind == "input":
            value: JSON = inputs
        else:
            try:
                value = output(self.reference.step)
            except LookupError:
                raise self._missing("the step has no recorded output") from None
        for depth, segment in enumerate(path):
            # A dict is asked for by name first: an abstract class takes longer to answer.
            if type(value) is dict or isinstance(value, Mapping):
                if segment not in value:
                    raise self._missing(_absent(value, segment, self._place(path[:depth])))
                value = value[segment]
            elif isinstance(value, list | tuple):
                if not _INDEX.fullmatch(segment) or int(segment) >= len(value):
                    raise self._missing(_outside(value, segment, self._place(path[:depth])))
                value = value[int(segment)]
            else:
                place, kind = self._place(path[:depth]), _type_word(value)
                raise self._missing(f"{place} is {kind}, so it has no {segment!r}")
        return value

    def _missing(self, why: str) -> ReferenceMissing:
        return ReferenceMissing(self.pointer, self.text, why)

    def _place(self, path: tuple[str, ...]) -> str:
        if path:
            return repr(".".join(path))
        return "the output" if self.reference.kind == "output" else "the plan's inputs"


@dataclass(frozen=True, slots=True)
class _Object:
    """An object with references somewhere below some of its keys."""

    base: dict[str, JSON]
    parts: tuple[tuple[str, _Node], ...]

    def resolve(self, output: Callable[[int], JSON], inputs: Mapping[str, JSON]) -> JSON:
        value = self.base.copy()
        for key, node in self.parts:
            value[key] = node.resolve(output, inputs)
        return value


@dataclass(frozen=True, slots=True)
class _List:
    """A list with references somewhere in some of its items."""

    base: list[JSON]
    parts: tuple[tuple[int, _Node], ...]

    def resolve(self, output: Callable[[int], JSON], inputs: Mapping[str, JSON]) -> JSON:
        value = self.base.copy()
        for index, node in self.parts:
            value[index] = node.resolve(output, inputs)
        return value


_Node: TypeAlias = _Lookup | _Object | _List


def _compile(
    value: JSON, pointer: str, index_of: Mapping[str, int], found: list[Reference]
) -> _Node | None:
    """Return what resolves the value, or None where it holds no reference."""
    if isinstance(value, str):
        written = scan(value)
        if written is None:
            return None
        reference = _bind(written, value, index_of)
        found.append(reference)
        return _Lookup(reference, value, pointer)
    if isinstance(value, Mapping):
        fields: list[tuple[str, _Node]] = []
        for key, item in value.items():
            if scan_key(key):
                raise ReferenceRefused("reference-in-key", f"{key!r} is a key.", KEY_HINT)
            node = _compile(item, f"{pointer}/{escape_pointer(key)}", index_of, found)
            if node is not None:
                fields.append((key, node))
        return _Object(dict(value), tuple(fields)) if fields else None
    if isinstance(value, list | tuple):
        items: list[tuple[int, _Node]] = []
        for index, item in enumerate(value):
            node = _compile(item, f"{pointer}/{index}", index_of, found)
            if node is not None:
                items.append((index, node))
        return _List(list(value), tuple(items)) if items else None
    return None


KEY_HINT = "A reference can only be a value; write the key out."


def scan_key(key: str) -> bool:
    """Return whether a key is, holds or looks like a reference, which no key may."""
    return "$" in key and _SUSPICIOUS.search(key) is not None


def _bind(written: ReferenceText, text: str, index_of: Mapping[str, int]) -> Reference:
    if written.kind == "input":
        return Reference(kind="input", step=-1, path=(written.name, *written.path))
    step = index_of.get(written.name)
    if step is None:
        raise ReferenceRefused(
            "unknown-step-reference",
            f"{text!r} names the step {written.name!r}, which the plan does not have.",
            "Refer to a step of this plan by its step_id.",
        )
    return Reference(kind="output", step=step, path=written.path)


def _is_segment(text: str) -> bool:
    return _SEGMENT.fullmatch(text) is not None or _has_only_word_chars(text, "_:@-")


def _has_only_word_chars(text: str, extra: str) -> bool:
    """Return whether a text has letters, digits, marks after them, and ``extra`` only.

    Marks (accents, vowel signs) are what `str.isalnum` lacks for half of the world's scripts.
    """
    return bool(text) and all(
        char.isalnum() or char in extra or (at > 0 and unicodedata.category(char)[0] == "M")
        for at, char in enumerate(text)
    )


def _absent(value: Mapping[str, JSON], segment: str, place: str) -> str:
    keys = sorted(map(str, value))[:8]
    had = ", ".join(keys) + (", ..." if len(value) > len(keys) else "")
    return f"{place} has no {segment!r}; it has: {had or 'nothing'}"


def _outside(value: list[JSON] | tuple[JSON, ...], segment: str, place: str) -> str:
    if _INDEX.fullmatch(segment):
        return f"{place} has {len(value)} items, so none at {segment}"
    return f"{place} is a list, so {segment!r} cannot be looked up in it"


def _type_word(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true or false"
        case str():
            return "a text"
        case int() | float():
            return "a number"
        case _:
            return type(value).__name__


_WHOLE_HINT = (
    "Write a reference as the whole value, like '$output.step_1.id'. If the text is meant as it "
    "stands, put it into inputs and refer to it by '$input.<name>'."
)


def _refused(text: str) -> ReferenceRefused:
    """Return why a suspicious text is no reference; the order goes from the plainest slip on."""
    shown = repr(text if len(text) <= 80 else text[:77] + "...")
    if len(text) > LIMITS.reference_max and text.startswith("$"):
        why = f"{shown} is longer than {LIMITS.reference_max} characters."
        return ReferenceRefused("malformed-reference", why, _WHOLE_HINT)
    if "${" in text:
        why = f"{shown} uses ${{...}}, and there is no such form."
        return ReferenceRefused("malformed-reference", why, _WHOLE_HINT)
    if not text.startswith("$"):
        why = f"{shown} holds a reference inside a longer text, and texts are not put together."
        hint = "Make the reference the whole value, or let a step of its own compose the text."
        return ReferenceRefused("embedded-reference", why, hint)
    if text.startswith("$$"):
        why = f"{shown} begins with two dollar signs; there is no escape and no second pass."
        return ReferenceRefused("malformed-reference", why, _WHOLE_HINT)
    if re.search(r"\s", text):
        why = f"{shown} holds a space, and a reference has none."
        return ReferenceRefused("embedded-reference", why, _WHOLE_HINT)
    return _refused_shape(text, shown)


def _refused_shape(text: str, shown: str) -> ReferenceRefused:
    """Return why a text that begins with one ``$`` and has no space is no reference."""
    namespace = re.split(r"[^\w]", text[1:], maxsplit=1)[0]
    if namespace not in ("output", "input"):
        why = f"{shown} names {namespace!r}; a plan can refer to '$output' and '$input' only."
        hint = (
            "Use '$output.step_<id>.<path>' for what a step returned or '$input.<name>' for an "
            "input of the plan; there is no access to the environment, to secrets or to files."
        )
        return ReferenceRefused("unknown-namespace", why, hint)
    segments = text.split(".")
    if len(segments) > 1 and "" in segments[1:]:
        why = f"{shown} has an empty part between or after its dots."
    elif "[" in text:
        why = f"{shown} uses brackets; an index is a part like any other."
        return ReferenceRefused("malformed-reference", why, "Write '.items.0.id' for items[0].id.")
    elif namespace == "output" and not text.startswith("$output.step_"):
        why = f"{shown} does not say which step: it has to begin with '$output.step_<id>'."
        return ReferenceRefused("malformed-reference", why, "Put 'step_' and the step_id there.")
    elif namespace == "input" and not text.startswith("$input."):
        why = f"{shown} does not say which input: it has to begin with '$input.<name>'."
        return ReferenceRefused("malformed-reference", why, "Put the name of an input there.")
    else:
        why = f"{shown} is not a dotted path of names; expressions and calls do not exist here."
    hint = "Write '$output.step_<id>' or '$input.<name>', then '.<key>' or '.<index>' as needed."
    return ReferenceRefused("malformed-reference", why, hint)
