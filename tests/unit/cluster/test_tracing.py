"""One trace for each saga, whoever drives it, and one span for each call."""

from __future__ import annotations

import asyncio

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from fsm_saga.cluster.tracing import Tracing
from fsm_saga.plan.model import Plan
from fsm_saga.service.engine import Engine
from fsm_saga.stores.memory import MemoryStore, forget_memory
from fsm_saga.tools.context import CallContext
from fsm_saga.tools.python import tool
from fsm_saga.tools.registry import Registry
from fsm_saga.tools.runner import PythonRunner

seen: list[str | None] = []
gate: asyncio.Event


@tool
async def book(what: str, ctx: CallContext) -> dict[str, str]:
    seen.append(ctx.traceparent)
    await gate.wait()
    if what == "nothing":
        raise ValueError("there is none")
    return {"id": what}


@tool
async def cancel(id: str) -> None: ...


def plan_of(*things: str) -> Plan:
    steps = [
        {
            "step_id": number,
            "name": "book",
            "tool": "book",
            "params": {"what": what},
            "rollback": {"tool": "cancel", "params": {"id": f"$output.step_{number}.id"}},
        }
        for number, what in enumerate(things, start=1)
    ]
    return Plan.of({"task_id": "trip", "steps": steps})


class Traced:
    """Engines that are traced, and what they left behind."""

    def __init__(self) -> None:
        global gate
        seen.clear()
        gate = asyncio.Event()
        gate.set()
        self.exporter = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracing = Tracing(provider.get_tracer("test"))

    async def run(self, store: MemoryStore, plan: Plan) -> None:
        runner = self.tracing.around_runner(PythonRunner(Registry([book, cancel])))
        async with Engine.over(store, runner, recover=False) as engine:
            self.tracing.follow(engine)
            await engine.run(plan)

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        return self.exporter.get_finished_spans()


def trace_of(span: ReadableSpan) -> int:
    assert span.context is not None
    return int(span.context.trace_id)


async def test_a_saga_is_one_trace_with_a_span_for_each_call() -> None:
    traced = Traced()
    await traced.run(MemoryStore.open("memory://"), plan_of("a", "nothing"))

    names = [span.name for span in traced.spans]
    assert names == ["do book", "do book", "undo cancel", "saga FAILED"]
    assert len({trace_of(span) for span in traced.spans}) == 1
    first, second, undo, saga = traced.spans
    assert first.attributes is not None
    assert first.attributes["fsm_saga.outcome"] == "ok"
    assert first.attributes["fsm_saga.step_id"] == "1"
    assert second.status.status_code is StatusCode.ERROR
    assert undo.status.status_code is not StatusCode.ERROR
    assert saga.status.status_code is not StatusCode.ERROR  # it was undone, as promised


async def test_a_tool_is_given_the_span_of_its_call() -> None:
    traced = Traced()
    await traced.run(MemoryStore.open("memory://"), plan_of("a"))

    context = traced.spans[0].context
    assert context is not None
    assert seen == [f"00-{context.trace_id:032x}-{context.span_id:016x}-01"]


async def test_whoever_goes_on_with_a_saga_adds_to_its_trace() -> None:
    traced, again = Traced(), Traced()
    gate.clear()
    store = MemoryStore.open("memory://traced", "traced")
    running = asyncio.create_task(traced.run(store, plan_of("a")))
    while not seen:  # noqa: ASYNC110  # it tells nobody
        await asyncio.sleep(0)
    running.cancel()
    await asyncio.wait((running,))
    gate.set()
    await again.run(MemoryStore.open("memory://traced", "traced"), plan_of("a"))
    forget_memory("traced")

    assert {trace_of(span) for span in traced.spans} == {trace_of(again.spans[0])}
    assert [span.name for span in again.spans] == ["do book", "saga DONE"]


async def test_another_life_of_the_same_name_is_another_trace() -> None:
    traced = Traced()
    await traced.run(MemoryStore.open("memory://"), plan_of("a"))
    await traced.run(MemoryStore.open("memory://"), plan_of("a"))

    assert len({trace_of(span) for span in traced.spans}) == 2


async def test_without_tracing_a_tool_is_given_no_trace() -> None:
    Traced()
    runner = PythonRunner(Registry([book, cancel]))
    async with Engine.over(MemoryStore.open("memory://"), runner) as engine:
        await engine.run(plan_of("a"))

    assert seen == [None]
