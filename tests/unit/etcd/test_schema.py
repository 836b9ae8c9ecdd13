"""The table of messages, the classes made of it, and their types."""

from __future__ import annotations

from pathlib import Path

import pytest
from google.protobuf import descriptor_pool

from fsm_saga.etcd import messages as pb
from fsm_saga.etcd import schema, stubs


def test_the_written_types_are_those_of_the_table() -> None:
    written = Path(stubs.__file__).with_name("messages.pyi").read_text(encoding="utf-8")
    assert written == stubs.render_stubs(), "run python -m fsm_saga.etcd.stubs"


def test_every_message_has_a_class_with_its_fields() -> None:
    for name, fields in schema.messages().items():
        descriptor = getattr(pb, name).DESCRIPTOR
        assert descriptor.full_name == f"etcdserverpb.{name}"
        assert [(field.name, field.number) for field in descriptor.fields] == [
            (field.name, field.number) for field in fields
        ]


def test_no_number_is_used_twice_in_a_message() -> None:
    for name, fields in schema.messages().items():
        numbers = [field.number for field in fields]
        assert len(set(numbers)) == len(numbers), name


def test_every_call_takes_and_gives_a_message_of_the_table() -> None:
    names = schema.messages().keys()
    for method in schema.methods():
        assert {method.request, method.answer} <= names
    paths = [method.path for method in schema.methods()]
    assert "/etcdserverpb.KV/Txn" in paths
    assert len(set(paths)) == len(paths)
    streams = {m.name for m in schema.methods() if m.is_request_stream or m.is_answer_stream}
    assert streams == {"Watch", "LeaseKeepAlive", "Snapshot"}


@pytest.mark.parametrize(
    ("message", "wire"),
    [
        (pb.PutRequest(key=b"k", value=b"v", lease=5), "0a016b1201761805"),
        (pb.Compare(key=b"k", target=pb.Compare.MOD, mod_revision=7), "10021a016b3007"),
        (pb.Compare(key=b"k", range_end=b"l"), "1a016b8204016c"),
        (pb.RequestOp(request_txn=pb.TxnRequest()), "2200"),
        (pb.WatchRequest(progress_request=pb.WatchProgressRequest()), "1a00"),
        (pb.LeaseGrantRequest(TTL=10, ID=3), "080a1003"),
        (pb.AlarmRequest(action=2, memberID=9, alarm=1), "080210091801"),
    ],
)
def test_messages_are_on_the_wire_as_etcd_writes_them(message: object, wire: str) -> None:
    assert getattr(message, "SerializeToString")().hex() == wire  # noqa: B009  # any message


def test_the_number_nought_of_a_comparison_is_sent_too() -> None:
    """A field of a oneof is there when it was set: "absent" is create_revision 0."""
    compare = pb.Compare(key=b"k", target=pb.Compare.CREATE, create_revision=0)
    assert compare.SerializeToString().hex() == "10011a016b2800"
    assert compare.WhichOneof("target_union") == "create_revision"


def test_the_classes_live_in_a_pool_of_their_own() -> None:
    with pytest.raises(KeyError):
        descriptor_pool.Default().FindFileByName("fsm_saga/etcd.proto")


def test_a_field_that_the_server_added_later_is_no_hindrance() -> None:
    newer = pb.StatusResponse(version="3.7").SerializeToString() + bytes.fromhex("f80601")
    assert pb.StatusResponse.FromString(newer).version == "3.7"


def test_a_line_of_the_table_that_is_no_field_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "MESSAGES", "Broken key=bytes:1")
    with pytest.raises(ValueError, match="Broken: 'key=bytes:1' is not a field"):
        schema.messages()
