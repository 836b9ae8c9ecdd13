"""Random walks through a space that is too large to be searched.

Each walk first lets anything happen, with luck of its own: where nearly all goes well it gets far
into a long plan, where little does it sees much trouble. Then it lets things go well, so that it
has to come to an end. One seed decides everything.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

from fsm_saga.core import events as e
from fsm_saga.machine.explore import Space
from fsm_saga.machine.moves import Move, Way
from fsm_saga.machine.nodes import Arc, Config, Late, Made
from fsm_saga.machine.properties import Finding
from fsm_saga.machine.search import Found, Judge, PathStep

WALKS = 400
MOVES_MAX = 20_000
"""Moves of all walks together."""

MOVES_PER_STEP = 6
MOVES_HOME_PER_STEP = 40
OUTSIDE_CHANCE = 0.1
LUCK = (0.3, 0.7, 0.9, 0.97)


class Walker:
    """Walks through the space of one program at random and notes what breaks."""

    def __init__(self, space: Space, found: Found, *, seed: int) -> None:
        self._space = space
        self._found = found
        self._judge = Judge(space)
        self._random = random.Random(seed)  # noqa: S311  # the seed must bring the walk back
        self._seen: set[Config] = set()
        self._path: list[PathStep] = []
        self._moves = 0
        self._ends: Counter[tuple[str, str]] = Counter()

    def run(self) -> None:
        """Walk until the walks or the moves are used up."""
        for _walk in range(WALKS):
            if self._moves >= MOVES_MAX:
                break
            self._found.walks += 1
            self._walk()
            self._found.walk_depth = max(self._found.walk_depth, len(self._path) - 1)
        self._found.walked = len(self._seen)
        for end, count in self._ends.items():
            # What the search had counted before stays as counted: the two overlap.
            self._found.ends.setdefault(end, count)

    def _walk(self) -> None:
        space, size = self._space, len(self._space.program.steps)
        config = space.initial()
        self._path = [PathStep("submitted", space.node(config).saga)]
        luck = self._random.choice(LUCK)
        for _move in range(self._random.randint(1, MOVES_PER_STEP * size + 10)):
            chosen = self._choose(config, luck)
            if chosen is None:
                break
            config = self._make(config, chosen)
        for _move in range(MOVES_HOME_PER_STEP * size + 100):
            if space.node(config).saga.state.is_final:
                return
            good = self._best(config)
            if good is None:
                break
            config = self._make(config, good)
        state = space.node(config).saga.state
        self._note(Finding("END", f"things go well, and yet no end is reached ({state})"))

    def _choose(self, config: Config, luck: float) -> Made | None:
        possible = self._possible(config)
        inside = [arc for arc in possible if arc.move.way is not Way.OUTSIDE]
        outside: list[Made] = [arc for arc in possible if arc.move.way is Way.OUTSIDE]
        outside += self._space.late_moves(config)
        choices: Sequence[Made] = inside
        if not inside or self._random.random() < OUTSIDE_CHANCE * (1 - luck):
            choices = outside or inside
        elif self._random.random() < luck:
            choices = [arc for arc in inside if not _reluctance(arc.move)] or inside
        return self._random.choice(choices) if choices else None

    def _possible(self, config: Config) -> list[Arc]:
        space = self._space
        arcs = space.arcs_of(space.node(config))
        return [arc for arc in arcs if space.is_possible(config, arc)]

    def _best(self, config: Config) -> Arc | None:
        possible = [arc for arc in self._possible(config) if arc.move.way is not Way.OUTSIDE]
        return min(possible, key=lambda arc: _reluctance(arc.move), default=None)

    def _make(self, config: Config, made: Made) -> Config:
        space = self._space
        self._moves += 1
        if isinstance(made, Late):
            after: Config | None = space.make_late(config, made)
            findings: tuple[Finding, ...] = ()
        else:
            after = space.make(config, made)
            findings = made.findings
        if after is None:
            return config
        self._path.append(PathStep(space.words(made), space.node(after).saga))
        for finding in findings:
            self._note(finding)
        if after not in self._seen:
            self._seen.add(after)
            self._found.transitions += 1
            for finding in self._judge.findings(after):
                self._note(finding)
            saga = space.node(after).saga
            if saga.outcome is not None:
                self._ends[str(saga.state), str(saga.outcome)] += 1
        return after

    def _note(self, finding: Finding) -> None:
        path = tuple(self._path)
        self._found.note(finding, lambda: path)


def _reluctance(move: Move) -> int:
    """Return how little a move helps to come to an end."""
    match move.event:
        case e.CallSucceeded() | e.ApprovalAnswered(is_granted=True) | e.PlanCloseAsked():
            return 0
        case e.CallRejected() | e.CallSucceededBadly():
            return 2
        case e.TimePassed():
            return 3
        case e.SettledByHuman():
            return 4
        case e.OutputSupplied():
            return 5
        case _:
            return 6
