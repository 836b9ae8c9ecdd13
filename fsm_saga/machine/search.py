"""The search: every configuration within the bound, and what they broke.

Breadth first, so that the first path to a broken property is a shortest one. What cannot be seen
in one configuration is judged on the graph: whether an end stays in reach, and whether every run
comes to rest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from fsm_saga.core.saga import Saga
from fsm_saga.core.states import Phase, StepStatus
from fsm_saga.machine.explore import Space
from fsm_saga.machine.moves import Way
from fsm_saga.machine.nodes import Arc, Config, Made
from fsm_saga.machine.properties import Finding, code_of_claim, judge_claim, judge_outcome


class PathStep(NamedTuple):
    """What happened, and the saga that it made."""

    event: str
    saga: Saga


class Breach(NamedTuple):
    """A broken property with a path from the start to where it broke."""

    finding: Finding
    path: tuple[PathStep, ...]


@dataclass(slots=True, kw_only=True)
class Found:
    """What a search came to.

    Attributes:
        configurations: Different configurations visited: judged, and every move from them tried.
        unvisited: Configurations that were reached and not visited, the bound being passed.
        transitions: Moves seen from those visited.
        depth: Moves on the longest of the shortest paths; where the bound was passed, all that
            lies so many moves from the start was visited.
        is_exhaustive: Nothing was left out.
        walks: Random walks made; 0 where the search was exhaustive.
        walked: Configurations that the walks saw, with those that the search had seen.
        walk_depth: Moves on the longest walk.
        breaches: The first breach of each broken property.
        breach_counts: How often each property was broken.
        ends: Configurations by the state and outcome in which a saga is at rest.
        by_person_only: Configurations from which only a person's answer leads to an end.
    """

    configurations: int = 0
    unvisited: int = 0
    transitions: int = 0
    depth: int = 0
    is_exhaustive: bool = True
    walks: int = 0
    walked: int = 0
    walk_depth: int = 0
    breaches: dict[str, Breach] = field(default_factory=dict)
    breach_counts: Counter[str] = field(default_factory=Counter)
    ends: Counter[tuple[str, str]] = field(default_factory=Counter)
    by_person_only: int = 0

    def note(self, finding: Finding, path: Callable[[], tuple[PathStep, ...]]) -> None:
        """Count a broken property; its path is asked for only the first time."""
        self.breach_counts[finding.code] += 1
        if finding.code not in self.breaches:
            self.breaches[finding.code] = Breach(finding, path())


_Reached = tuple[Made, Config, tuple[int, ...] | None]


class _Graph:
    """The configurations in the order found, and how each was found."""

    def __init__(self) -> None:
        self.index: dict[Config, int] = {}
        self.configs: list[Config] = []
        self.parent: list[int] = []
        self.via: list[Made | None] = []
        self.order: list[tuple[int, ...] | None] = []
        # The successors of configuration i by the engine, and by a person.
        self.by_engine: list[list[int]] = []
        self.by_person: list[list[int]] = []

    def add(
        self, config: Config, parent: int, via: Made | None, order: tuple[int, ...] | None
    ) -> int:
        """Note a configuration that was not there yet."""
        number = len(self.configs)
        self.index[config] = number
        self.configs.append(config)
        self.parent.append(parent)
        self.via.append(via)
        self.order.append(order)
        return number


class Judge:
    """Judges configurations; remembers what it has judged."""

    def __init__(self, space: Space) -> None:
        self._space = space
        self._claims: dict[tuple[StepStatus, int], str | None] = {}

    def findings(self, config: Config) -> Iterator[Finding]:
        """Yield what is wrong with a configuration."""
        saga = self._space.node(config).saga
        claims = self._claims
        for index, step in enumerate(saga.steps):
            key = (step.status, config[index + 1])
            if key not in claims:
                claims[key] = judge_claim(step.status, self._space.ledgers.of[config[index + 1]])
            message = claims[key]
            if message is not None and self._space.program.effectful >> index & 1:
                code = code_of_claim(saga.state.phase, message)
                yield Finding(code, f"step {saga.program.steps[index].step_id}: {message}")
        if saga.outcome is not None:
            lie = judge_outcome(saga, self._space.word_of(config))
            if lie is not None:
                yield Finding("OUTCOME", lie)


class Search:
    """One search through the space of one program."""

    def __init__(self, space: Space, *, configuration_max: int) -> None:
        self.space = space
        self.configuration_max = configuration_max
        self.found = Found()
        self._graph = _Graph()
        self._judge = Judge(space)

    @property
    def configs(self) -> list[Config]:
        """The configurations found, in the order in which they were."""
        return self._graph.configs

    def run(self) -> Found:
        """Search breadth first, up to the bound."""
        space, graph, found = self.space, self._graph, self.found
        start, order = space.canonical(space.initial())
        graph.add(start, -1, None, order)
        for finding in space.start_findings:
            self._note(finding, 0, None)
        depth_end, here = 1, 0
        while here < len(graph.configs):
            if here == depth_end:
                found.depth += 1
                depth_end = len(graph.configs)
            if len(graph.configs) > self.configuration_max:
                found.is_exhaustive = False
                found.depth -= 1
                break
            self._expand(here)
            here += 1
        found.configurations, found.unvisited = here, len(graph.configs) - here
        self._count_ends()
        if found.is_exhaustive:
            self._judge_graph()
        return found

    def _expand(self, here: int) -> None:
        graph = self._graph
        for finding in self._judge.findings(graph.configs[here]):
            self._note(finding, here, None)
        engine: list[int] = []
        person: list[int] = []
        index = graph.index
        reached = self._first_moves(here) or self._reached(here)
        self.found.transitions += len(reached)
        for made, config, order in reached:
            number = index.get(config)
            if number is None:
                number = graph.add(config, here, made, order)
            if type(made) is Arc:
                if made.findings:
                    for finding in made.findings:
                        self._note(finding, here, made)
                way = made.move.way
                if way is Way.ENGINE:
                    engine.append(number)
                elif way is Way.PERSON:
                    person.append(number)
        graph.by_engine.append(engine)
        graph.by_person.append(person)

    def _reached(self, here: int, step: int | None = None) -> list[_Reached]:
        space = self.space
        made_moves = space.successors(self._graph.configs[here], step=step)
        return [(made, *space.canonical(raw)) for made, raw in made_moves]

    def _first_moves(self, here: int) -> list[_Reached]:
        """Return the moves of the step that goes first, or none if all must be looked at.

        A configuration from which only one step's moves are looked at leads on to one that is
        looked at later. So a way on which only such follow each other comes to an end, and what
        was put off is looked at there. That way is one of answers and timers, not of chance.
        """
        space, graph = self.space, self._graph
        node = space.node(graph.configs[here])
        space.arcs_of(node)
        if node.first is None:
            return []
        reached = self._reached(here, node.first)
        goes_on = False
        for made, config, _order in reached:
            if type(made) is not Arc:
                continue
            if made.findings:
                return []
            if made.move.way is not Way.OUTSIDE:
                goes_on = goes_on or graph.index.get(config, len(graph.configs)) > here
        return reached if goes_on else []

    def _note(self, finding: Finding, here: int, last: Made | None) -> None:
        self.found.note(finding, lambda: self._path(here, last))

    def _count_ends(self) -> None:
        visited = self._graph.configs[: self.found.configurations]
        counts: Counter[int] = Counter(config[0] for config in visited)
        for number, count in counts.items():
            saga = self.space.nodes[number].saga
            if saga.state.is_final or saga.state.phase is Phase.NEEDS_HUMAN:
                self.found.ends[str(saga.state), str(saga.outcome)] += count

    # Paths.

    def _path(self, here: int, last: Made | None) -> tuple[PathStep, ...]:
        """Return the moves from the start, told in a frame in which each step keeps its place."""
        graph, space = self._graph, self.space
        chain: list[int] = []
        while here > 0:
            chain.append(here)
            here = graph.parent[here]
        config = space.initial()
        path = [PathStep("submitted", space.node(config).saga)]
        # frame[i] is the place at which step i of the mirrored configuration really stands.
        frame = _composed(tuple(range(len(config) - 2)), graph.order[0])
        for number in reversed(chain):
            made = graph.via[number]
            if made is None:
                continue
            config, words = _replay(space, config, made, frame)
            path.append(PathStep(words, space.node(config).saga))
            frame = _composed(frame, graph.order[number])
        if last is not None:
            config, words = _replay(space, config, last, frame)
            path.append(PathStep(words, space.node(config).saga))
        return tuple(path)

    # The graph as a whole.

    def _judge_graph(self) -> None:
        graph = self._graph
        ends = [
            number
            for number, config in enumerate(graph.configs)
            if self.space.node(config).saga.state.is_final
        ]
        both = [
            engine + person for engine, person in zip(graph.by_engine, graph.by_person, strict=True)
        ]
        can_end = _reaching(both, ends)
        by_engine = _reaching(graph.by_engine, ends)
        self.found.by_person_only = sum(
            can and not alone for can, alone in zip(can_end, by_engine, strict=True)
        )
        for number, can in enumerate(can_end):
            if not can:
                saga = self.space.node(graph.configs[number]).saga
                self._note(
                    Finding("END", f"no way to an end from here ({saga.state})"), number, None
                )
        circle = _on_a_circle(graph.by_engine)
        if circle is not None:
            message = "from here the saga can go in a circle, and nobody is asked"
            self._note(Finding("REST", message), circle, None)


def _composed(frame: tuple[int, ...], order: tuple[int, ...] | None) -> tuple[int, ...]:
    return frame if order is None else tuple(frame[old] for old in order)


def _replay(space: Space, config: Config, made: Made, frame: tuple[int, ...]) -> tuple[Config, str]:
    """Make the same move in the true frame, and return what it leads to and its words."""
    step = frame[made.step] if made.step >= 0 else -1
    for other, after in space.successors(config, is_mirrored=False):
        if other.step == step and other.what == made.what:
            return after, space.words(other)
    return config, space.words(made)


def _reaching(edges: list[list[int]], ends: list[int]) -> list[bool]:
    """Return for each node whether some end can be reached from it."""
    before: list[list[int]] = [[] for _ in edges]
    for source, targets in enumerate(edges):
        for target in targets:
            before[target].append(source)
    found = [False] * len(edges)
    for end in ends:
        found[end] = True
    front = list(ends)
    while front:
        for source in before[front.pop()]:
            if not found[source]:
                found[source] = True
                front.append(source)
    return found


def _on_a_circle(edges: list[list[int]]) -> int | None:
    """Return the first node from which no order of leaving comes to rest, or None."""
    left = [0] * len(edges)
    before: list[list[int]] = [[] for _ in edges]
    for source, targets in enumerate(edges):
        for target in targets:
            if target != source:
                left[source] += 1
                before[target].append(source)
    front = [node for node, count in enumerate(left) if not count]
    while front:
        for source in before[front.pop()]:
            left[source] -= 1
            if not left[source]:
                front.append(source)
    return next((node for node, count in enumerate(left) if count), None)
