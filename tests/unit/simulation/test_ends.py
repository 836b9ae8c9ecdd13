from __future__ import annotations

from typing import Any

import pytest

from fsm_saga.core.contract import ToolContract, ToolFacts
from fsm_saga.plan.assumed import AssumedTools
from fsm_saga.plan.model import Plan
from fsm_saga.simulation.ends import (
    fault_lines,
    play,
    scene_of,
    with_fewest_faults,
)
from fsm_saga.simulation.fault_words import WORDS, fault_text
from fsm_saga.simulation.faults import RATES
from fsm_saga.simulation.plans import AMENDS
from fsm_saga.simulation.scene import Scene
from fsm_saga.simulation.sweep import sweep
from fsm_saga.simulation.tools import ToolWorld

NEVER_TOLD = {"another-saga", "third-saga", "amend", "corrupt"}


def step(step_id: int, **more: Any) -> dict[str, Any]:
    rollback = {"tool": "undo", "params": {"id": f"$output.step_{step_id}.id"}}
    return {"step_id": step_id, "tool": "act", "params": {}, "rollback": rollback, **more}


@pytest.fixture(scope="module")
def scene() -> Scene:
    return scene_of(Plan.of({"task_id": "a.b", "steps": [step(1), step(2)]}), AssumedTools())


def test_a_seed_ends_the_same_way_each_time(scene: Scene) -> None:
    assert play(scene, 5).trace == play(scene, 5).trace


def test_without_faults_a_plan_is_done(scene: Scene) -> None:
    found = play(scene, 5, only=frozenset())

    assert (found.end, found.rank, found.faults) == ("DONE committed", 0, ())
    assert found.left == (1, 2)
    assert found.attempts == 2
    assert found.violations == ()


def test_fewer_faults_come_to_the_same_end(scene: Scene) -> None:
    worst = sweep(scene, first=0, count=60).worst
    assert worst is not None
    found = with_fewest_faults(scene, worst)

    assert (found.end, found.left) == (worst.end, worst.left)
    assert 0 < len(found.faults) <= len(worst.faults)
    assert fault_lines(scene, found)


def test_a_broken_rule_is_found_and_shrunk(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ToolWorld, "_take_back", lambda *_: None)
    found = sweep(scene, first=0, count=20)

    assert not found.is_sound
    assert found.worst in found.broken
    assert found.worst is not None
    codes = {violation.code for violation in found.worst.violations}
    shrunk = with_fewest_faults(scene, found.worst)
    assert not codes.isdisjoint(violation.code for violation in shrunk.violations)


def test_a_scene_has_all_tools_and_one_that_makes_good() -> None:
    catalogue = {
        "act": ToolFacts(name="act", contract=ToolContract(check="look", deadline=True)),
        "undo": ToolFacts(name="undo"),
        "look": ToolFacts(name="look", contract=ToolContract(read_only=True)),
        "else": ToolFacts(name="else"),
    }
    found = scene_of(Plan.of({"task_id": "t", "steps": [step(1)]}), catalogue)

    assert found.catalogue.keys() == {"act", "undo", "look", "else", AMENDS}
    assert "clock-jump" in found.without


def test_every_fault_that_can_happen_to_a_plan_has_words(scene: Scene) -> None:
    assert RATES.keys() - WORDS.keys() <= NEVER_TOLD | scene.without


def test_a_fault_is_told_with_its_step(scene: Scene) -> None:
    program = play(scene, 5, only=frozenset()).program

    def told(name: str) -> str:
        return fault_text(name, saga_id="a.b", program=program)

    assert told("refuses@a.b.1.do") == "step 2 (act): the tool refuses"
    assert told("undo-refuses@a.b.0.undo") == "undo of step 1 (act): the undo is refused"
    assert told("outage@all") == "all coordinators are down for a while"
    assert told("cancel@a.b") == "the saga is cancelled"
    assert told("strange@x") == "strange"
