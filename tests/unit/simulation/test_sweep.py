from __future__ import annotations

import os
from typing import Any

import pytest

from fsm_saga.plan.assumed import AssumedTools
from fsm_saga.plan.model import Plan
from fsm_saga.simulation import sweep as module
from fsm_saga.simulation.ends import Played, play, scene_of
from fsm_saga.simulation.scene import Scene
from fsm_saga.simulation.sweep import Sweep, sweep
from fsm_saga.simulation.workers import WorkerDiedError


def step(step_id: int) -> dict[str, Any]:
    rollback = {"tool": "undo", "params": {"id": f"$output.step_{step_id}.id"}}
    return {"step_id": step_id, "tool": "act", "params": {}, "rollback": rollback}


def scene_with(count: int) -> Scene:
    steps = [step(number) for number in range(1, count + 1)]
    return scene_of(Plan.of({"task_id": "trip", "steps": steps}), AssumedTools())


@pytest.fixture(scope="module")
def scene() -> Scene:
    return scene_with(12)


def counts(found: Sweep) -> dict[str, Any]:
    return {name: getattr(found, name) for name in Sweep.__dataclass_fields__ if name != "scene"}


def test_the_number_of_processes_makes_no_difference(scene: Scene) -> None:
    one, three = (sweep(scene, first=7, count=24, jobs=jobs) for jobs in (1, 3))

    assert counts(one) == counts(three)
    assert one.seeds == 24


def test_every_end_has_an_example_that_comes_to_it_again(scene: Scene) -> None:
    found = sweep(scene, first=0, count=30)

    assert found.examples.keys() == found.ends.keys()
    for end, example in found.examples.items():
        assert play(scene, example.seed).end == end
    assert found.asked_seeds.keys() == found.asked.keys()
    for asked, seed in found.asked_seeds.items():
        assert asked in play(scene, seed).asked


def test_a_long_plan_is_done_in_some_runs_and_fails_late_in_others() -> None:
    long = scene_with(40)
    runs = [play(long, seed) for seed in range(40)]
    reached = [sum(call.what == "does" for call in run.trace) for run in runs if run.rank]

    assert any(run.end == "DONE committed" for run in runs)
    assert max(reached) > 20


def test_what_was_found_is_kept_when_it_is_stopped(scene: Scene) -> None:
    for jobs in (1, 2):
        seen: list[int] = []
        found = sweep(
            scene,
            first=0,
            count=10**12,
            jobs=jobs,
            on_run=lambda found, seen=seen: seen.append(found.seeds),  # type: ignore[misc]
            should_stop=lambda seen=seen: len(seen) >= 8,  # type: ignore[misc]
        )

        assert not found.is_whole
        assert 8 <= found.seeds == sum(found.ends.values()) < 100
        assert seen == list(range(1, found.seeds + 1))


def test_a_worker_that_dies_is_named_by_its_seeds(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    def deadly(scene: Scene, seed: int, *, only: frozenset[str] | None = None) -> Played:
        if seed == 11:
            os._exit(9)
        return play(scene, seed, only=only)

    monkeypatch.setattr(module, "play", deadly)

    with pytest.raises(WorkerDiedError) as told:
        sweep(scene, first=0, count=30, jobs=2)
    assert 11 in told.value.item  # type: ignore[operator]


def test_the_worst_of_many_runs_is_the_one_that_is_worst(scene: Scene) -> None:
    found = sweep(scene, first=0, count=60)
    endings = [play(scene, seed) for seed in range(60)]

    assert found.worst is not None
    assert found.worst.severity == max(ending.severity for ending in endings)
    assert found.seeds == sum(found.ends.values()) == 60
    assert found.most_attempts is not None
    assert found.most_attempts.attempts == max(ending.attempts for ending in endings)
    assert found.is_sound
