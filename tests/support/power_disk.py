"""Records what SQLite does to its files, and tells what a power loss may leave of that.

``RecordingDisk`` is a file system for SQLite that keeps a list of every write, truncation, sync and
deletion. ``states_of`` goes through that list: whatever was written to a file since its last sync
may be there or not, each sector of 512 bytes for itself. What was synced is there, and a deletion
is, because SQLite syncs the directory with it.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import apsw

SECTOR_BYTES = 512
_NOTE = "note"


class Action(NamedTuple):
    """One thing that happened: to a file of SQLite, or a ``note`` of the test's own."""

    kind: str
    file: str = ""
    offset: int = 0
    data: bytes = b""
    note: Any = None


class RecordingDisk(apsw.VFS):
    """The file system of all SQLite connections that are opened while it is there.

    Attributes:
        actions: What happened, in order.
        may_sync: Asked before each sync of a file; where it says no, the sync fails, and what was
            written before may never reach the disk although it can still be read.
    """

    BASE = "unix"

    def __init__(self) -> None:
        self.actions: list[Action] = []
        self.may_sync: Callable[[str], bool] = lambda file: True
        super().__init__("recording-disk", self.BASE, makedefault=True)

    def note(self, note: object) -> None:
        """Put something of the test's own into the list."""
        self.actions.append(Action(_NOTE, note=note))

    def xOpen(self, name: Any, flags: Any) -> apsw.VFSFile:  # noqa: N802  # SQLite's name
        return RecordingFile(self, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802
        super().xDelete(filename, syncdir)
        # Without a sync of the directory it may be undone; what it held is of no use any more.
        self.actions.append(Action("delete" if syncdir else "drop", file=_place(filename)))


class RecordingFile(apsw.VFSFile):
    """A file on that disk."""

    def __init__(self, disk: RecordingDisk, name: Any, flags: Any) -> None:
        self._disk = disk
        self._file = _place(name.filename() if isinstance(name, apsw.URIFilename) else str(name))
        super().__init__(disk.BASE, name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        # Before it is done: while it is under way any part of it may be there.
        self._disk.actions.append(Action("write", self._file, offset, bytes(data)))
        super().xWrite(data, offset)

    def xTruncate(self, newsize: int) -> None:  # noqa: N802
        self._disk.actions.append(Action("truncate", self._file, newsize))
        super().xTruncate(newsize)

    def xSync(self, flags: int) -> None:  # noqa: N802
        if not self._disk.may_sync(self._file):
            self._disk.actions.append(Action("failed sync", self._file))
            error = apsw.IOError("made by the test")
            error.extendedresult = apsw.SQLITE_IOERR_FSYNC  # type: ignore[attr-defined]
            raise error
        super().xSync(flags)
        # After it is done: before that it promises nothing.
        self._disk.actions.append(Action("sync", self._file))


def _place(path: str) -> str:
    return path.rpartition("/")[2]


@dataclass
class _File:
    """What is certainly there of a file, and what may be: None is no file."""

    durable: bytes | None = None
    pending: list[Action] = field(default_factory=list)


class State(NamedTuple):
    """What a power loss after so many actions may leave.

    Attributes:
        after: How many actions had happened.
        how: What became of what was not synced: ``kept``, ``lost`` or ``torn``.
        files: The files by name.
    """

    after: int
    how: str
    files: Mapping[str, bytes]

    @property
    def digest(self) -> bytes:
        """A key that equal sets of files share."""
        found = hashlib.sha256()
        for name, data in sorted(self.files.items()):
            found.update(f"{name}\0{len(data)}\0".encode())
            found.update(data)
        return found.digest()


def states_of(
    actions: list[Action],
    *,
    torn: int,
    seed: int,
    believes_syncs: bool = True,
    start: Mapping[str, bytes] | None = None,
) -> Iterator[State]:
    """Yield what a power loss after each action may leave.

    Args:
        actions: What happened.
        torn: How many random choices of sectors to take at each place.
        seed: Decides them.
        believes_syncs: False plays a disk whose syncs do nothing.
        start: The files that were there, and durable, before all that.
    """
    chance = random.Random(seed)
    files = {name: _File(data) for name, data in (start or {}).items()}
    for after, action in enumerate(actions, start=1):
        if action.kind == _NOTE:
            continue
        _note(files, action, believes_syncs=believes_syncs)
        yield State(after, "lost", _image(files, None))
        if any(file.pending for file in files.values()):
            yield State(after, "kept", _image(files, 1.0))
            for _ in range(torn):
                share = chance.choice((0.1, 0.5, 0.9))
                yield State(after, "torn", _image(files, share, chance))


def _note(files: dict[str, _File], action: Action, *, believes_syncs: bool) -> None:
    file = files.setdefault(action.file, _File())
    match action.kind:
        case "delete":
            del files[action.file]
        case "sync" if believes_syncs:
            file.durable = _applied(file, 1.0, random.Random(0))
            file.pending.clear()
        case "sync":
            pass
        case "failed sync":
            # The system takes the pages for clean: a later sync does not write them again.
            file.pending.clear()
        case _:
            file.pending.append(action)


def _image(
    files: Mapping[str, _File], share: float | None, chance: random.Random | None = None
) -> dict[str, bytes]:
    """Return the files with a share of what is pending; None is nothing of it."""
    found: dict[str, bytes] = {}
    for name, file in files.items():
        content = file.durable
        if share is not None and file.pending:
            content = _applied(file, share, chance or random.Random(0))
        if content is not None:
            found[name] = content
    return found


def _applied(file: _File, share: float, chance: random.Random) -> bytes | None:
    """Return the content with a share of the sectors that are pending; lost ones are holes."""
    content = bytearray(file.durable or b"")
    is_there = file.durable is not None or bool(file.pending)
    for action in file.pending:
        if action.kind == "drop":
            if chance.random() < share:
                content, is_there = bytearray(), False
        elif action.kind == "truncate":
            if chance.random() < share:
                del content[action.offset :]
        else:
            is_there = True
            _write(content, action, share, chance)
    return bytes(content) if is_there else None


def _write(content: bytearray, action: Action, share: float, chance: random.Random) -> None:
    """Write a share of the sectors that a write touches."""
    at, end = action.offset, action.offset + len(action.data)
    while at < end:
        until = min(end, (at // SECTOR_BYTES + 1) * SECTOR_BYTES)
        if chance.random() < share:
            if len(content) < until:
                content.extend(bytes(until - len(content)))
            content[at:until] = action.data[at - action.offset : until - action.offset]
        at = until
