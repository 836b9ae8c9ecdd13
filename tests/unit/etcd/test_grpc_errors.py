"""Which answer of gRPC means what."""

from __future__ import annotations

import pickle

import grpc
import pytest

from fsm_saga.etcd import errors
from fsm_saga.etcd.data import Delete, Put, Range, Txn, WatchRequest
from fsm_saga.etcd.grpc_errors import (
    describe,
    is_token_refused,
    read_error,
    refusal_of,
    write_error,
)

Code = grpc.StatusCode

CERTAIN = [
    (Code.OUT_OF_RANGE, "etcdserver: mvcc: required revision has been compacted", "Compacted"),
    (Code.OUT_OF_RANGE, "etcdserver: mvcc: required revision is a future revision", "Future"),
    (Code.NOT_FOUND, "etcdserver: requested lease not found", "LeaseNotFound"),
    (Code.FAILED_PRECONDITION, "etcdserver: lease already exists", "LeaseExists"),
    (Code.INVALID_ARGUMENT, "etcdserver: request is too large", "TooLarge"),
    (Code.RESOURCE_EXHAUSTED, "grpc: received message larger than max (3 vs. 2)", "TooLarge"),
    (Code.INVALID_ARGUMENT, "etcdserver: too many operations in txn request", "TooMany"),
    (Code.INVALID_ARGUMENT, "etcdserver: duplicate key given in txn request", "DuplicateKey"),
    (Code.PERMISSION_DENIED, "etcdserver: permission denied", "PermissionDenied"),
    (Code.UNAUTHENTICATED, "etcdserver: invalid auth token", "Unauthenticated"),
    (Code.INVALID_ARGUMENT, "etcdserver: revision of auth store is old", "Unauthenticated"),
    (Code.INVALID_ARGUMENT, "etcdserver: user name is empty", "Unauthenticated"),
    (Code.RESOURCE_EXHAUSTED, "etcdserver: too many requests", "Overloaded"),
    (Code.DATA_LOSS, "etcdserver: corrupt cluster", "ClusterCorrupt"),
    (Code.INVALID_ARGUMENT, "etcdserver: key is not provided", "InvalidRequest"),
    (Code.UNIMPLEMENTED, "unknown service", "InvalidRequest"),
]

UNKNOWN = [
    (Code.UNAVAILABLE, "Socket closed"),
    (Code.UNAVAILABLE, "etcdserver: request timed out"),
    (Code.UNAVAILABLE, "etcdserver: leader changed"),
    (Code.UNAVAILABLE, "failed to connect to all addresses"),
    (Code.DEADLINE_EXCEEDED, "Deadline Exceeded"),
    (Code.CANCELLED, "Channel closed!"),
    (Code.UNKNOWN, "raft: stopped"),
    (Code.INTERNAL, "Exception deserializing response!"),
    (Code.ABORTED, ""),
    (Code.RESOURCE_EXHAUSTED, "something new"),
    (Code.RESOURCE_EXHAUSTED, "grpc: trying to send message larger than max (5 vs. 4)"),
    (Code.RESOURCE_EXHAUSTED, "Received message larger than max (5 vs. 4)"),
    (Code.RESOURCE_EXHAUSTED, "CLIENT: Received message larger than max (5 vs. 4)"),
]


@pytest.mark.parametrize(("code", "details", "kind"), CERTAIN)
def test_a_refusal_is_certain_for_reads_and_writes(
    code: grpc.StatusCode, details: str, kind: str
) -> None:
    for error in (
        read_error(code, details, what="it", endpoint="e:1"),
        write_error(code, details, what="it", endpoint="e:1"),
    ):
        assert type(error).__name__.startswith(kind)
        assert isinstance(error, errors.NothingWrittenError)
        assert details in error.message
        assert "Nothing was written" in error.message


@pytest.mark.parametrize(("code", "details"), UNKNOWN)
def test_what_is_not_known_to_be_a_refusal_leaves_a_write_in_doubt(
    code: grpc.StatusCode, details: str
) -> None:
    error = write_error(code, details, what="it", endpoint="e:1")
    assert type(error) is errors.UnknownOutcomeError
    assert error.facts["endpoint"] == "e:1"
    assert type(read_error(code, details, what="it", endpoint="e:1")) is errors.EtcdUnavailableError


def test_no_space_leaves_a_write_in_doubt() -> None:
    details = "etcdserver: mvcc: database space exceeded"
    error = write_error(Code.RESOURCE_EXHAUSTED, details, what="it", endpoint="e:1")
    assert type(error) is errors.NoSpaceError
    assert isinstance(error, errors.UnknownOutcomeError)
    assert "may have been applied" in error.message


def test_only_a_refused_token_can_be_renewed() -> None:
    assert is_token_refused("etcdserver: invalid auth token")
    assert is_token_refused("etcdserver: revision of auth store is old")
    assert not is_token_refused("etcdserver: authentication failed, invalid user ID or password")
    assert not is_token_refused("etcdserver: permission denied")


def test_the_reason_of_a_cancelled_watch_has_no_code() -> None:
    assert isinstance(
        refusal_of(None, "rpc error: etcdserver: permission denied", what="a watch"),
        errors.PermissionDeniedError,
    )
    assert refusal_of(None, "etcdserver: mvcc: something", what="a watch") is None


@pytest.mark.parametrize(
    ("what", "words"),
    [
        (Txn(success=(Put(key=b"k", value=b"secret"),)), "a transaction of 1 operation"),
        (Txn(), "a transaction of 0 operations"),
        (Put(key=b"k", value=b"secret"), "the write of b'k'"),
        (Delete(key=b"k"), "the deletion of b'k'"),
        (Range(key=b"k"), "the read of b'k'"),
        (WatchRequest(key=b"k", revision=7), "the watch of b'k' from revision 7"),
        ("the list of members", "the list of members"),
    ],
)
def test_messages_name_what_was_asked_and_no_value(what: object, words: str) -> None:
    assert describe(what) == words


def test_errors_keep_their_facts_through_pickling_and_have_codes_of_their_own() -> None:
    kinds = [
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.EtcdError)
    ]
    assert len({kind.code for kind in kinds}) == len(kinds)
    assert all(kind.code.startswith("etcd-") for kind in kinds)
    for kind in kinds:
        again = pickle.loads(pickle.dumps(kind("words", revision=3)))  # noqa: S301  # our own
        assert type(again) is kind
        assert (again.message, again.facts) == ("words", {"revision": 3})
