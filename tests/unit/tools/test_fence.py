"""Corners of the fence that do not hang on the kind of database, and what it refuses to take."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any

import apsw
import pytest
import sqlalchemy as sa
from sqlalchemy.pool import StaticPool

from fsm_saga.core.contract import ToolContract
from fsm_saga.errors import CallRefusedError, OutcomeUnknown, ToolsError
from fsm_saga.tools import CallContext, tool
from fsm_saga.tools.classify import is_doubtful
from fsm_saga.tools.fence import AsyncFence, Fence
from fsm_saga.tools.fence import fence as fence_module
from fsm_saga.tools.fence.passage import fingerprint
from fsm_saga.tools.fence.sqlalchemy_sessions import check_dialect
from fsm_saga.tools.fence.transient import is_worth_repeating
from tests.support.fence_shops import ctx


@pytest.fixture
def shop() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.execute("CREATE TABLE orders (item TEXT)")
    yield connection
    connection.close()


@pytest.fixture
def fence(shop: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch) -> Fence:
    monkeypatch.setattr(fence_module, "RETRY_DELAYS_S", (0.0,))
    return Fence(shop)


def count(shop: sqlite3.Connection) -> int:
    return int(shop.execute("SELECT count(*) FROM orders").fetchone()[0])


def order(fence: Fence, shop: Any, *, then: str = "", answer: Any = None) -> Any:
    with fence.do(ctx("r1")) as call:
        if call.is_first:
            shop.execute("INSERT INTO orders VALUES ('tea')")
            if then:
                shop.execute(then)
            call.answer = answer
    return call.answer


def test_a_tool_that_commits_by_itself_is_told_and_its_call_is_doubtful_for_ever(
    fence: Fence, shop: sqlite3.Connection
) -> None:
    with pytest.raises(OutcomeUnknown, match="ended the transaction"):
        order(fence, shop, then="COMMIT")

    with pytest.raises(OutcomeUnknown, match="A person has to look"):
        order(fence, shop)
    with (
        pytest.raises(OutcomeUnknown, match="A person has to look"),
        fence.undo(ctx("u1", undoes="r1")),
    ):
        pytest.fail("the block ran")
    with pytest.raises(OutcomeUnknown, match="A person has to look"):
        fence.status("r1")
    assert count(shop) == 1


def test_a_tool_that_rolls_back_by_itself_is_told(fence: Fence, shop: sqlite3.Connection) -> None:
    with pytest.raises(OutcomeUnknown, match="ended the transaction"):
        order(fence, shop, then="ROLLBACK")

    order(fence, shop)
    assert count(shop) == 1


def test_a_tool_that_begins_again_after_its_own_commit_is_told(
    fence: Fence, shop: sqlite3.Connection
) -> None:
    def refuse() -> None:
        with fence.do(ctx("r1")):
            shop.execute("COMMIT")
            shop.execute("BEGIN")
            raise ValueError("no tea left")

    with pytest.raises(OutcomeUnknown, match="ended the transaction"):
        refuse()
    assert not shop.in_transaction


@pytest.mark.parametrize("method", ["commit", "rollback"])
def test_a_tool_that_ends_the_transaction_of_sqlalchemy_is_told(method: str) -> None:
    engine = sa.create_engine("sqlite://", poolclass=StaticPool)

    def careless() -> None:
        with Fence(engine).do(ctx("r1")) as call:
            getattr(call.db, method)()

    with pytest.raises(OutcomeUnknown, match="ended the transaction"):
        careless()
    engine.dispose()


def test_a_connection_that_is_in_a_transaction_already_is_doubt_and_is_left_alone(
    fence: Fence, shop: sqlite3.Connection
) -> None:
    fence.status("another")
    shop.execute("BEGIN")
    shop.execute("INSERT INTO orders VALUES ('milk')")

    with pytest.raises(OutcomeUnknown, match="did not begin"):
        order(fence, shop)

    assert count(shop) == 1


def test_a_call_inside_a_call_on_one_connection_is_told_and_does_not_wait_for_itself(
    fence: Fence, shop: sqlite3.Connection
) -> None:
    with fence.do(ctx("r1")):
        shop.execute("INSERT INTO orders VALUES ('tea')")
        with pytest.raises(OutcomeUnknown, match="did not begin"), fence.do(ctx("r2")):
            pytest.fail("the block ran")


def test_a_tool_may_give_its_rows_a_form_of_its_own() -> None:
    shop = sqlite3.connect(":memory:", isolation_level=None)
    shop.execute("CREATE TABLE orders (item TEXT)")
    shop.row_factory = lambda cursor, row: {
        c[0]: v for c, v in zip(cursor.description, row, strict=True)
    }
    fence = Fence(shop)

    assert order(fence, shop, answer=1) == order(fence, shop, answer=2) == 1
    shop.close()


def test_an_apsw_connection_with_a_row_trace_of_its_own_is_understood() -> None:
    shop = apsw.Connection(":memory:")
    shop.execute("CREATE TABLE orders (item TEXT)")
    shop.row_trace = lambda _cursor, row: {"row": row}
    fence = Fence(shop)

    assert order(fence, shop, answer=1) == order(fence, shop, answer=2) == 1


def test_the_first_answer_has_the_same_form_as_its_copies(
    fence: Fence, shop: sqlite3.Connection
) -> None:
    first = order(fence, shop, answer={"seats": (1, 2), "price": 1.5})

    assert first == order(fence, shop) == {"seats": [1, 2], "price": 1.5}


def test_an_answer_without_a_form_in_json_is_a_refusal_and_the_effect_is_taken_back(
    fence: Fence, shop: sqlite3.Connection
) -> None:
    with pytest.raises(ValueError, match="JSON"):
        order(fence, shop, answer=float("nan"))
    assert count(shop) == 0

    with pytest.raises(CallRefusedError, match="JSON"):
        order(fence, shop)


def test_a_fence_over_a_busy_database_is_doubt_that_may_be_sent_again(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fence_module, "RETRY_DELAYS_S", (0.0, 0.0))
    path = tmp_path / "shop.db"
    holder = sqlite3.connect(path, isolation_level=None)
    fence = Fence(lambda: sqlite3.connect(path, timeout=0, isolation_level=None))
    fence.status("another")
    holder.execute("BEGIN IMMEDIATE")

    with pytest.raises(OutcomeUnknown, match="may be sent again") as raised, fence.do(ctx("r1")):
        pytest.fail("the block ran")

    assert is_doubtful(raised.value)
    holder.close()


def test_a_table_that_cannot_be_made_is_doubt_and_no_refusal(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fence_module, "RETRY_DELAYS_S", ())
    path = tmp_path / "shop.db"
    sqlite3.connect(path).close()
    path.touch()
    fence = Fence(lambda: sqlite3.connect(f"file:{path}?mode=ro", uri=True))

    with pytest.raises(OutcomeUnknown, match="cannot be used or created"), fence.do(ctx("r1")):
        pytest.fail("the block ran")


def test_the_table_of_a_migration_is_used_as_it_is(shop: sqlite3.Connection) -> None:
    fence = Fence(shop, table="calls")
    shop.execute(fence.ddl)

    assert order(fence, shop, answer=1) == 1
    assert shop.execute("SELECT req_id, kind, state FROM calls").fetchall() == [
        ("r1", "do", "done")
    ]


@pytest.mark.parametrize("name", ["", "two words", "a;b", "a.b.c", "1st", '"quoted"', "x" * 64])
def test_a_table_name_that_is_not_plain_is_refused(shop: sqlite3.Connection, name: str) -> None:
    with pytest.raises(ToolsError, match="table"):
        Fence(shop, table=name)


@pytest.mark.parametrize("retention_s", [0, -1.0, float("nan"), float("inf")])
def test_a_retention_that_is_no_time_is_refused(
    shop: sqlite3.Connection, retention_s: float
) -> None:
    with pytest.raises(ToolsError, match="retention_s"):
        Fence(shop, retention_s=retention_s)


def test_a_fence_that_promises_to_remember_for_ever_is_not_purged(fence: Fence) -> None:
    with pytest.raises(ToolsError, match="for ever"):
        fence.purge()


@pytest.mark.parametrize("database", ["sqlite:///shop.db", 7, None, sa.Integer()])
def test_what_is_no_database_is_refused(database: Any) -> None:
    with pytest.raises(ToolsError, match="refused"):
        Fence(database)


def test_a_database_of_another_dialect_is_refused() -> None:
    with pytest.raises(ToolsError, match="'mysql'"):
        check_dialect("mysql")


def test_an_async_fence_takes_only_an_async_engine(shop: sqlite3.Connection) -> None:
    with pytest.raises(ToolsError, match="AsyncEngine"):
        AsyncFence(shop)  # type: ignore[arg-type]  # what a user may try


def test_a_function_that_opens_something_else_is_refused() -> None:
    fence = Fence(lambda: object())  # type: ignore[arg-type]  # what a user may try

    with pytest.raises(ToolsError, match="returns object"), fence.do(ctx("r1")):
        pytest.fail("the block ran")


def test_a_shared_connection_of_sqlalchemy_is_a_database_too() -> None:
    engine = sa.create_engine("sqlite://", poolclass=StaticPool)
    with engine.connect() as connection:
        fence = Fence(connection)
        with fence.do(ctx("r1")) as call:
            call.answer = 1
        with fence.do(ctx("r1")) as again:
            assert not again.is_first
        assert not connection.in_transaction()
    engine.dispose()


def test_an_undo_that_names_no_call_is_refused(fence: Fence) -> None:
    with pytest.raises(CallRefusedError, match="names no call"), fence.undo(ctx("u1")):
        pytest.fail("the block ran")


def test_a_status_of_no_call_is_refused(fence: Fence) -> None:
    with pytest.raises(ToolsError, match="'undoes'"):
        fence.status(ctx("c1"))


def test_a_fence_declares_what_it_keeps(shop: sqlite3.Connection) -> None:
    fence = Fence(shop, retention_s=60.0)

    assert fence.contract(check="order_status", deadline=True) == ToolContract(
        fenced_compensation=True,
        check="order_status",
        check_fences=True,
        deadline=True,
        retention_s=60.0,
    )
    assert not fence.contract().check_fences
    assert fence.undo_contract() == ToolContract(retention_s=60.0)


def test_a_tool_takes_its_contract_from_the_fence_and_may_say_more(fence: Fence) -> None:
    @tool(undo="cancel", contract=fence.contract(check="look_up"), retention_s=5.0)
    def order_tea(ctx: CallContext) -> None: ...

    assert order_tea.contract == ToolContract(
        fenced_compensation=True, check="look_up", check_fences=True, retention_s=5.0
    )


def test_the_fingerprint_hangs_on_values_and_not_on_the_order_of_names() -> None:
    assert fingerprint({"a": 1, "b": [1, 2]}) == fingerprint({"b": [1, 2], "a": 1})
    assert fingerprint({"a": 1}) != fingerprint({"a": "1"})
    assert fingerprint({"a": [1, 2]}) != fingerprint({"a": [2, 1]})
    assert fingerprint({}) is not None
    assert fingerprint(None) is None


@pytest.mark.parametrize(
    ("facts", "is_repeatable"),
    [
        ({"sqlstate": "40001"}, True),
        ({"pgcode": "40P01"}, True),
        ({"sqlstate": "55P03"}, True),
        ({"sqlstate": "08006"}, True),
        ({"sqlstate": "57P01"}, True),
        ({"connection_invalidated": True}, True),
        ({"sqlite_errorcode": sqlite3.SQLITE_BUSY | (2 << 8)}, True),
        ({"sqlite_errorcode": sqlite3.SQLITE_CONSTRAINT}, False),
        ({"sqlstate": "23505"}, False),
        ({}, False),
    ],
)
def test_an_error_is_worth_repeating_if_a_race_or_the_connection_was_lost(
    facts: dict[str, Any], is_repeatable: bool
) -> None:
    error = RuntimeError()
    vars(error).update(facts)
    wrapped = RuntimeError()
    wrapped.orig = error  # type: ignore[attr-defined]  # as SQLAlchemy does

    assert is_worth_repeating(error) is is_repeatable
    assert is_worth_repeating(wrapped) is is_repeatable


def test_an_error_that_holds_itself_ends_the_look() -> None:
    error = RuntimeError()
    error.orig = error  # type: ignore[attr-defined]  # as nobody should

    assert not is_worth_repeating(error)


def test_the_package_has_no_other_names() -> None:
    from fsm_saga.tools import fence as package  # noqa: PLC0415  # the package, not its module

    with pytest.raises(AttributeError, match="wall"):
        _ = package.wall


def test_a_row_that_is_purged_between_two_statements_is_looked_for_again(
    fence: Fence, shop: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    order(fence, shop, answer=1)
    find = fence.table.find
    answers: list[Any] = [None, find, None, find]

    def find_late(*arguments: Any, **options: Any) -> Any:
        answer = answers.pop(0) if answers else find
        return None if answer is None else answer(*arguments, **options)

    monkeypatch.setattr(fence.table, "find", find_late)

    assert order(fence, shop) == 1
    with fence.undo(ctx("u1", undoes="r1")) as call:
        assert call.is_first
        assert call.action_answer == 1
    assert answers == []


def test_an_error_of_the_driver_at_the_commit_is_doubt(
    fence: Fence, shop: sqlite3.Connection
) -> None:
    shop.execute("PRAGMA foreign_keys = ON")
    shop.execute("CREATE TABLE shelves (number INTEGER PRIMARY KEY)")
    shop.execute(
        "CREATE TABLE jars (shelf REFERENCES shelves (number) DEFERRABLE INITIALLY DEFERRED)"
    )

    with pytest.raises(OutcomeUnknown, match="was not committed"):
        order(fence, shop, then="INSERT INTO jars VALUES (7)")

    assert not shop.in_transaction
    assert count(shop) == 0
    assert order(fence, shop, answer=1) == 1


def test_a_purge_that_fails_leaves_no_transaction_open(shop: sqlite3.Connection) -> None:
    fence = Fence(shop, retention_s=1.0)
    fence.status("r1")
    shop.execute(
        "CREATE TRIGGER keep BEFORE DELETE ON saga_fence BEGIN SELECT RAISE(ABORT, 'kept'); END"
    )
    fence.clock = lambda: 4e9

    with pytest.raises(OutcomeUnknown, match="could not be purged"):
        fence.purge()

    assert not shop.in_transaction
    assert fence.status("r1").status == "absent"


def test_a_purge_removes_more_than_one_batch(
    shop: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fence_module, "PURGE_BATCH", 2)
    fence = Fence(shop, retention_s=1.0)
    for number in range(5):
        fence.status(f"r{number}")
    fence.clock = lambda: 4e9

    assert fence.purge() == 5
