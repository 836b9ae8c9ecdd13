"""Python values that no JSON parser gives, and that a tool or a program may well hand over.

In a case they are recipes, which can be shown and made smaller; `built` makes the values.
"""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import fractions
import pathlib
import types
import uuid
from collections import OrderedDict, UserDict, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from pydantic import BaseModel

from tests.fuzz.tree import Pairs, Raw, Tree


@dataclass(frozen=True, slots=True)
class Odd:
    """A recipe of one odd value."""

    kind: str


class _Failing:
    """Fails whatever is asked of it."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(f"no {name}")

    def __repr__(self) -> str:
        raise RuntimeError("no repr")

    __str__ = __repr__
    __len__ = __iter__ = __bool__ = __eq__ = __repr__  # type: ignore[assignment]  # on purpose
    __hash__ = object.__hash__


class _FailingMapping(Mapping[Any, Any]):
    def __getitem__(self, key: object) -> Any:
        raise RuntimeError("no item")

    def __iter__(self) -> Iterator[Any]:
        return iter(["a", "b"])

    def __len__(self) -> int:
        return 2


class _LyingMapping(_FailingMapping):
    def __getitem__(self, key: object) -> Any:
        return 1

    def __len__(self) -> int:
        return 10**12


class _Text(str):
    __slots__ = ()


class _Number(int):
    pass


class _Colour(enum.Enum):
    RED = "red"
    ODD = ("not", "json")


class _Count(enum.IntEnum):
    ONE = 1


class _Model(BaseModel):
    name: str = "x"
    when: datetime.datetime = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


@dataclass
class _Data:
    name: str = "x"
    inner: Any = None


def _circle() -> Any:
    circle: list[Any] = []
    circle.append({"x": circle})
    return circle


def _wide() -> Any:
    """Return a value that is small in memory and vast as JSON."""
    value: Any = [0] * 10
    for _ in range(12):
        value = [value] * 10
    return value


def _deep() -> Any:
    value: Any = 0
    for _ in range(2_000):
        value = [value]
    return value


_BUILDERS: dict[str, Callable[[], Any]] = {
    "nan": lambda: float("nan"),
    "infinity": lambda: float("-inf"),
    "huge int": lambda: 10**400,
    "vast int": lambda: 10**5_000,
    "int of 65 bits": lambda: 2**63,
    "lone surrogate": lambda: "a\ud800",
    "bytes": lambda: b"abc",
    "bytes that are no text": lambda: b"\xff\xfe\x00",
    "bytearray": lambda: bytearray(b"abc"),
    "memoryview": lambda: memoryview(b"abc"),
    "set": lambda: {1, 2},
    "frozenset": lambda: frozenset({"a"}),
    "tuple": lambda: (1, (2,)),
    "deque": lambda: deque([1]),
    "range": lambda: range(3),
    "long range": lambda: range(10**9),
    "generator": lambda: (each for each in [1]),
    "iterator": lambda: iter([1]),
    "ellipsis": lambda: ...,
    "complex": lambda: 1j,
    "fraction": lambda: fractions.Fraction(1, 3),
    "decimal": lambda: decimal.Decimal("1.10"),
    "decimal nan": lambda: decimal.Decimal("sNaN"),
    "date": lambda: datetime.date(2026, 2, 1),
    "time": lambda: datetime.datetime(2026, 2, 1, 12, 0, tzinfo=datetime.UTC),
    "naive time": lambda: datetime.datetime(1, 1, 1),  # noqa: DTZ001  # on purpose
    "duration": lambda: datetime.timedelta.max,
    "uuid": lambda: uuid.UUID(int=1),
    "path": lambda: pathlib.Path("a/b"),
    "colour": lambda: _Colour.RED,
    "odd colour": lambda: _Colour.ODD,
    "count": lambda: _Count.ONE,
    "text of its own": lambda: _Text("x"),
    "number of its own": lambda: _Number(7),
    "number beyond 64 bits of its own": lambda: _Number(2**70),
    "object": object,
    "class": lambda: int,
    "function": lambda: len,
    "module": lambda: types,
    "failing object": _Failing,
    "failing mapping": _FailingMapping,
    "lying mapping": _LyingMapping,
    "user dict": lambda: UserDict({"a": 1}),
    "ordered dict": lambda: OrderedDict(a=1),
    "read-only dict": lambda: types.MappingProxyType({"a": {"b": 1}}),
    "numbered keys": lambda: {1: "a", 2: "b"},
    "keys that become one": lambda: {1: "a", "1": "b"},
    "keys of many types": lambda: {None: 1, True: 2, 1.5: 3, (1, 2): 4},
    "a surrogate as key": lambda: {"\udc00": 1},
    "model": _Model,
    "unfinished model": _Model.model_construct,
    "model with another type": lambda: _Model.model_construct(when="yesterday"),
    "data": _Data,
    "data around an object": lambda: _Data(inner=object()),
    "data around a circle": lambda: _Data(inner=_circle()),
    "circle": _circle,
    "wide": _wide,
    "deep": _deep,
    "long text": lambda: "x" * 300_000,
    "long text of wide characters": lambda: "😀" * 70_000,
    "many keys": lambda: {str(number): number for number in range(30_000)},
    "exception": lambda: ValueError("x"),
    "field": lambda: dataclasses.field(),
}
ODD_KINDS = tuple(_BUILDERS)


def odd_recipe(draw: Random, *, is_harmless: bool = False) -> Odd:
    """Return the recipe of some odd value; a harmless one does not raise when it is looked at."""
    kinds = [kind for kind in ODD_KINDS if not (is_harmless and kind.startswith("failing"))]
    return Odd(draw.choice(kinds))


def built(tree: Tree) -> Any:
    """Return the value of a tree in which recipes stand."""
    if isinstance(tree, Odd):
        return _BUILDERS[tree.kind]()
    if isinstance(tree, Pairs):
        return {key: built(item) for key, item in tree}
    if isinstance(tree, list):
        return [built(item) for item in tree]
    return tree.text if isinstance(tree, Raw) else tree
