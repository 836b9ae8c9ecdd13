"""Certificates where sagas go on: an amend and what was left for a resume are held against them."""

from __future__ import annotations

import asyncio
import json

import pytest

from fsm_saga.ports import Command
from fsm_saga.service.engine import Engine
from fsm_saga.stores.opening import open_store
from tests.unit.cli.desk import Desk, Ended

TOOLS = """
import itertools
from fsm_saga import tool

NUMBERS = itertools.count()

@tool(undo="cancel", dedupe=True)
def order() -> int:
    return next(NUMBERS)

@tool
def cancel() -> None: ...

@tool
def ask() -> None: ...
"""
STEPS = [{"step_id": 2, "tool": "order", "params": {}, "depends_on": [1]}]
UNDO = {"tool": "cancel", "params": {}}
ASK = {"step_id": 1, "tool": "ask", "params": {}, "approval": True, "rollback": UNDO}


@pytest.fixture
def shop(desk: Desk) -> Desk:
    """Give a desk with a saga that waits, and a certificate that refutes what ``order`` says."""
    tools = desk.write("shop.py", TOOLS)
    plan = desk.write("plan.json", {"task_id": "tea", "steps": [ASK]})
    assert desk.on_store("run", plan, "--tools", tools).code == 3
    folder = desk.folder / "certificates"
    certified = desk.type(
        "certify", "order", "--tools", tools, "--certificates", str(folder), "--yes"
    )
    assert json.loads((folder / "order.json").read_text())["broken"], certified.out
    return desk


def folder_of(desk: Desk) -> tuple[str, str]:
    return "--certificates", str(desk.folder / "certificates")


def amend(desk: Desk, *more: str) -> Ended:
    steps = desk.write("steps.json", STEPS)
    tools = str(desk.folder / "shop.py")
    return desk.on_store("amend", "tea", steps, "--tools", tools, "--json", *more)


def steps_of(desk: Desk) -> int:
    return len(desk.show("tea")["steps"])


def test_an_amend_that_leans_on_a_refuted_promise_is_refused(shop: Desk) -> None:
    ended = amend(shop, *folder_of(shop))

    assert ended.code == 2
    assert {p["code"] for p in ended.json["problems"]} == {"broken-promise"}
    assert steps_of(shop) == 1
    assert amend(shop).code == 0
    assert steps_of(shop) == 2


def test_certificates_in_their_usual_place_are_read_by_an_amend(
    shop: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FSM_SAGA_CERTIFICATES", str(shop.folder / "certificates"))

    assert amend(shop).code == 2
    assert steps_of(shop) == 1


def test_an_amend_is_refused_although_the_process_that_runs_the_saga_knows_no_certificates(
    shop: Desk,
) -> None:
    async def beside() -> Ended:
        async with Engine.open(shop.store, tools=[str(shop.folder / "shop.py")]):
            return await asyncio.to_thread(amend, shop, *folder_of(shop))

    ended = asyncio.run(beside())

    assert ended.code == 2
    assert {p["code"] for p in ended.json["problems"]} == {"broken-promise"}
    assert steps_of(shop) == 1


def test_other_faults_of_the_steps_are_told_as_without_certificates(shop: Desk) -> None:
    nonsense = shop.write("nonsense.json", [{"step_id": 2, "tool": "nobody", "params": {}}])
    tools = str(shop.folder / "shop.py")

    ended = shop.on_store("amend", "tea", nonsense, "--tools", tools, "--json", *folder_of(shop))

    assert ended.code == 2
    assert "broken-promise" not in {p["code"] for p in ended.json["problems"]}


@pytest.mark.parametrize(("knows", "steps"), [(True, 1), (False, 2)])
def test_steps_that_were_left_for_a_resume_are_held_against_its_certificates(
    shop: Desk, knows: bool, steps: int
) -> None:
    async def leave() -> int:
        async with open_store(shop.store, mode="read") as store:
            body = {"value": STEPS}
            return await store.post_command(Command(saga_id="tea", kind="amend", body=body))

    async def answer(number: int) -> bool:
        async with open_store(shop.store, mode="read") as store:
            found = await store.command_answer(number)
            assert found is not None
            return bool(found["ok"])

    number = asyncio.run(leave())
    folder = folder_of(shop) if knows else ()
    shop.on_store("resume", "--tools", str(shop.folder / "shop.py"), *folder)

    assert asyncio.run(answer(number)) is not knows
    assert steps_of(shop) == steps
