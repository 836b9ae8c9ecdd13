"""A store that fails under a command: what may have happened decides the exit code."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fsm_saga.coordinator import driver
from fsm_saga.errors import FencedError, StoreError, StoreUnavailableError
from fsm_saga.ports import Append, Command
from fsm_saga.stores.sqlite import SqliteReadStore, SqliteWriteStore
from tests.unit.cli.desk import Desk
from tests.unit.cli.test_resume import leave_unfinished

Break = Callable[..., None]


@pytest.fixture
def break_store(monkeypatch: pytest.MonkeyPatch) -> Break:
    """Make each append from the nth on fail; given 0, none fails any more."""
    append = SqliteWriteStore.append
    monkeypatch.setattr(driver, "APPEND_PATIENCE_S", (0.0,))

    def break_from(nth: int, error: StoreError | None = None) -> None:
        error = error or StoreUnavailableError("Store 'x' failed: the disk is full.")
        made = 0

        async def failing(self: SqliteWriteStore, order: Append) -> None:
            nonlocal made
            made += 1
            if 0 < nth <= made:
                raise error
            await append(self, order)

        monkeypatch.setattr(SqliteWriteStore, "append", failing)

    return break_from


def test_a_store_that_fails_under_way_ends_with_75_and_resume_finishes_the_saga(
    desk: Desk, break_store: Break
) -> None:
    break_store(2)
    ended = desk.run("a", "b")
    assert ended.code == 75
    assert "failed while sagas were under way" in ended.err
    assert "Nothing that was acknowledged is lost" in ended.err
    assert f"fsm-saga resume --tools {desk.tools}" in ended.err
    assert "Traceback" not in ended.err

    break_store(0)
    assert desk.show()["state"] == "EXECUTING(1)"
    assert desk.on_store("resume", has_tools=True).code == 0
    assert desk.show()["state"] == "DONE"


def test_it_is_one_document_with_json(desk: Desk, break_store: Break) -> None:
    break_store(2)
    ended = desk.on_store("run", desk.plan("a"), "--json", has_tools=True)

    assert ended.code == 75
    assert ended.json["error"].keys() == {"code", "message"}
    assert ended.json["error"]["code"] == "store-unavailable"


def test_a_submission_whose_fate_is_not_known_ends_with_75(desk: Desk, break_store: Break) -> None:
    break_store(1)
    assert desk.run("a").code == 75


def test_a_coordinator_that_was_fenced_off_ends_with_75(desk: Desk, break_store: Break) -> None:
    break_store(2, FencedError("Another writer leads the store."))
    ended = desk.on_store("run", desk.plan("a"), "--json", has_tools=True)

    assert ended.code == 75
    assert ended.json["error"]["code"] == "fenced"


def test_resume_does_not_take_a_failed_store_for_a_trouble_of_single_sagas(
    desk: Desk, break_store: Break
) -> None:
    for name in ("one", "two"):
        leave_unfinished(desk, name, "nothing")
    break_store(1)
    ended = desk.on_store("resume", "--json", has_tools=True)

    assert ended.code == 75
    break_store(0)
    assert desk.on_store("resume", has_tools=True).code == 1


def test_undo_and_a_decision_that_drives_a_saga_end_with_75_too(
    desk: Desk, break_store: Break
) -> None:
    assert desk.run("a").code == 0
    assert desk.run("b", name="second", approval=True).code == 3
    break_store(1)
    undo = desk.on_store("undo", "trip", has_tools=True)
    approve = ("approve", "second", "--step", "1", "--by", "Ann")
    approved = desk.on_store(*approve, has_tools=True)
    rejected = desk.on_store("reject", "second", "--step", "1", "--by", "Ann")

    assert (undo.code, approved.code, rejected.code) == (75, 75, 75)
    assert "it may count or not" in rejected.err
    assert "fsm-saga show second" in rejected.err


async def _refuse(self: SqliteReadStore, command: Command) -> int:
    raise StoreUnavailableError("Store 'x' failed: the disk is full.")


def test_a_decision_that_could_not_be_left_in_the_store_ends_with_75(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert desk.run("b", approval=True).code == 3
    monkeypatch.setattr(SqliteReadStore, "post_command", _refuse)
    monkeypatch.setattr(SqliteWriteStore, "post_command", _refuse)
    ended = desk.on_store("approve", "trip", "--step", "1", "--by", "Ann", "--json")

    assert ended.code == 75
    assert ended.json["error"]["code"] == "store-unavailable"


def test_a_store_that_cannot_be_opened_ends_with_2(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(url: str, path: str) -> SqliteWriteStore:
        raise StoreUnavailableError("Store 'x' failed: the disk refused a read.")

    monkeypatch.setattr(SqliteWriteStore, "open", fail)
    assert desk.run("a").code == 2
