"""Tools behind a fence are put to every check of certify, on SQLite and on PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine

from examples.fenced import tools as tea_shop
from fsm_saga.tools import CallContext, CheckAnswer, PythonRunner, Registry, Tool, tool
from fsm_saga.tools.certify import Report, Samples, Verdict, certify_tool
from fsm_saga.tools.fence import AsyncFence, CallRefusedError, Fence, FencedCall
from tests.support.postgres import open_postgres

SAMPLES = Samples(
    params={"item": "tea", "count": 2},
    bad_params={"item": "tea", "count": 1000},
    probe="orders",
)
SCHEMA = "CREATE TABLE orders (number SERIAL PRIMARY KEY, item TEXT, count INTEGER)"
INSERT = sa.text("INSERT INTO orders (item, count) VALUES (:item, :count) RETURNING number")
DELETE = sa.text("DELETE FROM orders WHERE number = :number")
COUNT = sa.text("SELECT count(*) FROM orders")
MONTH_S = 30 * 86_400.0


@pytest.fixture
def url() -> Iterator[str]:
    with open_postgres() as opened:
        engine = sa.create_engine(opened)
        with engine.begin() as db:
            db.execute(sa.text(SCHEMA))
        engine.dispose()
        yield opened


async def certify(tools: list[Tool[..., Any]]) -> Report:
    runner = PythonRunner(Registry(tools))
    try:
        return await certify_tool(runner, "order", SAMPLES)
    finally:
        await runner.close()


def check_all_kept(report: Report) -> None:
    verdicts = {result.name: result.verdict for result in report.results}
    assert verdicts.pop("retention") is Verdict.CANNOT_TELL
    assert set(verdicts.values()) == {Verdict.KEPT}, report.as_json()
    assert len(verdicts) == 12


async def test_the_example_is_certified_as_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FENCED_DB", str(tmp_path / "fenced.db"))

    check_all_kept(
        await certify(
            [tea_shop.order, tea_shop.cancel_order, tea_shop.order_status, tea_shop.orders]
        )
    )


@pytest.mark.parametrize("isolation_level", ["READ COMMITTED", "SERIALIZABLE"])
async def test_sync_tools_on_postgresql_are_certified(url: str, isolation_level: str) -> None:
    engine = sa.create_engine(url, isolation_level=isolation_level)
    fence = Fence(engine, retention_s=MONTH_S)

    @tool(undo="cancel", contract=fence.contract(check="status", deadline=True))
    def order(item: str, count: int, ctx: CallContext) -> int:
        def effect(call: FencedCall) -> Any:
            if count > 100:
                raise CallRefusedError("so much is never there")
            return call.db.execute(INSERT, {"item": item, "count": count}).scalar_one()

        return int(fence.run(ctx, {"item": item, "count": count}, effect))

    @tool(contract=fence.undo_contract())
    def cancel(ctx: CallContext) -> bool:
        def effect(call: FencedCall) -> bool:
            call.db.execute(DELETE, {"number": call.action_answer})
            return True

        return bool(fence.run_undo(ctx, effect, nothing=False))

    @tool(read_only=True)
    def status(ctx: CallContext) -> CheckAnswer:
        return fence.status(ctx)

    @tool(read_only=True)
    def orders() -> int:
        with engine.connect() as db:
            return int(db.execute(COUNT).scalar_one())

    check_all_kept(await certify([order, cancel, status, orders]))
    engine.dispose()


async def test_async_tools_on_postgresql_are_certified(url: str) -> None:
    async with _async_tools(url) as tools:
        check_all_kept(await certify(tools))


@asynccontextmanager
async def _async_tools(url: str) -> AsyncIterator[list[Tool[..., Any]]]:
    engine = create_async_engine(url)
    fence = AsyncFence(engine, retention_s=MONTH_S)

    @tool(undo="cancel", contract=fence.contract(check="status", deadline=True))
    async def order(item: str, count: int, ctx: CallContext) -> int:
        async with fence.do(ctx, {"item": item, "count": count}) as call:
            if call.is_first:
                if count > 100:
                    raise CallRefusedError("so much is never there")
                made = await call.db.execute(INSERT, {"item": item, "count": count})
                call.answer = made.scalar_one()
        return int(call.answer)

    @tool(contract=fence.undo_contract())
    async def cancel(ctx: CallContext) -> bool:
        async with fence.undo(ctx, nothing=False) as call:
            if call.is_first:
                await call.db.execute(DELETE, {"number": call.action_answer})
                call.answer = True
        return bool(call.answer)

    @tool(read_only=True)
    async def status(ctx: CallContext) -> CheckAnswer:
        return await fence.status(ctx)

    @tool(read_only=True)
    async def orders() -> int:
        async with engine.connect() as db:
            return int((await db.execute(COUNT)).scalar_one())

    yield [order, cancel, status, orders]
    await engine.dispose()


async def test_a_cancelled_async_call_is_taken_back(url: str) -> None:
    engine = create_async_engine(url)
    fence = AsyncFence(engine)
    ctx = CallContext(req_id="r1", saga_id="s", step_id=1, direction="do", attempt=1)
    is_inside = asyncio.Event()

    async def order() -> None:
        async with fence.do(ctx) as call:
            await call.db.execute(INSERT, {"item": "tea", "count": 1})
            is_inside.set()
            await asyncio.sleep(60)

    task = asyncio.create_task(order())
    await is_inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    async with engine.connect() as db:
        assert (await db.execute(COUNT)).scalar_one() == 0
    async with fence.do(ctx) as call:
        assert call.is_first
    await engine.dispose()
