"""What is said when a store in etcd cannot be opened, in words for who gave the URL."""

from __future__ import annotations

from fsm_saga.errors import StoreError
from fsm_saga.etcd.errors import (
    EtcdError,
    EtcdUnavailableError,
    PermissionDeniedError,
    UnauthenticatedError,
)

# Of the words that gRPC has for a connection that does not come about, the first that fit.
_HINTS = (
    (
        ("Hostname Verification", "is not valid for", "hostname mismatch"),
        "Its certificate is for another name: use a host name that the certificate has.",
    ),
    (
        ("CERTIFICATE_VERIFY_FAILED",),
        "Its certificate is not of an authority that is trusted here: name the file with the "
        "authority's certificate by ca=FILE.",
    ),
    (
        ("TSI_DATA_CORRUPTED", "CERTIFICATE_REQUIRED", "BAD_CERTIFICATE"),
        "It wants a certificate of the client that it trusts: give one by cert=FILE&key=FILE.",
    ),
    (
        ("Failed to create security handshaker",),
        "A file of ca=, cert= and key= is not the certificate or key that it should be.",
    ),
    (
        ("Handshake read failed", "WRONG_VERSION_NUMBER"),
        "It does not speak TLS: leave tls=1, ca=, cert= and key= away.",
    ),
    (
        ("Socket closed", "Connection reset by peer"),
        "If it speaks TLS, ask for that: add ?ca=FILE to the URL, or ?tls=1 for the authorities "
        "of the system, and cert=FILE&key=FILE if it wants a certificate of the client.",
    ),
    (
        ("Connection refused",),
        "Nothing listens there: is etcd running, and are host and port right?",
    ),
    (
        ("hostname lookup error", "Domain name not found", "DNS resolution failed"),
        "There is no host of that name: is it spelt right?",
    ),
)


def hint_for(problem: str) -> str:
    """Return what to do when an address of etcd does not answer so, or "" if that is not known.

    Example:
        >>> hint_for("failed: Connection refused")
        'Nothing listens there: is etcd running, and are host and port right?'
        >>> hint_for("Deadline Exceeded")
        ''
    """
    for words, hint in _HINTS:
        if any(each in problem for each in words):
            return hint
    return ""


def cannot_open(shown: str, error: EtcdError) -> StoreError:
    """Return the error for a store that could not be opened, in words for who gave the URL."""
    if isinstance(error, UnauthenticatedError):
        return StoreError(
            f"Store {shown!r} was not opened: etcd does not accept the user or the password. "
            "Give both in the URL, or the password in FSM_SAGA_ETCD_PASSWORD. "
            f"({error.message})"
        )
    if isinstance(error, PermissionDeniedError):
        return StoreError(
            f"Store {shown!r} was not opened: the user may not read and write below the prefix. "
            f"Grant the role, `etcdctl role grant-permission`. ({error.message})"
        )
    if isinstance(error, EtcdUnavailableError):
        return StoreError(f"Store {shown!r} was not opened: etcd gives no answer. {error.message}")
    return StoreError(f"Store {shown!r} was not opened: {error.message}")
