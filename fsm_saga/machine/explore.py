"""The space of all configurations of one program, made as far as somebody walks in it.

A configuration is a normal saga together with the ledger of each step's tools. The saga's part is
a ``Node``: what can happen to it, and what the engine makes of that, is computed once per node with
the real ``decide``, however many configurations share the node. So most moves between
configurations cost a few table lookups.

``successors`` leaves out nothing but mirror images, and ``canonical`` says which configuration
stands for those that differ in nothing that counts (``symmetry.py``, ``merge.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from fsm_saga.core.decide import Decision, decide
from fsm_saga.core.draft import Draft
from fsm_saga.core.effects import CallTool
from fsm_saga.core.events import Event, Submitted
from fsm_saga.core.program import Program
from fsm_saga.core.saga import Saga, StepState
from fsm_saga.core.states import Direction, StepStatus
from fsm_saga.errors import EventRefusedError, InvariantBrokenError
from fsm_saga.machine.canonical import Canonical, Reduction
from fsm_saga.machine.ledger import EMPTY, Act, Ledger, StepWorld, Word
from fsm_saga.machine.moves import Move, is_out, moves_of, sample_output, step_words
from fsm_saga.machine.nodes import Arc, Config, Late, Ledgers, Made, Node, Nodes, Table
from fsm_saga.machine.normal import NOW, SAGA_ID, changed_steps
from fsm_saga.machine.order import Branches
from fsm_saga.machine.properties import Finding, judge_transition
from fsm_saga.machine.symmetry import Order

Decide = Callable[[Saga, Event], Decision]


class Space:
    """All configurations of one program, made on demand."""

    def __init__(
        self,
        program: Program,
        *,
        decider: Decide = decide,
        has_doubles: bool = False,
        reduction: Reduction = Reduction.ALL,
    ) -> None:
        self.program = program
        self.decide = decider
        self.reduction = reduction
        self.decided = 0
        self._nodes = Nodes()
        self.ledgers = Ledgers()
        self.outputs = {spec.index: sample_output(program, spec.index) for spec in program.steps}
        worlds = [StepWorld(spec, has_doubles=has_doubles) for spec in program.steps]
        self._is_steady = [(world.is_steady, world.is_undo_steady) for world in worlds]
        self._tables = [[Table(world, act, self.ledgers) for act in Act] for world in worlds]
        self.branches = Branches(program, worlds)
        self._canonical = Canonical(program, worlds, self._nodes, self.ledgers, reduction)
        self.start_findings: tuple[Finding, ...] = ()

    def initial(self) -> Config:
        """Return the configuration of a saga that was just submitted."""
        event = Submitted(at=NOW, plan={}, tools={})
        start = Draft.of(Saga(SAGA_ID, self.program)).freeze()
        decision = self.decide(start, event)
        node = self._nodes.first(decision.saga)
        found = judge_transition(start, Move("submitted", -1, event, start), decision)
        self.start_findings = (*found, *node.findings)
        return (node.number, *[self.ledgers.number(EMPTY)] * len(self.program.steps), Word.NOTHING)

    @property
    def nodes(self) -> list[Node]:
        """The sagas met, with what can happen to each."""
        return self._nodes.all

    def canonical(self, config: Config) -> tuple[Config, Order | None]:
        """Return the one configuration that stands for this one, and the order that made it."""
        return self._canonical.of(config)

    def node(self, config: Config) -> Node:
        """Return the saga's part of a configuration."""
        return self._nodes.all[config[0]]

    def ledgers_of(self, config: Config) -> tuple[Ledger, ...]:
        """Return the ledger of each step."""
        return tuple(self.ledgers.of[number] for number in config[1:-1])

    def successors(
        self, config: Config, *, is_mirrored: bool = True, step: int | None = None
    ) -> list[tuple[Made, Config]]:
        """Return every move from here with what it leads to, not yet mirrored.

        A move that changes nothing is left out, unless it broke a property: then it leads to
        where it started, and its findings tell.

        Args:
            config: Where to start.
            is_mirrored: Leave out a step's moves where a twin of it can do the same.
            step: Only the moves of this step.
        """
        node = self._nodes.all[config[0]]
        hidden = self._canonical.hidden(node, config) if is_mirrored else ()
        found: list[tuple[Made, Config]] = []
        for arc in self.arcs_of(node):
            if arc.move.step in hidden or (step is not None and arc.move.step != step):
                continue
            after = self.make(config, arc)
            if after is not None and (after != config or arc.findings):
                found.append((arc, after))
        late_moves = [late for late in self.late_moves(config) if step in (None, late.step)]
        found += [(late, self.make_late(config, late)) for late in late_moves]
        return found

    def arcs_of(self, node: Node) -> list[Arc]:
        """Return the moves of a saga, decided or not, possible at the tools or not."""
        return self._make_arcs(node) if node.arcs is None else node.arcs

    def is_possible(self, config: Config, arc: Arc) -> bool:
        """Return whether the tools' ledgers allow a move of this configuration's saga."""
        move = arc.move
        if move.act is None:
            return True
        return self._tables[move.step][move.act][config[move.step + 1]] >= 0

    def make(self, config: Config, arc: Arc) -> Config | None:
        """Return where a move leads, or None if it is not possible or the engine refuses it.

        A move on which the engine breaks leads to where it started; its findings tell.
        """
        move = arc.move
        ledgers = list(config)
        if move.act is not None:
            changed = self._tables[move.step][move.act][ledgers[move.step + 1]]
            if changed < 0:
                return None
            ledgers[move.step + 1] = changed
        if not arc.is_resolved:
            self._resolve(self._nodes.all[config[0]], arc)
        if arc.target is None:
            return config if arc.findings else None
        for index, act in arc.acts:
            ledgers[index + 1] = self._tables[index][act][ledgers[index + 1]]
        ledgers[0] = arc.target.number
        return tuple(ledgers)

    def late_moves(self, config: Config) -> list[Late]:
        """Return the late copies that can arrive and take effect."""
        node = self._nodes.all[config[0]]
        self.arcs_of(node)
        return [
            Late(index, act)
            for index, acts in enumerate(node.open_late)
            for act in acts
            if self._tables[index][act][config[index + 1]] >= 0
        ]

    def make_late(self, config: Config, late: Late) -> Config:
        """Return the configuration after a late copy took effect."""
        place = late.step + 1
        changed = self._tables[late.step][late.act][config[place]]
        return (*config[:place], changed, *config[place + 1 :])

    def _make_arcs(self, node: Node) -> list[Arc]:
        node.arcs = [Arc(move) for move in moves_of(node.saga, self.outputs)]
        open_late: list[tuple[Act, ...]] = []
        for index, step in enumerate(node.saga.steps):
            is_steady, is_undo_steady = self._is_steady[index]
            acts = [Act.ARRIVE_STRAY, Act.UNDO_ARRIVE_STRAY]
            if not (is_steady and step.status in _LATE_LATER):
                acts.append(Act.ARRIVE_LATE)
            if not (is_undo_steady and step.status in _UNDO_LATE_LATER):
                acts.append(Act.UNDO_ARRIVE_LATE)
            open_late.append(tuple(acts))
        node.open_late = tuple(open_late)
        if Reduction.ORDER in self.reduction:
            node.first = self.branches.first(node.saga)
        return node.arcs

    def _resolve(self, node: Node, arc: Arc) -> None:
        arc.is_resolved = True
        move = arc.move
        if move.event is None:
            target = self._nodes.after(move.saga, node)
            arc.acts = tuple((index, Act.CLOSE) for index in move.closing)
            arc.target = target
            return
        self.decided += 1
        try:
            decision = self.decide(move.saga, move.event)
        except EventRefusedError as refusal:
            if not move.may_be_refused:
                arc.findings = (Finding("TOTAL", f"the engine refused: {refusal.message}"),)
            return
        except InvariantBrokenError as broken:
            arc.findings = (Finding("TOTAL", f"the engine broke: {broken.message}"),)
            return
        changed = changed_steps(node.saga, decision.saga)
        arc.acts = tuple(self._acts(node.saga, move, decision, changed))
        arc.target = self._nodes.after(decision.saga, node)
        found = judge_transition(node.saga, move, decision)
        arc.findings = (*found, *arc.target.findings)

    def _acts(
        self, before: Saga, move: Move, decision: Decision, changed: list[int]
    ) -> Iterator[tuple[int, Act]]:
        """Yield what the decision means for the calls in flight, in the order it happens."""
        for index in move.closing:
            yield index, Act.CLOSE
        if move.accepts:
            is_done = decision.saga.steps[move.step].status is StepStatus.SUCCEEDED
            yield move.step, Act.VOUCH if is_done else Act.ACCEPT
        sent = [
            (effect.step, effect.direction)
            for effect in decision.effects
            if isinstance(effect, CallTool)
        ]
        for index in sorted({*changed, *(step for step, _direction in sent)}):
            old, new = before.steps[index], decision.saga.steps[index]
            replied = move.replies if move.step == index else None
            yield from _step_acts(index, old, new, replied, sent)
        if move.forgets is not None:
            yield move.step, move.forgets

    def word_of(self, config: Config) -> Word:
        """Return the strongest word on its steps, merged ones included."""
        return Word(max(config[-1], *(self.ledgers.of[number].word for number in config[1:-1])))

    def words(self, made: Made) -> str:
        """Return what a move is, for a reader."""
        if made.step < 0:
            return made.what
        return f"{step_words(self.program, made.step)}: {made.what}"


# At a steady tool a late copy may as well arrive when somebody looks: the engine by the next send,
# a check or an undo, a person by the effect itself. Until then it makes no difference.
_LATE_LATER = frozenset({StepStatus.RUNNING, StepStatus.DOUBTFUL, StepStatus.STUCK})
_UNDO_LATE_LATER = frozenset({StepStatus.COMPENSATING, StepStatus.STUCK})


def _step_acts(
    index: int,
    old: StepState,
    new: StepState,
    replied: Direction | None,
    sent: list[tuple[int, Direction]],
) -> Iterator[tuple[int, Act]]:
    is_sent = (index, Direction.DO) in sent
    is_given_up = is_sent or not is_out(new, Direction.DO)
    if is_given_up and replied is not Direction.DO and is_out(old, Direction.DO):
        yield index, Act.LOSE
    if old.revision != new.revision:
        yield index, Act.RENEW
    if is_sent:
        yield index, Act.SEND
    was, now = old.undo, new.undo
    if now is None:
        return
    if was is not None and _was_made_good(old, new):
        yield index, Act.AMEND
    if now.source != "plan":
        return
    is_sent = (index, Direction.UNDO) in sent
    is_given_up = is_sent or not is_out(new, Direction.UNDO)
    if is_given_up and replied is not Direction.UNDO and is_out(old, Direction.UNDO):
        yield index, Act.UNDO_LOSE
    if was is not None and was.revision != now.revision:
        yield index, Act.UNDO_RENEW
    if is_sent:
        yield index, Act.UNDO_SEND


def _was_made_good(old: StepState, new: StepState) -> bool:
    return (
        old.status is StepStatus.COMPENSATING
        and new.status is StepStatus.COMPENSATED
        and old.undo is not None
        and old.undo.source == "person"
    )
