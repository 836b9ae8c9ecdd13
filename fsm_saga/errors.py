"""Every error that fsm_saga raises on purpose.

The tree, by who has to act:

    FsmSagaError
      PlanError                the plan is wrong: all problems at once, nothing was started
      ToolsError               the tools module or one of its declarations is wrong
      CommandError             the caller is wrong now
        EventRefusedError      the saga's state does not accept what was asked
        UnknownSagaError       no saga of that id
        SagaExistsError        the id belongs to a saga of another plan
      StoreError               the store stopped us
        ConflictError          somebody appended first: reload, decide again
        FencedError            another coordinator leads: stop at once
        StoreUnavailableError  not written, or outcome unknown: read back first
        StoreLockedError       another process is the writer
        StoreVersionError      the data comes from a newer version
        CorruptRecordError     a record fails its checksum or cannot be read
      OutcomeUnknown           raised by a tool: the effect may have happened
      CallRefusedError         raised by a tool behind a fence: refused for good
        CallFencedError        its req_id was undone, or is never to be done
        ParamsChangedError     its req_id was used with other params
      SagaFailedError          a growing saga was turned round; what was done is undone
      DrawingError             a picture cannot be drawn
      InvariantBrokenError     we are wrong; never caught

Each class has a kebab-case ``code``; its message ends with it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing wrong with a plan: what, where (a JSON pointer), why, and what to do."""

    code: str
    pointer: str
    message: str
    hint: str

    def as_json(self) -> dict[str, str]:
        """Return the four fields as the JSON object that ``--json`` prints."""
        return {
            "code": self.code,
            "pointer": self.pointer,
            "message": self.message,
            "hint": self.hint,
        }


class FsmSagaError(Exception):
    """Base of every deliberate error. ``code`` names the kind, ``message`` says it."""

    code: ClassVar[str] = "fsm-saga-error"

    def __init__(self, message: str, **facts: Any) -> None:
        super().__init__(message)
        self.message = message
        self.facts = facts

    def __str__(self) -> str:
        return f"{self.message} [{self.code}]"

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (type(self), self.message, self.facts))


def _rebuild(cls: type[FsmSagaError], message: str, facts: dict[str, Any]) -> FsmSagaError:
    return cls(message, **facts)


class PlanError(FsmSagaError):
    """A plan was refused; ``problems`` lists everything wrong with it, nothing was started."""

    code = "plan-refused"

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        count = len(self.problems)
        lines = [f"The plan was refused: {count} problem{'s' if count != 1 else ''}."]
        lines += [f"  {p.pointer or '/'}: {p.message} {p.hint} [{p.code}]" for p in self.problems]
        super().__init__("\n".join(lines))

    def __reduce__(self) -> tuple[Any, ...]:
        return (PlanError, (self.problems,))


class ToolsError(FsmSagaError):
    """A tool declaration or a tools module cannot be used."""

    code = "tools-refused"


class CommandError(FsmSagaError):
    """The caller asked for something that cannot be done now; nothing was changed."""

    code = "command-refused"


class EventRefusedError(CommandError):
    """The saga's present state does not accept the event; nothing was changed."""

    code = "event-refused"


class UnknownSagaError(CommandError):
    """The store holds no saga of this id."""

    code = "unknown-saga"


class SagaExistsError(CommandError):
    """The task_id already belongs to a saga that was made from another plan."""

    code = "saga-exists"


class StoreError(FsmSagaError):
    """The store could not do what was asked."""

    code = "store-error"


class ConflictError(StoreError):
    """The journal is longer than expected: somebody appended first. Reload and decide again."""

    code = "conflict"


class FencedError(StoreError):
    """A newer epoch leads this store: stop at once, make no further call."""

    code = "fenced"


class StoreUnavailableError(StoreError):
    """The store failed; what was being written may or may not be there. Read back first."""

    code = "store-unavailable"


class StoreLockedError(StoreError):
    """Another process is the writer of this store."""

    code = "store-locked"


class StoreVersionError(StoreError):
    """The store, or a record in it, was written by a newer version."""

    code = "store-version"


class CorruptRecordError(StoreError):
    """A record fails its checksum or cannot be decoded; only its saga is affected."""

    code = "corrupt-record"


class OutcomeUnknown(FsmSagaError):  # noqa: N818  # a tool's answer, named for what it says
    """Raised by a tool that cannot tell whether its effect happened."""

    code = "outcome-unknown"

    def __init__(self, message: str = "the effect may have happened", **facts: Any) -> None:
        super().__init__(message, **facts)


class CallRefusedError(FsmSagaError):
    """Raised by a tool: the call certainly has no effect, and no copy of it ever will."""

    code = "call-refused"


class CallFencedError(CallRefusedError):
    """The call came after its own undo: it has no effect, however often it comes."""

    code = "call-fenced"


class ParamsChangedError(CallRefusedError):
    """The ``req_id`` was used with other params before; this call has no effect."""

    code = "params-changed"


class SagaFailedError(FsmSagaError):
    """A growing saga could not go on; ``facts`` has its id, state and outcome."""

    code = "saga-failed"


class DrawingError(FsmSagaError):
    """A picture cannot be drawn."""

    code = "drawing-failed"


class InvariantBrokenError(FsmSagaError):
    """A bug of ours: the process stops rather than act on a state that cannot be."""

    code = "invariant-broken"
