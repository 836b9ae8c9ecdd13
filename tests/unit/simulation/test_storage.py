"""The played store's far end: what it compares inside a write, and how long a lease lasts."""

from __future__ import annotations

import pytest

from fsm_saga.core.records import PlanClosed
from fsm_saga.errors import CorruptRecordError, FsmSagaError
from fsm_saga.ports import Append, Command, Head
from fsm_saga.simulation.loop import Process, VirtualLoop
from fsm_saga.simulation.storage import LEASE_TTL_S, Storage, leads


class Listener:
    def __init__(self) -> None:
        self.accepts: list[tuple[int, int | None]] = []
        self.refusals: list[str] = []
        self.epochs: list[int] = []

    def accepted(self, epoch: int, leader: int | None, append: Append, body: bytes) -> None:
        self.accepts.append((epoch, leader))

    def refused(self, epoch: int, append: Append, error: FsmSagaError) -> None:
        self.refusals.append(error.code)

    def elected(self, epoch: int) -> None:
        self.epochs.append(epoch)


class Stage:
    def __init__(self) -> None:
        self.loop = VirtualLoop()  # type: ignore[abstract]  # at run time nothing of it is abstract
        self.listener = Listener()
        self.storage = Storage(self.loop, self.listener)
        self.holder = Process("p", self.loop)

    def append(self, epoch: int, position: int) -> str:
        head = Head(
            saga_id="s",
            state="EXECUTING(1)",
            outcome=None,
            position=position + 1,
            created_at=0.0,
            updated_at=0.0,
        )
        records = (PlanClosed(at=1.0),)
        refusal = self.storage.append(
            epoch, Append(saga_id="s", position=position, records=records, head=head)
        )
        return "" if refusal is None else refusal.code

    def wait(self, seconds: float) -> None:
        self.loop.run_while(lambda: True, until=self.loop.time() + seconds)


def test_only_the_leader_writes_and_only_at_the_end() -> None:
    stage = Stage()
    assert stage.append(0, 0) == "fenced", "nobody leads yet"
    assert stage.storage.take_lease(stage.holder) == 1
    assert stage.append(1, 0) == ""
    assert stage.append(1, 0) == "conflict"
    assert stage.append(1, 2) == "conflict"
    assert stage.append(2, 1) == "fenced"
    assert stage.append(1, 1) == ""
    assert stage.listener.accepts == [(1, 1), (1, 1)]
    assert stage.listener.refusals == ["fenced", "conflict", "conflict", "fenced"]
    assert stage.storage.load("s") == (PlanClosed(at=1.0), PlanClosed(at=1.0))


def test_a_leader_that_never_hears_of_it_keeps_nobody_out_for_long() -> None:
    """L6: the lease comes with the key."""
    stage = Stage()
    assert stage.storage.take_lease(stage.holder) == 1
    assert stage.storage.take_lease(stage.holder) is None
    stage.wait(LEASE_TTL_S + 0.1)
    assert stage.storage.take_lease(stage.holder) == 2
    assert stage.listener.epochs == [1, 2]


def test_a_leader_that_lives_leads_on_and_one_that_stops_does_not() -> None:
    stage = Stage()
    storage = stage.storage
    assert storage.take_lease(stage.holder) == 1
    storage.holder_hears(1)
    stage.wait(10 * LEASE_TTL_S)
    assert leads(storage, 1)
    storage.holder_stops(stage.holder, left=0.5)
    stage.wait(0.4 * LEASE_TTL_S)
    assert leads(storage, 1), "half of its lease was left"
    stage.wait(0.2 * LEASE_TTL_S)
    assert not leads(storage, 1)
    assert stage.append(1, 0) == "fenced"


def test_a_leader_that_is_back_in_time_leads_on() -> None:
    stage = Stage()
    storage = stage.storage
    storage.take_lease(stage.holder)
    storage.holder_hears(1)
    storage.holder_stops(stage.holder, left=1.0)
    stage.wait(0.5 * LEASE_TTL_S)
    storage.holder_is_back(stage.holder)
    stage.wait(3 * LEASE_TTL_S)
    assert leads(storage, 1)


def test_who_waits_for_the_lease_is_told_when_it_is_free() -> None:
    stage = Stage()
    stage.storage.take_lease(stage.holder)
    vacant = stage.loop.create_future()
    stage.storage.on_vacancy.append(vacant)
    stage.storage.end_lease(7)
    assert not vacant.done(), "another's epoch ends nothing"
    stage.storage.end_lease(1)
    assert vacant.done()


def test_commands_wait_for_the_leader_and_are_answered_once() -> None:
    stage = Stage()
    storage = stage.storage
    posted = stage.loop.create_future()
    storage.on_command.append(posted)
    number = storage.post(Command(saga_id="s", kind="cancel", body={"by": "me"}))
    assert posted.done()
    assert [command.number for command in storage.pending()] == [number]
    refusal = storage.answer(1, number, {"ok": True})
    assert refusal is not None
    assert refusal.code == "fenced"
    storage.take_lease(stage.holder)
    assert storage.answer(1, number, {"ok": True}) is None
    assert storage.answer(1, number, {"ok": False}) is None
    assert storage.commands[number].answer == {"ok": True}
    assert storage.pending() == ()


def test_damage_is_found_when_the_journal_is_read() -> None:
    stage = Stage()
    stage.storage.take_lease(stage.holder)
    stage.append(1, 0)
    stage.storage.damage("s", 0.5)
    with pytest.raises(CorruptRecordError):
        stage.storage.load("s")
