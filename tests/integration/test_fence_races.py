"""A fence under threads that race, transactions that fail and processes that are killed."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import pytest
import sqlalchemy as sa

from fsm_saga.errors import CallFencedError, OutcomeUnknown
from fsm_saga.tools.fence import Fence, FencedCall
from tests.support.fence_shops import (
    ASYNC_BACKENDS,
    BACKENDS,
    INSERT,
    NOTHING,
    SCHEMA,
    BlockingShop,
    Shop,
    ctx,
    open_shop,
)
from tests.support.postgres import open_postgres

ROOT = Path(__file__).resolve().parents[2]
ROUNDS = 25
READY_S = 30.0


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with open_postgres() as url:
        yield url


@pytest.fixture
def postgres(server: str) -> Callable[[], str]:
    def create() -> str:
        name = f"shop_{uuid4().hex}"
        admin = sa.create_engine(server, isolation_level="AUTOCOMMIT")
        with admin.connect() as db:
            db.execute(sa.text(f"CREATE DATABASE {name}"))
        admin.dispose()
        return server.replace("/postgres?", f"/{name}?")

    return create


def run_together(*work: Callable[[], object]) -> list[object]:
    """Run all at once, each in a thread; return what each returned or raised."""
    barrier = threading.Barrier(len(work))

    def run(one: Callable[[], object]) -> object:
        barrier.wait(10)
        try:
            return one()
        except (CallFencedError, OutcomeUnknown) as error:
            return error

    with ThreadPoolExecutor(len(work)) as threads:
        return list(threads.map(run, work))


@pytest.mark.parametrize(
    ("backend", "isolation_level"),
    [
        *((backend, None) for backend in (*BACKENDS, *ASYNC_BACKENDS)),
        ("postgres", "REPEATABLE READ"),
        ("postgres", "SERIALIZABLE"),
    ],
)
def test_an_undo_that_races_its_action_ends_in_nothing_in_both_orders(
    backend: str, isolation_level: str | None, tmp_path: Path, postgres: Callable[[], str]
) -> None:
    seen: Counter[str] = Counter()
    with open_shop(backend, tmp_path, postgres=postgres, isolation_level=isolation_level) as shop:
        for number in range(ROUNDS):
            action, undo = f"r{number}", f"u{number}"
            ordered, cancelled = run_together(
                lambda action=action: shop.order(action),  # type: ignore[misc]  # bound now
                lambda undo=undo, action=action: shop.cancel(undo, action),  # type: ignore[misc]
            )
            if isinstance(ordered, OutcomeUnknown):
                ordered = retried(shop, action)
            if isinstance(cancelled, OutcomeUnknown):
                cancelled = shop.cancel(undo, action)

            assert shop.count() == 0
            was_first = not isinstance(ordered, CallFencedError)
            assert cancelled == ({"cancelled": True} if was_first else NOTHING)
            seen["do first" if was_first else "undo first"] += 1
            with pytest.raises(CallFencedError):
                shop.order(action)
    assert sum(seen.values()) == ROUNDS


def retried(shop: Shop, req_id: str) -> object:
    try:
        return shop.order(req_id)
    except CallFencedError as error:
        return error


@pytest.mark.parametrize("backend", ["postgres", "async-postgres"])
@pytest.mark.parametrize("is_undo_first", [True, False])
def test_the_one_that_comes_second_waits_for_the_one_that_is_inside(
    backend: str, is_undo_first: bool, tmp_path: Path, postgres: Callable[[], str]
) -> None:
    inside, go_on, acted_too = threading.Event(), threading.Event(), threading.Event()

    def stay() -> None:
        inside.set()
        assert go_on.wait(10)

    with open_shop(backend, tmp_path, postgres=postgres) as shop, ThreadPoolExecutor(2) as threads:
        if is_undo_first:
            shop.order("r1")
            first = threads.submit(lambda: shop.cancel("u1", "r1", meanwhile=stay))
            assert inside.wait(10)
            second = threads.submit(lambda: shop.cancel("u2", "r1", meanwhile=acted_too.set))
        else:
            first = threads.submit(lambda: shop.order("r1", meanwhile=stay))
            assert inside.wait(10)
            second = threads.submit(lambda: shop.cancel("u1", "r1"))
        with pytest.raises(TimeoutError):
            second.result(0.2)
        go_on.set()

        assert first.result(10)
        assert second.result(10) == {"cancelled": True}
        assert shop.count() == 0
        assert not acted_too.is_set()


@pytest.mark.parametrize("backend", [*BACKENDS, *ASYNC_BACKENDS])
def test_copies_that_come_at_once_are_one_effect_and_get_one_answer(
    backend: str, tmp_path: Path, postgres: Callable[[], str]
) -> None:
    with open_shop(backend, tmp_path, postgres=postgres) as shop:
        for number in range(5):
            answers = run_together(*[lambda n=number: shop.order(f"r{n}")] * 4)
            answers = [a if isinstance(a, dict) else shop.order(f"r{number}") for a in answers]

            assert answers == [{"item": "tea"}] * 4
            assert shop.count() == number + 1


@pytest.mark.parametrize("backend", ["sqlite3-each", "sqlalchemy-sqlite", "postgres"])
def test_fences_that_make_the_table_at_once_all_succeed(
    backend: str, tmp_path: Path, postgres: Callable[[], str]
) -> None:
    with open_shop(backend, tmp_path, postgres=postgres) as shop:
        assert isinstance(shop, BlockingShop)
        fences = [Fence(shop.database, table="made_at_once") for _ in range(4)]

        answers = run_together(*[lambda f=fence: f.status("r1").status for fence in fences])

        assert answers == ["absent"] * 4


@pytest.mark.parametrize("isolation_level", ["REPEATABLE READ", "SERIALIZABLE"])
def test_an_effect_that_lost_a_race_is_run_again(
    isolation_level: str, postgres: Callable[[], str]
) -> None:
    engine = sa.create_engine(postgres(), isolation_level=isolation_level)
    with engine.begin() as db:
        db.execute(sa.text("CREATE TABLE account (cents INTEGER)"))
        db.execute(sa.text("INSERT INTO account VALUES (0)"))
    fence = Fence(engine)
    runs: Counter[str] = Counter()
    barrier = threading.Barrier(3)

    def pay(req_id: str) -> int:
        def effect(call: FencedCall) -> int:
            runs[req_id] += 1
            found = call.db.execute(sa.text("SELECT cents FROM account")).scalar_one()
            if runs[req_id] == 1:
                barrier.wait(10)  # all have read before any writes
            call.db.execute(sa.text("UPDATE account SET cents = :c"), {"c": found + 100})
            return int(found) + 100

        return int(fence.run(ctx(req_id), {}, effect))

    answers = run_together(*[lambda n=n: pay(f"r{n}") for n in range(3)])

    with engine.connect() as db:
        assert db.execute(sa.text("SELECT cents FROM account")).scalar_one() == 300
    assert sorted(answers) == [100, 200, 300]  # type: ignore[type-var]
    assert sum(runs.values()) > 3
    engine.dispose()


def test_a_block_that_lost_a_race_says_that_it_may_be_sent_again(
    postgres: Callable[[], str],
) -> None:
    engine = sa.create_engine(postgres(), isolation_level="REPEATABLE READ")
    with engine.begin() as db:
        db.execute(sa.text(SCHEMA))
        db.execute(sa.text(INSERT), {"item": "tea"})
    fence = Fence(engine)
    sell = sa.text("UPDATE orders SET item = 'sold'")

    def lose(call: FencedCall) -> None:
        call.db.execute(sa.text("SELECT 1"))
        with engine.begin() as other:
            other.execute(sell)
        call.db.execute(sell)

    with pytest.raises(OutcomeUnknown, match="may be sent again"), fence.do(ctx("r1")) as call:
        lose(call)

    with fence.do(ctx("r1")) as call:
        assert call.is_first
        call.db.execute(sell)
    engine.dispose()


@pytest.mark.parametrize("backend", ["sqlalchemy-sqlite", "postgres"])
def test_a_process_that_is_killed_between_effect_and_commit_leaves_neither(
    backend: str, tmp_path: Path, postgres: Callable[[], str]
) -> None:
    with open_shop(backend, tmp_path, postgres=postgres) as shop:
        assert isinstance(shop, BlockingShop)
        url = shop.database.url.render_as_string(hide_password=False)
        shop.look_up("another")  # the table is there
        command = [sys.executable, "-m", "tests.support.fence_child", url, "r1"]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == "ordered\n"
            child.kill()
            child.wait()

        assert shop.count() == 0
        assert shop.order("r1", attempt=2) == {"item": "tea"}
        assert shop.count() == 1


@pytest.mark.parametrize("backend", ["sqlalchemy-sqlite", "postgres"])
def test_an_undo_of_a_call_whose_process_was_killed_is_one_of_nothing(
    backend: str, tmp_path: Path, postgres: Callable[[], str]
) -> None:
    with open_shop(backend, tmp_path, postgres=postgres) as shop:
        assert isinstance(shop, BlockingShop)
        url = shop.database.url.render_as_string(hide_password=False)
        shop.look_up("another")
        command = [sys.executable, "-m", "tests.support.fence_child", url, "r1"]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == "ordered\n"
            child.kill()
            child.wait()

        assert shop.cancel("u1", "r1") == NOTHING
        with pytest.raises(CallFencedError):
            shop.order("r1", attempt=2)
        assert shop.count() == 0


def test_a_connection_that_the_server_ended_is_doubt_and_is_run_again(
    postgres: Callable[[], str],
) -> None:
    engine = sa.create_engine(postgres())
    with engine.begin() as db:
        db.execute(sa.text(SCHEMA))
    fence = Fence(engine)
    runs: list[int] = []

    def effect(call: FencedCall) -> str:
        call.db.execute(sa.text(INSERT), {"item": "tea"})
        pid = call.db.execute(sa.text("SELECT pg_backend_pid()")).scalar_one()
        runs.append(pid)
        if len(runs) == 1:
            with engine.connect() as other:
                other.execute(sa.text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
        call.db.execute(sa.text("SELECT 1"))
        return "done"

    assert fence.run(ctx("r1"), {}, effect) == "done"

    assert len(runs) == 2
    with engine.connect() as db:
        assert db.execute(sa.text("SELECT count(*) FROM orders")).scalar_one() == 1
    engine.dispose()


def test_an_engine_that_commits_each_statement_is_found_out_before_anything_is_done(
    postgres: Callable[[], str],
) -> None:
    engine = sa.create_engine(postgres(), isolation_level="AUTOCOMMIT")

    with pytest.raises(OutcomeUnknown, match="AUTOCOMMIT"), Fence(engine).do(ctx("r1")):
        pytest.fail("the block ran")
    engine.dispose()
