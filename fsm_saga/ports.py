"""What coordinators need from outside: a store, tools, time, each other. Protocols and data.

Adapters live in ``stores/`` and ``tools/``. Whatever satisfies the store conformance suite in
``tests/conformance`` can stand behind ``Store``.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from msgspec import Struct

from fsm_saga.core.contract import ToolFacts
from fsm_saga.core.effects import CallTool
from fsm_saga.core.records import Record


class Head(Struct, frozen=True, kw_only=True):
    """What is known of a saga without reading its journal; written with every append.

    Attributes:
        state: As ``str(SagaState)``, for example ``EXECUTING(2)``.
        position: The number of records in the journal.
        is_final: DONE or FAILED.
        waits_for: What it rests on: ``""``, ``"approval"`` or ``"person"``.
    """

    saga_id: str
    state: str
    outcome: str | None
    position: int
    created_at: float
    updated_at: float
    goal: str | None = None
    is_final: bool = False
    waits_for: str = ""


class Append(Struct, frozen=True, kw_only=True):
    """One atomic addition to one saga's journal.

    ``position`` is how many records the journal must have now; ``head`` is what it looks like
    afterwards.
    """

    saga_id: str
    position: int
    records: tuple[Record, ...]
    head: Head


SAGA_COMMANDS_MAX = 100
"""Commands that are shown of one saga."""


class Command(Struct, frozen=True, kw_only=True):
    """What a process that is not the writer asks of the one that is.

    ``number`` is given by the store; ``answer`` is None until the writer has answered, then a
    JSON object with ``ok`` and ``message``.
    """

    saga_id: str
    kind: str
    body: Mapping[str, Any]
    number: int = 0
    answer: Mapping[str, Any] | None = None


class FinishedPage(Struct, frozen=True, kw_only=True):
    """Some of the sagas that have ended.

    Attributes:
        heads: Theirs; there may be none although others follow.
        after: What to ask for the next page with; empty if this was the last one.
    """

    heads: Sequence[Head]
    after: str


class Store(Protocol):
    """Where journals live. One writer, fenced by its epoch; any number of readers."""

    @property
    def url(self) -> str:
        """The URL it was opened by."""

    @property
    def epoch(self) -> int:
        """This writer's fencing number, 0 for a reader; each new writer has a higher one."""

    async def append(self, append: Append) -> None:
        """Make the records durable, all or none, and return only then.

        The expected position and this writer's epoch are both compared inside the transaction
        that writes. Appends of different sagas may share a commit; appends of one saga are
        applied in the order of the calls.

        Raises:
            ConflictError: The journal is not at ``append.position``; nothing was written.
            FencedError: A newer writer has opened the store; nothing was written.
            StoreUnavailableError: The store failed; read back before doing anything else.
        """

    async def load(self, saga_id: str) -> tuple[Record, ...] | None:
        """Return a saga's whole journal in order, or None when there is no such saga.

        Raises:
            CorruptRecordError: A record fails its checksum or cannot be read.
            StoreVersionError: A record was written by a newer version.
        """

    async def head(self, saga_id: str) -> Head | None:
        """Return the saga's head, or None."""

    async def heads(
        self, *, only_unfinished: bool = False, limit: int | None = None
    ) -> Sequence[Head]:
        """Return the heads, newest first.

        The cost with ``only_unfinished`` does not depend on how many finished sagas there are.
        """

    async def finished(self, *, after: str = "", limit: int) -> FinishedPage:
        """Return a page of the sagas that have ended, in an order of the store's own.

        However many there are, a page costs as much as ``limit`` of them. What ends or is removed
        while pages are read may be seen or not; whatever else has ended is seen.

        Args:
            after: What the page before said; empty for the first one.
            limit: How many are looked at.
        """

    async def remove(self, saga_id: str, *, position: int | None = None) -> None:
        """Delete a final saga with its journal; what is not there is no error.

        All of it is compared inside the transaction that deletes. Decisions about the saga that
        have no answer yet are answered: they are refused. What was appended before this, however
        late it arrives, does not begin the saga anew.

        Args:
            saga_id: Which.
            position: How many records the journal must have; None for however many.

        Raises:
            ConflictError: The saga is not final, or its journal is at another position.
            FencedError: A newer writer has opened the store; nothing was deleted.
            StoreUnavailableError: The store failed; it may or may not be deleted.
        """

    async def post_command(self, command: Command) -> int:
        """Leave a command for the writer and return its number. Readers may call this."""

    async def pending_commands(self) -> Sequence[Command]:
        """Return the commands without an answer, oldest first. Cheap when there is none."""

    async def answer_command(self, number: int, answer: Mapping[str, Any]) -> None:
        """Record the writer's answer."""

    async def command_answer(self, number: int) -> Mapping[str, Any] | None:
        """Return the answer to a command, or None as long as there is none."""

    async def saga_commands(self, saga_id: str) -> Sequence[Command]:
        """Return the latest ``SAGA_COMMANDS_MAX`` commands for a saga, oldest first."""

    async def close(self) -> None:
        """Finish what was accepted and release the store."""


class OutcomeKind(enum.Enum):
    """The four ways in which a call can end."""

    OK = "ok"
    OK_WITH_BAD_OUTPUT = "ok_with_bad_output"
    REJECTED = "rejected"
    UNKNOWN = "unknown"


class CallOutcome(Struct, frozen=True):
    """What became of one call. ``output`` goes with OK, ``error`` with the other three.

    ``was_sent`` is False for a refusal of ours: the call does not fit its tool and never left.
    """

    kind: OutcomeKind
    output: Any = None
    error: str = ""
    was_sent: bool = True


class ToolRunner(Protocol):
    """Makes calls. Never raises for what a tool does; cancellation alone passes through."""

    @property
    def catalogue(self) -> Mapping[str, ToolFacts]:
        """What the checks and the compiler may know of each tool, by name."""

    async def call(self, request: CallTool, *, saga_id: str, step_id: int | str) -> CallOutcome:
        """Call the tool once, within ``request.timeout_s``, and classify what came of it."""


class Clock(Protocol):
    """Time and chance for the coordinator; the only source of either."""

    def now(self) -> float:
        """Return the wall clock in seconds since 1970."""

    def jitter(self) -> float:
        """Return a number in [0, 1)."""

    def token(self) -> str:
        """Return a short text that no other call returns, in this process or in another."""

    async def sleep(self, seconds: float) -> None:
        """Return after ``seconds`` of monotonic time."""


class Term(Struct, frozen=True, kw_only=True):
    """One leadership of one shard, from the moment it is won until it is lost.

    ``epoch`` is its fencing number, higher than that of every term before. It is compared inside
    every transaction that writes to the shard: a lease alone does not fence.
    """

    shard: int
    epoch: int


class Member(Struct, frozen=True, kw_only=True):
    """What a coordinator tells the others of itself.

    Attributes:
        member_id: Unique for each start of a process.
        name: What people call it, for example ``host:pid``.
        started_at: When it joined, in seconds since 1970, by its own clock.
        version: The version of fsm_saga that it runs.
        address: URL of its health and metrics, or empty.
        tools: A fingerprint of its tools; coordinators of one cluster ought to have the same.
        is_ready: It can lead.
        is_leaving: It is handing over and takes no shard.
        avoids: Shards whose engines failed on it of late, and how often in a row: others on which
            they failed less are to lead them.
        facts: Figures for people: sagas under way, lag and the like.
    """

    member_id: str
    name: str
    started_at: float
    version: str = ""
    address: str = ""
    tools: str = ""
    is_ready: bool = True
    is_leaving: bool = False
    avoids: Mapping[int, int] = {}
    facts: Mapping[str, Any] = {}


class Leader(Struct, frozen=True, kw_only=True):
    """Who leads a shard, and in which epoch."""

    shard: int
    epoch: int
    member_id: str


class Roster(Struct, frozen=True, kw_only=True):
    """The living members, by id, and the shards that are led, by shard: as of one look."""

    members: Mapping[str, Member]
    leaders: Mapping[int, Leader]


class Seat(Protocol):
    """One coordinator's membership, alive as long as its lease is renewed, which it does itself.

    All that it leads hangs on the one lease: if that ends, every term of the seat ends with it,
    and the coordinator joins anew.
    """

    @property
    def member_id(self) -> str:
        """Whose seat it is."""

    async def announce(self, member: Member) -> None:
        """Tell the others what is new of this member; its id stays the same."""

    async def roster(self) -> Roster:
        """Return who is there and who leads."""

    async def wait_change(self, timeout_s: float) -> None:
        """Return when the roster may have changed, at the latest after ``timeout_s``: a hint."""

    async def campaign(self, shard: int) -> Term | None:
        """Try once to become the shard's leader; None if somebody leads it, or nobody can tell.

        Raises:
            StoreError: The store failed. If this seat has become the leader nonetheless, its
                ``roster`` tells so, and the next campaign returns that term.
        """

    def store(self, *terms: Term) -> Store:
        """Return the store as the leader of these shards writes it.

        ``heads`` of unfinished sagas and ``pending_commands`` are those shards' own; ``load`` and
        ``head`` are of any saga. Closing it closes nothing that others use.
        """

    async def resign(self, term: Term) -> None:
        """Stop to lead, so that another can at once; no write of that term can come after it."""

    async def wait_lost(self) -> None:
        """Return once the lease has ended, or may have: by this process's own monotonic clock."""

    async def leave(self) -> None:
        """Resign all that is led and give the seat up. A second call does nothing."""


class ClusterStore(Protocol):
    """A store that coordinators can share, each leading some of its shards.

    The number of shards is written down by whoever makes the store and never changes.
    """

    @property
    def url(self) -> str:
        """The URL it was opened by, without a password."""

    @property
    def shards(self) -> int:
        """The number of shards; a saga's is ``stores.sharding.shard_of``."""

    @property
    def reader(self) -> Store:
        """The store as readers see it: every saga, and commands may be left."""

    async def join(self, member: Member, *, ttl_s: float) -> Seat:
        """Take a seat whose lease ends ``ttl_s`` after it was last renewed.

        Raises:
            StoreError: The store failed; the seat, if it came to be, ends by itself.
        """

    async def roster(self) -> Roster:
        """Return who is there and who leads."""

    async def close(self) -> None:
        """Leave every seat and release the store."""
