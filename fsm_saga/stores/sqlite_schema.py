"""The tables of a SQLite store, and what has to be true before one is used.

``heads`` numbers the sagas in the order in which they came; a journal's entries hang on that
number, not on the saga's id. Ids are chosen by others and often random: as a key of the entries
they would spread each group commit over as many pages as it has sagas (measured: 49 us an append
instead of 13), while numbers keep the sagas in flight side by side.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import apsw

from fsm_saga.errors import StoreError, StoreUnavailableError, StoreVersionError
from fsm_saga.stores.sqlite_faults import words_for

APPLICATION_ID = 0x46534D53  # "FSMS"; written into the header of each of our files
SCHEMA_VERSION = 2
OPEN_WAIT_MS = 5_000
HEADER_BYTES = 100

# In these a checkpoint can run into a write that starts the log anew, and committed pages are lost.
WAL_RESET_FIRST = (3, 7, 0)
WAL_RESET_FIXED = (3, 51, 3)
WAL_RESET_FIXED_BRANCHES = {(3, 44): 6, (3, 50): 7}

_TABLES = """
CREATE TABLE meta(key TEXT PRIMARY KEY, value ANY) STRICT, WITHOUT ROWID;
CREATE TABLE heads(
    number INTEGER PRIMARY KEY,
    saga_id TEXT NOT NULL UNIQUE,
    state TEXT NOT NULL,
    outcome TEXT,
    position INTEGER NOT NULL,
    created_at REAL NOT NULL,
    updated_at REAL NOT NULL,
    goal TEXT,
    waits_for TEXT NOT NULL,
    is_final INTEGER NOT NULL,
    crc INTEGER NOT NULL
) STRICT;
CREATE INDEX heads_unfinished ON heads(number) WHERE is_final = 0;
CREATE TABLE entries(
    saga INTEGER NOT NULL,
    position INTEGER NOT NULL,
    count INTEGER NOT NULL,
    body BLOB NOT NULL,
    crc INTEGER NOT NULL,
    PRIMARY KEY(saga, position)
) STRICT, WITHOUT ROWID;
CREATE TABLE commands(
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    saga_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    body BLOB NOT NULL,
    crc INTEGER NOT NULL,
    answer BLOB,
    answer_crc INTEGER
) STRICT;
CREATE INDEX commands_pending ON commands(number) WHERE answer IS NULL;
INSERT INTO meta(key, value) VALUES ('epoch', 0), ('reopened', 0);
"""

NO_CHECKSUM = "not checked"
"""Stands for a checksum where the former schema has none; no damaged number becomes this text."""

# Schema 1 had no checksums for heads, commands and answers.
_VIEWS_OF_FORMER_TABLES = f"""
CREATE TEMP VIEW heads AS SELECT *, '{NO_CHECKSUM}' AS crc FROM main.heads;
CREATE TEMP VIEW commands AS
    SELECT *, '{NO_CHECKSUM}' AS crc, '{NO_CHECKSUM}' AS answer_crc FROM main.commands;
"""  # noqa: S608  # our own


@dataclass(frozen=True, slots=True, kw_only=True)
class SqliteLibrary:
    """Which SQLite this process uses. ``is_safe``: it is free of the WAL-reset race."""

    sqlite_version: str
    apsw_version: str
    is_safe: bool
    remark: str


def sqlite_library(version: str | None = None) -> SqliteLibrary:
    """Return what ``doctor`` says of the SQLite library; ``version`` stands in for it in tests.

    Example:
        >>> sqlite_library("3.51.2").is_safe, sqlite_library("3.50.7").is_safe
        (False, True)
    """
    text = version or apsw.sqlite_lib_version()
    major, minor, patch = (int(part) for part in text.split(".")[:3])
    branch_fixed = WAL_RESET_FIXED_BRANCHES.get((major, minor))
    is_old_or_new = not WAL_RESET_FIRST <= (major, minor, patch) < WAL_RESET_FIXED
    is_safe = is_old_or_new or (branch_fixed is not None and patch >= branch_fixed)
    remark = (
        "free of the WAL-reset race"
        if is_safe
        else "has the WAL-reset race (3.7.0 to 3.51.2), which can lose committed records: install "
        "the apsw wheel, which carries a newer SQLite"
    )
    return SqliteLibrary(
        sqlite_version=text, apsw_version=apsw.apsw_version(), is_safe=is_safe, remark=remark
    )


def check_library() -> None:
    """Return if this SQLite may write a store.

    Raises:
        StoreError: It has the WAL-reset race.
    """
    library = sqlite_library()
    if not library.is_safe:
        raise StoreError(
            f"The store was not opened for writing: SQLite {library.sqlite_version} "
            f"{library.remark}. Nothing was changed."
        )


def check_place(path: str) -> None:
    """Return if a store may lie at ``path``.

    Raises:
        StoreError: Its directory is missing, or what is there is no file.
    """
    if Path(path).is_dir():
        raise StoreError(
            f"Store {path!r} was not opened: it is a directory. Name a file in it, for example "
            f"{os.path.join(path, 'fsm-saga.db')!r}."
        )
    if os.path.exists(path) and not os.path.isfile(path):
        raise StoreError(
            f"Store {path!r} was not opened: it is a device, a pipe or a socket, and no file. "
            "Nothing was changed; name a file."
        )
    directory = Path(path).parent
    if not directory.is_dir():
        raise StoreError(
            f"Store {path!r} was not opened: there is no directory {str(directory)!r}. "
            "Make it first, or name another path."
        )


def check_is_ours(connection: apsw.Connection, path: str) -> bool:
    """Return True for a store of ours, False for a file that is empty so far.

    Reads the header and the schema only, so its cost does not depend on what is stored.

    Raises:
        StoreError: It is another application's database.
        StoreVersionError: A newer version of fsm_saga made it.
        apsw.NotADBError, apsw.CorruptError: It is no database; see ``not_a_database``.
    """
    application_id = connection.pragma("application_id")
    version = connection.pragma("user_version")
    tables = connection.execute("SELECT count(*) FROM sqlite_schema").get
    if application_id == APPLICATION_ID:
        if version > SCHEMA_VERSION:
            raise StoreVersionError(
                f"Store {path!r} was not opened: its schema is version {version}, this program "
                f"knows up to {SCHEMA_VERSION}. It was not changed; use the version of fsm_saga "
                "that made it, or a newer one.",
                found=version,
                known=SCHEMA_VERSION,
            )
        return True
    if application_id == 0 and version == 0 and tables == 0:
        # SQLite takes a file that is shorter than any header for an empty database.
        if 0 < os.path.getsize(path) < HEADER_BYTES:
            raise apsw.NotADBError("the file is too short")
        return False
    raise StoreError(
        f"Store {path!r} was not opened: the file is the database of another application. It was "
        "not changed; name another path."
    )


def check_file(path: str) -> None:
    """Return if ``path`` is missing, empty or ours, having looked without leaving a trace.

    An immutable connection takes no lock and makes no file beside the database, so what belongs
    to somebody else stays as it is. (Opening the file ourselves would not do: closing it again
    drops the locks that another connection of this process holds on it.) It does not see the log
    either, so what a crash has left half done is not judged here.

    Raises:
        StoreError: It is something else.
        StoreVersionError: A newer version of fsm_saga made it.
    """
    if not Path(path).exists():
        return
    try:
        connection = open_immutable(path)
        try:
            check_is_ours(connection, path)
        finally:
            connection.close()
    except (apsw.NotADBError, apsw.CorruptError) as error:
        if not has_log(path):
            raise not_a_database(path) from error
    except (apsw.CantOpenError, apsw.IOError) as error:
        raise StoreError(
            f"Store {path!r} was not opened: {words_for(error)}. Check its permissions."
        ) from error


def has_log(path: str) -> bool:
    """Return True if a log or a journal lies beside the file, without which it may be half done."""
    besides = (Path(f"{path}-wal"), Path(f"{path}-journal"))
    return any(file.exists() and file.stat().st_size for file in besides)


def not_a_database(path: str) -> StoreError:
    """Return the error for a file that SQLite does not recognize."""
    return StoreError(
        f"Store {path!r} was not opened: the file is not a SQLite database, or its beginning is "
        "damaged. It was not changed; name another path, or restore it from a copy."
    )


def open_immutable(path: str) -> apsw.Connection:
    """Return a connection that believes that nobody writes the file."""
    return apsw.Connection(
        f"file:{quote(path)}?immutable=1",
        flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI,
    )


def check_is_writable(connection: apsw.Connection, path: str) -> None:
    """Return if the file may be written.

    Raises:
        StoreError: It is read-only.
    """
    if connection.readonly("main"):
        raise StoreError(
            f"Store {path!r} was not opened for writing: the file is read-only. Nothing was "
            "changed; give this user the right to write it, or open it for reading."
        )


def prepare_for_writing(connection: apsw.Connection, path: str) -> None:
    """Return when every commit of this connection will be durable; made sure by reading back.

    Raises:
        StoreError: The file system cannot hold a shared log.
    """
    connection.pragma("trusted_schema", False)
    connection.pragma("cache_size", -16_384)  # KiB: a batch never spills before its commit
    journal_mode = connection.pragma("journal_mode", "wal")
    connection.pragma("synchronous", "full")
    connection.pragma("fullfsync", True)  # macOS: without it fsync does not reach the platter
    synchronous = connection.pragma("synchronous")
    if journal_mode != "wal" or synchronous != 2:
        raise StoreError(
            f"Store {path!r} was not opened for writing: its file system does not allow durable "
            f"commits (journal_mode {journal_mode!r}, synchronous {synchronous}; wal and 2 are "
            "needed). Use a local disk."
        )


def create_tables(connection: apsw.Connection) -> None:
    """Make an empty file a store, all or nothing.

    It happens with a rollback journal, before the file turns to a log, so that the marks which say
    whose file it is are in its header from the first moment on.
    """
    connection.pragma("synchronous", "extra")
    connection.execute("BEGIN EXCLUSIVE")
    connection.execute(_TABLES)
    connection.pragma("application_id", APPLICATION_ID)
    connection.pragma("user_version", SCHEMA_VERSION)
    connection.execute("COMMIT")


def check_is_present_schema(connection: apsw.Connection, path: str) -> None:
    """Return if a command may be left in the store.

    Raises:
        StoreVersionError: It is of a former schema, which only its next writer raises.
    """
    version = connection.pragma("user_version")
    if version < SCHEMA_VERSION:
        raise StoreVersionError(
            f"Nothing was left in store {path!r}: its schema is version {version}, and this "
            f"program writes {SCHEMA_VERSION}. Stop the process of the older version that writes "
            "it; the next `fsm-saga resume` turns it into a store of this version.",
            found=version,
            known=SCHEMA_VERSION,
        )


def show_as_present_schema(connection: apsw.Connection) -> None:
    """Let a reader of a store of the former schema ask as if it were of the present one.

    Its own connection alone sees these views; ``NO_CHECKSUM`` is in the place of what is not there.
    """
    if connection.pragma("user_version") < SCHEMA_VERSION:
        connection.execute(_VIEWS_OF_FORMER_TABLES)


def open_for_writing(path: str, *, may_create: bool) -> apsw.Connection:
    """Return a connection to the store at ``path``, which is made if there is none.

    Without ``may_create`` it has to be there: a file that vanished is a fault, not a new store.

    Raises:
        StoreError: The path, the file or its file system cannot hold a store.
        StoreVersionError: A newer version of fsm_saga made it.
        StoreUnavailableError: The disk failed.
    """
    flags = apsw.SQLITE_OPEN_READWRITE | (apsw.SQLITE_OPEN_CREATE if may_create else 0)
    try:
        connection = apsw.Connection(path, flags=flags)
        try:
            _make_ready(connection, path, may_create=may_create)
        except BaseException:  # boundary: nobody else can close the connection
            connection.close(True)
            raise
    except (apsw.NotADBError, apsw.CorruptError) as error:
        raise not_a_database(path) from error
    except apsw.Error as error:
        reason = words_for(error)
        raise StoreUnavailableError(
            f"Store {path!r} was not opened for writing: {reason}. Nothing was written; remove the "
            "cause and open it again.",
            path=path,
            reason=reason,
        ) from error
    return connection


def _make_ready(connection: apsw.Connection, path: str, *, may_create: bool) -> None:
    # A connection that is given up after a fault must not write on its way out.
    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    connection.set_busy_timeout(OPEN_WAIT_MS)
    check_is_writable(connection, path)
    if not check_is_ours(connection, path):
        if not may_create:
            raise apsw.CantOpenError("it is empty")
        create_tables(connection)
    prepare_for_writing(connection, path)
    connection.set_busy_timeout(0)
