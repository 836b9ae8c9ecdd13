"""JSON as somebody may write it: a key twice, numbers that are none, odd spacing and escapes.

A tree is what `json.loads` gives, except that an object is a `Pairs`, which can hold a key twice,
and that a `Raw` stands for a piece of text that is written as it is.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from json.encoder import encode_basestring, encode_basestring_ascii
from random import Random
from typing import Any

Tree = Any
Place = tuple[Any, int]
"""A list or a `Pairs`, and an index in it."""

PLACES_MAX = 400
ESCAPED_SHARE = 0.02


class Pairs(list[list[Any]]):
    """An object as it is written: ``[key, value]`` lists in their order."""


@dataclass(frozen=True, slots=True)
class Raw:
    """A text that stands where a value belongs, and is written as it is."""

    text: str


def tree_of(value: Any) -> Tree:
    """Return a value as a tree that shares nothing with it."""
    if isinstance(value, dict):
        return Pairs([key, tree_of(item)] for key, item in value.items())
    if isinstance(value, Pairs):
        return Pairs([key, tree_of(item)] for key, item in value)
    if isinstance(value, list | tuple):
        return [tree_of(item) for item in value]
    return value


def value_of(tree: Tree) -> Any:
    """Return a tree as Python values; of a key that is there twice the last one counts."""
    if isinstance(tree, Pairs):
        return {key: value_of(item) for key, item in tree}
    if isinstance(tree, list):
        return [value_of(item) for item in tree]
    return tree.text if isinstance(tree, Raw) else tree


def item_at(place: Place) -> Tree:
    """Return what stands at a place."""
    holder, index = place
    return holder[index][1] if isinstance(holder, Pairs) else holder[index]


def put(place: Place, value: Tree) -> None:
    """Put a value at a place."""
    holder, index = place
    if isinstance(holder, Pairs):
        holder[index][1] = value
    else:
        holder[index] = value


def places(tree: Tree) -> list[Place]:
    """Return places in a tree, outer ones first; of a large tree only the first few hundred."""
    found: list[Place] = []
    queue = [tree]
    for holder in queue:
        if isinstance(holder, list):
            found += [(holder, index) for index in range(len(holder))]
            if len(found) > PLACES_MAX:
                break
            queue += [item for item in map(item_at, found[-len(holder) :]) if _is_holder(item)]
    return found


def _is_holder(item: Tree) -> bool:
    return isinstance(item, list) and bool(item)


def objects(tree: Tree) -> list[Pairs]:
    """Return the objects in a tree, the outermost first."""
    inside = [item_at(place) for place in places(tree)]
    return [each for each in (tree, *inside) if isinstance(each, Pairs)]


def written(tree: Tree, draw: Random | None = None) -> str:
    """Return the JSON text of a tree; with ``draw``, some characters are written as escapes."""
    return "".join(_pieces(tree, draw))


def _pieces(tree: Tree, draw: Random | None) -> Iterator[str]:
    if isinstance(tree, Raw):
        yield tree.text
    elif isinstance(tree, str):
        yield _text(tree, draw)
    elif isinstance(tree, Pairs):
        opening = "{"
        for key, item in tree:
            yield opening
            yield _text(key, draw)
            yield ": "
            yield from _pieces(item, draw)
            opening = ", "
        yield "}" if tree else "{}"
    elif isinstance(tree, list):
        opening = "["
        for item in tree:
            yield opening
            yield from _pieces(item, draw)
            opening = ", "
        yield "]" if tree else "[]"
    else:
        yield json.dumps(tree)


def _text(text: str, draw: Random | None) -> str:
    if draw is None:
        return encode_basestring_ascii(text)
    if draw.random() > ESCAPED_SHARE:
        return encode_basestring_ascii(text) if draw.random() < 0.5 else encode_basestring(text)
    at = draw.randrange(len(text) + 1)
    escaped = "".join(f"\\u{ord(char):04x}" for char in text[at : at + 3] if ord(char) < 0x10000)
    head, tail = encode_basestring_ascii(text[:at]), encode_basestring_ascii(text[at + 3 :])
    return head[:-1] + escaped + tail[1:]
