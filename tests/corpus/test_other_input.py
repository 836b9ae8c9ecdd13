"""Bad input that is not one bad plan: outputs, errors, many at once; what code may not do."""

from __future__ import annotations

import ast
import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest

from fsm_saga.cli.app import main
from fsm_saga.core.limits import LIMITS
from fsm_saga.machine.compile import compile_plan, declare
from fsm_saga.plan.lint import read_plan
from fsm_saga.plan.model import Plan
from fsm_saga.service.engine import Engine
from fsm_saga.service.view import SagaView
from fsm_saga.tools.python import Tool, tool
from tests.corpus.test_plan_corpus import SEARCH, catalogue, plan_text

ROOT = Path(__file__).resolve().parents[2]

SECRETS = {
    "key": "AKIA" + "QWERTZUIOPASDFGH",
    "bearer": "Bearer " + "zyxwvu.9876543210.abc",
    "block": "-----BEGIN RSA PRIVATE KEY-----\nMIIsecret\n-----END RSA PRIVATE KEY-----",
    "url": "https://user:" + "swordfish77@db.example/",
}
CANARIES = (b"QWERTZUIOPASDFGH", b"zyxwvu.9876543210", b"MIIsecret", b"swordfish77")


class World:
    """Tools that remember what they were asked, and do what the test says."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.undone: list[Any] = []

    def tools(self) -> list[Tool[..., Any]]:
        """Return ``do``, which returns what it is given, and its undo."""

        @tool(undo="undo", dedupe=True, sticky_failures=True)
        async def do(what: Any) -> Any:
            self.asked.append(what)
            if isinstance(what, str) and what.startswith("raise "):
                raise ValueError(what)
            return {"id": len(self.asked), "was": what}

        @tool(dedupe=True, sticky_failures=True)
        async def undo(id: int) -> None:
            self.undone.append(id)

        return [do, undo]


def step(step_id: int, what: Any, *needs: int) -> dict[str, Any]:
    return {
        "step_id": step_id,
        "tool": "do",
        "params": {"what": what},
        "depends_on": list(needs),
        "rollback": {"tool": "undo", "params": {"id": f"$output.step_{step_id}.id"}},
        "retry": {"attempts": 1},
    }


def run(world: World, *steps: dict[str, Any], store: str = "memory://", **fields: Any) -> SagaView:
    async def go() -> SagaView:
        async with Engine.open(store, tools=world.tools()) as engine:
            return await engine.run(Plan.of({"task_id": "t", "steps": steps, **fields}))

    return asyncio.run(go())


# --- plans at the limit, and in each corner ------------------------------------------------------


@pytest.mark.parametrize("shape", ["chain", "wide", "star", "layers"])
def test_a_plan_of_any_shape_at_the_limit_of_steps_is_read_and_compiled(shape: str) -> None:
    def needs(at: int) -> list[int]:
        ways = {
            "chain": [at - 1],
            "wide": [],
            "star": [0],
            "layers": list(range(at - at % 10 - 10, at - at % 10)),
        }
        return [each for each in ways[shape] if 0 <= each < at]

    count = LIMITS.step_max
    steps = [SEARCH | {"step_id": at, "depends_on": needs(at)} for at in range(count)]
    plan, graph = read_plan(plan_text(steps=steps), catalogue())
    assert len(graph.order) == count
    assert len(compile_plan(plan, declare(plan, catalogue())).steps) == count


@pytest.mark.parametrize("corner", [1, 2, 3, 4])
def test_a_diamond_is_undone_whichever_corner_fails(corner: int) -> None:
    world = World()
    words = {each: "raise no" if each == corner else f"thing {each}" for each in (1, 2, 3, 4)}
    view = run(
        world,
        step(1, words[1]),
        step(2, words[2], 1),
        step(3, words[3], 1),
        step(4, words[4], 2, 3),
    )
    made = [at for at, what in enumerate(world.asked, start=1) if what != "raise no"]
    assert view.state == "FAILED"
    assert sorted(world.undone) == made
    assert world.undone[-1:] == made[:1], "the corner on which all stand is undone last"


def test_a_hundred_identical_submissions_at_once_are_one_saga() -> None:
    world = World()
    plan = {"task_id": "t", "steps": [step(1, "once")]}

    async def go() -> set[str]:
        async with Engine.open("memory://", tools=world.tools()) as engine:
            views = await asyncio.gather(*(engine.run(Plan.of(plan)) for _ in range(100)))
            assert len(await engine.list()) == 1
            return {view.state for view in views}

    assert asyncio.run(go()) == {"DONE"}
    assert world.asked == ["once"]


# --- what tools say ------------------------------------------------------------------------------


def test_an_output_that_looks_like_a_reference_reaches_the_next_tool_as_text() -> None:
    world = World()
    evil = {"a": "$output.step_1.secret", "$input.who": ["${x}", "$env.HOME", "{{7*7}}"]}
    view = run(
        world, step(1, "$input.evil"), step(2, "$output.step_1.was", 1), inputs={"evil": evil}
    )
    assert view.state == "DONE"
    assert world.asked == [evil, evil]


def test_no_secret_of_a_tool_is_found_in_anything_that_was_written_or_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    monkeypatch.chdir(tmp_path)

    @tool(undo="forget", dedupe=True, sticky_failures=True)
    async def tell() -> Any:
        return {"id": 1, "text": SECRETS, "list": list(SECRETS.values())}

    @tool
    async def forget(id: int) -> None:
        raise RuntimeError(f"cannot forget: {SECRETS}")

    @tool(undo="forget")
    async def refuse() -> None:
        raise ValueError(" ".join(SECRETS.values()))

    async def go() -> None:
        steps = [{"step_id": 1, "tool": "tell"}, {"step_id": 2, "tool": "refuse"}]
        steps[0] |= {"rollback": {"tool": "forget", "params": {"id": "$output.step_1.id"}}}
        for each in steps:
            each["retry"] = {"attempts": 1}
        steps[0]["rollback"]["retry"] = {"attempts": 1}  # type: ignore[index]  # a dictionary
        async with Engine.open("sqlite:///kept.db", tools=[tell, forget, refuse]) as engine:
            view = await engine.run(Plan.of({"task_id": "t", "steps": steps}))
            assert view.state == "NEEDS_HUMAN"

    asyncio.run(go())
    where = ["--store", "sqlite:///kept.db"]
    for words in (["show", "t"], ["show", "t", "--json"], ["history", "t"], ["list"]):
        assert main([*words, *where]) == 0
    assert main(["history", "t", "--json", *where]) == 0
    for kind in ("dag", "timeline"):
        for ending in ("dot", "mmd", "txt"):
            drawn = f"{kind}.{ending}"
            assert main(["diagram", "--saga", "t", "--kind", kind, "-o", drawn, *where]) == 0
    printed = capfdbinary.readouterr()
    texts = {path.name: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert {"kept.db", "dag.dot", "timeline.txt"} <= set(texts)
    texts |= {"stdout": printed.out, "stderr": printed.err}
    assert b"redacted" in texts["kept.db"]
    found = [
        (name, canary) for name, text in texts.items() for canary in CANARIES if canary in text
    ]
    assert found == []


def test_an_error_is_kept_as_one_line_without_its_stack_trace() -> None:
    view = run(World(), step(1, 'raise x\n  File "/srv/app/secret.py", line 3\x1b[31m\r\nfine'))
    (shown,) = view.as_json()["steps"]
    error = shown["error"]
    assert error.startswith("ValueError: raise x")
    assert error.isprintable()
    assert __file__ not in json.dumps(view.as_json())


# --- what the code may not do --------------------------------------------------------------------

LOCKS = sorted(path.name for path in ROOT.glob("*.lock"))
_ACTING = frozenset({"eval", "exec", "compile", "__import__"})
_UNPICKLING = re.compile(r"\b(?:pickle|marshal|shelve|dill)\b|yaml\.load|shell=True|os\.system")


def test_nothing_in_the_package_evaluates_or_unpickles() -> None:
    found = []
    for path in sorted((ROOT / "fsm_saga").rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        if _UNPICKLING.search(text):
            found.append(f"{path.name}: {_UNPICKLING.search(text)}")
        for node in ast.walk(ast.parse(text)):
            called = node.func if isinstance(node, ast.Call) else None
            if isinstance(called, ast.Name) and called.id in _ACTING:
                found.append(f"{path.name}:{called.lineno} {called.id}")
    assert found == []


def test_there_is_a_lock_for_each_use() -> None:
    uses = ["requirements-dev.lock", "requirements-mutants.lock", "requirements.lock"]
    assert uses == LOCKS


@pytest.mark.parametrize("name", LOCKS)
def test_every_package_is_pinned_by_hash(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    packages = re.split(r"\n(?=[a-z])", text)
    pinned = [each for each in packages if re.match(r"[\w.-]+(?:\[[\w,]+\])?==", each)]
    assert len(pinned) > 10
    assert all("--hash=sha256:" in each for each in pinned)
