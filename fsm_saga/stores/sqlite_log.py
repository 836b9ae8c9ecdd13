"""Mistrust of a log: what a failed fsync may have left behind.

After a failed fsync the system takes what was written for clean (what Postgres learned in 2018). It
can be read, by this process and by the next, and no later sync writes it. So records that look
committed may have never reached the disk; what is written behind them would be acknowledged, and
lost with them when the power goes. To move such a log into the database would be worse: half of a
transaction could be there, and nothing to make it whole from.
"""

from __future__ import annotations

import apsw

CHUNK_BYTES = 2**16
"""The largest page of SQLite: it never reads or writes more at once, and cuts off what is."""


def write_log_again(connection: apsw.Connection, path: str) -> None:
    """Return when all that the log seems to hold is durable: every byte is written once more.

    Nobody appends to it meanwhile, and who reads it reads the same bytes. The connection has to be
    without a transaction.

    Raises:
        apsw.Error: The disk failed, or somebody else writes.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        log = apsw.VFSFile(
            "", f"{path}-wal", [apsw.SQLITE_OPEN_WAL | apsw.SQLITE_OPEN_READWRITE, 0]
        )
        try:
            size = log.xFileSize()
            for offset in range(0, size, CHUNK_BYTES):
                log.xWrite(log.xRead(min(CHUNK_BYTES, size - offset), offset), offset)
            if size:
                log.xSync(apsw.SQLITE_SYNC_FULL)
        finally:
            log.xClose()
    finally:
        connection.execute("ROLLBACK")
