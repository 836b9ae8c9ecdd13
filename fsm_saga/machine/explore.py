"""The space of all configurations of one program, made as far as somebody walks in it.

A configuration is a normal saga together with the ledger of each step's tools. The saga's part is
a ``Node``: what can happen to it, and what the engine makes of that, is computed once per node with
the real ``decide``, however many configurations share the node. So most moves between
configurations cost a few table lookups.

``successors`` leaves out nothing but mirror images, and ``canonical`` says which configuration
stands for those that differ in nothing that counts (``symmetry.py``, ``merge.py``).
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from fsm_saga.core.decide import Decision, decide
from fsm_saga.core.draft import Draft
from fsm_saga.core.effects import CallTool
from fsm_saga.core.events import Event, Submitted
from fsm_saga.core.program import Program
from fsm_saga.core.saga import Saga, StepState
from fsm_saga.core.states import Direction, StepStatus
from fsm_saga.errors import EventRefusedError, InvariantBrokenError
from fsm_saga.machine.ledger import EMPTY, Act, Ledger, StepWorld, Word
from fsm_saga.machine.merge import (
    Merger,
    cleared_steps,
    done_steps,
    forgotten_steps,
    handed_over_steps,
    is_mergeable,
)
from fsm_saga.machine.moves import Move, is_out, moves_of, sample_output, step_words
from fsm_saga.machine.normal import NOW, SAGA_ID, Key, Normaliser, changed_steps, permuted
from fsm_saga.machine.order import Branches
from fsm_saga.machine.properties import Finding, judge_state, judge_transition
from fsm_saga.machine.symmetry import mirrors

Decide = Callable[[Saga, Event], Decision]
Config = tuple[int, ...]
"""The number of a node, the number of a ledger for each step, and the word on merged steps."""

_IMPOSSIBLE = -1


class Reduction(enum.Flag):
    """What a search leaves out because it makes no difference; each can be left in for a test."""

    NONE = 0
    MIRRORS = enum.auto()
    """Steps that the program cannot tell apart change places until they are in order."""
    MERGES = enum.auto()
    """Steps that are behind the saga for good are merged (``merge.py``)."""
    ORDER = enum.auto()
    """Of independent branches one is followed after the other (``order.py``)."""
    ALL = MIRRORS | MERGES | ORDER


class Arc:
    """One move of a node, and what it comes to once somebody made it.

    ``target`` is None for a move that leads nowhere: the engine refused it, or broke on it.
    ``acts`` are the acts that follow from the decision, after the move's own.
    """

    __slots__ = ("acts", "findings", "is_resolved", "move", "target")

    def __init__(self, move: Move) -> None:
        self.move = move
        self.is_resolved = False
        self.target: Node | None = None
        self.acts: tuple[tuple[int, Act], ...] = ()
        self.findings: tuple[Finding, ...] = ()

    @property
    def step(self) -> int:
        """The step that it happens to, or -1."""
        return self.move.step

    @property
    def what(self) -> str:
        """What happens, without the step."""
        return self.move.what


class Late(NamedTuple):
    """A copy that was given up arrives after all; the engine hears nothing of it."""

    step: int
    act: Act

    @property
    def what(self) -> str:
        """What happens, without the step."""
        return _LATE_WORDS[self.act]


Made = Arc | Late


class Node:
    """A normal saga, and what can happen to it."""

    __slots__ = (
        "arcs",
        "cleared",
        "done",
        "findings",
        "first",
        "forgotten",
        "handed_over",
        "is_mergeable",
        "key",
        "merged",
        "mirrored",
        "number",
        "open_late",
        "saga",
    )

    def __init__(self, number: int, saga: Saga, key: Key) -> None:
        self.number = number
        self.saga = saga
        self.key = key
        self.arcs: list[Arc] | None = None
        self.findings = tuple(judge_state(saga))
        self.cleared = cleared_steps(saga)
        self.done = done_steps(saga)
        self.handed_over = handed_over_steps(saga)
        self.is_mergeable = is_mergeable(saga)
        self.forgotten = forgotten_steps(saga)
        self.merged: dict[tuple[int, int], Node] = {}
        self.first: int | None = None
        self.mirrored: dict[tuple[int, ...], Node] = {}
        self.open_late: tuple[tuple[Act, ...], ...] = ()


class Table(dict[int, int]):
    """What one act does to each ledger of one step, computed when first asked for."""

    __slots__ = ("_act", "_ledgers", "_world")

    def __init__(self, world: StepWorld, act: Act, ledgers: Ledgers) -> None:
        super().__init__()
        self._world = world
        self._act = act
        self._ledgers = ledgers

    def __missing__(self, number: int) -> int:
        found = self._world.after(self._act, self._ledgers.of[number])
        self[number] = _IMPOSSIBLE if found is None else self._ledgers.number(found)
        return self[number]


class Ledgers:
    """Numbers for ledgers."""

    def __init__(self) -> None:
        self.of: list[Ledger] = []
        self._number: dict[Ledger, int] = {}

    def number(self, ledger: Ledger) -> int:
        """Return the number that equal ledgers share."""
        found = self._number.get(ledger)
        if found is None:
            found = self._number[ledger] = len(self.of)
            self.of.append(ledger)
        return found


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
        self.nodes: list[Node] = []
        self.ledgers = Ledgers()
        self.outputs = {spec.index: sample_output(program, spec.index) for spec in program.steps}
        self._names = Normaliser()
        self._node_of: dict[Key, Node] = {}
        worlds = [StepWorld(spec, has_doubles=has_doubles) for spec in program.steps]
        self._is_steady = [(world.is_steady, world.is_undo_steady) for world in worlds]
        self._tables = [[Table(world, act, self.ledgers) for act in Act] for world in worlds]
        self._empty = self.ledgers.number(EMPTY)
        self._merger = Merger(program, worlds)
        self.branches = Branches(program, worlds)
        self._words: dict[tuple[int, StepStatus, int], int | None] = {}
        self._kept: dict[tuple[int, int], int] = {}
        has_mirrors = Reduction.MIRRORS in reduction
        self._twins, self._orders = mirrors(program) if has_mirrors else ([], [])
        self.start_findings: tuple[Finding, ...] = ()

    def initial(self) -> Config:
        """Return the configuration of a saga that was just submitted."""
        event = Submitted(at=NOW, plan={}, tools={})
        start = Draft.of(Saga(SAGA_ID, self.program)).freeze()
        decision = self.decide(start, event)
        node = self._node(decision.saga, None)
        found = judge_transition(start, Move("submitted", -1, event, start), decision)
        self.start_findings = (*found, *node.findings)
        return (node.number, *[self._empty] * len(self.program.steps), Word.NOTHING)

    def node(self, config: Config) -> Node:
        """Return the saga's part of a configuration."""
        return self.nodes[config[0]]

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
        node = self.nodes[config[0]]
        hidden = self._hidden(node, config) if is_mirrored and self._twins else ()
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
            self._resolve(self.nodes[config[0]], arc)
        if arc.target is None:
            return config if arc.findings else None
        for index, act in arc.acts:
            ledgers[index + 1] = self._tables[index][act][ledgers[index + 1]]
        ledgers[0] = arc.target.number
        return tuple(ledgers)

    def late_moves(self, config: Config) -> list[Late]:
        """Return the late copies that can arrive and take effect."""
        node = self.nodes[config[0]]
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
            target = self._node(move.saga, node)
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
        arc.target = self._node(decision.saga, node)
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

    def _node(self, saga: Saga, before: Node | None) -> Node:
        if before is None:
            normal, key = self._names.normal(saga)
        else:
            normal, key = self._names.normal_after(saga, before.saga, before.key)
        return self._node_at(normal, key)

    def _node_at(self, saga: Saga, key: Key) -> Node:
        found = self._node_of.get(key)
        if found is None:
            found = self._node_of[key] = Node(len(self.nodes), saga, key)
            self.nodes.append(found)
        return found

    def word_of(self, config: Config) -> Word:
        """Return the strongest word on its steps, merged ones included."""
        return Word(max(config[-1], *(self.ledgers.of[number].word for number in config[1:-1])))

    # What stands for what.

    def canonical(self, config: Config) -> tuple[Config, tuple[int, ...] | None]:
        """Return the one configuration that stands for all that differ in nothing that counts.

        With it comes the order that made it, or None if nothing changed places: step ``i`` of
        the result is step ``order[i]`` of ``config``.
        """
        if Reduction.MERGES in self.reduction:
            config = self.merged(config)
        return self.mirrored(config)

    def merged(self, config: Config) -> Config:
        """Return the configuration in which the steps that are behind the saga are merged."""
        node = self.nodes[config[0]]
        if not node.is_mergeable:
            return config
        ledgers, word, mask, fresh = list(config), config[-1], 0, 0
        for index, status in node.cleared:
            if ledgers[index + 1] != self._empty:
                left = self._word(index, status, ledgers[index + 1])
                if left is None:
                    continue
                ledgers[index + 1] = self._empty
                word = max(word, left)
            mask |= 1 << index
        for index in node.handed_over:
            left = self._word(index, StepStatus.STUCK, ledgers[index + 1])
            if left is not None:
                ledgers[index + 1] = self._empty
                word = max(word, left)
        for index in node.done:
            ledgers[index + 1] = self._kept_ledger(index, ledgers[index + 1])
        for index in node.forgotten:
            found = self._merger.fresh(self.ledgers.of[ledgers[index + 1]])
            if found is not None:
                ledgers[index + 1] = self.ledgers.number(found)
                fresh |= 1 << index
        ledgers[-1] = word
        ledgers[0] = self._merged_node(node, mask, fresh).number
        return tuple(ledgers)

    def _merged_node(self, node: Node, mask: int, fresh: int) -> Node:
        target = node.merged.get((mask, fresh))
        if target is None:
            saga = self._merger.saga(node.saga, mask, fresh)
            target = node if saga is node.saga else self._node(saga, node)
            node.merged[mask, fresh] = target
        return target

    def _word(self, index: int, status: StepStatus, number: int) -> int | None:
        key = (index, status, number)
        if key not in self._words:
            self._words[key] = self._merger.word(index, status, self.ledgers.of[number])
        return self._words[key]

    def _kept_ledger(self, index: int, number: int) -> int:
        found = self._kept.get((index, number))
        if found is None:
            found = self.ledgers.number(self._merger.done(index, self.ledgers.of[number]))
            self._kept[index, number] = found
        return found

    def _hidden(self, node: Node, config: Config) -> set[int]:
        """Return the steps that stand exactly as an earlier twin does."""
        hidden: set[int] = set()
        keys = node.key.steps
        for twins in self._twins:
            seen: set[tuple[int, int]] = set()
            for index in twins:
                stand = (keys[index], config[index + 1])
                if stand in seen:
                    hidden.add(index)
                seen.add(stand)
        return hidden

    def mirrored(self, config: Config) -> tuple[Config, tuple[int, ...] | None]:
        """Return the one mirror image that stands for all, and the order that made it."""
        if self._twins:
            return self._sorted(config)
        best, best_order = config, None
        for order in self._orders:
            other = self._in_order(config, order)
            if other < best:
                best, best_order = other, order
        return best, best_order

    def _sorted(self, config: Config) -> tuple[Config, tuple[int, ...] | None]:
        keys = self.nodes[config[0]].key.steps
        order = list(range(len(keys)))
        is_changed = False
        for twins in self._twins:
            stands = [(keys[index], config[index + 1], index) for index in twins]
            by_stand = sorted(stands)
            if by_stand != stands:
                is_changed = True
                for place, stand in zip(twins, by_stand, strict=True):
                    order[place] = stand[2]
        if not is_changed:
            return config, None
        return self._in_order(config, tuple(order)), tuple(order)

    def _in_order(self, config: Config, order: tuple[int, ...]) -> Config:
        node = self.nodes[config[0]]
        other = node.mirrored.get(order)
        if other is None:
            other = self._node_at(*permuted(node.saga, node.key, order, self._names))
            node.mirrored[order] = other
        return (other.number, *[config[old + 1] for old in order], config[-1])

    def words(self, made: Made) -> str:
        """Return what a move is, for a reader."""
        if made.step < 0:
            return made.what
        return f"{step_words(self.program, made.step)}: {made.what}"


# At a steady tool a late copy may as well arrive when somebody looks: the engine by the next send,
# a check or an undo, a person by the effect itself. Until then it makes no difference.
_LATE_LATER = frozenset({StepStatus.RUNNING, StepStatus.DOUBTFUL, StepStatus.STUCK})
_UNDO_LATE_LATER = frozenset({StepStatus.COMPENSATING, StepStatus.STUCK})
_LATE_WORDS: Mapping[Act, str] = {
    Act.ARRIVE_LATE: "a late copy arrives and takes effect",
    Act.ARRIVE_STRAY: "a late copy of a call that was given up takes effect",
    Act.UNDO_ARRIVE_LATE: "a late copy of the undo arrives and takes effect",
    Act.UNDO_ARRIVE_STRAY: "a late copy of an undo that was given up takes effect",
}


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
