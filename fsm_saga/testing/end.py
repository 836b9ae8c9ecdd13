"""What a run came to, as a test asks for it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fsm_saga.service.view import SagaView
from fsm_saga.simulation.ends import Asked, end_of

_ENDS = (
    "DONE committed",
    "FAILED nothing_happened",
    "FAILED compensated",
    "FAILED amended",
    "FAILED partly_compensated",
    "NEEDS_HUMAN unknown",
)


@dataclass(slots=True, kw_only=True)
class Call:
    """One call that the engine made, retries and repeats included.

    Attributes:
        direction: ``do``, ``undo`` or ``check``.
        at: Virtual seconds since the saga was submitted.
        answer: ``ok``, ``ok_with_bad_output``, ``rejected``, ``unknown``, or empty if the
            coordinator died first.
    """

    tool: str
    step_id: int | str
    direction: str
    params: Mapping[str, Any]
    req_id: str
    attempt: int
    at: float
    answer: str = ""
    error: str = ""

    def __str__(self) -> str:
        error = f": {self.error}" if self.error else ""
        answer = self.answer or "the coordinator died"
        again = f" (attempt {self.attempt})" if self.attempt > 1 else ""
        return (
            f"{self.at:10.2f} s  {self.direction} {self.tool}{again}, step {self.step_id}: "
            f"{answer}{error}"
        )


class Names(list[str]):
    """Names of tools, which know of which end they are: a failed comparison tells its story."""

    __slots__ = ("end",)

    def __init__(self, names: Iterable[str], end: End) -> None:
        super().__init__(names)
        self.end = end


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class End:
    """How a run ended. Equal to its state and outcome as a text: ``end == "FAILED compensated"``.

    Tools stand for their steps in ``done``, ``undone`` and ``left``: the name of the tool of each
    step's action, in the order in which it happened.

    Attributes:
        view: The saga at rest, as ``Engine.run`` returns it.
        calls: Every call that was made, in order.
        done: What took effect in the world.
        undone: What was taken back.
        left: What is in the world at the end, once every message has arrived.
        asked: What people were asked, with the answers that were open to them.
        refused: Decisions of people that the engine did not take, with its reason.
        seconds: Virtual seconds from submission to rest.
        crashes: How often the coordinator was killed.
        error: What the agent raised, or None; a plan raises nothing.
    """

    view: SagaView
    calls: Sequence[Call]
    done: Sequence[str]
    undone: Sequence[str]
    left: Sequence[str]
    asked: Sequence[Asked]
    refused: Sequence[str]
    seconds: float
    crashes: int
    error: Exception | None = None

    def __post_init__(self) -> None:
        for name in ("done", "undone", "left"):
            object.__setattr__(self, name, Names(getattr(self, name), self))

    @property
    def state(self) -> str:
        """``DONE``, ``FAILED`` or ``NEEDS_HUMAN``."""
        return self.view.state

    @property
    def outcome(self) -> str | None:
        """What is left in the world, in a word."""
        return self.view.outcome

    @property
    def cause(self) -> str | None:
        """Why it turned round or called a person."""
        return self.view.cause

    def __str__(self) -> str:
        return end_of(self.view.saga)

    def __repr__(self) -> str:
        return f"<End {self}>"

    def __eq__(self, other: object) -> bool:
        return str(self) == other if isinstance(other, str) else self is other

    def __hash__(self) -> int:
        return id(self)

    def output(self, step_id: int | str) -> Any:
        """Return what a step returned.

        Raises:
            KeyError: If there is no such step.
        """
        return self.view.output(step_id)

    def calls_of(self, tool: str) -> list[Call]:
        """Return the calls of one tool, in order."""
        return [call for call in self.calls if call.tool == tool]

    def story(self) -> list[str]:
        """Return what happened, one line for each call and question."""
        lines = [f"cause: {self.cause}"] if self.cause else []
        lines += [str(call) for call in self.calls]
        lines += [f"left in the world: {', '.join(self.left) or 'nothing'}"]
        for asked in self.asked:
            choices = ", ".join(asked.choices)
            lines.append(f"asked: step {asked.step_id} {asked.status}: {choices}")
        if self.error is not None:
            lines.append(f"the agent raised {type(self.error).__name__}: {self.error}")
        lines += [f"not taken: {refusal}" for refusal in self.refused]
        return lines


def comparison(one: Any, other: Any) -> list[str] | None:
    """Return what pytest shows when an end, or names of it, are not what was wanted.

    Returns:
        None if ``one`` is neither, or ``other`` is nothing that it can be compared with.
    """
    if isinstance(one, Names):
        return one.end.story() if isinstance(other, list | tuple) else None
    if not isinstance(one, End) or not isinstance(other, str):
        return None
    if other in _ENDS:
        return one.story()
    near = difflib.get_close_matches(other, _ENDS, n=1)
    maybe = f" Did you mean {near[0]!r}?" if near else ""
    return [f"No run can end as {other!r}: ends are {', '.join(_ENDS)}.{maybe}", *one.story()]
