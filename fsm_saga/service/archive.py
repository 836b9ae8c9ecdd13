"""Where finished sagas go when they leave the store: one file of JSON lines for each day.

A line is one saga, whole: ``{"sum": ..., "entry": {"saga_id": ..., "head": ..., "records": ...}}``.
It lies in the file of the day (UTC) on which the saga ended, so the same saga is looked for, and
written, in one file only. ``keep`` returns once its lines are durable, and only then may a saga be
removed from its store. What follows the last line break is what a crash has left of a line: it is
cut off before anything else is written.

Several processes may write to one folder: a lock file lets one at a time.
"""

from __future__ import annotations

import hashlib
import os
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

import orjson
from filelock import FileLock
from msgspec import DecodeError, Raw, Struct, ValidationError
from msgspec import json as fast_json
from msgspec.structs import asdict

from fsm_saga.core.records import Record
from fsm_saga.errors import CommandError, CorruptRecordError, StoreVersionError
from fsm_saga.ports import Head
from fsm_saga.stores.codec import CODEC

VERSION = 1
LOCK_S_MAX = 60.0
"""How long another process may take to write its part."""
FILES_KNOWN = 3
"""Files of which it is remembered what they hold."""
TAIL_BYTES = 512

_BEFORE_SUM, _BEFORE_ENTRY, _AFTER = b'{"sum":"', b'","entry":', b"}\n"
_SUM_BYTES = 8
_ENTRY_AT = len(_BEFORE_SUM) + 2 * _SUM_BYTES + len(_BEFORE_ENTRY)

_Key = tuple[str, float, int]
"""A saga's id, when it was made, and how many records it has.

An id is free again once its saga is gone; and a saga to which something came late, after it was
written here and before it was removed, is written once more.
"""


class Finished(Struct, frozen=True, kw_only=True):
    """A final saga as it goes into the archive."""

    head: Head
    records: tuple[Record, ...]


class _Entry(Struct, frozen=True, kw_only=True):
    v: int
    saga_id: str
    head: Head
    records: Raw


class _Name(Struct, frozen=True, kw_only=True):
    """As much of a head as tells whose line it is."""

    saga_id: str
    created_at: float
    position: int


class _Named(Struct, frozen=True, kw_only=True):
    head: _Name


class _Known(Struct):
    """What a file held up to ``size``, where it ended with ``tail``: else it is another file."""

    size: int
    tail: bytes
    keys: set[_Key]


class Archive:
    """A folder of archived sagas.

    Attributes:
        directory: The folder; it is made when it is first written to.
    """

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        """Look at nothing yet."""
        self.directory = Path(directory)
        self._known: OrderedDict[Path, _Known] = OrderedDict()

    def prepare(self) -> None:
        """Make the folder, and return if it can be written to.

        Raises:
            CommandError: It cannot.
        """
        try:
            _make_folder(self.directory)
            with self._turn():
                pass
        except OSError as error:
            raise CommandError(
                f"Sagas cannot be archived in {str(self.directory)!r}: "
                f"{error.strerror or error}. Nothing was removed; name a folder that can be "
                "written to."
            ) from error

    def keep(self, finished: Iterable[Finished]) -> int:
        """Make these sagas durable here, and return how many were not there before.

        One that is there already, because its removal was cut short, is not written again.

        Raises:
            OSError: The system refused, or another process held the folder for too long. What was
                written by then may be there; keep the same again.
        """
        by_file: dict[Path, list[Finished]] = {}
        for each in finished:
            by_file.setdefault(self.directory / file_name(each.head.updated_at), []).append(each)
        if not by_file:
            return 0
        _make_folder(self.directory)
        with self._turn():
            written = sum(self._write(path, some) for path, some in by_file.items())
            _sync_folder(self.directory)
        return written

    def find(self, saga_id: str) -> tuple[Record, ...]:
        """Return the journal of a saga; the latest, if the id was used more than once.

        Raises:
            CommandError: It is not here.
            CorruptRecordError: A line that may be the saga's is damaged.
            StoreVersionError: It was written by a newer version.
        """
        found: list[_Entry] = []
        for line in self._lines_with(saga_id):
            entry = _read(line, saga_id)
            if entry.saga_id == saga_id:
                found.append(entry)
        if not found:
            raise CommandError(
                f"The archive {str(self.directory)!r} has no saga {saga_id!r}. Nothing was changed."
            )
        return _records_of(
            max(found, key=lambda entry: (entry.head.created_at, entry.head.position))
        )

    def _lines_with(self, saga_id: str) -> Iterator[bytes]:
        # As it is written in a line; no line without it can be the saga's.
        written = b'"saga_id":' + orjson.dumps(saga_id)
        for path in sorted(self.directory.glob("sagas-*.jsonl")):
            with path.open("rb") as file:
                yield from (line for line in file if written in line and line.endswith(b"\n"))

    def _turn(self) -> FileLock:
        return FileLock(self.directory / ".lock", timeout=LOCK_S_MAX, thread_local=False)

    def _write(self, path: Path, finished: Sequence[Finished]) -> int:
        """Append what is missing to one file, durably; the lock is held."""
        with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+b", buffering=0) as file:
            known = self._look(path, file)
            lines = {
                _key_of(each.head): line_of(each)
                for each in finished
                if _key_of(each.head) not in known.keys
            }
            # Until this is durable nothing is known of the file: a failure reads it anew.
            del self._known[path]
            try:
                _write_all(file, b"".join(lines.values()))
                os.fsync(file.fileno())
            except OSError:
                # What a failed sync leaves is in memory only, and would pass for written next time.
                with suppress(OSError):
                    file.truncate(known.size)
                raise
            known.size = file.tell()
            known.tail = _tail(file, known.size)
            known.keys.update(lines)
            self._known[path] = known
        while len(self._known) > FILES_KNOWN:
            self._known.popitem(last=False)
        return len(lines)

    def _look(self, path: Path, file: BinaryIO) -> _Known:
        """Return what a file holds, read from where it was last known; cut a torn line off."""
        known = self._known.get(path)
        if known is None or _tail(file, known.size) != known.tail:
            known = _Known(size=0, tail=b"", keys=set())
        file.seek(known.size)
        with os.fdopen(os.dup(file.fileno()), "rb") as reader:
            for line in reader:
                if not line.endswith(b"\n"):
                    break
                known.size += len(line)
                key = _key_in(line)
                if key is not None:
                    known.keys.add(key)
        file.truncate(known.size)
        file.seek(known.size)
        self._known[path] = known
        return known


def file_name(ended_at: float) -> str:
    """Return the name of the file in which a saga lies that ended then.

    Example:
        >>> file_name(1767225599.5), file_name(1767225600.0), file_name(1e30)
        ('sagas-2025-12-31.jsonl', 'sagas-2026-01-01.jsonl', 'sagas-undated.jsonl')
    """
    try:
        day = datetime.fromtimestamp(ended_at, UTC).date().isoformat()
    except (OverflowError, ValueError, OSError):  # a clock said nonsense; the saga is kept anyway
        day = "undated"
    return f"sagas-{day}.jsonl"


def line_of(finished: Finished) -> bytes:
    """Return a saga as the line that is written of it, with its line break."""
    head = finished.head
    facts: Mapping[str, object] = {"v": VERSION, "saga_id": head.saga_id, "head": asdict(head)}
    # The journal is written by the codec of the stores, so old archives stay readable as they do.
    entry = orjson.dumps(facts)[:-1] + b',"records":' + CODEC.encode(finished.records) + b"}"
    return _BEFORE_SUM + _sum_of(entry) + _BEFORE_ENTRY + entry + _AFTER


def _sum_of(entry: bytes) -> bytes:
    return hashlib.blake2b(entry, digest_size=_SUM_BYTES).hexdigest().encode()


def _entry_in(line: bytes) -> bytes | None:
    """Return what a line's checksum covers, or None if the line is not as it was written."""
    entry = line[_ENTRY_AT : -len(_AFTER)]
    is_whole = line == _BEFORE_SUM + _sum_of(entry) + _BEFORE_ENTRY + entry + _AFTER
    return entry if is_whole else None


def _key_of(head: Head) -> _Key:
    return head.saga_id, head.created_at, head.position


def _key_in(line: bytes) -> _Key | None:
    """Return whose line it is; None for a damaged one, which does not count as written."""
    entry = _entry_in(line)
    if entry is None:
        return None
    try:
        head = fast_json.decode(entry, type=_Named).head
    except (DecodeError, ValidationError):
        return None
    return head.saga_id, head.created_at, head.position


def _read(line: bytes, saga_id: str) -> _Entry:
    entry = _entry_in(line)
    try:
        if entry is not None:
            return fast_json.decode(entry, type=_Entry)
    except (DecodeError, ValidationError):
        pass
    raise CorruptRecordError(
        f"A line of the archive that may be of saga {saga_id!r} is damaged: it fails its "
        "checksum. Nothing was changed; bring the file back from a copy.",
        saga_id=saga_id,
    )


def _records_of(entry: _Entry) -> tuple[Record, ...]:
    if entry.v > VERSION:
        raise StoreVersionError(
            f"The archive's entry of saga {entry.saga_id!r} is of version {entry.v}, which this "
            "version of fsm_saga does not know. It is untouched; use the version that wrote it, "
            "or a newer one.",
            saga_id=entry.saga_id,
        )
    return CODEC.decode(bytes(entry.records), saga_id=entry.saga_id)


def _tail(file: BinaryIO, size: int) -> bytes:
    """Return what a file has before ``size``, as much as tells one file from another."""
    begin = max(size - TAIL_BYTES, 0)
    file.seek(begin)
    return file.read(size - begin)


def _write_all(file: BinaryIO, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]


def _make_folder(directory: Path) -> None:
    """Make a folder and those above it, durably, so far as they are missing."""
    missing = [folder for folder in (directory, *directory.parents) if not folder.exists()]
    directory.mkdir(parents=True, exist_ok=True)
    for folder in missing:
        _sync_folder(folder.parent)


def _sync_folder(directory: Path) -> None:
    """Make the names in a folder durable; where a folder cannot be opened, the system does it."""
    flag = getattr(os, "O_DIRECTORY", None)
    if flag is None:
        return
    folder = os.open(directory, flag)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
