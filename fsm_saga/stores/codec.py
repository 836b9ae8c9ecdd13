"""Records to versioned JSON bytes and back.

One append is one row, and a row's body is a JSON array of objects:
``{"type": "ActionStarted", "v": 1, "at": ..., ...}``. Every field is written each time, so a body
says by itself what it means. Reading is strict: a type or a version that this program does not
know stops the saga (``StoreVersionError``), anything else that is not exactly as written is damage
(``CorruptRecordError``). A type whose fields change gets a higher version and an upgrade from each
older one, so that old journals stay readable for ever.

msgspec turns a record into fields and checked fields into a record; orjson writes and reads the
JSON, since it refuses what is none where msgspec would quietly write something of it (a date, a
set, a number as a key).
"""

from __future__ import annotations

import math
import types
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import orjson
from msgspec import Struct, ValidationError, convert
from msgspec.structs import asdict

from fsm_saga.core.records import RECORD_TYPES, Record
from fsm_saga.errors import CorruptRecordError, InvariantBrokenError, StoreVersionError

Fields = dict[str, Any]
Upgrade = Callable[[Fields], Fields]

# A date is not JSON: without this, orjson would quietly make a string of it.
_OPTIONS = orjson.OPT_PASSTHROUGH_DATETIME

_NEVER_NAN = frozenset({str, int, bool, types.NoneType})


class _Format(Struct, frozen=True, kw_only=True):
    """How one type of record is written and read."""

    cls: type[Record]
    version: int
    head: Fields
    names: frozenset[str]
    upgrades: Mapping[int, Upgrade]


class RecordCodec:
    """Writes and reads the records of ``record_types``.

    Args:
        record_types: Every type, by the name under which it is stored.
        versions: The present version of each type that is past its first.
        upgrades: For each such type and each older version, what turns its fields into those of
            the next version.

    Example:
        >>> from fsm_saga.core.records import PlanClosed
        >>> CODEC.encode((PlanClosed(at=1.5),))
        b'[{"type":"PlanClosed","v":1,"at":1.5}]'
        >>> CODEC.decode(b'[{"type":"PlanClosed","v":1,"at":1.5}]')
        (PlanClosed(at=1.5),)
    """

    def __init__(
        self,
        record_types: Mapping[str, type[Record]],
        *,
        versions: Mapping[str, int] | None = None,
        upgrades: Mapping[str, Mapping[int, Upgrade]] | None = None,
    ) -> None:
        by_name = {
            name: _format_of(cls, name, (versions or {}).get(name, 1), (upgrades or {}).get(name))
            for name, cls in record_types.items()
        }
        self._by_name: Mapping[str, _Format] = by_name
        self._by_type = {form.cls: form for form in by_name.values()}

    def encode(self, records: Iterable[Record]) -> bytes:
        """Return the body of one append.

        Raises:
            InvariantBrokenError: A value is not JSON (NaN, a lone surrogate, an integer beyond 64
                bits, an object): it should have been refused where it came in.
        """
        rows, nones = [], 0
        for record in records:
            form = self._by_type.get(type(record))
            if form is None:
                raise InvariantBrokenError(
                    f"A {type(record).__name__!r} was to be stored: it is no type of record. "
                    "Nothing was written; this is a bug of fsm_saga."
                )
            row = form.head | asdict(record)
            nones += list(row.values()).count(None)
            rows.append(row)
        try:
            body = orjson.dumps(rows, _as_json, _OPTIONS)
        except TypeError as error:  # what orjson raises for all that it cannot write
            raise _not_json(rows, str(error)) from error
        # orjson writes NaN as null. A body with more nulls than fields that are None is looked at
        # closely; any other, which is nearly every one, costs a count.
        if body.count(b"null") != nones:
            _check_finite(rows, rows)
        return body

    def decode(self, body: bytes, *, saga_id: str = "", position: int = 0) -> tuple[Record, ...]:
        """Return the records of one body; ``saga_id`` and ``position`` are for the messages.

        Raises:
            CorruptRecordError: The body is not what ``encode`` writes.
            StoreVersionError: A newer version of fsm_saga wrote it.
        """
        try:
            rows = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise _corrupt(f"it is not JSON ({error})", saga_id, position) from error
        if type(rows) is not list or not rows:
            raise _corrupt("it is not a list of records", saga_id, position)
        return tuple(
            [self._decode_one(row, saga_id, position + index) for index, row in enumerate(rows)]
        )

    def _decode_one(self, row: Any, saga_id: str, position: int) -> Record:
        if type(row) is not dict:
            raise _corrupt("it is not an object", saga_id, position)
        name, version = row.pop("type", None), row.pop("v", None)
        if type(name) is not str or type(version) is not int or version < 1:
            raise _corrupt("its type or its version is missing", saga_id, position)
        form = self._by_name.get(name)
        if form is None or version > form.version:
            raise StoreVersionError(
                f"Record {position} of saga {saga_id!r} cannot be read: it is a {name!r} of "
                f"version {version}, which this version of fsm_saga does not know. The record is "
                "untouched; use the version that wrote it, or a newer one.",
                saga_id=saga_id,
                position=position,
            )
        try:
            for older in range(version, form.version):
                row = form.upgrades[older](row)
        except (KeyError, TypeError, ValueError) as error:  # what is damaged does not fit it
            raise _corrupt(f"it is no {name!r} of version {version}", saga_id, position) from error
        if row.keys() != form.names:
            wrong = ", ".join(sorted(row.keys() ^ form.names))
            raise _corrupt(f"{name!r} lacks or does not know: {wrong}", saga_id, position)
        try:
            return convert(row, form.cls)
        except ValidationError as error:
            raise _corrupt(f"{name!r} is wrong: {error}", saga_id, position) from error


def encode_object(value: Mapping[str, Any]) -> bytes:
    """Return a command's body or answer as bytes.

    Raises:
        InvariantBrokenError: A value is not JSON.
    """
    try:
        text = orjson.dumps(value, _as_json, _OPTIONS)
    except TypeError as error:
        raise _not_json(value, str(error)) from error
    _check_finite(value, value)
    return text


def decode_object(body: bytes, *, what: str) -> dict[str, Any]:
    """Return what ``encode_object`` wrote; ``what`` names it in the message.

    Raises:
        CorruptRecordError: It is not a JSON object.
    """
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise CorruptRecordError(f"{what} cannot be read: it is not JSON ({error}).") from error
    if type(value) is not dict:
        raise CorruptRecordError(f"{what} cannot be read: it is not a JSON object.")
    return value


# --- writing -------------------------------------------------------------------------------------


def _as_json(value: object) -> object:
    """Give orjson a dict for a read-only mapping; everything else is not JSON."""
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is not JSON")


def _check_finite(value: Any, whole: object) -> None:
    """Raise if there is a NaN or an infinity anywhere in ``value``, which is JSON otherwise."""
    # The exact types of JSON come first: isinstance with an abstract class is slow.
    if type(value) is float or isinstance(value, float):
        if not math.isfinite(value):
            raise _not_json(whole, f"{value} is not JSON")
        return
    if type(value) is dict or isinstance(value, Mapping):
        value = value.values()
    elif not isinstance(value, list | tuple):
        return
    for item in value:
        if type(item) not in _NEVER_NAN:
            _check_finite(item, whole)


def _not_json(rows: object, why: str) -> InvariantBrokenError:
    types_named = [row["type"] for row in rows] if isinstance(rows, list) else ["an object"]
    return InvariantBrokenError(
        f"{' + '.join(types_named)} cannot be stored: {why}. Nothing was written; such a value has "
        "to be refused where it comes in, so this is a bug of fsm_saga."
    )


# --- reading -------------------------------------------------------------------------------------


def _corrupt(why: str, saga_id: str, position: int) -> CorruptRecordError:
    return CorruptRecordError(
        f"Record {position} of saga {saga_id!r} cannot be read: {why}. Only this saga is "
        "affected and nothing was changed; restore it from a copy of the store.",
        saga_id=saga_id,
        position=position,
    )


def _format_of(
    cls: type[Record], name: str, version: int, upgrades: Mapping[int, Upgrade] | None
) -> _Format:
    names = frozenset(cls.__struct_fields__)
    if {"type", "v"} & names:
        raise InvariantBrokenError(f"{name!r} cannot be stored: 'type' and 'v' are the codec's.")
    if set(upgrades or {}) != set(range(1, version)):
        raise InvariantBrokenError(
            f"{name!r} is at version {version}: it needs one upgrade from each older version."
        )
    return _Format(
        cls=cls,
        version=version,
        head={"type": name, "v": version},
        names=names,
        upgrades=dict(upgrades or {}),
    )


CODEC = RecordCodec(RECORD_TYPES)
"""The codec of this version: every type is still at its first version."""
