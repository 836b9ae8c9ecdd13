"""What the coordinator needs from outside: a store, tools, time. Protocols and their data.

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

    async def remove(self, saga_id: str) -> None:
        """Delete a final saga with its journal.

        Raises:
            ConflictError: The saga is not final.
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
