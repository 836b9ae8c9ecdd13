"""Which configuration stands for all that differ from it in nothing that counts."""

from __future__ import annotations

import enum
from collections.abc import Sequence

from fsm_saga.core.program import Program
from fsm_saga.core.states import StepStatus
from fsm_saga.machine.ledger import EMPTY, StepWorld
from fsm_saga.machine.merge import Merger
from fsm_saga.machine.nodes import Config, Ledgers, Node, Nodes
from fsm_saga.machine.symmetry import Order, mirrors


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


class Canonical:
    """Merges the steps that are behind a saga, and puts mirror images in order."""

    def __init__(
        self,
        program: Program,
        worlds: Sequence[StepWorld],
        nodes: Nodes,
        ledgers: Ledgers,
        reduction: Reduction,
    ) -> None:
        self._nodes = nodes
        self._ledgers = ledgers
        self._reduction = reduction
        self._merger = Merger(program, worlds)
        self._empty = ledgers.number(EMPTY)
        self._words: dict[tuple[int, StepStatus, int], int | None] = {}
        self._kept: dict[tuple[int, int], int] = {}
        has_mirrors = Reduction.MIRRORS in reduction
        self._twins, self._orders = mirrors(program) if has_mirrors else ([], [])

    def of(self, config: Config) -> tuple[Config, Order | None]:
        """Return the one configuration that stands for this one.

        With it comes the order that made it, or None if nothing changed places: step ``i`` of
        the result is step ``order[i]`` of ``config``.
        """
        if Reduction.MERGES in self._reduction:
            config = self._merged(config)
        return self._mirrored(config)

    def _merged(self, config: Config) -> Config:
        """Return the configuration in which the steps that are behind the saga are merged."""
        node = self._nodes.all[config[0]]
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
            found = self._merger.fresh(self._ledgers.of[ledgers[index + 1]])
            if found is not None:
                ledgers[index + 1] = self._ledgers.number(found)
                fresh |= 1 << index
        ledgers[-1] = word
        ledgers[0] = self._merged_node(node, mask, fresh).number
        return tuple(ledgers)

    def _merged_node(self, node: Node, mask: int, fresh: int) -> Node:
        target = node.merged.get((mask, fresh))
        if target is None:
            saga = self._merger.saga(node.saga, mask, fresh)
            target = node if saga is node.saga else self._nodes.after(saga, node)
            node.merged[mask, fresh] = target
        return target

    def _word(self, index: int, status: StepStatus, number: int) -> int | None:
        key = (index, status, number)
        if key not in self._words:
            self._words[key] = self._merger.word(index, status, self._ledgers.of[number])
        return self._words[key]

    def _kept_ledger(self, index: int, number: int) -> int:
        found = self._kept.get((index, number))
        if found is None:
            found = self._ledgers.number(self._merger.done(index, self._ledgers.of[number]))
            self._kept[index, number] = found
        return found

    def hidden(self, node: Node, config: Config) -> set[int]:
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

    def _mirrored(self, config: Config) -> tuple[Config, Order | None]:
        """Return the one mirror image that stands for all, and the order that made it."""
        if self._twins:
            return self._sorted(config)
        best, best_order = config, None
        for order in self._orders:
            other = self._in_order(config, order)
            if other < best:
                best, best_order = other, order
        return best, best_order

    def _sorted(self, config: Config) -> tuple[Config, Order | None]:
        keys = self._nodes.all[config[0]].key.steps
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

    def _in_order(self, config: Config, order: Order) -> Config:
        other = self._nodes.in_order(self._nodes.all[config[0]], order)
        return (other.number, *[config[old + 1] for old in order], config[-1])
