"""OpenTelemetry traces: one trace for each saga, one span for each call.

A saga's trace has an id that follows from the saga, so that every coordinator which drives it adds
to the same trace, before and after a failover. Where the spans go is said by whoever configures
OpenTelemetry, for example by ``opentelemetry-instrument``; without that nothing is kept.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from weakref import WeakSet

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    Tracer,
)

from fsm_saga.core.contract import ToolFacts
from fsm_saga.core.decide import Decision
from fsm_saga.core.effects import CallTool
from fsm_saga.core.saga import Saga
from fsm_saga.core.states import Outcome
from fsm_saga.ports import CallOutcome, OutcomeKind, Store, ToolRunner
from fsm_saga.service.engine import Engine
from fsm_saga.tools.context import TRACEPARENT

_NS = 1_000_000_000
_GOOD = frozenset({Outcome.COMMITTED, Outcome.NOTHING_HAPPENED, Outcome.COMPENSATED})


class Tracing:
    """Makes spans of what the engines of one process do."""

    def __init__(self, tracer: Tracer | None = None) -> None:
        """Use this tracer, or that of whatever provider the process has."""
        self.tracer = tracer or trace.get_tracer("fsm_saga")
        self._engines: WeakSet[Engine] = WeakSet()

    def around_runner(self, runner: ToolRunner) -> ToolRunner:
        """See ``Instrument.around_runner``."""
        return TracedRunner(runner, self)

    def around_store(self, store: Store) -> Store:
        """See ``Instrument.around_store``."""
        return store

    def follow(self, engine: Engine) -> None:
        """Make a span of each saga of the engine when it ends."""
        self._engines.add(engine)
        engine.coordinator.listeners.append(self._tell_end)

    def context_of(self, saga_id: str) -> Context:
        """Return the context under which the calls of a saga under way are."""
        for engine in self._engines:
            driver = engine.coordinator.driver(saga_id)
            if driver is not None:
                return context_of(saga_id, driver.saga.run_key)
        return context_of(saga_id, "")

    def _tell_end(self, saga: Saga, _decision: Decision) -> None:
        if not saga.state.is_final:
            return
        span = self.tracer.start_span(
            f"saga {saga.state}",
            context=context_of(saga.saga_id, saga.run_key),
            start_time=int(saga.created_at * _NS),
            attributes={
                "fsm_saga.saga_id": saga.saga_id,
                "fsm_saga.state": str(saga.state),
                "fsm_saga.outcome": str(saga.outcome or ""),
                "fsm_saga.steps": len(saga.program.steps),
            },
        )
        if saga.outcome not in _GOOD:
            span.set_status(Status(StatusCode.ERROR, saga.cause or ""))
        span.end(int(max(saga.updated_at, saga.created_at) * _NS))


class TracedRunner:
    """A tool runner each of whose calls is a span, and whose tools are told of it."""

    def __init__(self, runner: ToolRunner, tracing: Tracing) -> None:
        """Stand before ``runner``."""
        self._runner = runner
        self._tracing = tracing

    @property
    def catalogue(self) -> Mapping[str, ToolFacts]:
        """See ``ToolRunner.catalogue``."""
        return self._runner.catalogue

    async def call(self, request: CallTool, *, saga_id: str, step_id: int | str) -> CallOutcome:
        """See ``ToolRunner.call``."""
        with self._tracing.tracer.start_as_current_span(
            f"{request.shown_direction.value} {request.tool}",
            context=self._tracing.context_of(saga_id),
            kind=SpanKind.CLIENT,
            attributes={
                "fsm_saga.saga_id": saga_id,
                "fsm_saga.step_id": str(step_id),
                "fsm_saga.tool": request.tool,
                "fsm_saga.direction": request.shown_direction.value,
                "fsm_saga.attempt": request.attempt,
                "fsm_saga.is_repeat": request.is_repeat,
                "fsm_saga.req_id": request.req_id,
            },
        ) as span:
            token = TRACEPARENT.set(traceparent(span.get_span_context()))
            try:
                outcome = await self._runner.call(request, saga_id=saga_id, step_id=step_id)
            finally:
                TRACEPARENT.reset(token)
            span.set_attribute("fsm_saga.outcome", outcome.kind.value)
            if outcome.kind is not OutcomeKind.OK:
                span.set_status(Status(StatusCode.ERROR, outcome.error))
            return outcome


def context_of(saga_id: str, run_key: str) -> Context:
    """Return the context of a saga's trace: the same in every process.

    Its parent span is one that nobody makes: the only way to name a trace before it has begun.
    """
    digest = hashlib.sha256(f"{saga_id}\0{run_key}".encode()).digest()
    parent = SpanContext(
        trace_id=int.from_bytes(digest[:16]),
        span_id=int.from_bytes(digest[16:24]),
        is_remote=True,
        trace_flags=TraceFlags(TraceFlags.SAMPLED),
    )
    return trace.set_span_in_context(NonRecordingSpan(parent), Context())


def traceparent(span: SpanContext) -> str:
    """Return a span as the W3C header names it.

    Example:
        >>> traceparent(SpanContext(trace_id=1, span_id=2, is_remote=False))
        '00-00000000000000000000000000000001-0000000000000002-00'
    """
    return f"00-{span.trace_id:032x}-{span.span_id:016x}-{int(span.trace_flags):02x}"
