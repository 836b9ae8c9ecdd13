"""Plain data into etcd's messages and back; the hot path of every write.

Messages are filled in place: to make a message and hand it to another copies it.
"""

from __future__ import annotations

from typing import assert_never

from fsm_saga.etcd import messages as pb
from fsm_saga.etcd.data import (
    Compare,
    Delete,
    DeleteResult,
    Event,
    KeyValue,
    Operation,
    OperationResult,
    Put,
    PutResult,
    Range,
    RangeResult,
    Target,
    Txn,
    TxnResult,
    WatchAnswer,
    WatchRequest,
)


def range_request(request: Range) -> pb.RangeRequest:
    """Return the message of a range."""
    message = pb.RangeRequest()
    _fill_range(message, request)
    return message


def put_request(request: Put) -> pb.PutRequest:
    """Return the message of a put."""
    message = pb.PutRequest()
    _fill_put(message, request)
    return message


def delete_request(request: Delete) -> pb.DeleteRangeRequest:
    """Return the message of a deletion."""
    message = pb.DeleteRangeRequest()
    _fill_delete(message, request)
    return message


def txn_request(request: Txn) -> pb.TxnRequest:
    """Return the message of a transaction.

    Raises:
        ValueError: A range inside it names a revision. Members of etcd can come to differ by
            that (its issue 18667), so it is never sent.
    """
    message = pb.TxnRequest()
    _fill_txn(message, request)
    return message


def watch_request(request: WatchRequest) -> pb.WatchRequest:
    """Return the message that creates a watch."""
    message = pb.WatchRequest()
    create = message.create_request
    create.key = request.key
    create.range_end = request.range_end
    create.start_revision = request.revision
    create.prev_kv = request.wants_previous
    return message


def _fill_range(message: pb.RangeRequest, request: Range) -> None:
    message.key = request.key
    if request.range_end:
        message.range_end = request.range_end
    if request.limit:
        message.limit = request.limit
    if request.revision:
        message.revision = request.revision
    if request.sort_order:
        message.sort_order = request.sort_order
        message.sort_target = request.sort_by
    if request.keys_only:
        message.keys_only = True
    if request.count_only:
        message.count_only = True
    if request.is_serializable:
        message.serializable = True


def _fill_put(message: pb.PutRequest, request: Put) -> None:
    message.key = request.key
    message.value = request.value
    if request.lease:
        message.lease = request.lease
    if request.wants_previous:
        message.prev_kv = True


def _fill_delete(message: pb.DeleteRangeRequest, request: Delete) -> None:
    message.key = request.key
    if request.range_end:
        message.range_end = request.range_end
    if request.wants_previous:
        message.prev_kv = True


def _fill_txn(message: pb.TxnRequest, request: Txn) -> None:
    add_compare = message.compare.add
    for compare in request.compares:
        _fill_compare(add_compare(), compare)
    add_success = message.success.add
    for operation in request.success:
        _fill_operation(add_success(), operation)
    add_failure = message.failure.add
    for operation in request.failure:
        _fill_operation(add_failure(), operation)


def _fill_operation(message: pb.RequestOp, operation: Operation) -> None:
    match operation:
        case Put():
            _fill_put(message.request_put, operation)
        case Txn():
            # An empty part of a oneof would not be there at all.
            message.request_txn.SetInParent()
            _fill_txn(message.request_txn, operation)
        case Range():
            if operation.revision:
                raise ValueError(
                    f"A transaction with a range at revision {operation.revision} is not sent: "
                    "members of etcd can come to differ by it. Read at a revision outside."
                )
            _fill_range(message.request_range, operation)
        case Delete():
            _fill_delete(message.request_delete_range, operation)
        case _:
            assert_never(operation)


_OPERAND_FIELDS = {
    Target.VERSION: "version",
    Target.CREATE_REVISION: "create_revision",
    Target.MOD_REVISION: "mod_revision",
    Target.VALUE: "value",
    Target.LEASE: "lease",
}


def _fill_compare(message: pb.Compare, compare: Compare) -> None:
    message.key = compare.key
    message.target = compare.target
    if compare.relation:
        message.result = compare.relation
    setattr(message, _OPERAND_FIELDS[compare.target], compare.operand)
    if compare.range_end:
        message.range_end = compare.range_end


def key_value(message: pb.KeyValue) -> KeyValue:
    """Return the key that the message tells of."""
    return KeyValue(
        key=message.key,
        value=message.value,
        create_revision=message.create_revision,
        mod_revision=message.mod_revision,
        version=message.version,
        lease=message.lease,
    )


def range_result(message: pb.RangeResponse, revision: int) -> RangeResult:
    """Return what a range found."""
    return RangeResult(
        revision=revision,
        kvs=tuple([key_value(kv) for kv in message.kvs]),
        count=message.count,
        has_more=message.more,
    )


def put_result(message: pb.PutResponse, revision: int) -> PutResult:
    """Return what a put did."""
    previous = key_value(message.prev_kv) if message.HasField("prev_kv") else None
    return PutResult(revision=revision, previous=previous)


def delete_result(message: pb.DeleteRangeResponse, revision: int) -> DeleteResult:
    """Return what a deletion did."""
    return DeleteResult(
        revision=revision,
        deleted=message.deleted,
        previous=tuple([key_value(kv) for kv in message.prev_kvs]),
    )


def txn_result(message: pb.TxnResponse, revision: int) -> TxnResult:
    """Return which branch of a transaction was done, and what it did."""
    return _txn_result(message, revision, PutResult(revision=revision))


def _txn_result(message: pb.TxnResponse, revision: int, plain_put: PutResult) -> TxnResult:
    # Nearly all results of a group commit are puts that tell nothing: they share one object.
    results: list[OperationResult] = []
    for response in message.responses:
        kind = response.WhichOneof("response")
        if kind == "response_put":
            put = response.response_put
            results.append(put_result(put, revision) if put.HasField("prev_kv") else plain_put)
        elif kind == "response_txn":
            results.append(_txn_result(response.response_txn, revision, plain_put))
        elif kind == "response_range":
            results.append(range_result(response.response_range, revision))
        else:
            results.append(delete_result(response.response_delete_range, revision))
    return TxnResult(succeeded=message.succeeded, revision=revision, results=tuple(results))


def watch_answer(message: pb.WatchResponse) -> WatchAnswer:
    """Return what a message on a watch says."""
    is_plain = not (message.created or message.canceled)
    return WatchAnswer(
        revision=message.header.revision,
        events=tuple([_event(event) for event in message.events]),
        is_created=message.created,
        is_cancelled=message.canceled,
        is_progress=is_plain and not message.events,
        compact_revision=message.compact_revision,
        reason=message.cancel_reason,
    )


def _event(message: pb.Event) -> Event:
    return Event(
        kv=key_value(message.kv),
        is_delete=message.type == pb.Event.DELETE,
        previous=key_value(message.prev_kv) if message.HasField("prev_kv") else None,
    )
