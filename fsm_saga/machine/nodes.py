"""What configurations are made of, by number: sagas with what can happen, and ledgers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from fsm_saga.core.saga import Saga
from fsm_saga.machine.ledger import Act, Ledger, StepWorld
from fsm_saga.machine.merge import (
    cleared_steps,
    done_steps,
    forgotten_steps,
    handed_over_steps,
    is_mergeable,
)
from fsm_saga.machine.moves import Move
from fsm_saga.machine.normal import Key, Normaliser, permuted
from fsm_saga.machine.properties import Finding, judge_state

Config = tuple[int, ...]
"""The number of a node, the number of a ledger for each step, and the word on merged steps."""

_IMPOSSIBLE = -1
_LATE_WORDS: Mapping[Act, str] = {
    Act.ARRIVE_LATE: "a late copy arrives and takes effect",
    Act.ARRIVE_STRAY: "a late copy of a call that was given up takes effect",
    Act.UNDO_ARRIVE_LATE: "a late copy of the undo arrives and takes effect",
    Act.UNDO_ARRIVE_STRAY: "a late copy of an undo that was given up takes effect",
}


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


class Nodes:
    """The nodes of one program, in the order in which they were met."""

    def __init__(self) -> None:
        self.all: list[Node] = []
        self._names = Normaliser()
        self._of_key: dict[Key, Node] = {}

    def first(self, saga: Saga) -> Node:
        """Return the node of a saga that was just submitted."""
        return self._at(*self._names.normal(saga))

    def after(self, saga: Saga, before: Node) -> Node:
        """Return the node of a saga that was made of another node's."""
        return self._at(*self._names.normal_after(saga, before.saga, before.key))

    def in_order(self, node: Node, order: tuple[int, ...]) -> Node:
        """Return the node in which step ``order[i]`` has become step ``i``."""
        found = node.mirrored.get(order)
        if found is None:
            found = self._at(*permuted(node.saga, node.key, order, self._names))
            node.mirrored[order] = found
        return found

    def _at(self, saga: Saga, key: Key) -> Node:
        found = self._of_key.get(key)
        if found is None:
            found = self._of_key[key] = Node(len(self.all), saga, key)
            self.all.append(found)
        return found


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
