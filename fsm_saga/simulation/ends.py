"""The end that a given plan comes to under a seed, and with how few faults it does so.

The tools are played and keep exactly what they declare; nothing of the user's is called. What a run
came to is read from its journal, what is left in the world from the played tools' own ledger.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fsm_saga.core import records as r
from fsm_saga.core.contract import ToolFacts
from fsm_saga.core.program import Program
from fsm_saga.core.records import Record
from fsm_saga.core.saga import Saga
from fsm_saga.core.states import Outcome, Phase
from fsm_saga.machine.compile import compile_plan, declare
from fsm_saga.plan.model import Plan
from fsm_saga.service.view import view_of
from fsm_saga.simulation.fault_words import fault_text
from fsm_saga.simulation.faults import Faults
from fsm_saga.simulation.judge import bound_s
from fsm_saga.simulation.outputs import PlanOutputs
from fsm_saga.simulation.plans import AMENDS, sketch
from fsm_saga.simulation.purity import pure
from fsm_saga.simulation.run import HEAL_AT_S, Run
from fsm_saga.simulation.scene import Scene
from fsm_saga.simulation.shrink import smallest
from fsm_saga.simulation.world import Entry, Violation, World

SHRINK_RUNS_MAX = 150
WATCH_S = 300.0
"""A plan of somebody's may wait for days; whoever watches for all that time need not look often."""
HEAL_AT_S_MAX = 3600.0
_NEVER = frozenset({"another-saga", "third-saga", "amend", "corrupt"})
_ONCE_A_RUN = frozenset(
    {
        *("cut-store", "cut-tools", "lease-lost", "stays-dead", "outage", "store-closed"),
        *("clock-skew", "clock-jump", "cancel", "ignored", "by-post", "denied", "silence"),
        *("comes-late", "stale-answer", "wrong-answer", "doubled"),
    }
)
STEPS_AT_FULL_RATES = 3
_ATTEMPTS = (r.ActionStarted, r.UndoStarted, r.CheckStarted, r.AttemptStarted)
_RANKS = {
    Outcome.COMMITTED: 0,
    Outcome.NOTHING_HAPPENED: 1,
    Outcome.COMPENSATED: 2,
    Outcome.AMENDED: 3,
    Outcome.PARTLY_COMPENSATED: 4,
    Outcome.UNKNOWN: 5,
}
RANK_BROKEN = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a person was asked of one step, and what they could answer."""

    step_id: int | str
    status: str
    choices: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """What became of a plan under one seed.

    Attributes:
        end: State and outcome, ``FAILED compensated``.
        left: The steps whose effect is in the world, by step_id.
        faults: The names of those that happened.
        attempts: How many calls were begun, retries, undos and checks included.
        seconds: Virtual time from its first record to its last.
    """

    seed: int
    end: str
    rank: int
    left: tuple[int | str, ...]
    faults: tuple[str, ...]
    asked: tuple[Asked, ...]
    attempts: int
    seconds: float
    violations: tuple[Violation, ...]

    @property
    def severity(self) -> tuple[int, int]:
        """How bad it is: by its end, and by how much is left of what did not become DONE."""
        return (RANK_BROKEN if self.violations else self.rank), len(self.left) if self.rank else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Played(Ending):
    """A run as a whole: what became of it, and how it came to that."""

    program: Program
    records: tuple[Record, ...]
    trace: tuple[Entry, ...]

    def ending(self) -> Ending:
        """Return what became of it alone, which is little and travels between processes."""
        return Ending(**{name: getattr(self, name) for name in Ending.__dataclass_fields__})


def scene_of(plan: Plan, catalogue: Mapping[str, ToolFacts]) -> Scene:
    """Return the scene of a checked plan with its tools."""
    named: dict[str, ToolFacts] = {}
    for step in plan.steps:
        for name in (step.tool, getattr(step.rollback, "tool", None)):
            if name is not None:
                named[name] = catalogue[name]
                check = named[name].contract.check
                if check is not None:
                    named[check] = catalogue[check]
    program = compile_plan(plan, declare(plan, catalogue))
    timed = any(f.contract.deadline or f.contract.retention_s is not None for f in named.values())
    return Scene(
        saga_id=plan.task_id,
        sketch=sketch(plan),
        # A person may order calls of tools that the plan does not name.
        catalogue={AMENDS: ToolFacts(name=AMENDS, params_schema={"type": "object"})}
        | dict(catalogue)
        | named,
        outputs=PlanOutputs(plan, catalogue),
        # A promise that hangs on the time is worth nothing where clocks jump by hours.
        without=_NEVER | {"clock-jump"} if timed else _NEVER,
        heal_at_s=max(HEAL_AT_S, min(bound_s(program) / 4, HEAL_AT_S_MAX)),
    )


def program_of(scene: Scene) -> Program:
    """Return the program that the scene's plan becomes."""
    return compile_plan(scene.sketch.plan, declare(scene.sketch.plan, scene.catalogue))


def play(scene: Scene, seed: int, *, only: frozenset[str] | None = None) -> Played:
    """Return what becomes of the plan under a seed, always the same.

    Args:
        scene: The plan and its tools.
        seed: Decides everything.
        only: The faults that may happen; None allows all that the seed draws.
    """
    with pure():
        run = Run(seed, only=only, scene=scene)
        run.world.faults = _Rarer(run.world, len(scene.sketch.plan.steps), only, scene.without)
        seen = _Seen(run)
        run.watch.on_change.append(seen.look)
        for node in run.nodes:
            node.watch_s = WATCH_S
        try:
            verdict = run.run()
        finally:
            run.world.loop.close()
    watched = run.watch.sagas.get(scene.saga_id)
    if watched is None:
        raise RuntimeError(f"seed {seed}: the saga was not submitted: {verdict.violations}")
    saga = watched.saga
    return Played(
        seed=seed,
        end=end_of(saga),
        rank=RANK_BROKEN if saga.outcome is None else _RANKS[saga.outcome],
        left=tuple(
            saga.program.steps[index].step_id
            for index in range(len(saga.steps))
            if run.tools.truth(scene.saga_id, index).left > 0
        ),
        faults=tuple(verdict.faults),
        asked=tuple(seen.asked),
        attempts=sum(isinstance(record, _ATTEMPTS) for record in watched.records),
        seconds=seen.last_at - seen.first_at,
        violations=verdict.violations,
        program=saga.program,
        records=tuple(watched.records),
        trace=verdict.trace,
    )


def end_of(saga: Saga) -> str:
    """Return state and outcome as one text: ``DONE committed``."""
    outcome = "" if saga.outcome is None else f" {saga.outcome}"
    return f"{saga.state}{outcome}"


class _Rarer(Faults):
    """The faults of a seed, rarer with each call where a plan has many steps.

    At the rates for a plan of a few steps, one of forty hardly ever came past its tenth, and what
    can go wrong at its end was never seen. How much rarer differs from seed to seed.
    """

    def __init__(
        self, world: World, step_count: int, only: frozenset[str] | None, without: frozenset[str]
    ) -> None:
        super().__init__(world.chance, only, without)
        self.happened.update(world.faults.happened)
        most = min(1.0, STEPS_AT_FULL_RATES / max(1, step_count))
        share = most ** world.chance.draw("rarer")[0]
        self._rates = {
            kind: rate if kind in _ONCE_A_RUN else rate * share
            for kind, rate in self._rates.items()
        }


class _Seen:
    """What is noted of a saga while it runs."""

    def __init__(self, run: Run) -> None:
        self.asked: dict[Asked, None] = {}
        self.first_at = run.world.loop.time()
        self.last_at = self.first_at
        self._run = run
        self._is_first = True

    def look(self, saga_id: str) -> None:
        """Note when the saga changed, and what a person is asked now."""
        self.last_at = self._run.world.loop.time()
        if self._is_first:
            self.first_at, self._is_first = self.last_at, False
        saga = self._run.watch.sagas[saga_id].saga
        for asked in asked_of(saga):
            self.asked[asked] = None


def asked_of(saga: Saga) -> list[Asked]:
    """Return what a person is asked now."""
    if not saga.awaiting and saga.state.phase is not Phase.NEEDS_HUMAN:
        return []
    by_id = {spec.step_id: saga.steps[spec.index] for spec in saga.program.steps}
    return [
        Asked(
            step_id=need["step_id"],
            status=str(by_id[need["step_id"]].status),
            choices=tuple(need["choices"]),
        )
        for need in view_of(saga).needs
    ]


def with_fewest_faults(
    scene: Scene, ending: Ending, *, should_stop: Callable[[], bool] = lambda: False
) -> Played:
    """Return a run of the same seed that ends the same way, with as few faults as that takes.

    Args:
        scene: The plan and its tools.
        ending: What the seed comes to.
        should_stop: Asked after each run; what was found by then has to do.
    """
    runs = 0
    codes = {violation.code for violation in ending.violations}

    def ends_so(faults: Sequence[str]) -> list[str] | None:
        nonlocal runs
        if runs >= SHRINK_RUNS_MAX or should_stop():
            return None
        runs += 1
        found = play(scene, ending.seed, only=frozenset(faults))
        is_same = (found.end, found.left) == (ending.end, ending.left)
        if codes:
            is_same = not codes.isdisjoint(violation.code for violation in found.violations)
        return list(found.faults) if is_same else None

    faults = smallest(list(ending.faults), ends_so)
    return play(scene, ending.seed, only=frozenset(faults))


def fault_lines(scene: Scene, ending: Ending) -> list[str]:
    """Return the faults of a run in words, in the order in which they happened, none twice."""
    program = program_of(scene)
    lines = (fault_text(name, saga_id=scene.saga_id, program=program) for name in ending.faults)
    return list(dict.fromkeys(lines))


def ending_json(scene: Scene, ending: Ending) -> dict[str, Any]:
    """Return a run as JSON."""
    return {
        "seed": ending.seed,
        "end": ending.end,
        "left": list(ending.left),
        "faults": fault_lines(scene, ending),
        "asked": [asked_json(asked) for asked in ending.asked],
        "attempts": ending.attempts,
        "seconds": round(ending.seconds, 3),
        "violations": [
            {"code": v.code, "message": v.message, "at": round(v.at, 3)} for v in ending.violations
        ],
    }


def asked_json(asked: Asked) -> dict[str, Any]:
    """Return a question as JSON."""
    return {"step_id": asked.step_id, "status": asked.status, "choices": list(asked.choices)}
