"""What is said when a store in etcd cannot be opened, in words for who gave the URL."""

from __future__ import annotations

from fsm_saga.errors import StoreError
from fsm_saga.etcd.errors import (
    EtcdError,
    EtcdUnavailableError,
    PermissionDeniedError,
    UnauthenticatedError,
)


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
