"""The door of the disk: whatever a store gives back is a journal, or is refused as damaged."""

from __future__ import annotations

import enum
import json
import types
import typing
from collections.abc import Mapping
from functools import cache
from random import Random
from typing import Any

from fsm_saga.coordinator.reading import read_saga
from fsm_saga.core.records import RECORD_TYPES, Record
from fsm_saga.errors import CommandError, CorruptRecordError, StoreVersionError
from fsm_saga.plan.model import Plan
from fsm_saga.service.engine import Engine
from fsm_saga.service.view import view_of
from fsm_saga.stores.codec import CODEC, decode_object
from tests.fuzz.garble import garbled
from tests.fuzz.mutate import mutated
from tests.fuzz.sagas import STORIES, TOOLS
from tests.fuzz.tally import Tally, must
from tests.fuzz.target import Target
from tests.fuzz.tree import Pairs, Tree, places, put, tree_of, written
from tests.support.virtual_time import VirtualClock, run_virtual

_DAMAGE = (CorruptRecordError, StoreVersionError)


def sample_of(hint: Any) -> Any:
    """Return some value of a field's type."""
    plain: dict[Any, Any] = {Any: {"x": [1, None]}, str: "x", bool: True, int: 1, float: 1.5}
    if hint in plain:
        return plain[hint]
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return next(iter(hint))
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        return sample_of(next(each for each in arguments if each is not types.NoneType))
    if origin is Mapping:
        return {"x": sample_of(arguments[1])}
    return (sample_of(arguments[0]),)


@cache
def bodies() -> tuple[bytes, ...]:
    """Return sound bodies of appends: every type of record, and whole journals."""
    made = []
    for cls in RECORD_TYPES.values():
        hints = typing.get_type_hints(cls)
        values = {name: sample_of(hint) for name, hint in hints.items() if name in _names(cls)}
        made.append(CODEC.encode((cls(**values),)))
    return (*made, *map(CODEC.encode, journals()))


def _names(cls: type[Record]) -> frozenset[str]:
    return frozenset(CODEC._by_name[cls.__name__].names)  # as they are written


@cache
def journals() -> tuple[tuple[Record, ...], ...]:
    """Return the journals of sagas that went well, were undone, or wait for a person."""
    return run_virtual(_journals())  # real time and chance would make each process other bytes


@cache
def journal_trees() -> tuple[Tree, ...]:
    """Return the same journals as trees."""
    return tuple(tree_of(json.loads(CODEC.encode(journal))) for journal in journals())


async def _journals() -> tuple[tuple[Record, ...], ...]:
    found = []
    async with Engine.open("memory://", tools=TOOLS, clock=VirtualClock()) as engine:
        for story in STORIES.values():
            view = await engine.run(Plan.read(json.dumps(story)))
            for kind, step_id in (("approve", 2), ("settled", 1)):
                try:
                    found.append(tuple(await engine.store.load(view.saga_id) or ()))
                    if kind == "approve":
                        await engine.approve(view.saga_id, step_id, by="Ada")
                    else:
                        await engine.resolve(view.saga_id, step_id, by="A", note="n", settled=True)
                    await engine.wait(view.saga_id)
                except CommandError:
                    continue
            found.append(tuple(await engine.store.load(view.saga_id) or ()))
    return tuple(journal for at, journal in enumerate(found) if journal not in found[:at])


class StoredRecords(Target):
    """The bytes of one append."""

    name = "records"
    about = "bodies of stored records with bits, fields and types changed, through the codec"
    share = 0.3

    def make(self, draw: Random) -> bytes:
        body = draw.choice(bodies())
        if draw.random() < 0.5:
            return garbled(body, draw)
        tree = tree_of(json.loads(body))
        return written(mutated(tree, draw, lambda: tree), draw).encode("utf-8", "surrogatepass")

    def check(self, case: bytes, seen: Tally) -> None:
        for read in (CODEC.decode, _object):
            try:
                with seen.timed(len(case)):
                    found = read(case)
            except _DAMAGE as error:
                seen.count(error.code)
                seen.verdict(error.code)
                must(str(error).encode("utf-8", "replace"), "an error has a text")
                continue
            seen.count("accepted")
            if read is CODEC.decode:
                must(found, "what is read is not empty")
                again = CODEC.decode(CODEC.encode(found))
                must(again == found, "what was read can be written and read again")


def _object(body: bytes) -> Any:
    return decode_object(body, what="A command")


class StoredJournals(Target):
    """Whole journals in which records were changed, lost, repeated or exchanged."""

    name = "journals"
    about = "whole journals with records changed, lost, repeated or moved, through the fold"
    share = 0.1

    def make(self, draw: Random) -> Tree:
        trees = journal_trees()
        tree = tree_of(draw.choice(trees))
        for _ in range(draw.randint(1, 2)):
            way, at = draw.randrange(6), draw.randrange(len(tree))
            if way == 0 and len(tree) > 1:
                del tree[at]
            elif way == 1:
                tree.insert(draw.randrange(len(tree) + 1), tree_of(tree[at]))
            elif way == 2:
                other = draw.choice(trees)
                tree.insert(at, tree_of(draw.choice(other)))
            elif way == 3:
                other_at = draw.randrange(len(tree))
                tree[at], tree[other_at] = tree[other_at], tree[at]
            else:
                _change_a_value(tree[at], draw)
        return tree

    def check(self, case: Tree, seen: Tally) -> None:
        body = written(case).encode("utf-8", "surrogatepass")
        try:
            with seen.timed(len(body)):
                saga, _reader = read_saga(CODEC.decode(body))
        except _DAMAGE as error:
            seen.count(error.code)
            seen.verdict(error.code)
            return
        seen.count("accepted")
        shown = json.dumps(view_of(saga).as_json(), default=str)
        must(shown, "a saga that was read can be shown")


def _change_a_value(record: Pairs, draw: Random) -> None:
    found = places(record)
    if found:
        odd = [0, 1, -1, 99, 2**63, 1.5, "x", "", None, True, [], Pairs(), "DONE", "EXECUTING(9)"]
        put(draw.choice(found), draw.choice(odd))
