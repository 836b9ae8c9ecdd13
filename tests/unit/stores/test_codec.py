"""The bytes in which records are stored: exact, strict, and readable for ever."""

from __future__ import annotations

import contextlib
import datetime
import enum
import types
import typing
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import msgspec
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsm_saga.core.records import (
    RECORD_TYPES,
    ActionDoubted,
    ActionSucceeded,
    AttemptStarted,
    CallsSupplied,
    PlanClosed,
    Record,
    SagaMoved,
    SagaSubmitted,
)
from fsm_saga.core.states import Direction
from fsm_saga.errors import (
    CorruptRecordError,
    InvariantBrokenError,
    StoreVersionError,
)
from fsm_saga.stores.codec import CODEC, RecordCodec, decode_object, encode_object

# --- strategies, made from the types themselves -------------------------------------------------

TEXT = st.text(st.characters(codec="utf-8"), max_size=12)
NUMBERS = st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT | st.just("null"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


def strategy_of(hint: Any) -> st.SearchStrategy[Any]:
    """Return values of a field's type."""
    simple: dict[Any, st.SearchStrategy[Any]] = {
        Any: JSON,
        str: TEXT,
        bool: st.booleans(),
        int: st.integers(-(2**63), 2**63 - 1),
        float: st.floats(allow_nan=False, allow_infinity=False),
        types.NoneType: st.none(),
    }
    if hint in simple:
        return simple[hint]
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return st.sampled_from(hint)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        return st.one_of([strategy_of(argument) for argument in arguments])
    if origin is Mapping:
        return st.dictionaries(TEXT, strategy_of(arguments[1]), max_size=3)
    assert origin is tuple, f"no strategy for {hint}"
    return st.lists(strategy_of(arguments[0]), max_size=3).map(tuple)


def records_of(cls: type[Record]) -> st.SearchStrategy[Record]:
    hints = typing.get_type_hints(cls)
    return st.builds(cls, **{name: strategy_of(hints[name]) for name in cls.__struct_fields__})


RECORDS = st.one_of([records_of(cls) for cls in RECORD_TYPES.values()])


# --- round trip ----------------------------------------------------------------------------------


@given(st.lists(RECORDS, min_size=1, max_size=4).map(tuple))
def test_what_is_decoded_equals_what_was_encoded(records: tuple[Record, ...]) -> None:
    decoded = CODEC.decode(CODEC.encode(records))
    assert decoded == records
    assert [type(record) for record in decoded] == [type(record) for record in records]


@pytest.mark.parametrize("cls", RECORD_TYPES.values(), ids=RECORD_TYPES)
def test_every_type_of_record_makes_the_round_trip(cls: type[Record]) -> None:
    @given(records_of(cls))
    def check(record: Record) -> None:
        assert CODEC.decode(CODEC.encode((record,))) == (record,)

    check()


def test_a_body_is_an_array_of_objects_that_say_what_they_are() -> None:
    body = CODEC.encode(
        (PlanClosed(at=1.5), AttemptStarted(at=2.5, step=0, direction=Direction.DO, attempt=2))
    )
    assert orjson.loads(body) == [
        {"type": "PlanClosed", "v": 1, "at": 1.5},
        {"type": "AttemptStarted", "v": 1, "at": 2.5, "step": 0, "direction": "do", "attempt": 2},
    ]


def test_enums_and_tuples_come_back_as_such() -> None:
    attempt = AttemptStarted(at=2.5, step=0, direction=Direction.CHECK, attempt=2)
    calls = CallsSupplied(at=0.0, step=1, calls=({"tool": "a"},), tools={}, by="ann", note="")
    first, second = CODEC.decode(CODEC.encode((attempt, calls)))
    assert isinstance(first, AttemptStarted)
    assert first.direction is Direction.CHECK
    assert isinstance(second, CallsSupplied)
    assert second.calls == ({"tool": "a"},)


def test_read_only_mappings_and_tuples_inside_a_value_are_stored_as_json() -> None:
    output = MappingProxyType({"rows": (1, MappingProxyType({"a": 2}))})
    (record,) = CODEC.decode(CODEC.encode((ActionSucceeded(at=0.0, step=0, output=output),)))
    assert isinstance(record, ActionSucceeded)
    assert record.output == {"rows": [1, {"a": 2}]}


def test_the_fields_of_each_type_are_those_that_its_version_was_released_with(
    recorded_fields: dict[str, dict[str, str]],
) -> None:
    present = {
        name: Record.__annotations__ | cls.__annotations__ for name, cls in RECORD_TYPES.items()
    }
    assert present == recorded_fields, (
        "The fields of a record changed. Journals that exist hold the old ones: give the type a "
        "higher version and an upgrade in codec.py, then write the new fields into "
        "recorded_fields.json."
    )


# --- what is not JSON ----------------------------------------------------------------------------

NOT_JSON: dict[str, object] = {
    "nan": float("nan"),
    "infinity": float("inf"),
    "minus infinity": {"deep": [{"er": -float("inf")}]},
    "nan beside a none": [None, float("nan")],
    "nan in a tuple": (1, (float("nan"),)),
    "nan in a read-only mapping": MappingProxyType({"a": float("nan")}),
    "lone surrogate": "\ud800",
    "lone surrogate as a key": {"\udc00": 1},
    "integer beyond 64 bits": 2**64,
    "negative beyond 64 bits": -(2**63) - 1,
    "number as a key": {1: 1},
    "set": {1, 2},
    "bytes": b"x",
    "object": object(),
}


@pytest.mark.parametrize("value", NOT_JSON.values(), ids=NOT_JSON)
def test_a_value_that_is_not_json_is_refused(value: object) -> None:
    with pytest.raises(InvariantBrokenError, match="ActionSucceeded cannot be stored"):
        CODEC.encode((ActionSucceeded(at=0.0, step=0, output=value),))
    with pytest.raises(InvariantBrokenError):
        encode_object({"value": value})


def test_a_date_is_not_json_either(wedding: object) -> None:
    with pytest.raises(InvariantBrokenError):
        CODEC.encode((ActionSucceeded(at=0.0, step=0, output=wedding),))


def test_nan_in_a_field_of_its_own_is_refused() -> None:
    with pytest.raises(InvariantBrokenError):
        CODEC.encode((PlanClosed(at=float("nan")),))


def test_none_and_the_word_null_are_no_nan() -> None:
    output = {"null": None, "text": "null null", "list": [None, "null"]}
    record = ActionSucceeded(at=0.0, step=0, output=output, undo_params={"a": None})
    assert CODEC.decode(CODEC.encode((record,))) == (record,)


def test_what_is_no_type_of_record_is_refused() -> None:
    with pytest.raises(InvariantBrokenError, match="no type of record"):
        CODEC.encode((Record(at=0.0),))


# --- strict reading ------------------------------------------------------------------------------

GOOD = {"type": "AttemptStarted", "v": 1, "at": 2.5, "step": 0, "direction": "do", "attempt": 2}
SUBMITTED = SagaSubmitted(at=0.0, saga_id="s", plan_hash="h", plan={}, tools={}, undoes={"1": "r"})


def row(**changes: Any) -> bytes:
    """Return the body of one good record with these changes; None as a value takes it away."""
    changed = {**GOOD, **changes}
    return orjson.dumps([{name: value for name, value in changed.items() if value is not None}])


DAMAGED: dict[str, bytes] = {
    "empty": b"",
    "not json": b"[{",
    "cut off": CODEC.encode((PlanClosed(at=1.5),))[:-2],
    "not utf-8": b'[{"type":"\xff"}]',
    "utf-16": "[]".encode("utf-16"),
    "trailing data": b"[][]",
    "not a list": b"{}",
    "no record": b"[]",
    "not an object": b"[1]",
    "null": b"[null]",
    "no type": row(type=None),
    "type is no text": row(type=7),
    "no version": row(v=None),
    "version 0": row(v=0),
    "version true": row(v=True),
    "version is text": row(v="1"),
    "field missing": row(step=None),
    "field unknown": row(colour="red"),
    "text for a number": row(step="0"),
    "true for a number": row(step=True),
    "fraction for an integer": row(step=0.5),
    "null for a number": orjson.dumps([{**GOOD, "step": None}]),
    "text for a time": row(at="now"),
    "true for a time": row(at=True),
    "unknown word": row(direction="sideways"),
    "number for a word": row(direction=1),
    "list for a word": row(direction=["do"]),
    "number for text": CODEC.encode((SagaMoved(at=0.0, event="e", state="s"),)).replace(
        b'"e"', b"1"
    ),
    "list for a mapping": CODEC.encode((SUBMITTED,)).replace(b'"plan":{}', b'"plan":[]'),
    "number in a mapping of text": CODEC.encode((SUBMITTED,)).replace(b'"r"', b"1"),
    "text for a flag": CODEC.encode((SUBMITTED,)).replace(b"false", b'"no"'),
}


@pytest.mark.parametrize("body", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_body_is_said_to_be_damaged(body: bytes) -> None:
    with pytest.raises(CorruptRecordError) as caught:
        CODEC.decode(body, saga_id="trip-7", position=4)
    assert "'trip-7'" in str(caught.value)
    assert caught.value.facts == {"saga_id": "trip-7", "position": 4}


@pytest.mark.parametrize("calls", ['{"tool":"a"}', '["a"]', "[null]", "null", "[[]]"])
def test_a_list_of_calls_holds_objects_only(calls: str) -> None:
    whole = CallsSupplied(at=0.0, step=1, calls=(), tools={}, by="ann", note="")
    body = CODEC.encode((whole,)).replace(b'"calls":[]', f'"calls":{calls}'.encode())
    with pytest.raises(CorruptRecordError):
        CODEC.decode(body)


def test_the_message_names_the_position_of_the_record_that_is_damaged() -> None:
    good = {"type": "PlanClosed", "v": 1, "at": 1.5}
    body = orjson.dumps([good, good, {**good, "at": "x"}])
    with pytest.raises(CorruptRecordError, match="Record 12 of saga"):
        CODEC.decode(body, saga_id="trip-7", position=10)


@pytest.mark.parametrize("body", [row(type="StepTeleported"), row(v=2), row(v=99)])
def test_what_a_newer_version_wrote_is_said_to_be_newer(body: bytes) -> None:
    with pytest.raises(StoreVersionError, match="newer") as caught:
        CODEC.decode(body, saga_id="trip-7", position=4)
    assert caught.value.facts == {"saga_id": "trip-7", "position": 4}


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    with contextlib.suppress(CorruptRecordError, StoreVersionError):
        CODEC.decode(body)


@given(RECORDS, st.data())
def test_a_flipped_byte_is_read_as_another_value_or_refused(
    record: Record, data: st.DataObject
) -> None:
    body = bytearray(CODEC.encode((record,)))
    body[data.draw(st.integers(0, len(body) - 1))] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(CorruptRecordError, StoreVersionError):
        CODEC.decode(bytes(body))


# --- versions ------------------------------------------------------------------------------------


class StepPainted(Record, frozen=True, kw_only=True):
    """A record that has lived: version 1 had `color`, version 2 added `step`."""

    colour: str
    step: int


def rename_color(fields: dict[str, Any]) -> dict[str, Any]:
    return {"at": fields["at"], "colour": fields["color"]}


def add_step(fields: dict[str, Any]) -> dict[str, Any]:
    return {**fields, "step": 0}


def codec_with(**upgrades: Mapping[int, Callable[[dict[str, Any]], dict[str, Any]]]) -> RecordCodec:
    return RecordCodec({"StepPainted": StepPainted}, versions={"StepPainted": 3}, upgrades=upgrades)


def test_old_versions_are_read_through_their_upgrades() -> None:
    codec = codec_with(StepPainted={1: rename_color, 2: add_step})
    painted = StepPainted(at=1.0, colour="red", step=0)
    assert codec.decode(b'[{"type":"StepPainted","v":1,"at":1.0,"color":"red"}]') == (painted,)
    assert codec.decode(b'[{"type":"StepPainted","v":2,"at":1.0,"colour":"red"}]') == (painted,)
    assert codec.encode((painted,)) == (
        b'[{"type":"StepPainted","v":3,"at":1.0,"colour":"red","step":0}]'
    )
    assert codec.decode(codec.encode((painted,))) == (painted,)


def test_an_old_record_that_its_upgrade_cannot_read_is_damaged() -> None:
    codec = codec_with(StepPainted={1: rename_color, 2: add_step})
    with pytest.raises(CorruptRecordError):
        codec.decode(b'[{"type":"StepPainted","v":1,"at":1.0}]')


@pytest.mark.parametrize(
    "upgrades", [{}, {1: rename_color}, {2: add_step}, {1: add_step, 3: add_step}]
)
def test_a_version_without_all_its_upgrades_is_a_bug(upgrades: Any) -> None:
    with pytest.raises(InvariantBrokenError, match="one upgrade from each"):
        codec_with(StepPainted=upgrades)


@pytest.mark.parametrize("name", ["type", "v"])
def test_a_field_with_one_of_the_codecs_own_names_is_a_bug(name: str) -> None:
    cls: Any = msgspec.defstruct("Odd", [(name, str)], bases=(Record,), frozen=True, kw_only=True)
    with pytest.raises(InvariantBrokenError, match="the codec's"):
        RecordCodec({"Odd": cls})


# --- commands ------------------------------------------------------------------------------------


@given(st.dictionaries(TEXT, JSON, max_size=4))
def test_an_object_makes_the_round_trip(value: dict[str, Any]) -> None:
    assert decode_object(encode_object(value), what="it") == value


@pytest.mark.parametrize("body", [b"", b"[]", b"1", b"null", b"{"])
def test_what_is_no_object_is_said_to_be_damaged(body: bytes) -> None:
    with pytest.raises(CorruptRecordError, match="Command 7"):
        decode_object(body, what="Command 7")


def test_an_unsettled_step_is_stored_with_its_words() -> None:
    record = ActionDoubted(at=0.0, step=3, error="超时: timeout after 5 s")
    assert "超时".encode() in CODEC.encode((record,))


def test_an_object_may_hold_read_only_mappings_and_no_date(wedding: datetime.datetime) -> None:
    inside = MappingProxyType({"by": "Ann"})
    assert encode_object(MappingProxyType({"who": inside})) == b'{"who":{"by":"Ann"}}'
    for value in (wedding, object()):
        with pytest.raises(
            InvariantBrokenError, match=f"JSON serializable: {type(value).__name__}"
        ):
            encode_object({"at": value})
    with pytest.raises(InvariantBrokenError, match="an object cannot be stored: nan is not JSON"):
        encode_object({"price": float("nan")})


def test_a_type_without_a_word_of_its_version_is_at_its_first() -> None:
    known: dict[str, type[Record]] = {"PlanClosed": PlanClosed, "SagaMoved": SagaMoved}
    for versions in (None, {"SagaMoved": 1}):
        codec = RecordCodec(known, versions=versions)
        assert codec.encode((PlanClosed(at=1.0),)) == b'[{"type":"PlanClosed","v":1,"at":1.0}]'
