"""Figures of one coordinator for Prometheus: sagas, calls, appends, leadership.

What happens is counted where it happens, around the tool runner and the store and by a listener
of each coordinator. What is the case is asked when somebody looks.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from fsm_saga.cluster.node import Node
from fsm_saga.core.contract import ToolFacts
from fsm_saga.core.decide import Decision
from fsm_saga.core.effects import CallTool
from fsm_saga.core.records import Record, SagaMoved, SagaSubmitted
from fsm_saga.core.saga import Saga
from fsm_saga.core.states import Phase
from fsm_saga.errors import ConflictError, FencedError, StoreError
from fsm_saga.ports import Append, CallOutcome, Command, FinishedPage, Head, Store, ToolRunner
from fsm_saga.service.engine import Engine

APPEND_BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)
CALL_BUCKETS_S = (0.005, 0.025, 0.1, 0.25, 1.0, 2.5, 10.0, 30.0, 120.0, 600.0)
SAGA_BUCKETS_S = (0.01, 0.1, 1.0, 10.0, 60.0, 600.0, 3600.0, 86400.0)


class Metrics:
    """The figures of one process.

    Attributes:
        registry: What is shown to Prometheus; nothing of it is global.
    """

    def __init__(self, *, version: str = "", tools: str = "") -> None:
        """Begin at zero; ``version`` and ``tools`` are shown as they are."""
        self.registry = CollectorRegistry(auto_describe=True)
        ProcessCollector(registry=self.registry)
        made = self.registry
        info = Gauge(
            "fsm_saga_info", "What runs here; always 1.", ("version", "tools"), registry=made
        )
        info.labels(version, tools).set(1)
        self.submitted = Counter(
            "fsm_saga_sagas_submitted", "Plans that became sagas here.", registry=made
        )
        self.moves = Counter(
            "fsm_saga_saga_moves", "Transitions of sagas, by phase.", ("state",), registry=made
        )
        self.ended = Counter(
            "fsm_saga_sagas_ended", "Sagas that ended here.", ("state", "outcome"), registry=made
        )
        self.lasted = Histogram(
            "fsm_saga_saga_seconds",
            "From submission to the end.",
            ("state",),
            registry=made,
            buckets=SAGA_BUCKETS_S,
        )
        self.calls = Counter(
            "fsm_saga_calls",
            "Calls of tools that have ended.",
            ("tool", "direction", "result"),
            registry=made,
        )
        self.call_seconds = Histogram(
            "fsm_saga_call_seconds",
            "How long calls took.",
            ("tool",),
            registry=made,
            buckets=CALL_BUCKETS_S,
        )
        self.calls_under_way = Gauge(
            "fsm_saga_calls_under_way", "Calls without an answer yet.", registry=made
        )
        self.appends = Counter(
            "fsm_saga_appends", "Durable additions to journals.", ("result",), registry=made
        )
        self.append_seconds = Histogram(
            "fsm_saga_append_seconds",
            "How long an addition took to be durable.",
            registry=made,
            buckets=APPEND_BUCKETS_S,
        )
        self.records = Counter("fsm_saga_records", "Records written.", registry=made)
        self.commands = Counter(
            "fsm_saga_commands", "What others asked for and was answered.", ("ok",), registry=made
        )
        self.loop_lag = Gauge(
            "fsm_saga_loop_lag_seconds", "The latest delay of the event loop.", registry=made
        )

    def watch(self, node: Node, *, shards: int) -> None:
        """Show from now on what this node leads and has under way."""
        self.registry.register(_NodeFigures(node, shards))

    def around_runner(self, runner: ToolRunner) -> ToolRunner:
        """See ``Instrument.around_runner``."""
        return MeasuredRunner(runner, self)

    def around_store(self, store: Store) -> Store:
        """See ``Instrument.around_store``."""
        return MeasuredStore(store, self)

    def follow(self, engine: Engine) -> None:
        """Count what happens to the engine's sagas from now on."""
        engine.coordinator.listeners.append(self._count)

    def _count(self, saga: Saga, decision: Decision) -> None:
        for record in decision.records:
            if isinstance(record, SagaMoved):
                self.moves.labels(record.state.partition("(")[0]).inc()
            elif isinstance(record, SagaSubmitted):
                self.submitted.inc()
        if saga.state.is_final:
            state, outcome = saga.state.phase.value, str(saga.outcome or "")
            self.ended.labels(state, outcome).inc()
            self.lasted.labels(state).observe(max(saga.updated_at - saga.created_at, 0.0))


class _NodeFigures(Collector):
    """What is the case when somebody asks."""

    def __init__(self, node: Node, shards: int) -> None:
        self._node = node
        self._shards = shards

    def collect(self) -> Iterable[Metric]:
        led = dict(sorted(self._node.led.items()))
        engines = [found.engine for found in led.values() if found.engine is not None]
        yield _gauge("fsm_saga_has_seat", "1 while it is a member.", float(self._node.has_seat))
        yield _gauge("fsm_saga_ready", "1 when nothing is in its way.", not self._node.obstacles)
        yield _gauge("fsm_saga_shards", "Shards that the store has.", self._shards)
        yield _gauge("fsm_saga_shards_led", "Shards that it leads.", len(led))
        epochs = GaugeMetricFamily(
            "fsm_saga_shard_epoch", "The epoch of each shard it leads.", labels=("shard",)
        )
        for shard, found in led.items():
            epochs.add_metric((str(shard),), found.term.epoch)
        yield epochs
        sagas = [engine.coordinator.sagas for engine in engines]
        yield _gauge("fsm_saga_sagas_under_way", "Sagas in memory.", sum(map(len, sagas)))
        left = sum(len(engine.skipped) for engine in engines)
        yield _gauge(
            "fsm_saga_sagas_left_alone", "Sagas without tools, or with a damaged journal.", left
        )
        people = GaugeMetricFamily(
            "fsm_saga_people_waited_for", "Sagas that wait for a person.", labels=("reason",)
        )
        for reason, count in _people(found for some in sagas for found in some).items():
            people.add_metric((reason,), count)
        yield people
        # Not every store has leases.
        left_s = getattr(self._node.seat, "lease_left_s", None)
        if left_s is not None:
            yield _gauge("fsm_saga_lease_left_seconds", "Until the lease ends.", left_s)


def _gauge(name: str, about: str, value: float) -> Metric:
    return GaugeMetricFamily(name, about, value=float(value))


def _people(sagas: Iterable[Saga]) -> Mapping[str, int]:
    found = {"approval": 0, "person": 0}
    for saga in sagas:
        if saga.state.phase is Phase.NEEDS_HUMAN:
            found["person"] += 1
        elif saga.awaiting:
            found["approval"] += 1
    return found


class MeasuredRunner:
    """A tool runner whose calls are counted and timed."""

    def __init__(self, runner: ToolRunner, metrics: Metrics) -> None:
        """Stand before ``runner``."""
        self._runner = runner
        self._metrics = metrics

    @property
    def catalogue(self) -> Mapping[str, ToolFacts]:
        """See ``ToolRunner.catalogue``."""
        return self._runner.catalogue

    async def call(self, request: CallTool, *, saga_id: str, step_id: int | str) -> CallOutcome:
        """See ``ToolRunner.call``."""
        metrics = self._metrics
        # A plan may name what is no tool; as a label it would live for ever.
        tool = request.tool if request.tool in self._runner.catalogue else "unknown"
        direction = request.shown_direction.value
        result = "cancelled"
        began = time.perf_counter()
        metrics.calls_under_way.inc()
        try:
            outcome = await self._runner.call(request, saga_id=saga_id, step_id=step_id)
            result = outcome.kind.value
            return outcome
        finally:
            metrics.calls_under_way.dec()
            metrics.calls.labels(tool, direction, result).inc()
            metrics.call_seconds.labels(tool).observe(time.perf_counter() - began)


class MeasuredStore:
    """A store whose appends and answers are counted and timed."""

    def __init__(self, store: Store, metrics: Metrics) -> None:
        """Stand before ``store``."""
        self._store = store
        self._metrics = metrics

    @property
    def url(self) -> str:
        """See ``Store.url``."""
        return self._store.url

    @property
    def epoch(self) -> int:
        """See ``Store.epoch``."""
        return self._store.epoch

    async def append(self, append: Append) -> None:
        """See ``Store.append``."""
        result, began = "cancelled", time.perf_counter()
        try:
            await self._store.append(append)
            result = "ok"
            self._metrics.records.inc(len(append.records))
        except StoreError as error:
            result = _word_for(error)
            raise
        finally:
            self._metrics.appends.labels(result).inc()
            self._metrics.append_seconds.observe(time.perf_counter() - began)

    async def load(self, saga_id: str) -> tuple[Record, ...] | None:
        """See ``Store.load``."""
        return await self._store.load(saga_id)

    async def head(self, saga_id: str) -> Head | None:
        """See ``Store.head``."""
        return await self._store.head(saga_id)

    async def heads(
        self, *, only_unfinished: bool = False, limit: int | None = None
    ) -> Sequence[Head]:
        """See ``Store.heads``."""
        return await self._store.heads(only_unfinished=only_unfinished, limit=limit)

    async def finished(self, *, after: str = "", limit: int) -> FinishedPage:
        """See ``Store.finished``."""
        return await self._store.finished(after=after, limit=limit)

    async def remove(self, saga_id: str, *, position: int | None = None) -> None:
        """See ``Store.remove``."""
        await self._store.remove(saga_id, position=position)

    async def post_command(self, command: Command) -> int:
        """See ``Store.post_command``."""
        return await self._store.post_command(command)

    async def pending_commands(self) -> Sequence[Command]:
        """See ``Store.pending_commands``."""
        return await self._store.pending_commands()

    @property
    def wait_command(self) -> Callable[[float], Awaitable[None]] | None:
        """How the store tells that commands come in, if it does; see ``CommandServer``."""
        return getattr(self._store, "wait_command", None)

    async def answer_command(self, number: int, answer: Mapping[str, Any]) -> None:
        """See ``Store.answer_command``."""
        await self._store.answer_command(number, answer)
        self._metrics.commands.labels("yes" if answer.get("ok") else "no").inc()

    async def command_answer(self, number: int) -> Mapping[str, Any] | None:
        """See ``Store.command_answer``."""
        return await self._store.command_answer(number)

    async def saga_commands(self, saga_id: str) -> Sequence[Command]:
        """See ``Store.saga_commands``."""
        return await self._store.saga_commands(saga_id)

    async def close(self) -> None:
        """See ``Store.close``."""
        await self._store.close()


def _word_for(error: StoreError) -> str:
    match error:
        case FencedError():
            return "fenced"
        case ConflictError():
            return "conflict"
        case _:
            return "failed"
