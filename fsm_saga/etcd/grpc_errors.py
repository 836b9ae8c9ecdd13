"""What an answer of gRPC means for the caller.

The codes alone do not say it: etcd uses INVALID_ARGUMENT for a request that is too large and for a
token that is too old. So the words of etcd are looked at first, then the code. Whatever is not
known to be a refusal counts as unknown: a doubt is cheaper than a mistake.
"""

from __future__ import annotations

import grpc

from fsm_saga.etcd.data import Delete, Put, Range, Txn, WatchRequest
from fsm_saga.etcd.errors import (
    ClusterCorruptError,
    CompactedError,
    DuplicateKeyError,
    EtcdError,
    EtcdUnavailableError,
    FutureRevisionError,
    InvalidRequestError,
    LeaseExistsError,
    LeaseNotFoundError,
    NoSpaceError,
    NothingWrittenError,
    OverloadedError,
    PermissionDeniedError,
    TooLargeError,
    TooManyOperationsError,
    UnauthenticatedError,
    UnknownOutcomeError,
)

# Words of etcd, and of the gRPC server inside it, that mean a certain refusal, with what to do.
_REFUSALS: tuple[tuple[str, type[NothingWrittenError], str], ...] = (
    ("revision has been compacted", CompactedError, "List again at a new revision."),
    ("is a future revision", FutureRevisionError, "Look whether this is the same cluster."),
    ("requested lease not found", LeaseNotFoundError, "Get a new lease."),
    ("lease already exists", LeaseExistsError, "Choose another id."),
    ("request is too large", TooLargeError, "Make it smaller."),
    # So the server says it of a request. Of its own answer it says "trying to send", and our side
    # says "Received": in both cases the request has been carried out.
    ("grpc: received message larger than max", TooLargeError, "Make it smaller."),
    ("too many operations", TooManyOperationsError, "Make it smaller."),
    ("duplicate key given", DuplicateKeyError, "Write each key once."),
    ("permission denied", PermissionDeniedError, "Grant the user a role for these keys."),
    ("user name is empty", UnauthenticatedError, "Give a user and a password."),
    ("authentication failed", UnauthenticatedError, "Check the user and the password."),
    ("invalid auth token", UnauthenticatedError, "Check the user and the password."),
    ("revision of auth store is old", UnauthenticatedError, "Check the user and the password."),
    ("too many requests", OverloadedError, "Wait, then try again."),
    ("corrupt cluster", ClusterCorruptError, "Ask whoever runs etcd: its members differ."),
)

_NO_SPACE = "database space exceeded"

# A token that these words are said of can be had anew; the request itself was not looked at.
_TOKEN_WORDS = ("invalid auth token", "revision of auth store is old", "user name is empty")

_CERTAIN_CODES = frozenset(
    {
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.ALREADY_EXISTS,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.OUT_OF_RANGE,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.UNAUTHENTICATED,
    }
)


def describe(what: object) -> str:
    """Return the words for a request in a message; a request that has its own is a text."""
    match what:
        case Txn():
            count = len(what.success)
            return f"a transaction of {count} operation{'' if count == 1 else 's'}"
        case Put():
            return f"the write of {what.key!r}"
        case Delete():
            return f"the deletion of {what.key!r}"
        case Range():
            return f"the read of {what.key!r}"
        case WatchRequest():
            return f"the watch of {what.key!r} from revision {what.revision}"
        case _:
            return str(what)


def is_token_refused(details: str) -> bool:
    """Return whether a new token may help."""
    return any(words in details for words in _TOKEN_WORDS)


def refusal_of(
    code: grpc.StatusCode | None, details: str, *, what: str
) -> NothingWrittenError | None:
    """Return the certain refusal that the answer means, or None when it means no such thing.

    Args:
        code: The code of gRPC, or None for the reason of a cancelled watch, which has no code.
        details: The words that came with it.
        what: What was asked, as the message is to name it.
    """
    if details.startswith("CLIENT:"):
        return None  # our own side could not take the answer: the request itself went through
    for words, kind, advice in _REFUSALS:
        if words in details:
            return kind(
                f"etcd refused {what}: {details}. Nothing was written. {advice}", details=details
            )
    if code in _CERTAIN_CODES:
        return InvalidRequestError(
            f"etcd refused {what}: {details or 'no reason given'} ({code.name}). Nothing was "
            "written; the request must be changed first.",
            grpc_code=code.name,
            details=details,
        )
    return None


def read_error(code: grpc.StatusCode, details: str, *, what: str, endpoint: str) -> EtcdError:
    """Return the error of a read."""
    return refusal_of(code, details, what=what) or EtcdUnavailableError(
        f"etcd did not answer {what}: {endpoint} said {code.name} {details!r}. Nothing was to be "
        "written; try again when a majority of the members can be reached.",
        grpc_code=code.name,
        details=details,
        endpoint=endpoint,
    )


def write_error(code: grpc.StatusCode, details: str, *, what: str, endpoint: str) -> EtcdError:
    """Return the error of a write."""
    if _NO_SPACE in details:
        return NoSpaceError(
            f"etcd has no space left for {what}: its quota is reached. It takes no more writes, "
            "but this one may have been applied; compact, defragment each member, and disarm the "
            "alarm.",
            endpoint=endpoint,
        )
    return refusal_of(code, details, what=what) or UnknownOutcomeError(
        f"etcd gave no clear answer to {what}: {endpoint} said {code.name} {details!r}. It may "
        "have been applied, or may still be; read back, and let comparisons decide.",
        grpc_code=code.name,
        details=details,
        endpoint=endpoint,
    )
