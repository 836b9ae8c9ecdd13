"""The explicit transition table of the saga machine, and the one function that reads it.

The MOVE rows come from the python-statemachine class of the plan's shape (``machine/``),
flattened; a test proves that class and table agree on every reachable configuration. What the
class does not permit is completed here, so that the table is total: for each state and event
there is a MOVE, an IGNORE with its reason (late and repeated events are normal), or a REFUSE
with its reason (somebody asked for what cannot be).

Reading order: ``OTHERWISE`` says what happens when no row moves; ``Table.verdict`` is the
interpreter. No transition of a saga is decided anywhere else.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass

from fsm_saga.core.guards import GUARDS, Facts, Guard
from fsm_saga.core.states import Phase, SagaEvent, SagaState


class VerdictKind(enum.Enum):
    """What the table says of an event."""

    MOVE = "move"
    IGNORE = "ignore"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The table's answer: a target to move to, or the reason not to."""

    kind: VerdictKind
    target: SagaState | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """One transition: when all guards hold, go to the target."""

    guards: tuple[str, ...]
    target: SagaState


def _ignore(reason: str) -> Verdict:
    return Verdict(VerdictKind.IGNORE, None, reason)


def _refuse(reason: str) -> Verdict:
    return Verdict(VerdictKind.REFUSE, None, reason)


_ANSWERS = (
    SagaEvent.HUMAN_RETRIES,
    SagaEvent.HUMAN_SETTLES,
    SagaEvent.HUMAN_SUPPLIES_OUTPUT,
    SagaEvent.HUMAN_SUPPLIES_CALLS,
)
_RESULTS = (
    SagaEvent.STEP_SUCCEEDED,
    SagaEvent.STEP_FAILED,
    SagaEvent.EFFECT_CLEARED,
    SagaEvent.NOTHING_LEFT_TO_TRY,
    SagaEvent.FORWARD_EXHAUSTED,
)


def _otherwise() -> dict[tuple[Phase, SagaEvent], Verdict]:
    table: dict[tuple[Phase, SagaEvent], Verdict] = {}
    for phase in Phase:
        for event in _RESULTS:
            table[phase, event] = _ignore("the saga's state does not turn on this result")
        for event in _ANSWERS:
            table[phase, event] = _refuse("no person is asked; answers count in NEEDS_HUMAN only")
        table[phase, SagaEvent.START] = _refuse("the saga has started")
        table[phase, SagaEvent.CANCELLED] = _ignore("the saga is already going back")
        table[phase, SagaEvent.DEADLINE_PASSED] = _ignore("the deadline changes nothing any more")
        table[phase, SagaEvent.STEP_APPENDED] = _refuse("the saga no longer goes forward")
        table[phase, SagaEvent.PLAN_CLOSED] = _refuse("the saga no longer goes forward")
    for phase in (Phase.DONE, Phase.FAILED):
        for event in (SagaEvent.CANCELLED, SagaEvent.STEP_APPENDED, SagaEvent.PLAN_CLOSED):
            table[phase, event] = _refuse("the saga has ended")
        for event in _ANSWERS:
            table[phase, event] = _refuse("the saga has ended")
    executing = Phase.EXECUTING
    table[Phase.PENDING, SagaEvent.START] = _refuse("the plan has no step")
    table[Phase.PENDING, SagaEvent.CANCELLED] = _ignore("nothing has begun")
    table[executing, SagaEvent.CANCELLED] = _refuse("the point of no return is passed")
    table[executing, SagaEvent.STEP_APPENDED] = _refuse("the saga is about to go back")
    table[Phase.NEEDS_HUMAN, SagaEvent.CANCELLED] = _refuse("the point of no return is passed")
    table[executing, SagaEvent.PLAN_CLOSED] = _refuse("the plan is closed")
    for event in _ANSWERS:
        table[Phase.NEEDS_HUMAN, event] = _refuse("the answer leads to no state of this saga")
    return table


OTHERWISE: Mapping[tuple[Phase, SagaEvent], Verdict] = _otherwise()


_Compiled = tuple[tuple[Guard, ...], SagaState, Verdict]


class Table:
    """The rows of one saga machine; built once for each shape and shared."""

    __slots__ = ("_compiled", "rows")

    def __init__(self, rows: Mapping[tuple[SagaState, SagaEvent], tuple[Row, ...]]) -> None:
        self.rows = rows
        guards: dict[tuple[str, ...], tuple[Guard, ...]] = {}
        moves: dict[SagaState, Verdict] = {}
        self._compiled: dict[tuple[SagaState, SagaEvent], list[_Compiled]] = {}
        last: tuple[Row, ...] | None = None
        compiled: list[_Compiled] = []
        for key, cell in rows.items():
            # Events that share their transitions share the cell and mostly stand side by side: so
            # it is compiled once. To hash the cells of a wide plan would take longer.
            if cell is not last:
                last, compiled = cell, []
                for row in cell:
                    if row.guards not in guards:
                        guards[row.guards] = tuple(GUARDS[name] for name in row.guards)
                    if row.target not in moves:
                        moves[row.target] = Verdict(VerdictKind.MOVE, row.target)
                    compiled.append((guards[row.guards], row.target, moves[row.target]))
            self._compiled[key] = compiled

    def verdict(self, state: SagaState, event: SagaEvent, facts: Facts) -> Verdict:
        """Return what the event does to a saga in this state: move, ignore or refuse.

        The first row whose guards all hold wins; the rows of one cell exclude each other, which
        the exhaustive check proves. Total: there is an answer for every state and event.
        """
        for guards, target, move in self._compiled.get((state, event), ()):
            for guard in guards:
                if not guard(facts, target):
                    break
            else:
                return move
        return OTHERWISE[state.phase, event]

    @property
    def states(self) -> tuple[SagaState, ...]:
        """Every state that a row leaves or enters, in reading order."""
        seen: dict[SagaState, None] = {}
        for (source, _event), cell in self.rows.items():
            seen[source] = None
            for row in cell:
                seen[row.target] = None
        order = list(Phase)
        return tuple(sorted(seen, key=lambda s: (order.index(s.phase), s.count)))
