"""A leader ends between carrying a decision out and answering: it is answered, not done again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from fsm_saga.core import records as r
from fsm_saga.errors import CommandError
from fsm_saga.plan.model import Plan
from fsm_saga.ports import Command
from fsm_saga.service.answers import Answer
from fsm_saga.service.engine import Engine
from fsm_saga.service.recalling import answered_until
from fsm_saga.service.submitting import submission, undo_order
from tests.support.hosting import Host
from tests.support.plans import catalogue_of, plan_of
from tests.support.virtual_time import run_virtual
from tests.support.world import behaviours_of

TRIP = "1 book_flight / cancel_flight id=$output.step_1.id\n2 book_hotel / cancel_hotel"
ASKING = TRIP + " ; approval=yes"
MORE = [{"step_id": 3, "tool": "book_flight", "rollback": {"tool": "cancel_flight"}}]
CALLS = [{"tool": "cancel_flight", "params": {"id": "$output.step_1.id"}}]
SLOW = "slow 90"
LOST = "unknown x3"

Test = Callable[["Office"], Coroutine[Any, Any, None]]


class Office:
    """A host whose leader ends and is followed by another, over the same store."""

    def __init__(self, host: Host, plan: Plan) -> None:
        self.host = host
        self.plan = plan
        self._serving: asyncio.Future[None] | None = None

    @property
    def engine(self) -> Engine:
        return self.host.engine

    async def open(self) -> None:
        """Begin to serve, as a leader that has just won its shard."""
        if not self.host.is_running:
            await self.host.start()
        self._serving = asyncio.ensure_future(self.engine.desk.serve())
        await self.engine.resume()

    async def close(self) -> None:
        serving, self._serving = self._serving, None
        if serving is not None:
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)
        await self.host.kill()

    async def leave(self, command: Command) -> int:
        return await self.host.store.post_command(command)

    async def decide(self, kind: str, **body: Any) -> int:
        answer = Answer(kind=kind, **body)
        return await self.leave(Command(saga_id="trip", kind=kind, body=answer.as_json()))

    async def answered(self, number: int) -> dict[str, Any]:
        for _ in range(100):
            answer = await self.host.store.command_answer(number)
            if answer is not None:
                return dict(answer)
            await asyncio.sleep(0.1)
        raise AssertionError(f"nobody has answered command {number}")

    async def end_before_the_answer(self) -> None:
        """Let the leader carry out what was left, and end before it answers; nobody follows yet."""

        async def never(_number: int, _answer: object) -> None:
            await asyncio.get_running_loop().create_future()

        self.host.store.answer_command = never  # type: ignore[method-assign,assignment]
        await asyncio.sleep(1)
        await self.close()

    async def journal(self) -> list[r.Record]:
        return list(await self.host.store.load("trip") or ())

    async def count(self, kind: type[r.Record]) -> int:
        return sum(isinstance(record, kind) for record in await self.journal())


def in_office(test: Test, *, text: str = TRIP, **script: str) -> None:
    plan = plan_of("trip", text)

    async def run() -> None:
        host = Host(catalogue_of("", [plan]), name="recalling")
        host.runner.script = {tool: behaviours_of(words) for tool, words in script.items()}
        office = Office(host, plan)
        await office.open()
        try:
            await test(office)
        finally:
            await office.close()

    run_virtual(run())


DECISIONS = [
    pytest.param("cancel", {"by": "ann"}, {"book_hotel": SLOW}, r.CancelRequested, id="cancel"),
    pytest.param("cancel", {}, {"book_hotel": SLOW}, r.CancelRequested, id="nobody-cancels"),
    pytest.param("amend", {"value": MORE}, {"book_hotel": SLOW}, r.StepsAppended, id="amend"),
    pytest.param(
        "retry", {"step_id": 2, "by": "ann"}, {"book_hotel": LOST}, r.HumanRetried, id="retry"
    ),
    pytest.param(
        "settled",
        {"step_id": "2", "by": "ann"},
        {"book_hotel": LOST},
        r.HumanSettled,
        id="settled",
    ),
    pytest.param(
        "output",
        {"step_id": 2, "by": "ann", "value": {"id": "H"}},
        {"book_hotel": LOST},
        r.HumanSuppliedOutput,
        id="output",
    ),
    pytest.param(
        "calls",
        {"step_id": 1, "by": "ann", "value": CALLS},
        {"book_hotel": "rejected", "cancel_flight": "rejected"},
        r.CallsSupplied,
        id="calls",
    ),
]


@pytest.mark.parametrize(("kind", "body", "script", "record"), DECISIONS)
def test_a_decision_is_carried_out_once_and_the_next_leader_says_that_it_was(
    kind: str, body: dict[str, Any], script: dict[str, str], record: type[r.Record]
) -> None:
    async def test(office: Office) -> None:
        await office.engine.submit(office.plan)
        await asyncio.sleep(30)
        number = await office.decide(kind, **body)
        await office.end_before_the_answer()
        await office.host.start()
        assert await office.count(record) == 1
        await office.open()
        answer = await office.answered(number)
        assert answer["ok"], answer
        assert await office.count(record) == 1
        view = await office.engine.wait("trip")
        assert view.phase.value in ("DONE", "FAILED"), view.state

    in_office(test, **script)


@pytest.mark.parametrize(("kind", "body", "script", "record"), DECISIONS)
def test_the_answer_is_the_same_when_the_saga_has_ended_meanwhile(
    kind: str, body: dict[str, Any], script: dict[str, str], record: type[r.Record]
) -> None:
    async def test(office: Office) -> None:
        await office.engine.submit(office.plan)
        await asyncio.sleep(30)
        number = await office.decide(kind, **body)
        await office.end_before_the_answer()
        # One that does not serve takes the saga to its end; then the next leader comes.
        await office.host.start()
        await office.engine.resume()
        await office.engine.wait("trip")
        await office.host.kill()
        await office.open()
        answer = await office.answered(number)
        assert answer["ok"], answer
        assert answer["state"] in ("DONE", "FAILED")
        assert await office.count(record) == 1

    in_office(test, **script)


@pytest.mark.parametrize("kind", ["approve", "reject"])
def test_an_approval_that_was_given_is_not_refused_because_nothing_waits_any_more(
    kind: str,
) -> None:
    async def test(office: Office) -> None:
        view = await office.engine.run(office.plan)
        number = await office.decide(kind, step_id=2, by="ann", position=view.position)
        await office.end_before_the_answer()
        await office.open()
        answer = await office.answered(number)
        assert answer["ok"], answer
        await office.engine.wait("trip")
        record = r.ApprovalGiven if kind == "approve" else r.ApprovalDenied
        assert await office.count(record) == 1

    in_office(test, text=ASKING)


def test_what_differs_from_what_was_carried_out_is_decided_anew() -> None:
    async def test(office: Office) -> None:
        await office.engine.run(office.plan)
        first = await office.decide("approve", step_id=2, by="ann")
        await office.end_before_the_answer()
        await office.host.start()
        others = [
            await office.decide("approve", step_id=2, by="bob"),
            await office.decide("approve", step_id=2, by="ann", note="again"),
            await office.decide("approve", step_id=1, by="ann"),
            await office.decide("reject", step_id=2, by="ann"),
            await office.decide("approve", step_id=2, by="ann"),
            await office.decide("approve", step_id=9, by="ann"),
        ]
        await office.open()
        assert (await office.answered(first))["ok"]
        answers = [await office.answered(number) for number in others]
        assert [answer["ok"] for answer in answers] == [False] * 6, answers

    in_office(test, text=ASKING)


def test_what_was_answered_before_is_not_taken_for_what_is_left() -> None:
    """The same words twice: the first was answered, the second not even begun."""

    async def test(office: Office) -> None:
        await office.engine.run(office.plan)
        again: dict[str, Any] = {"step_id": 2, "by": "ann", "note": "again"}
        first = await office.answered(await office.decide("retry", **again))
        assert (await office.engine.wait("trip")).state == "NEEDS_HUMAN"
        await office.close()
        await office.host.start()
        second = await office.decide("retry", **again)
        await office.open()
        answer = await office.answered(second)
        assert (first["ok"], answer["ok"]) == (True, True)
        assert answer["position"] > first["position"]
        assert await office.count(r.HumanRetried) == 2

    in_office(test, book_hotel="unknown x9")


@pytest.mark.parametrize("is_dated", [False, True])
def test_where_it_cannot_be_told_which_of_two_it_is_nothing_is_done_and_that_is_said(
    is_dated: bool,
) -> None:
    async def test(office: Office) -> None:
        view = await office.engine.run(office.plan)
        position = view.position if is_dated else None
        number = await office.decide("retry", step_id=2, by="ann", position=position)
        await office.end_before_the_answer()
        await office.host.start()
        await office.engine.resume()
        await office.engine.wait("trip")
        assert await office.count(r.HumanRetried) == 1
        await office.host.kill()
        await office.open()
        answer = await office.answered(number)
        assert await office.count(r.HumanRetried) == 1
        # Whoever says at what he looked is told for certain.
        assert answer["ok"] is is_dated
        if not is_dated:
            assert answer["code"] == CommandError.code
            assert "asks again" in answer["message"]

    in_office(test, book_hotel="unknown x9")


def test_a_command_that_was_not_begun_is_carried_out_by_the_next_leader() -> None:
    async def test(office: Office) -> None:
        await office.engine.run(office.plan)
        await office.close()
        await office.host.start()
        number = await office.decide("approve", step_id=2, by="ann")
        ghost = await office.leave(Command(saga_id="ghost", kind="cancel", body={}))
        strange = await office.decide("explode")
        await office.open()
        assert (await office.answered(number))["ok"]
        assert (await office.answered(ghost))["code"] == "unknown-saga"
        assert not (await office.answered(strange))["ok"]
        assert (await office.engine.wait("trip")).state == "DONE"

    in_office(test, text=ASKING)


def test_a_plan_that_became_a_saga_is_not_refused_by_a_leader_that_lacks_a_tool() -> None:
    async def test(office: Office) -> None:
        number = await office.leave(submission(office.plan))
        await office.end_before_the_answer()
        catalogue = office.host.runner.catalogue
        assert isinstance(catalogue, dict)
        catalogue.clear()
        await office.host.start()
        other = await office.leave(submission(plan_of("other", TRIP)))
        changed = await office.leave(submission(plan_of("trip", TRIP + "\ngoal another")))
        await office.open()
        assert (await office.answered(number))["ok"]
        assert not (await office.answered(other))["ok"]
        assert not (await office.answered(changed))["ok"]

    in_office(test)


def test_an_undo_that_failed_without_effect_is_not_tried_again_by_itself() -> None:
    async def test(office: Office) -> None:
        await office.engine.run(office.plan)
        order = undo_order("trip", undo_saga_id="trip.undo", is_partial=False)
        number = await office.leave(order)
        await office.end_before_the_answer()
        await office.host.start()
        await office.engine.resume()
        await office.engine.wait("trip.undo")
        await office.host.kill()
        await office.open()
        assert (await office.answered(number))["saga_id"] == "trip.undo"
        assert {head.saga_id for head in await office.engine.list()} == {"trip", "trip.undo"}

    in_office(test, cancel_hotel="rejected x9")


def test_answers_of_older_versions_tell_no_position() -> None:
    def command(answer: dict[str, Any] | None) -> Command:
        return Command(saga_id="trip", kind="cancel", body={}, answer=answer)

    assert answered_until([]) == 0
    assert answered_until([command(None), command({"ok": True}), command({"position": "7"})]) == 0
    assert answered_until([command({"position": 3}), command({"position": 2})]) == 3
