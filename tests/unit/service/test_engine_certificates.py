"""An engine that is given certificates refuses plans that lean on what they refute."""

from __future__ import annotations

from pathlib import Path

import pytest

from fsm_saga.errors import PlanError, ToolsError
from fsm_saga.plan.model import Plan
from fsm_saga.service.engine import Engine
from fsm_saga.tools import tool
from fsm_saga.tools.certificates import Certificate, Certificates, fingerprint_of

PLAN = Plan.of({"task_id": "t", "steps": [{"step_id": 1, "tool": "post"}]})


@tool
def post() -> str:
    return "posted"


def certificate(*broken: str) -> Certificate:
    return Certificate.model_validate(
        {
            "tool": "post",
            "undo": None,
            "fingerprint": fingerprint_of("post", {"post": post}),
            "contract": {},
            "proven": (),
            "broken": broken,
            "untried": (),
            "extra": (),
            "checks": (),
            "certified_at": "2026-02-01T12:00:00Z",
            "version": "0",
        }
    )


async def test_a_refuted_tool_is_refused_and_nothing_is_called(tmp_path: Path) -> None:
    certificate("dedupe").write(tmp_path)

    async with Engine.open("memory://", tools=[post], certificates=tmp_path) as engine:
        with pytest.raises(PlanError) as refused:
            await engine.run(PLAN)

    assert [problem.code for problem in refused.value.problems] == ["broken-promise"]


async def test_a_certified_tool_and_one_without_a_certificate_run() -> None:
    for found in ({"post": certificate()}, {}):
        known = Certificates(found)
        async with Engine.open("memory://", tools=[post], certificates=known) as engine:
            assert str((await engine.run(PLAN)).state) == "DONE"


async def test_a_folder_that_is_not_there_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(ToolsError, match="no folder"):
        async with Engine.open("memory://", tools=[post], certificates=tmp_path / "no"):
            pytest.fail("it was opened")
