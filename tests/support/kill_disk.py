"""Kills this process in the middle of what SQLite does to its files, as ``kill -9`` may.

``arm(nth)`` kills it at the nth write, sync, truncation or deletion. A write is cut in half first:
a kill that comes while the system copies leaves the part that was copied.
"""

from __future__ import annotations

import os
import signal
from typing import Any

import apsw


class KillingDisk(apsw.VFS):
    """The file system of SQLite, for so many more actions."""

    BASE = "unix"

    def __init__(self, nth: int) -> None:
        self._left = nth
        super().__init__("killing-disk", self.BASE, makedefault=True)

    def xOpen(self, name: Any, flags: Any) -> apsw.VFSFile:  # noqa: N802  # SQLite's name
        return KillingFile(self, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802
        if self.is_time():
            die()
        super().xDelete(filename, syncdir)

    def is_time(self) -> bool:
        """Count one action; True for the one that is not survived."""
        self._left -= 1
        return self._left == 0


class KillingFile(apsw.VFSFile):
    """A file on that disk."""

    def __init__(self, disk: KillingDisk, name: Any, flags: Any) -> None:
        self._disk = disk
        super().__init__(disk.BASE, name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        if self._disk.is_time():
            super().xWrite(data[: len(data) // 2], offset)
            die()
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:  # noqa: N802
        if self._disk.is_time():
            die()
        super().xSync(flags)

    def xTruncate(self, newsize: int) -> None:  # noqa: N802
        if self._disk.is_time():
            die()
        super().xTruncate(newsize)


_disks: list[KillingDisk] = []
"""SQLite has no hold on the Python object of its default file system: we keep it."""


def arm(nth: int) -> None:
    """Die at the nth action from now on."""
    _disks.append(KillingDisk(nth))


def die() -> None:
    """End this process as ``kill -9`` does."""
    os.kill(os.getpid(), signal.SIGKILL)
