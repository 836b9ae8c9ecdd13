"""Program -> picture of its steps: what happens after what, and how it would be undone.

Solid arrows are the dependencies, without those that follow from others. Dashed arrows are the
way back: each leads from a step to the steps that are undone next, and from the first ones to
FAILED, where nothing is left. Steps with nothing to undo are passed over. What lies past the
point of no return has an area of its own and no way back. With a saga, each step shows its
status too, and the arrows that were really taken are drawn strongly.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

import networkx as nx

from fsm_saga.core.contract import Standing
from fsm_saga.core.people import choices
from fsm_saga.core.program import Program, StepSpec
from fsm_saga.core.saga import Saga, StepState
from fsm_saga.core.states import DoubtExit, Phase, StepKind, StepStatus
from fsm_saga.drawing.picture import (
    Cluster,
    ClusterRole,
    Edge,
    EdgeRole,
    Flow,
    Node,
    NodeForm,
    NodeRole,
    Picture,
)
from fsm_saga.drawing.plain import plain_text, shorten, wrap
from fsm_saga.drawing.theme import NODE_LOOKS

NAME_COLUMNS = 28
TOOL_COLUMNS = 30
NOTE_COLUMNS = 110
QUESTION_MAX = 3
GOAL_COLUMNS = 100
SAGA_ID_COLUMNS = 40
TOOLTIP_COLUMNS = 400
FLOW_RIGHT_DEPTH_MAX = 3
"""Steps in a row above which the picture reads downwards, to stay as wide as a page."""
UNDO_NODE_STEP_MAX = 16
"""Steps above which an undo is written in its step and has no node of its own."""

START_ID = "start"
END_ID = "done"
UNDONE_ID = "failed"
NO_RETURN_ID = "no-return"

DOUBT_WORDS: Mapping[DoubtExit, str] = {
    DoubtExit.NO_EFFECT: "nothing to undo",
    DoubtExit.COMPENSATE_NOW: "undo at once, the tool then refuses a late call",
    DoubtExit.RESEND: "resend the same id, else a person",
    DoubtExit.CHECK: "ask the tool what became of it",
    DoubtExit.WAIT_DEADLINE: "wait until the tool must refuse it, then undo",
    DoubtExit.PERSON: "ask a person",
}
"""What is done with a call whose outcome stays unknown, in the words of the pictures."""

_LAUNCHED = frozenset(StepStatus) - {
    StepStatus.WAITING,
    StepStatus.AWAITING_APPROVAL,
    StepStatus.SKIPPED,
}
_UNDOING = frozenset({StepStatus.COMPENSATING, StepStatus.COMPENSATED, StepStatus.STUCK})


def dag_picture(
    program: Program,
    saga: Saga | None = None,
    *,
    standings: Mapping[str, Standing] | None = None,
) -> Picture:
    """Return the picture of a plan's steps; with ``saga``, of where it stands.

    With ``standings`` (by tool), a step with an effect says whether its tool is certified.

    Node ids are ``step-<index>``, ``undo-<index>``, ``start``, ``done`` and ``failed``. Names and
    tools are cut to the width of a card; the tooltip has more of them.
    """
    graph = _reduced(_needs_graph(program))
    depth = nx.dag_longest_path_length(graph) + 1 if graph else 0
    usual = _usual_exit(program)
    past = _past_no_return(program)
    undo_nodes, undo_edges = _way_back(program, past, saga)
    steps = [_step_node(step, program, saga, usual, standings) for step in program.steps]
    edges = [*_forward_edges(graph, saga), *undo_edges]
    ends = [_end_node(program, saga)]
    if undo_edges or _is_in(saga, Phase.FAILED):
        ends.append(_undone_node(saga))
    clusters: tuple[Cluster, ...] = ()
    if past or program.irrevocable:
        inside = tuple(node.id for node in steps if int(node.id.split("-")[1]) in past)
        title = "past the point of no return: only forward"
        clusters = (
            Cluster(
                id=NO_RETURN_ID,
                title=title,
                nodes=(*inside, END_ID),
                role=ClusterRole.NO_RETURN,
            ),
        )
    return Picture(
        title=_title(program, saga),
        nodes=(START, *steps, *undo_nodes, *ends),
        edges=tuple(edges),
        clusters=clusters,
        notes=tuple(_notes(saga, usual)),
        legend=tuple(_legend(program, undo_edges)),
        flow=Flow.RIGHT if depth <= FLOW_RIGHT_DEPTH_MAX else Flow.DOWN,
    )


# --- structure ------------------------------------------------------------------------------------


def bits(mask: int) -> Iterator[int]:
    """Yield the positions of the ones in a mask, lowest first."""
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low


def _needs_graph(program: Program) -> nx.DiGraph[int]:
    graph: nx.DiGraph[int] = nx.DiGraph()
    graph.add_nodes_from(step.index for step in program.steps)
    graph.add_edges_from((need, step.index) for step in program.steps for need in bits(step.needs))
    return graph


def _reduced(graph: nx.DiGraph[int]) -> nx.DiGraph[int]:
    # The library's reduction forgets the order of the nodes, and so the picture would, too.
    reduced: nx.DiGraph[int] = nx.DiGraph()
    reduced.add_nodes_from(sorted(graph))
    reduced.add_edges_from(sorted(nx.transitive_reduction(graph).edges))
    return reduced


def _past_no_return(program: Program) -> frozenset[int]:
    past = 0
    for index in bits(program.irrevocable):
        past |= program.steps[index].descendants
    return frozenset(bits(past))


def _usual_exit(program: Program) -> DoubtExit | None:
    exits = Counter(step.exit for step in program.steps if step.is_effectful)
    return exits.most_common(1)[0][0] if exits else None


def _forward_edges(graph: nx.DiGraph[int], saga: Saga | None) -> Iterator[Edge]:
    for index in graph:
        if not graph.in_degree(index):
            yield _forward_edge(START_ID, _step_id(index), _is_launched(saga, index))
    for source, target in graph.edges:
        yield _forward_edge(_step_id(source), _step_id(target), _is_launched(saga, target))
    is_done = _is_in(saga, Phase.DONE)
    for index in graph:
        if not graph.out_degree(index):
            yield _forward_edge(_step_id(index), END_ID, is_done)


def _forward_edge(source: str, target: str, is_taken: bool) -> Edge:
    role = EdgeRole.TAKEN if is_taken else EdgeRole.NEEDS
    return Edge(source=source, target=target, role=role)


def _way_back(
    program: Program, past: frozenset[int], saga: Saga | None
) -> tuple[list[Node], list[Edge]]:
    """Return the undo calls as nodes of their own and the arrows through them.

    On a node the name of the undo has its own room, where a label would be crossed by arrows;
    and where the way back forks it is still one call.
    """
    undoable = [s.index for s in program.steps if _has_way_back(s) and s.index not in past]
    closure = nx.transitive_closure_dag(_needs_graph(program))
    order = _reduced(nx.DiGraph(closure.subgraph(undoable)))
    nodes: list[Node] = []
    edges: list[Edge] = []
    for index in undoable:
        step = program.steps[index]
        source, role = _step_id(index), _undo_role(step, saga)
        words = _undo_words(step)
        if len(program.steps) <= UNDO_NODE_STEP_MAX:
            undo = _undo_node(step, role, words)
            nodes.append(undo)
            edges.append(_back(source, undo.id, role, words, has_arrow=False))
            source = undo.id
        targets = [_step_id(before) for before in sorted(order.predecessors(index))] or [UNDONE_ID]
        edges += [_back(source, target, role, words) for target in targets]
    return nodes, edges


def _back(source: str, target: str, role: EdgeRole, words: str, *, has_arrow: bool = True) -> Edge:
    return Edge(
        source=source,
        target=target,
        role=role,
        tooltip=words,
        has_arrow=has_arrow,
        is_backward=True,
    )


def _has_way_back(step: StepSpec) -> bool:
    return step.is_effectful and (step.undo is not None or step.semantic is not None)


def _undo_role(step: StepSpec, saga: Saga | None) -> EdgeRole:
    is_taken = saga is not None and saga.steps[step.index].status in _UNDOING
    if step.undo is not None:
        return EdgeRole.UNDO_TAKEN if is_taken else EdgeRole.UNDO
    return EdgeRole.SEMANTIC_TAKEN if is_taken else EdgeRole.SEMANTIC


def _undo_lines(step: StepSpec, *, line_max: int) -> tuple[str, ...]:
    if step.undo is not None:
        return (shorten(f"{NODE_LOOKS[NodeRole.UNDO].symbol} {step.undo.tool}", TOOL_COLUMNS),)
    words = wrap(step.semantic or "", TOOL_COLUMNS, line_max=line_max) if line_max else ()
    return (f"{NODE_LOOKS[NodeRole.SEMANTIC].symbol} make good:", *words)


def _undo_node(step: StepSpec, role: EdgeRole, words: str) -> Node:
    return Node(
        id=f"undo-{step.index}",
        lines=_undo_lines(step, line_max=2),
        role=NodeRole(role.value),
        form=NodeForm.CHIP,
        tooltip=words,
    )


def _undo_words(step: StepSpec) -> str:
    if step.undo is not None:
        return shorten(f"undo of {step.name}: {step.undo.tool}", TOOLTIP_COLUMNS)
    words = f"making good for {step.name}, decided when needed: {step.semantic}"
    return shorten(words, TOOLTIP_COLUMNS)


# --- nodes ----------------------------------------------------------------------------------------


def _step_id(index: int) -> str:
    return f"step-{index}"


def _is_launched(saga: Saga | None, index: int) -> bool:
    return saga is not None and saga.steps[index].status in _LAUNCHED


START = Node(id=START_ID, lines=("start",), role=NodeRole.START, form=NodeForm.DOT)


def _is_in(saga: Saga | None, phase: Phase) -> bool:
    return saga is not None and saga.state.phase is phase


def _end_node(program: Program, saga: Saga | None) -> Node:
    if saga is not None and saga.state.phase is Phase.DONE:
        return Node(id=END_ID, lines=(_ended(saga),), role=NodeRole.DONE)
    if program.is_open:
        return Node(id=END_ID, lines=("open:", "steps may follow"), role=NodeRole.SKIPPED)
    return Node(id=END_ID, lines=("DONE",), role=NodeRole.PENDING)


def _undone_node(saga: Saga | None) -> Node:
    if saga is not None and saga.state.phase is Phase.FAILED:
        return Node(id=UNDONE_ID, lines=(_ended(saga),), role=NodeRole.FAILED)
    return Node(id=UNDONE_ID, lines=("FAILED", "nothing is left"), role=NodeRole.PENDING)


def _ended(saga: Saga) -> str:
    look = NODE_LOOKS[NodeRole.DONE if saga.state.phase is Phase.DONE else NodeRole.FAILED]
    return f"{look.symbol} {saga.state}" + (f" · {saga.outcome}" if saga.outcome else "")


def _step_node(
    step: StepSpec,
    program: Program,
    saga: Saga | None,
    usual: DoubtExit | None,
    standings: Mapping[str, Standing] | None,
) -> Node:
    state = saga.steps[step.index] if saga is not None else None
    name_lines = _name_lines(step)
    lines = list(name_lines)
    if plain_text(step.name) != plain_text(step.action.tool):
        lines.append(shorten(step.action.tool, TOOL_COLUMNS))
    marks = list(_marks(step))
    if marks:
        lines.append(" · ".join(marks))
    if len(program.steps) > UNDO_NODE_STEP_MAX and _has_way_back(step):
        lines.append(_undo_lines(step, line_max=0)[0])
    if step.is_effectful and step.exit is not usual:
        lines += [
            f"if unknown: {line}" if not number else line
            for number, line in enumerate(wrap(DOUBT_WORDS[step.exit], 26, line_max=2))
        ]
    if standings is not None and step.is_effectful:
        lines.append(f"contract: {standings[step.action.tool]}")
    if state is not None:
        lines.append(_status_line(state))
    return Node(
        id=_step_id(step.index),
        lines=tuple(lines),
        role=NodeRole(state.status.lower().replace("_", "-")) if state else NodeRole.PLANNED,
        form=_form(step),
        name_lines=len(name_lines),
        tooltip=_tooltip(step, state),
    )


def _name_lines(step: StepSpec) -> tuple[str, ...]:
    name = plain_text(step.name)
    number = shorten(str(step.step_id), 12)
    if not name or name == number:
        return (number,)
    return wrap(f"{number} · {name}", NAME_COLUMNS, line_max=2)


def _marks(step: StepSpec) -> Iterator[str]:
    if step.kind is StepKind.PIVOT:
        yield "◆ PIVOT"
    elif step.kind is StepKind.READ_ONLY or not step.is_effectful:
        yield "read only"
    elif step.kind is StepKind.RETRIABLE:
        yield "retried until done"
    elif step.is_irrevocable:
        yield "no way back"
    if step.approval_expires_s is not None:
        yield "a person approves"


def _form(step: StepSpec) -> NodeForm:
    if step.kind is StepKind.PIVOT:
        return NodeForm.OCTAGON
    return NodeForm.CARD if step.is_effectful else NodeForm.BOX


def _status_line(state: StepState) -> str:
    role = NodeRole(state.status.lower().replace("_", "-"))
    words = f"{NODE_LOOKS[role].symbol} {state.status.replace('_', ' ')}"
    attempts = state.attempts
    if state.undo is not None and state.status in _UNDOING:
        attempts = state.undo.attempts
    return f"{words} · attempt {attempts}" if attempts > 1 else words


def _tooltip(step: StepSpec, state: StepState | None) -> str:
    parts = [f"step {step.step_id}: {step.name}", f"tool {step.action.tool}", str(step.kind)]
    if step.undo is not None:
        parts.append(f"undo {step.undo.tool}")
    if step.semantic is not None:
        parts.append(f"making good: {step.semantic}")
    parts.append(f"if unknown: {DOUBT_WORDS[step.exit]}")
    if state is not None:
        parts.append(f"{state.status}, attempts {state.attempts}")
    return shorten("; ".join(parts), TOOLTIP_COLUMNS)


# --- words around ---------------------------------------------------------------------------------


def _title(program: Program, saga: Saga | None) -> str:
    goal = shorten(program.goal or "", GOAL_COLUMNS)
    if saga is None:
        return goal or "The plan"
    where = f"{shorten(saga.saga_id, SAGA_ID_COLUMNS)} is {saga.state}"
    return f"{where}: {goal}" if goal else where


def _notes(saga: Saga | None, usual: DoubtExit | None) -> Iterator[str]:
    if saga is not None and saga.cause:
        yield shorten(saga.cause, NOTE_COLUMNS)
    if saga is not None:
        yield from _questions(saga)
    if usual is not None and usual is not DoubtExit.NO_EFFECT:
        yield f"If it stays unknown whether a call took effect: {DOUBT_WORDS[usual]}."


def _questions(saga: Saga) -> Iterator[str]:
    """Yield what a person is asked, and which answers are open to them."""
    asked = [
        (spec, answers)
        for spec, _state in zip(saga.program.steps, saga.steps, strict=False)
        if (answers := choices(saga, spec.index))
    ]
    for spec, answers in asked[:QUESTION_MAX]:
        told = f"A person decides about step {spec.step_id}: {', '.join(answers)}."
        yield shorten(told, NOTE_COLUMNS)
    if len(asked) > QUESTION_MAX:
        yield f"A person decides about {len(asked) - QUESTION_MAX} more steps."


def _legend(program: Program, undos: list[Edge]) -> Iterator[str]:
    roles = {edge.role for edge in undos}
    if roles & {EdgeRole.UNDO, EdgeRole.UNDO_TAKEN}:
        yield "dashed: the way back, with the tool that undoes the step it leaves"
    if roles & {EdgeRole.SEMANTIC, EdgeRole.SEMANTIC_TAKEN}:
        yield "dotted: made good for in another way, decided when needed"
    if any(step.kind is StepKind.PIVOT for step in program.steps):
        yield "octagon: the point of no return"
