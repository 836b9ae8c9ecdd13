"""Archives everything that has ended in a store, and dies by SIGKILL where it is told to."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import Any

from fsm_saga.service import archive
from fsm_saga.service.archiving import archive_finished
from fsm_saga.stores.opening import open_store
from fsm_saga.stores.sqlite import SqliteWriteStore

POINTS = (
    "half a line is written",
    "all is written",
    "the file is synced",
    "the folder is synced",
    "one is removed",
    "all are removed",
)
NOW = 4e9


def die() -> None:
    """End as ``kill -9`` ends a process."""
    os.kill(os.getpid(), signal.SIGKILL)


def dies_at(point: str) -> None:
    """Change what the archive is made of, so that this process dies there."""
    write_all, sync, sync_folder = archive._write_all, os.fsync, archive._sync_folder
    remove = SqliteWriteStore.remove

    def half_written(file: Any, data: bytes) -> None:
        write_all(file, data[: len(data) - 100])
        die()

    def written(file: Any, data: bytes) -> None:
        write_all(file, data)
        die()

    def synced(fd: int) -> None:
        sync(fd)
        die()

    def folder_synced(directory: Any) -> None:
        sync_folder(directory)
        die()

    async def removed(store: SqliteWriteStore, saga_id: str, **expected: Any) -> None:
        await remove(store, saga_id, **expected)
        die()

    changed: dict[str, tuple[Any, str, Any]] = {
        POINTS[0]: (archive, "_write_all", half_written),
        POINTS[1]: (archive, "_write_all", written),
        POINTS[2]: (os, "fsync", synced),
        POINTS[3]: (archive, "_sync_folder", folder_synced),
        POINTS[4]: (SqliteWriteStore, "remove", removed),
    }
    if point in changed:
        setattr(*changed[point])


async def main(url: str, directory: str, point: str) -> None:
    """Archive, unless this dies before."""
    dies_at(point)
    async with open_store(url) as store:
        await archive_finished(store, directory, older_than_s=0, now=NOW)
        die()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
