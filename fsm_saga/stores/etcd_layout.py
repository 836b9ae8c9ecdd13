"""Where everything lies in etcd, and how a value is kept: one place for both.

All keys begin with the store's prefix. Ids are percent-encoded, so that no id reaches into the
keys of another.

    meta                          what made the store: format, schema, number of shards
    cluster/members/<member>      a coordinator; goes with its lease
    cluster/leaders/<shard>       who leads a shard; its create revision is the epoch; leased too
    cluster/removals/<shard>/<epoch>/<mark>   written with each removal of a saga; leased too
    journal/<saga>/<end>          one append, records and head, named by the position after it
    journal-parts/<saga>/<end>/.. the pieces of an append too large for one value
    index/<saga>                  that there is such a saga; the order of creation is that of sagas
    live/<shard>/<saga>           of a saga that has not ended: where its journal ends
    done/<shard>/<saga>           of one that has; the append that ends it moves it here
    commands/<number>             a command, and its answer once there is one
    pending/<shard>/<number>      that it has none yet
    of-saga/<saga>/<number>       whose it is
"""

from __future__ import annotations

from urllib.parse import quote, unquote
from zlib import crc32

from fsm_saga.errors import CorruptRecordError
from fsm_saga.etcd.data import prefix_end

END_DIGITS = 10
NUMBER_DIGITS = 20
SHARD_DIGITS = 4
REMOVAL_MARKS = 64
"""Marks of a term that sagas share: few keys, and seldom two that are in each other's way."""
_CRC_DIGITS = 8


class Layout:
    """The keys of one store."""

    def __init__(self, prefix: str) -> None:
        """Lay it out below ``prefix``, which ends with a slash."""
        self.root = prefix.encode()
        self.meta = self.root + b"meta"
        self.cluster = self.root + b"cluster/"
        self.members = self.cluster + b"members/"
        self.leaders = self.cluster + b"leaders/"
        self.removals = self.cluster + b"removals/"
        self.all_live = self.root + b"live/"
        self.all_done = self.root + b"done/"
        self.all_pending = self.root + b"pending/"
        self.index = self.root + b"index/"

    def member(self, member_id: str) -> bytes:
        """The key of a member."""
        return self.members + _quoted(member_id)

    def leader(self, shard: int) -> bytes:
        """The key of a shard's leader."""
        return self.leaders + _shard(shard)

    def removal(self, shard: int, epoch: int, saga_id: str) -> bytes:
        """The key that each removal of a saga like this one in this term writes."""
        mark = crc32(saga_id.encode()) % REMOVAL_MARKS
        return b"%s%s/%d/%02d" % (self.removals, _shard(shard), epoch, mark)

    def journal(self, saga_id: str) -> bytes:
        """The prefix of a saga's journal."""
        return b"%sjournal/%s/" % (self.root, _quoted(saga_id))

    def entry(self, saga_id: str, end: int) -> bytes:
        """The key of the append after which the journal has ``end`` records."""
        return self.journal(saga_id) + b"%0*d" % (END_DIGITS, end)

    def parts(self, saga_id: str) -> bytes:
        """The prefix of all pieces of a saga's large appends."""
        return b"%sjournal-parts/%s/" % (self.root, _quoted(saga_id))

    def indexed(self, saga_id: str) -> bytes:
        """The key that says that there is such a saga."""
        return self.index + _quoted(saga_id)

    def live(self, shard: int) -> bytes:
        """The prefix of a shard's unfinished sagas."""
        return b"%s%s/" % (self.all_live, _shard(shard))

    def done(self, shard: int) -> bytes:
        """The prefix of the heads of a shard's finished sagas."""
        return b"%s%s/" % (self.all_done, _shard(shard))

    def live_saga(self, shard: int, saga_id: str) -> bytes:
        """The key of a saga as long as it has not ended."""
        return self.live(shard) + _quoted(saga_id)

    def done_saga(self, shard: int, saga_id: str) -> bytes:
        """The key of a saga that has ended."""
        return self.done(shard) + _quoted(saga_id)

    def command(self, number: int) -> bytes:
        """The key of a command."""
        return b"%scommands/%0*d" % (self.root, NUMBER_DIGITS, number)

    def pending(self, shard: int) -> bytes:
        """The prefix of a shard's commands without an answer."""
        return b"%s%s/" % (self.all_pending, _shard(shard))

    def pending_mark(self, shard: int, number: int) -> bytes:
        """The key that says that a command has no answer."""
        return self.pending(shard) + b"%0*d" % (NUMBER_DIGITS, number)

    def of_saga(self, saga_id: str) -> bytes:
        """The prefix of the marks of a saga's commands."""
        return b"%sof-saga/%s/" % (self.root, _quoted(saga_id))

    def of_saga_mark(self, saga_id: str, number: int) -> bytes:
        """The key that says whose a command is."""
        return self.of_saga(saga_id) + b"%0*d" % (NUMBER_DIGITS, number)


def last_part(key: bytes) -> str:
    """Return the id or number that a key ends with.

    Example:
        >>> last_part(Layout("a/").live_saga(3, "trip/7 é"))
        'trip/7 é'
    """
    return unquote(key.rpartition(b"/")[2].decode())


def shard_in(key: bytes) -> int:
    """Return the shard in the key of a saga or of a pending mark, or at the end of a leader's."""
    parts = key.split(b"/")
    return int(parts[-1] if parts[-2] == b"leaders" else parts[-2])


def interval(prefix: bytes) -> tuple[bytes, bytes]:
    """Return the first key and the end of all keys below ``prefix``."""
    return prefix, prefix_end(prefix)


def sealed(key: bytes, body: bytes) -> bytes:
    """Return the value to keep under ``key``: the body after its checksum.

    The key is part of the sum: a value that turns up under another key is as wrong as a flipped
    bit.

    Example:
        >>> sealed(b"a/meta", b"{}")
        b'ea19e9e0 {}'
    """
    return b"%08x %s" % (crc32(body, crc32(key)), body)


def unsealed(key: bytes, value: bytes, *, what: str, saga_id: str = "") -> bytes:
    """Return the body of what ``sealed`` made; ``what`` names it in the message.

    Raises:
        CorruptRecordError: It is not what was written.
    """
    body = value[_CRC_DIGITS + 1 :]
    if value != sealed(key, body):
        raise CorruptRecordError(
            f"{what} cannot be read: it is not what was written, for its checksum is wrong. "
            "Nothing was changed; restore it from a copy of the store.",
            saga_id=saga_id,
        )
    return body


def _quoted(name: str) -> bytes:
    return quote(name, safe="").encode()


def _shard(shard: int) -> bytes:
    return b"%0*d" % (SHARD_DIGITS, shard)
