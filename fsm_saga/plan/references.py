"""Every reference in a plan, with its place, and every text that only looks like one.

The grammar and the resolving are in `fsm_saga.core.references`; here a whole plan is gone through
once, and what was found feeds the graph, the rules and the compiler alike.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from fsm_saga.core.limits import LIMITS
from fsm_saga.core.references import (
    KEY_HINT,
    ReferenceRefused,
    ReferenceText,
    name_key,
    name_keys,
    scan,
    scan_key,
)
from fsm_saga.errors import Problem
from fsm_saga.plan.model import Plan, Rollback, Step
from fsm_saga.plan.problems import Path, pointer, shown

# Planners write the same references in plan after plan, and each is looked at several times.
_scan = lru_cache(maxsize=2048)(scan)

Place = Literal["params", "rollback"]
Found = tuple[Path, str, ReferenceText | ReferenceRefused]

_INNER: dict[Place, Path] = {"params": ("params",), "rollback": ("rollback", "params")}


@dataclass(frozen=True, slots=True)
class Use:
    """One reference: where it stands and what it names.

    Attributes:
        step: Index of the step in which it stands.
        place: In the action's parameters or in the rollback's.
        path: The way from those parameters to the reference.
        text: The reference as written.
        names: Its parts.
    """

    step: int
    place: Place
    path: Path
    text: str
    names: ReferenceText

    @property
    def at(self) -> Path:
        """The way from the plan to the reference."""
        return ("steps", self.step, *_INNER[self.place], *self.path)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepUses:
    """The references of one step.

    Attributes:
        found: The well-formed ones, in order of appearance.
        problems: One for each text that looks like a reference and is none.
        params_places: Paths of both kinds in the action's parameters.
        rollback_places: The same in the rollback's parameters.
    """

    found: tuple[Use, ...]
    problems: tuple[Problem, ...]
    params_places: tuple[Path, ...]
    rollback_places: tuple[Path, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Uses:
    """All references of a plan, and the names that they can use.

    Attributes:
        steps: The references of each step.
        index: `index_of` the plan.
        by_id: `index_by_id` of the plan.
    """

    steps: tuple[StepUses, ...]
    index: dict[str, int]
    by_id: dict[str, int]

    @property
    def all(self) -> Iterator[Use]:
        """The well-formed references, step after step."""
        for each in self.steps:
            yield from each.found

    @property
    def of_inputs(self) -> tuple[Use, ...]:
        """The well-formed references to inputs."""
        return tuple(use for use in self.all if use.names.kind == "input")

    def source(self, use: Use) -> int | None:
        """Return the index of the step whose output a reference uses, if there is one."""
        return self.index.get(use.names.name) if use.names.kind == "output" else None


def index_of(plan: Plan) -> dict[str, int]:
    """Return the step index for each name that a reference to a step may use.

    Where two steps answer to one name (which no checked plan has) the first one wins.
    """
    index: dict[str, int] = {}
    for position, step in enumerate(plan.steps):
        for key in name_keys(step.step_id):
            index.setdefault(key, position)
    return index


def index_by_id(plan: Plan) -> dict[str, int]:
    """Return the step index for each step id, compared as text; the first of two equals wins."""
    index: dict[str, int] = {}
    for position, step in enumerate(plan.steps):
        index.setdefault(name_key(step.step_id), position)
    return index


def collect(plan: Plan) -> Uses:
    """Return every reference of the plan."""
    return Uses(
        steps=tuple(collect_step(step, position) for position, step in enumerate(plan.steps)),
        index=index_of(plan),
        by_id=index_by_id(plan),
    )


def collect_step(step: Step, position: int) -> StepUses:
    """Return every reference of one step, which stands at a position of its plan."""
    found: list[Use] = []
    problems: list[Problem] = []
    places: dict[Place, list[Path]] = {"params": [], "rollback": []}
    rollback = step.rollback.params if isinstance(step.rollback, Rollback) else {}
    sources: tuple[tuple[Place, dict[str, Any]], ...] = (
        ("params", step.params),
        ("rollback", rollback),
    )
    for place, params in sources:
        for path, text, names in references_in(params):
            places[place].append(path)
            if isinstance(names, ReferenceText):
                found.append(Use(position, place, path, text, names))
            else:
                at = pointer("steps", position, *_INNER[place], *path)
                problems.append(
                    Problem(code=names.code, pointer=at, message=names.why, hint=names.hint)
                )
            if len(problems) > LIMITS.problem_max:
                break
    return StepUses(
        found=tuple(found),
        problems=tuple(problems),
        params_places=tuple(places["params"]),
        rollback_places=tuple(places["rollback"]),
    )


def references_in(value: Any, path: Path = ()) -> Iterator[Found]:
    """Yield each reference below a value with its path, and each text refused as a reference."""
    if isinstance(value, str):
        if "$" in value:
            yield from _reference_at(value, path)
    elif isinstance(value, dict):
        for key, item in value.items():
            if "$" in key and scan_key(key):
                why = f"The key {shown(key)} is, or holds, a reference."
                yield (*path, key), key, ReferenceRefused("reference-in-key", why, KEY_HINT)
            if _may_hold_reference(item):
                yield from references_in(item, (*path, key))
    elif isinstance(value, list):
        for position, item in enumerate(value):
            if _may_hold_reference(item):
                yield from references_in(item, (*path, position))


def _may_hold_reference(value: Any) -> bool:
    """Return whether it is worth looking into a value; most values are plain texts and numbers."""
    return "$" in value if isinstance(value, str) else isinstance(value, dict | list)


def _reference_at(text: str, path: Path) -> Iterator[Found]:
    try:
        names = _scan(text)
    except ReferenceRefused as refused:
        yield path, text, refused
    else:
        if names is not None:
            yield path, text, names
