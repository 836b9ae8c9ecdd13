"""One writer per file: a lock of the operating system, so that kill -9 frees it."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import Any

from filelock import FileLock, Timeout

from fsm_saga.errors import FsmSagaError, StoreError, StoreLockedError
from fsm_saga.stores.sqlite_reader import JournalReader


def lock_path_of(path: str) -> str:
    """Return the path of the side file; one file has one, whatever link it is reached by."""
    return f"{os.path.realpath(path)}.lock"


def has_lock_file(path: str) -> bool:
    """Return True if a writer has been here, or is still."""
    return os.path.exists(lock_path_of(path))


def acquire_writer_lock(path: str) -> FileLock:
    """Return the lock of the store at ``path``, held until it is released or the process ends.

    Raises:
        StoreLockedError: Another process, or another store of this one, holds it.
        StoreError: The side file cannot be made, or the file system has no locks.
    """
    lock_path = lock_path_of(path)
    # A soft lock would outlive kill -9, so without real locks we rather refuse.
    lock = FileLock(lock_path, thread_local=False, fallback_to_soft=False)
    try:
        lock.acquire(blocking=False)
    except Timeout as error:
        # It stands too for a file that cannot be made in a directory which is there, as in /proc.
        if not has_lock_file(path):
            raise _lockless(path, "no such file can be made") from error
        raise _locked(path) from error
    except OSError as error:
        raise _lockless(path, error.strerror or str(error)) from error
    return lock


def _lockless(path: str, reason: str) -> StoreError:
    return StoreError(
        f"Store {path!r} was not opened for writing: {lock_path_of(path)!r} could not be locked "
        f"({reason}). Nothing was changed; check the permissions of the directory, or open the "
        "store for reading."
    )


def _locked(path: str) -> StoreLockedError:
    holder = _holder(path)
    pid, host, since = holder.get("pid"), holder.get("host"), holder.get("since")
    if pid is None or since is None:
        who = "Another process"
    else:
        when = datetime.fromtimestamp(since, UTC).isoformat(timespec="seconds")
        who = f"Process {pid} on {host!r}"
        who += " (this process)" if pid == os.getpid() else ""
        who += f", since {when},"
    return StoreLockedError(
        f"Store {path!r} was not opened for writing: {who} is its writer. Nothing was changed. "
        "Stop that process first, or open the store for reading; if the process is gone, its lock "
        "is gone with it, so try again.",
        path=path,
        pid=pid,
        host=holder.get("host"),
        since=since,
    )


def _holder(path: str) -> dict[str, Any]:
    """Return what the writer left of itself in the store, as far as it can be read."""
    reader = JournalReader(path)
    try:
        return reader.meta()
    except FsmSagaError:  # it is about to make the file, or we may not read it
        return {}
    finally:
        reader.close()
