"""``verify_program``: every history of one plan, tried before the first call is made.

The search uses the engine's own ``decide``, so what is proven is what will run. What is assumed,
and so not proven, is listed in ``ASSUMPTIONS``.

Reading order: ``ledger.py`` (the tools), ``moves.py`` (what can happen), ``explore.py`` (what
follows), ``properties.py`` (what must hold), ``search.py`` and ``walk.py`` (the search). What the
search leaves out: ``normal.py``, ``symmetry.py``, ``merge.py`` and ``order.py``.
"""

from __future__ import annotations

import dataclasses
import gc
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from fsm_saga.core import people
from fsm_saga.core.decide import decide
from fsm_saga.core.program import CallSpec, Program, RetryRule
from fsm_saga.core.states import Phase, StepStatus
from fsm_saga.machine.canonical import Reduction
from fsm_saga.machine.explore import Decide, Space
from fsm_saga.machine.facts import StepFacts, coverage_of, facts_of
from fsm_saga.machine.normal import NOW
from fsm_saga.machine.properties import PROPERTIES
from fsm_saga.machine.search import Found, PathStep, Search
from fsm_saga.machine.symmetry import anonymous
from fsm_saga.machine.walk import Walker

ASSUMPTIONS = (
    "a tool keeps the contract that it declares; where it promises nothing it does the worst",
    "a person who answers tells the truth",
    "after a tool's retention no copy of a call is still on its way",
    "the network makes no copies of a call by itself, unless that is asked for",
    "a retry budget above two is searched as two",
    "calls that a person supplies for a making-good are one call, tried once",
)
CONFIGURATION_MAX = 200_000
ATTEMPTS_KEPT = 2
STEPS_SHOWN = 6
GROUPS_SHOWN = 8
PATH_SHOWN = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """A property that does not hold, and a history in which it breaks.

    Attributes:
        code: The name of the property, a key of ``PROPERTIES``.
        title: What should hold.
        message: What was found instead.
        count: In how many places it was found.
        path: What happened, with the saga after each event; a shortest such history where the
            search was exhaustive.
    """

    code: str
    title: str
    message: str
    count: int
    path: tuple[PathStep, ...]

    def as_json(self) -> dict[str, Any]:
        """Return the violation as a JSON object."""
        return {
            "code": self.code,
            "title": self.title,
            "message": self.message,
            "count": self.count,
            "path": [
                {
                    "event": event,
                    "state": str(saga.state),
                    "steps": [step.status.value for step in saga.steps],
                }
                for event, saga in self.path
            ],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a person may be asked about a step, and the answers that are open to them."""

    step_id: int | str
    name: str
    status: str
    why: str
    answers: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Return the question as a JSON object."""
        return {
            "step_id": self.step_id,
            "name": self.name,
            "status": self.status,
            "why": self.why,
            "answers": list(self.answers),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What came of verifying one program.

    Attributes:
        is_exhaustive: Every configuration was seen; else ``walks`` random ones were tried.
        configurations: Different configurations visited, each with every move from it.
        unvisited: Configurations that were reached, and are not among those; 0 if exhaustive.
        transitions: Moves from those visited.
        depth: Length of the longest of the shortest histories; if not exhaustive, how many moves
            from the start all was visited.
        walks: Random walks made.
        walked: Different configurations that they saw.
        walk_depth: Moves on the longest of them.
        seed: What decided the walks.
        violations: Properties that do not hold.
        ends: Configurations at rest, by state and outcome.
        by_person_only: Configurations from which only a person's answer leads to an end.
        questions: What a person may be asked.
        steps: Facts of each step.
        coverage: Of the steps with an effect, how many in a hundred have which way back.
    """

    is_exhaustive: bool
    configurations: int
    unvisited: int
    transitions: int
    depth: int
    walks: int
    walked: int
    walk_depth: int
    seed: int
    violations: tuple[Violation, ...]
    ends: tuple[tuple[str, str, int], ...]
    by_person_only: int
    questions: tuple[Question, ...]
    steps: tuple[StepFacts, ...]
    coverage: dict[str, int]

    @property
    def is_sound(self) -> bool:
        """No property was found broken."""
        return not self.violations

    @property
    def is_proven(self) -> bool:
        """No property is broken in any configuration."""
        return self.is_sound and self.is_exhaustive

    @property
    def verdict(self) -> str:
        """The result in a word: ``proven``, ``sampled`` or ``broken``."""
        if not self.is_sound:
            return "broken"
        return "proven" if self.is_exhaustive else "sampled"

    def as_json(self) -> dict[str, Any]:
        """Return everything but the sagas of the paths as a JSON object."""
        return {
            "verdict": self.verdict,
            "is_proven": self.is_proven,
            "is_sound": self.is_sound,
            "is_exhaustive": self.is_exhaustive,
            "configurations": self.configurations,
            "unvisited": self.unvisited,
            "transitions": self.transitions,
            "depth": self.depth,
            "walks": self.walks,
            "walked": self.walked,
            "walk_depth": self.walk_depth,
            "seed": self.seed,
            "properties": dict(PROPERTIES),
            "assumptions": list(ASSUMPTIONS),
            "violations": [violation.as_json() for violation in self.violations],
            "ends": [
                {"state": state, "outcome": outcome, "configurations": count}
                for state, outcome, count in self.ends
            ],
            "by_person_only": self.by_person_only,
            "questions": [question.as_json() for question in self.questions],
            "steps": [step.as_json() for step in self.steps],
            "coverage": self.coverage,
        }

    def as_text(self) -> str:
        """Return what a reader wants to know, in some forty lines at most."""
        return "\n".join(_text(self))


def verify_program(
    program: Program,
    *,
    configuration_max: int = CONFIGURATION_MAX,
    seed: int = 0,
    has_doubles: bool = False,
    decider: Decide = decide,
    reduction: Reduction = Reduction.ALL,
) -> Verification:
    """Return what holds in every history of a program, and what does not.

    Args:
        program: A compiled plan.
        configuration_max: Above so many configurations the rest is sampled by random walks.
        seed: Decides the walks; the same seed walks the same ways.
        has_doubles: The network may deliver one call twice.
        decider: The engine; another one is given only to see that the search finds its faults.
        reduction: What is left out; less is given only to see that it makes no difference.
    """
    with _collector_off():
        space = Space(
            anonymous(bounded(program)),
            decider=decider,
            has_doubles=has_doubles,
            reduction=reduction,
        )
        found = Search(space, configuration_max=configuration_max).run()
        if not found.is_exhaustive:
            Walker(space, found, seed=seed).run()
        return _verification(program, space, found, seed)


@contextmanager
def _collector_off() -> Iterator[None]:
    """Keep the collector from going through a space that only grows: a quarter of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def bounded(program: Program) -> Program:
    """Return the program with its retry budgets cut to two: once, and once more."""
    steps = tuple(
        dataclasses.replace(
            spec,
            action=_bounded(spec.action),
            undo=None if spec.undo is None else _bounded(spec.undo),
            check=None if spec.check is None else _bounded(spec.check),
        )
        for spec in program.steps
    )
    return dataclasses.replace(program, steps=steps)


def _bounded(call: CallSpec) -> CallSpec:
    rule = call.retry
    retry = RetryRule(
        attempt_max=min(rule.attempt_max, ATTEMPTS_KEPT),
        doubt_attempt_max=min(rule.doubt_attempt_max, ATTEMPTS_KEPT),
        delay_s=rule.delay_s,
        delay_s_max=rule.delay_s_max,
    )
    return dataclasses.replace(call, retry=retry)


def _verification(program: Program, space: Space, found: Found, seed: int) -> Verification:
    steps = facts_of(program)
    order = list(PROPERTIES)
    violations = tuple(
        Violation(
            code=code,
            title=PROPERTIES[code],
            message=breach.finding.message,
            count=found.breach_counts[code],
            path=breach.path,
        )
        for code, breach in sorted(found.breaches.items(), key=lambda item: order.index(item[0]))
    )
    return Verification(
        is_exhaustive=found.is_exhaustive,
        configurations=found.configurations,
        unvisited=found.unvisited,
        transitions=found.transitions,
        depth=found.depth,
        walks=found.walks,
        walked=found.walked,
        walk_depth=found.walk_depth,
        seed=seed,
        violations=violations,
        ends=tuple((state, outcome, n) for (state, outcome), n in sorted(found.ends.items())),
        by_person_only=found.by_person_only,
        questions=questions_of(space),
        steps=steps,
        coverage=coverage_of(steps),
    )


def questions_of(space: Space) -> tuple[Question, ...]:
    """Return what a person is asked in the sagas seen, each question once."""
    found: dict[Question, None] = {}
    for node in space.nodes:
        saga = node.saga
        if saga.state.phase is not Phase.NEEDS_HUMAN:
            continue
        for index, step in enumerate(saga.steps):
            answers = people.choices(saga, index, at=NOW)
            if answers:
                spec = saga.program.steps[index]
                reason = "" if step.undo is None else step.undo.stuck_reason or ""
                question = Question(
                    step_id=spec.step_id,
                    name=spec.name,
                    status=step.status.value,
                    why=_why(step.status, reason, has_semantic=spec.semantic is not None),
                    answers=answers,
                )
                found[question] = None
    places = {str(spec.step_id): spec.index for spec in space.program.steps}
    return tuple(sorted(found, key=lambda q: (places[str(q.step_id)], q.status, q.answers)))


def _why(status: StepStatus, reason: str, *, has_semantic: bool) -> str:
    match status:
        case StepStatus.DOUBTFUL:
            return "it may have happened, and nothing else settles it"
        case StepStatus.STUCK if has_semantic:
            return "it has to be made good for, and how is decided late"
        case StepStatus.STUCK if reason == "unresolvable":
            return "its undo cannot be written down without its output"
        case StepStatus.STUCK:
            return "its undo was refused, or was never answered"
        case StepStatus.REJECTED:
            return "it was refused after the point of no return"
        case _:
            return "its answer cannot be used, after the point of no return"


def _text(result: Verification) -> Iterator[str]:
    if result.is_proven:
        yield f"Proven: all {len(PROPERTIES)} properties hold in every history."
    elif result.is_sound:
        yield "Sampled, not proven: the plan is too large to be searched whole."
        yield "  No property was found broken in what was seen of it."
    else:
        yield f"Broken: {len(result.violations)} of {len(PROPERTIES)} properties do not hold."
    yield from _extent_text(result)
    for violation in result.violations:
        yield from _violation_text(violation)
    yield "Ends:"
    for state, outcome, count in result.ends:
        yield f"  {state}, {outcome} ({count:,} configurations)"
    yield from _steps_text(result)
    if result.questions:
        yield "A person may be asked:"
        groups = _grouped(
            (f"{question.why}: {', '.join(question.answers)}", question.step_id, question.name)
            for question in result.questions
        )
        yield from _groups_text(groups)


def _extent_text(result: Verification) -> Iterator[str]:
    """Yield how much was seen."""
    visited, moves = f"{result.configurations:,} configurations", f"{result.transitions:,} moves"
    if result.is_exhaustive:
        yield f"  searched {visited}, {moves}, {result.depth} deep: all there are"
        return
    yield f"  searched {visited}, {moves}: all within {result.depth} moves of the start"
    yield f"  left {result.unvisited:,} more that were reached, and all that lies behind them"
    yield (
        f"  walked {result.walks:,} ways at random (seed {result.seed}), up to "
        f"{result.walk_depth:,} moves long, through {result.walked:,} configurations"
    )


def _violation_text(violation: Violation) -> Iterator[str]:
    yield f"{violation.code}: {violation.title}"
    yield f"  but {violation.message} (in {violation.count:,} places), for example so:"
    path = list(enumerate(violation.path, start=1))
    if len(path) > PATH_SHOWN:
        yield f"    ... {len(path) - PATH_SHOWN} events before"
    for number, (event, saga) in path[-PATH_SHOWN:]:
        yield f"    {number:2}. {event} -> {saga.state}"


def _steps_text(result: Verification) -> Iterator[str]:
    coverage = ", ".join(f"{share} % {way}" for way, share in result.coverage.items())
    yield f"Ways back of the steps with an effect: {coverage}."
    groups = _grouped((_marks(step), step.step_id, step.name) for step in result.steps)
    yield from _groups_text(groups)
    yield "In doubt:"
    groups = _grouped((step.exit_words, step.step_id, step.name) for step in result.steps)
    yield from _groups_text(groups)


def _marks(step: StepFacts) -> str:
    marks = [step.kind, f"way back: {step.way_back}"]
    if step.is_point_of_no_return:
        marks.append("point of no return")
    elif step.is_after_no_return:
        marks.append("after the point of no return")
    if step.needs_approval:
        marks.append("needs approval")
    return ", ".join(marks)


def _grouped(said: Iterable[tuple[str, int | str, str]]) -> dict[str, list[str]]:
    """Return what is said, with the steps of which it is said."""
    groups: dict[str, list[str]] = {}
    for words, step_id, name in said:
        groups.setdefault(words, []).append(f"{step_id} ({name})")
    return groups


def _groups_text(groups: Mapping[str, list[str]]) -> Iterator[str]:
    for words, steps in list(groups.items())[:GROUPS_SHOWN]:
        more = len(steps) - STEPS_SHOWN
        rest = f" and {more} more" if more > 0 else ""
        noun = "step" if len(steps) == 1 else "steps"
        yield f"  {noun} {', '.join(steps[:STEPS_SHOWN])}{rest}: {words}"
    if len(groups) > GROUPS_SHOWN:
        yield f"  and {len(groups) - GROUPS_SHOWN} more kinds"
