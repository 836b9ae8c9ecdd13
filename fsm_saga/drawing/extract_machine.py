"""The saga machine's table -> a picture that stays one page, for 3 steps and for 200.

The table holds a row for every count that a saga may come to, thousands for a long plan. The
picture says the same with few arrows, and nothing is left out: what every EXECUTING(n) does
alike is one arrow from the whole row of EXECUTING states, and where the counts decide which
state follows, the arrow's label says so. Long rows are folded: the first, the last and what lies
around the present state stay, the rest becomes one range.

This file reads the table and says what belongs together; ``machine_layout.py`` gives it places.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

from fsm_saga.core.states import COUNTED_PHASES, FAILED, Phase, SagaEvent, SagaState
from fsm_saga.core.table import Table
from fsm_saga.drawing.machine_layout import lay_out
from fsm_saga.drawing.machine_routes import LEVEL_ROUTES, Bundle
from fsm_saga.drawing.picture import EdgeRole, Node, NodeRole, Picture

GUARDS_SHOWN_STEP_MAX = 4
"""Steps up to which the arrows name their guards; in a longer plan they are the same ones."""

_MEANINGS = {
    Phase.PENDING: "nothing sent",
    Phase.DONE: "all succeeded",
    Phase.FAILED: "nothing is left",
    Phase.NEEDS_HUMAN: "a person decides",
}
_ROLES = {
    Phase.PENDING: NodeRole.PENDING,
    Phase.EXECUTING: NodeRole.EXECUTING,
    Phase.COMPENSATING: NodeRole.GOING_BACK,
    Phase.DONE: NodeRole.DONE,
    Phase.FAILED: NodeRole.FAILED,
    Phase.NEEDS_HUMAN: NodeRole.NEEDS_HUMAN,
}
_TARGETS = {
    Phase.EXECUTING: "to EXECUTING(n): n-1 succeeded",
    Phase.COMPENSATING: "to COMPENSATING(k): k effects left",
}


_MAY_HAVE_EFFECTS = (Phase.EXECUTING, Phase.NEEDS_HUMAN)


class Span(NamedTuple):
    """One node of a row: a state, or all states of a phase from one count to another."""

    phase: Phase
    first: int
    last: int

    @property
    def id(self) -> str:
        """Its id in the picture."""
        if self.phase not in COUNTED_PHASES:
            return f"state-{self.phase}"
        numbers = str(self.first) if self.first == self.last else f"{self.first}_{self.last}"
        return f"state-{self.phase}-{numbers}"

    def holds(self, state: SagaState) -> bool:
        """Return whether the state is this one or lies in this range."""
        return state.phase is self.phase and self.first <= state.count <= self.last


class _Move(NamedTuple):
    source: SagaState
    event: SagaEvent
    target: SagaState
    guards: tuple[str, ...]


def saga_machine_picture(
    table: Table,
    current: SagaState | None = None,
    *,
    collapse_above: int = 8,
    visited: Collection[SagaState] = (),
) -> Picture:
    """Return the picture of a saga machine.

    Args:
        table: The rows, as compiled for a plan.
        current: Where a saga stands now; drawn with a heavy border.
        collapse_above: Length from which a row of states is folded.
        visited: Where the saga has been; with it or ``current`` the other states are pale.
    """
    moves = [
        _Move(source, event, row.target, row.guards)
        for (source, event), rows in table.rows.items()
        for row in rows
    ]
    spans = _spans(table.states, current, collapse_above)
    seen = None if current is None and not visited else {*visited, *((current,) if current else ())}
    nodes = {span: _node(span, current, seen) for span in spans}
    step_count = max((s.count for s in table.states if s.phase is Phase.EXECUTING), default=0)
    bundles = list(_bundles(moves, spans, with_guards=step_count <= GUARDS_SHOWN_STEP_MAX))
    rows = {phase: tuple(nodes[span] for span in spans if span.phase is phase) for phase in Phase}
    where = f", now in {current}" if current is not None else ""
    return lay_out(
        rows,
        bundles,
        title=f"The saga machine of {_steps(step_count, table)}{where}",
        notes=tuple(_notes(with_guards=step_count <= GUARDS_SHOWN_STEP_MAX)),
    )


def _steps(step_count: int, table: Table) -> str:
    if any(event is SagaEvent.PLAN_CLOSED for _, event in table.rows):
        return f"an open plan of {step_count - 1} steps so far"
    return f"a plan of {step_count} step{'s' if step_count != 1 else ''}"


def _notes(*, with_guards: bool) -> Iterator[str]:
    yield "EXECUTING(n): n-1 steps have succeeded, the n-th success is awaited."
    yield "COMPENSATING(k): the effects of k steps are, or may be, in the world."
    brackets = " [In brackets]: what must hold for it." if with_guards else ""
    yield f"blue: forward; red: what goes wrong; dashed: the way back; dotted: a person.{brackets}"


# --- states ---------------------------------------------------------------------------------------


def _spans(
    states: Iterable[SagaState], current: SagaState | None, collapse_above: int
) -> tuple[Span, ...]:
    spans: list[Span] = []
    for phase, group in groupby(states, key=lambda state: state.phase):
        counts = [state.count for state in group]
        if phase not in COUNTED_PHASES or len(counts) <= collapse_above:
            spans += [Span(phase, count, count) for count in counts]
        else:
            here = current.count if current is not None and current.phase is phase else None
            spans += _folded(phase, counts, here)
    return tuple(spans)


def _folded(phase: Phase, counts: Sequence[int], here: int | None) -> Iterator[Span]:
    kept = {counts[0], counts[-1]}
    if here is not None:
        kept |= {here - 1, here, here + 1} & set(counts)
    run: list[int] = []
    for count in [*counts, None]:
        if count is not None and count not in kept:
            run.append(count)
            continue
        if run:
            yield Span(phase, run[0], run[-1])
            run = []
        if count is not None:
            yield Span(phase, count, count)


def _node(span: Span, current: SagaState | None, seen: Collection[SagaState] | None) -> Node:
    is_current = current is not None and span.holds(current)
    role = _ROLES[span.phase]
    if seen is not None and not any(span.holds(state) for state in seen):
        role = NodeRole.WAITING
    first = str(SagaState(span.phase, span.first))
    if span.first != span.last:
        lines = (first, f"… {SagaState(span.phase, span.last)}")
    else:
        lines = (first, _meaning(span))
    if is_current:
        lines = (f"▶ {lines[0]}", *lines[1:])
    tooltip = "; ".join(lines) + ("; the saga is here now" if is_current else "")
    return Node(id=span.id, lines=lines, role=role, tooltip=tooltip, is_current=is_current)


def _meaning(span: Span) -> str:
    match span.phase:
        case Phase.EXECUTING:
            return f"{span.first - 1} succeeded"
        case Phase.COMPENSATING:
            return f"{span.first} effect{'s' if span.first != 1 else ''} left"
        case _:
            return _MEANINGS[span.phase]


# --- transitions ----------------------------------------------------------------------------------


def _bundles(
    moves: Sequence[_Move], spans: Sequence[Span], *, with_guards: bool
) -> Iterator[Bundle]:
    """Yield the arrows: one for all rows that lead from one phase to another alike."""
    groups: dict[tuple[Phase, Phase, str], list[_Move]] = {}
    for move in moves:
        kind = _kind(move)
        groups.setdefault((move.source.phase, move.target.phase, kind), []).append(move)
    for (source, target, kind), group in groups.items():
        if kind == "neighbour":
            yield from _chain(group, spans, with_guards=with_guards)
            continue
        source_ids = _ids_of({move.source for move in group}, spans)
        target_ids = _ids_of({move.target for move in group}, spans)
        is_level = (source, target) in LEVEL_ROUTES or kind == "loop"
        source_id = _end(source_ids, source, spans, is_level=is_level)
        target_id = _end(target_ids, target, spans, is_level=is_level)
        label = _label(group, with_guards=with_guards)
        if len(target_ids) > 1 and kind != "loop":
            label += (_TARGETS[target],)
        elif target is Phase.FAILED and source in _MAY_HAVE_EFFECTS:
            label += ("with no effect left",)
        yield Bundle(
            source=source,
            target=target,
            source_id=source_id,
            target_id=target_id,
            label=label,
            role=_role(source, target),
        )


def _kind(move: _Move) -> str:
    if move.source == move.target:
        return "loop"
    is_near = abs(move.source.count - move.target.count) == 1
    return "neighbour" if move.source.phase is move.target.phase and is_near else "other"


def _chain(group: Sequence[_Move], spans: Sequence[Span], *, with_guards: bool) -> Iterator[Bundle]:
    """Yield the arrows along a row; inside a range they are its own affair."""
    steps: dict[tuple[str, str], list[_Move]] = {}
    for move in group:
        (source_id,), (target_id,) = _ids_of({move.source}, spans), _ids_of({move.target}, spans)
        if source_id != target_id:
            steps.setdefault((source_id, target_id), []).append(move)
    for (source_id, target_id), some in steps.items():
        yield Bundle(
            source=some[0].source.phase,
            target=some[0].target.phase,
            source_id=source_id,
            target_id=target_id,
            label=_label(some, with_guards=with_guards),
            role=_role(some[0].source.phase, some[0].target.phase),
            is_chain=True,
        )


def _end(ids: Sequence[str], phase: Phase, spans: Sequence[Span], *, is_level: bool) -> str | None:
    """Return the one node that the arrow leaves or enters, or None for the area of the phase.

    An arrow between the two rows goes to the area also where the row has a single state.
    """
    is_alone = phase in COUNTED_PHASES and sum(span.phase is phase for span in spans) == 1
    return ids[0] if len(ids) == 1 and (is_level or not is_alone) else None


def _ids_of(states: Collection[SagaState], spans: Sequence[Span]) -> list[str]:
    return [span.id for span in spans if any(span.holds(state) for state in states)]


def _label(group: Sequence[_Move], *, with_guards: bool) -> tuple[str, ...]:
    """Return the events, one a line, each lot followed by its guards in brackets."""
    by_guards: dict[tuple[str, ...], dict[str, None]] = {}
    for move in group:
        by_guards.setdefault(move.guards, {})[move.event.value] = None
    lines: list[str] = []
    for guards, events in by_guards.items():
        lines += [event for event in events if event not in lines]
        if with_guards:
            lines += [f"[{guard}]" for guard in guards]
    return tuple(lines)


def _role(source: Phase, target: Phase) -> EdgeRole:
    if source is Phase.NEEDS_HUMAN and target is not source:
        return EdgeRole.PERSON
    if target is Phase.NEEDS_HUMAN:
        return EdgeRole.TURN
    if source is Phase.COMPENSATING:
        return EdgeRole.BACK
    if target in (Phase.COMPENSATING, FAILED.phase):
        return EdgeRole.TURN
    return EdgeRole.FORWARD
