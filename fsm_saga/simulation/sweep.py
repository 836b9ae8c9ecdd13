"""The ends that a given plan can come to: many seeds of it, counted, over one or more processes.

What is counted does not hang on the number of processes: each seed decides its run alone, and they
are counted in the order of the seeds.
"""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

from fsm_saga.core.states import StepStatus
from fsm_saga.simulation.ends import Asked, Ending, play
from fsm_saga.simulation.scene import Scene
from fsm_saga.simulation.workers import Stopped, spread

CHUNK_STEPS = 60
"""About how many steps one message to a worker is worth, so that progress is seen to be made."""


@dataclass(slots=True, kw_only=True)
class Sweep:
    """What many seeds of one plan came to.

    Attributes:
        seeds: How many were run.
        ends: How many runs came to each end.
        examples: For each end the run with the fewest faults that came to it.
        left: In how many runs that did not become DONE a step's effect was left.
        asked: In how many runs a person was asked what.
        asked_seeds: For each question the first seed in which it was asked.
        asked_runs: In how many a person was asked anything but an approval.
        worst: The worst run; of equals the one with the fewest faults.
        is_whole: False if it was stopped before all seeds were run.
    """

    scene: Scene
    first: int
    seeds: int = 0
    ends: Counter[str] = field(default_factory=Counter)
    examples: dict[str, Ending] = field(default_factory=dict)
    left: Counter[str] = field(default_factory=Counter)
    asked: Counter[Asked] = field(default_factory=Counter)
    asked_seeds: dict[Asked, int] = field(default_factory=dict)
    asked_runs: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    worst: Ending | None = None
    most_attempts: Ending | None = None
    longest: Ending | None = None
    broken: list[Ending] = field(default_factory=list)
    is_whole: bool = True

    @property
    def is_sound(self) -> bool:
        """True if everything held in every run."""
        return not self.broken

    def add(self, ending: Ending) -> None:
        """Count a run."""
        self.seeds += 1
        self.ends[ending.end] += 1
        self.faults.update(name.partition("@")[0] for name in ending.faults)
        self._ask(ending)
        if ending.rank:
            self.left.update(str(step_id) for step_id in ending.left)
        if ending.violations:
            self.broken.append(ending)
        example = self.examples.get(ending.end)
        if example is None or len(ending.faults) < len(example.faults):
            self.examples[ending.end] = ending
        if self.worst is None or _is_worse(ending, self.worst):
            self.worst = ending
        if self.most_attempts is None or ending.attempts > self.most_attempts.attempts:
            self.most_attempts = ending
        if self.longest is None or ending.seconds > self.longest.seconds:
            self.longest = ending

    def _ask(self, ending: Ending) -> None:
        for asked in ending.asked:
            self.asked_seeds.setdefault(asked, ending.seed)
        self.asked.update(ending.asked)
        self.asked_runs += any(
            asked.status != StepStatus.AWAITING_APPROVAL for asked in ending.asked
        )


def _is_worse(one: Ending, other: Ending) -> bool:
    if one.severity != other.severity:
        return one.severity > other.severity
    return len(one.faults) < len(other.faults)


def sweep(
    scene: Scene,
    *,
    first: int,
    count: int,
    jobs: int = 1,
    on_run: Callable[[Sweep], None] = lambda _found: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Sweep:
    """Return what the seeds from ``first`` on come to.

    Args:
        scene: The plan and its tools.
        first: The first seed.
        count: How many.
        jobs: Over how many processes they are spread; what is found is the same.
        on_run: Called with what there is so far, after each run.
        should_stop: Asked again and again; what was found by then is returned.

    Raises:
        WorkerDiedError: If a process ended without an answer.
        WorkerFailedError: If a run raised something.
    """
    found = Sweep(scene=scene, first=first)
    try:
        for ending in _endings(scene, first, count, jobs, should_stop):
            found.add(ending)
            on_run(found)
    except Stopped:
        found.is_whole = False
    return found


def _endings(
    scene: Scene, first: int, count: int, jobs: int, should_stop: Callable[[], bool]
) -> Iterator[Ending]:
    size = max(1, CHUNK_STEPS // max(1, len(scene.sketch.plan.steps)))
    if jobs <= 1 or count <= size:
        for seed in range(first, first + count):
            if should_stop():
                raise Stopped
            yield play(scene, seed).ending()
        return
    chunks = (range(at, min(at + size, first + count)) for at in range(first, first + count, size))
    jobs = min(jobs, -(-count // size))
    for endings in spread(partial(play_all, scene), chunks, jobs=jobs, should_stop=should_stop):
        yield from endings


def play_all(scene: Scene, seeds: range) -> list[Ending]:
    """Return what becomes of the plan under each of the seeds."""
    is_collecting = gc.isenabled()
    # Each run leaves one large knot of young objects; the old ones are the plan, and stay.
    gc.disable()
    try:
        return [play(scene, seed).ending() for seed in seeds]
    finally:
        gc.collect(0)
        if is_collecting:
            gc.enable()
