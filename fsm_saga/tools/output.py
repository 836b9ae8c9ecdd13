"""What a tool returned, as plain JSON that can be stored, or why it cannot be.

What comes out shares nothing with what the tool holds, so that nobody can change it later.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Set
from typing import Any

import orjson
from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError, to_jsonable_python

from fsm_saga.tools.redact import may_hold_secret, redact_json
from fsm_saga.tools.wording import validation_line

OUTPUT_BYTES_MAX = 262_144
DEPTH_MAX = 64
INT_MIN, INT_MAX = -(2**63), 2**63 - 1


class BadOutputError(ValueError):
    """What a tool returned cannot be stored; the message says why and never what it was."""


def json_output(
    value: Any, *, declared: TypeAdapter[Any] | None = None, bytes_max: int = OUTPUT_BYTES_MAX
) -> Any:
    """Return ``value`` as plain JSON, with obvious secrets taken out.

    Models, dataclasses, dates, decimals, enums, ids, paths and sets become what pydantic writes
    for them in JSON; bytes have to be UTF-8.

    Args:
        value: What the tool returned.
        declared: Its declared return type, or None. A value that does not fit is refused.
        bytes_max: How long the JSON text may be.

    Raises:
        BadOutputError: If the value does not fit its declared type, has no form in JSON, holds
            NaN, half a character, an integer beyond 64 bits or two keys that become one, is
            nested too deeply or is too large.

    Example:
        >>> from decimal import Decimal
        >>> json_output({"price": Decimal("12.50"), "seats": {7}})
        {'price': '12.50', 'seats': [7]}
    """
    try:
        return _json_output(value, declared, bytes_max)
    except BadOutputError:
        raise
    except UnicodeError:
        reason = "the output has bytes or characters that are not UTF-8"
    except BaseException:  # noqa: BLE001  # boundary: serialisers are the tool's own code
        reason = f"the output has no form in JSON: a value of type {type(value).__name__}"
    # The cause is cut off: its text and its frames hold the output.
    raise BadOutputError(reason) from None


def _json_output(value: Any, declared: TypeAdapter[Any] | None, bytes_max: int) -> Any:
    if declared is not None:
        _Walk(bytes_max).check_keys(value, DEPTH_MAX)
        value = _as_declared(value, declared)
    walk = _Walk(bytes_max)
    plain = walk.plain(value, DEPTH_MAX)
    text = orjson.dumps(plain)
    if len(text) > bytes_max:
        raise walk.too_large()
    return redact_json(plain) if may_hold_secret(text) else plain


def _as_declared(value: Any, declared: TypeAdapter[Any]) -> Any:
    try:
        valid = declared.validate_python(value)
    except ValidationError as error:
        reason = validation_line(error, may_quote=False)
    else:
        return declared.dump_python(valid, mode="json", by_alias=True, warnings=False)
    raise BadOutputError(f"the output does not fit the declared return type: {reason}")


class _Walk:
    """Copies one value into dictionaries, lists and scalars, within the budget of its size."""

    __slots__ = ("bytes_left", "bytes_max")

    def __init__(self, bytes_max: int) -> None:
        self.bytes_max = bytes_max
        # Each value counts as less than what it takes in JSON, so that only what certainly is
        # too large is given up before it has been looked at as a whole.
        self.bytes_left = bytes_max

    def too_large(self) -> BadOutputError:
        return BadOutputError(f"the output is larger than {self.bytes_max} bytes of JSON")

    def plain(self, value: Any, depth_left: int) -> Any:
        kind = type(value)
        if kind is str:
            return self._text(value)
        if value is None or kind is bool:
            return value
        if kind is int:
            if INT_MIN <= value <= INT_MAX:
                return value
            raise BadOutputError("the output has an integer beyond 64 bits: return it as a text")
        if kind is float:
            if math.isfinite(value):
                return value
            raise BadOutputError("the output has a NaN or an infinity, which JSON does not know")
        if depth_left <= 0:
            raise BadOutputError(f"the output is nested deeper than {DEPTH_MAX} levels")
        if isinstance(value, dict | Mapping):
            return self._object(value, depth_left - 1)
        if isinstance(value, list | tuple | Set):
            self._spend(2 * len(value))
            return [self.plain(item, depth_left - 1) for item in value]
        return self.plain(self._converted(value), depth_left - 1)

    def check_keys(self, value: Any, depth_left: int) -> None:
        """Refuse keys that become one, before a declared type drops one of them in silence."""
        if isinstance(value, dict) and depth_left > 0:
            self._spend(len(value))
            if not all(type(key) is str for key in value):
                self._names(value)
            for item in value.values():
                self.check_keys(item, depth_left - 1)
        elif isinstance(value, list | tuple) and depth_left > 0:
            self._spend(len(value))
            for item in value:
                self.check_keys(item, depth_left - 1)

    def _spend(self, size: int) -> None:
        self.bytes_left -= size
        if self.bytes_left < 0:
            raise self.too_large()

    def _text(self, text: str) -> str:
        self._spend(len(text))
        if not text.isascii():
            try:
                text.encode()
            except UnicodeEncodeError:
                raise BadOutputError("the output has half a character (a lone surrogate)") from None
        return text

    def _object(self, value: Mapping[Any, Any], depth_left: int) -> dict[str, Any]:
        self._spend(4 * len(value))
        if all(type(key) is str for key in value):
            return {self._text(key): self.plain(item, depth_left) for key, item in value.items()}
        names = self._names(value)
        return {
            self._text(name): self.plain(item, depth_left)
            for name, item in zip(names, value.values(), strict=True)
        }

    def _names(self, value: Mapping[Any, Any]) -> list[str]:
        names = [key if type(key) is str else self._name(key) for key in value]
        if len(set(names)) != len(names):
            raise BadOutputError("the output has two keys that become the same text in JSON")
        return names

    def _name(self, key: Any) -> str:
        name: str = next(iter(self._converted({key: None})))
        return name

    def _converted(self, value: Any) -> Any:
        if isinstance(value, Iterator):
            # It may never end, and what it yields is gone afterwards.
            raise BadOutputError("the output has an iterator: return a list")
        try:
            return to_jsonable_python(value)
        except PydanticSerializationError:
            kind = type(value).__name__
        raise BadOutputError(f"the output has no form in JSON: a value of type {kind}")
