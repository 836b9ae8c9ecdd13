"""A file system for SQLite that fails at the nth read, write or sync, once or from then on."""

from __future__ import annotations

from typing import Any, NamedTuple

import apsw


class Fault(NamedTuple):
    """What an action of SQLite meets.

    Attributes:
        action: ``read``, ``write`` or ``sync``.
        code: SQLite's code for it.
        words: What the error of the store has to say of it.
    """

    action: str
    code: int
    words: str


FULL = Fault("write", apsw.SQLITE_FULL, "the disk is full")
BAD_WRITE = Fault("write", apsw.SQLITE_IOERR_WRITE, "the disk refused a write")
BAD_SYNC = Fault("sync", apsw.SQLITE_IOERR_FSYNC, "(fsync)")
BAD_READ = Fault("read", apsw.SQLITE_IOERR_READ, "the disk refused a read")


class FaultyDisk(apsw.VFS):
    """The file system of all SQLite connections that are opened while it is there."""

    BASE = "unix"

    def __init__(self) -> None:
        self.happened = 0
        self._fault: Fault | None = None
        self._left = 0
        self._is_for_ever = False
        super().__init__("faulty-disk", self.BASE, makedefault=True)

    def arm(self, fault: Fault, nth: int, *, is_for_ever: bool) -> None:
        """Let the nth such action fail, and all after it if that is wanted."""
        self._fault, self._left, self._is_for_ever = fault, nth, is_for_ever
        self.happened = 0

    def heal(self) -> None:
        """Let nothing fail any more."""
        self._fault = None

    def xOpen(self, name: Any, flags: Any) -> apsw.VFSFile:  # noqa: N802  # SQLite's name
        return FaultyFile(self, name, flags)

    def meet(self, action: str) -> None:
        """Raise what an action meets, if it meets anything."""
        fault = self._fault
        if fault is None or fault.action != action:
            return
        self._left -= 1
        if self._left == 0 or (self._left < 0 and self._is_for_ever):
            self.happened += 1
            error: Any = (apsw.FullError if fault is FULL else apsw.IOError)("made by the test")
            error.extendedresult = fault.code
            raise error


class FaultyFile(apsw.VFSFile):
    """A file on that disk."""

    def __init__(self, disk: FaultyDisk, name: Any, flags: Any) -> None:
        self._disk = disk
        super().__init__(disk.BASE, name, flags)

    def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802
        self._disk.meet("read")
        return super().xRead(amount, offset)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        self._disk.meet("write")
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:  # noqa: N802
        self._disk.meet("sync")
        super().xSync(flags)
