"""Decisions of people and planners: in this process, from others, and two at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from fsm_saga.errors import CommandError, EventRefusedError, StoreUnavailableError
from fsm_saga.plan.model import Plan
from fsm_saga.ports import Command
from fsm_saga.service.answers import Answer
from tests.support.hosting import Host
from tests.support.plans import catalogue_of, plan_of
from tests.support.virtual_time import run_virtual
from tests.support.world import behaviours_of

TRIP = "1 book_flight / cancel_flight id=$output.step_1.id\n2 book_hotel / cancel_hotel"


def with_host(
    test: Callable[[Host, Plan], Coroutine[Any, Any, None]], *, tools: str = "", **script: str
) -> None:
    """Run the test on a host that serves the store's commands."""
    plan = plan_of("trip", TRIP)

    async def run() -> None:
        host = Host(catalogue_of(tools, [plan]), name="desk")
        host.runner.script = {tool: behaviours_of(words) for tool, words in script.items()}
        await host.start()
        serving = asyncio.ensure_future(host.engine.desk.serve())
        try:
            await test(host, plan)
        finally:
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)
            await host.kill()
        host.world.check_sound()

    run_virtual(run())


async def answered(host: Host, command: Command) -> Any:
    """Leave a command in the store, as another process does, and return the answer to it."""
    number = await host.store.post_command(command)
    for _ in range(50):
        answer = await host.store.command_answer(number)
        if answer is not None:
            return answer
        await asyncio.sleep(0.1)
    return None


def test_a_command_from_another_process_cancels_a_running_saga() -> None:
    async def test(host: Host, plan: Plan) -> None:
        await host.engine.submit(plan)
        body = Answer(kind="cancel", by="ann").as_json()
        answer = await answered(host, Command(saga_id="trip", kind="cancel", body=body))
        position = answer.pop("position")
        assert answer == {"ok": True, "message": "", "state": "COMPENSATING(2)", "outcome": None}
        assert 0 < position <= (await host.engine.get("trip")).position
        assert (await host.engine.wait("trip")).state == "FAILED"

    with_host(test, book_hotel="slow 5")


@pytest.mark.parametrize(
    ("kind", "body", "code"),
    [
        ("cancel", {"by": "ann", "colour": "red"}, "command-refused"),
        ("cancel", {"by": 5}, "command-refused"),
        ("approve", {"step_id": [1], "by": "ann"}, "command-refused"),
        ("approve", {"step_id": 1, "by": "ann"}, "event-refused"),
        ("retry", {"step_id": 1, "by": None}, "command-refused"),
        ("retry", {"step_id": 1}, "command-refused"),
        ("amend", {"value": 5}, "plan-refused"),
        ("amend", {"value": [{"step_id": 3}]}, "plan-refused"),
        ("calls", {"step_id": 1, "by": "ann", "value": "[]"}, "plan-refused"),
        ("calls", {"step_id": 1, "by": "ann", "value": 7}, "plan-refused"),
        ("explode", {}, "command-refused"),
    ],
)
def test_a_command_that_makes_no_sense_is_answered_and_hurts_nobody(
    kind: str, body: dict[str, Any], code: str
) -> None:
    async def test(host: Host, plan: Plan) -> None:
        await host.engine.submit(plan)
        answer = await answered(host, Command(saga_id="trip", kind=kind, body=body))
        assert (answer["ok"], answer["code"]) == (False, code)
        assert (await host.engine.wait("trip")).state == "DONE"

    with_host(test, book_hotel="slow 60")


def test_a_command_for_a_saga_that_is_not_there_is_answered() -> None:
    async def test(host: Host, plan: Plan) -> None:
        answer = await answered(host, Command(saga_id="ghost", kind="cancel", body={}))
        assert answer["code"] == "unknown-saga"

    with_host(test)


def test_a_command_that_needs_absent_tools_waits_for_a_coordinator_that_has_them() -> None:
    async def test(host: Host, plan: Plan) -> None:
        await host.engine.run(plan)
        await host.kill()
        known = dict(host.runner.catalogue)
        catalogue = host.runner.catalogue
        assert isinstance(catalogue, dict)
        catalogue.clear()
        await host.start()
        await host.engine.resume()
        assert "its tools are not given: book_flight" in host.engine.skipped["trip"]
        # A retry needs the tool, so it is left in the store and nothing moves.
        view = await host.engine.resolve("trip", 2, retry=True, by="ann", note="again")
        assert view.state == "NEEDS_HUMAN"
        # What needs no call is carried out at once.
        with pytest.raises(EventRefusedError):
            await host.engine.approve("trip", 2, by="ann")
        assert len(await host.store.pending_commands()) == 1
        await host.kill()
        catalogue.update(known)
        await host.start()
        serving = asyncio.ensure_future(host.engine.desk.serve())
        await host.engine.resume()
        await asyncio.sleep(1)
        assert (await host.engine.wait("trip")).state == "DONE"
        assert not await host.store.pending_commands()
        serving.cancel()

    with_host(test, book_hotel="unknown x3")


def test_a_decision_without_a_call_is_carried_out_without_the_tools() -> None:
    async def test(host: Host, plan: Plan) -> None:
        await host.engine.run(plan)
        await host.kill()
        catalogue = host.runner.catalogue
        assert isinstance(catalogue, dict)
        catalogue.clear()
        await host.start()
        view = await host.engine.resolve("trip", 2, output={"id": "H"}, by="ann", note="")
        assert (view.state, view.outcome) == ("DONE", "committed")

    with_host(test, book_hotel="unknown x3")


def test_of_two_amendments_at_once_one_is_taken_and_the_other_has_to_look_again() -> None:
    """What has started in the meantime must not be replaced."""

    async def test(host: Host, plan: Plan) -> None:
        await host.engine.submit(plan)
        steps = [
            {"step_id": name, "tool": "book_flight", "rollback": {"tool": "cancel_flight"}}
            for name in ("car", "bike")
        ]
        found = await asyncio.gather(
            *(host.engine.amend("trip", [step]) for step in steps), return_exceptions=True
        )
        refused = [each for each in found if isinstance(each, EventRefusedError)]
        assert len(refused) == 1
        assert "has grown since" in str(refused[0])
        view = await host.engine.wait("trip")
        assert len(view.steps) == 3
        again = await host.engine.get("trip")
        assert [step.step_id for step in again.steps[:2]] == [1, 2]

    with_host(test, book_hotel="slow 5")


def test_a_decision_without_a_name_or_about_a_strange_step_changes_nothing() -> None:
    async def test(host: Host, plan: Plan) -> None:
        before = await host.engine.run(plan)
        for step_id, by in ((2, "  "), (9, "ann"), ("", "ann")):
            with pytest.raises(CommandError):
                await host.engine.resolve("trip", step_id, settled=True, by=by, note="")
        with pytest.raises(CommandError, match="exactly one"):
            await host.engine.resolve("trip", 2, by="ann", note="")
        with pytest.raises(CommandError, match="exactly one"):
            await host.engine.resolve("trip", 2, retry=True, settled=True, by="ann", note="")
        assert (await host.engine.get("trip")).position == before.position

    with_host(test, book_hotel="unknown x3")


def test_commands_are_served_again_once_the_store_answers_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def test(host: Host, plan: Plan) -> None:
        await host.engine.submit(plan)
        store = host.store
        pending = store.pending_commands

        async def fail() -> Any:
            raise StoreUnavailableError("the disk is gone")

        store.pending_commands = fail  # type: ignore[method-assign]
        command = Command(saga_id="trip", kind="cancel", body={"by": "ann"})
        number = await store.post_command(command)
        await asyncio.sleep(1)
        assert await store.command_answer(number) is None
        store.pending_commands = pending  # type: ignore[method-assign]
        await asyncio.sleep(1)
        answer = await store.command_answer(number)
        assert answer is not None
        assert answer["ok"]
        said = [each for each in caplog.messages if "cannot be read" in each]
        assert len(said) == 1

    with_host(test, book_hotel="slow 60")
