"""Plain data into messages and back."""

from __future__ import annotations

import pytest

from fsm_saga.etcd import encode
from fsm_saga.etcd import messages as pb
from fsm_saga.etcd.data import (
    Compare,
    Delete,
    DeleteResult,
    Event,
    KeyValue,
    Put,
    PutResult,
    Range,
    RangeResult,
    Relation,
    SortBy,
    SortOrder,
    Target,
    Txn,
    TxnResult,
    WatchAnswer,
    WatchRequest,
    value_is,
)


def test_every_field_of_a_range_is_sent() -> None:
    request = Range(
        key=b"a",
        range_end=b"b",
        limit=3,
        revision=9,
        sort_order=SortOrder.DESCENDING,
        sort_by=SortBy.MOD_REVISION,
        keys_only=True,
        count_only=True,
        is_serializable=True,
    )
    assert encode.range_request(request) == pb.RangeRequest(
        key=b"a",
        range_end=b"b",
        limit=3,
        revision=9,
        sort_order=pb.RangeRequest.DESCEND,
        sort_target=pb.RangeRequest.MOD,
        keys_only=True,
        count_only=True,
        serializable=True,
    )


@pytest.mark.parametrize("target", list(Target))
@pytest.mark.parametrize("relation", list(Relation))
def test_every_comparison_is_sent(target: Target, relation: Relation) -> None:
    operand = b"v" if target is Target.VALUE else 0
    compare = Compare(key=b"k", range_end=b"l", target=target, operand=operand, relation=relation)
    (sent,) = encode.txn_request(Txn(compares=(compare,))).compare
    assert (sent.key, sent.range_end) == (b"k", b"l")
    assert (sent.target, sent.result) == (target, relation)
    name = sent.WhichOneof("target_union")
    assert name is not None
    assert name.upper() == target.name
    assert getattr(sent, name) == operand


def test_a_transaction_keeps_its_order_and_its_empty_parts() -> None:
    inner = Txn(compares=(value_is(b"k", b""),), failure=(Range(key=b"k"),))
    request = Txn(
        success=(
            Put(key=b"a", value=b"", lease=4, wants_previous=True),
            Delete(key=b"b", range_end=b"c", wants_previous=True),
            inner,
            Txn(),
        )
    )
    sent = encode.txn_request(request)
    kinds = [operation.WhichOneof("request") for operation in sent.success]
    assert kinds == ["request_put", "request_delete_range", "request_txn", "request_txn"]
    assert sent.success[0].request_put == pb.PutRequest(key=b"a", lease=4, prev_kv=True)
    assert sent.success[1].request_delete_range == pb.DeleteRangeRequest(
        key=b"b", range_end=b"c", prev_kv=True
    )
    assert sent.success[2].request_txn.failure[0].request_range.key == b"k"
    assert encode.put_request(Put(key=b"a", value=b"v")) == pb.PutRequest(key=b"a", value=b"v")
    assert encode.delete_request(Delete(key=b"a")) == pb.DeleteRangeRequest(key=b"a")


def test_a_range_at_a_revision_is_never_put_into_a_transaction() -> None:
    inner = Txn(failure=(Range(key=b"k", revision=5),))
    with pytest.raises(ValueError, match="range at revision 5 is not sent"):
        encode.txn_request(Txn(success=(inner,)))


def test_results_come_back_in_order_with_one_revision() -> None:
    kv = pb.KeyValue(key=b"k", value=b"v", create_revision=1, mod_revision=2, version=3, lease=4)
    inner = pb.TxnResponse(responses=[pb.ResponseOp(response_put=pb.PutResponse(prev_kv=kv))])
    message = pb.TxnResponse(
        succeeded=True,
        responses=[
            pb.ResponseOp(response_range=pb.RangeResponse(kvs=[kv], more=True, count=2)),
            pb.ResponseOp(response_put=pb.PutResponse()),
            pb.ResponseOp(response_delete_range=pb.DeleteRangeResponse(deleted=1, prev_kvs=[kv])),
            pb.ResponseOp(response_txn=inner),
        ],
    )
    found = KeyValue(key=b"k", value=b"v", create_revision=1, mod_revision=2, version=3, lease=4)
    assert encode.txn_result(message, 9) == TxnResult(
        succeeded=True,
        revision=9,
        results=(
            RangeResult(revision=9, kvs=(found,), count=2, has_more=True),
            PutResult(revision=9),
            DeleteResult(revision=9, deleted=1, previous=(found,)),
            TxnResult(
                succeeded=False, revision=9, results=(PutResult(revision=9, previous=found),)
            ),
        ),
    )


def test_a_watch_is_asked_for_and_its_answers_are_told_apart() -> None:
    request = WatchRequest(key=b"a", range_end=b"b", revision=3, wants_previous=True)
    assert encode.watch_request(request).create_request == pb.WatchCreateRequest(
        key=b"a", range_end=b"b", start_revision=3, prev_kv=True
    )
    header = pb.ResponseHeader(revision=8)
    put = pb.Event(kv=pb.KeyValue(key=b"a"), prev_kv=pb.KeyValue(key=b"a", version=1))
    gone = pb.Event(type=pb.Event.DELETE, kv=pb.KeyValue(key=b"a", mod_revision=8))
    assert encode.watch_answer(pb.WatchResponse(header=header, events=[put, gone])) == WatchAnswer(
        revision=8,
        events=(
            Event(kv=KeyValue(key=b"a"), previous=KeyValue(key=b"a", version=1)),
            Event(kv=KeyValue(key=b"a", mod_revision=8), is_delete=True),
        ),
    )
    assert encode.watch_answer(pb.WatchResponse(header=header)).is_progress
    created = encode.watch_answer(pb.WatchResponse(header=header, created=True))
    assert (created.is_created, created.is_progress) == (True, False)
    compacted = encode.watch_answer(pb.WatchResponse(canceled=True, compact_revision=5))
    assert (compacted.is_cancelled, compacted.compact_revision) == (True, 5)
    refused = encode.watch_answer(pb.WatchResponse(canceled=True, cancel_reason="why"))
    assert refused.reason == "why"
