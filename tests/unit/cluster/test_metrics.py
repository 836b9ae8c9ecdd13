"""What is counted of sagas, calls, appends and commands, and what is asked of the node."""

from __future__ import annotations

import asyncio

import pytest
from prometheus_client import generate_latest

from fsm_saga.cluster.hosting import Host, fingerprint
from fsm_saga.cluster.metrics import MeasuredStore, Metrics
from fsm_saga.core.contract import Standing, ToolFacts
from fsm_saga.core.records import PlanClosed
from fsm_saga.errors import ConflictError
from fsm_saga.plan.model import Plan
from fsm_saga.ports import Append, Head, Member
from fsm_saga.service.submitting import submission
from fsm_saga.stores.memory import MemoryStore
from fsm_saga.stores.memory_cluster import MemoryCluster
from fsm_saga.tools.python import tool
from fsm_saga.tools.registry import Registry
from fsm_saga.tools.runner import PythonRunner

PATIENCE_S = 20.0


@tool
async def book(what: str) -> dict[str, str]:
    if what == "nothing":
        raise ValueError("there is none")
    return {"id": what}


@tool
async def cancel(id: str) -> None: ...


def plan_of(task_id: str, what: str, **options: object) -> Plan:
    step = {
        "step_id": 1,
        "name": "book",
        "tool": "book",
        "params": {"what": what},
        "rollback": {"tool": "cancel", "params": {"id": "$output.step_1.id"}},
        **options,
    }
    return Plan.of({"task_id": task_id, "steps": [step]})


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


async def test_what_a_node_does_is_counted() -> None:
    cluster, metrics = MemoryCluster(shards=2), Metrics()
    member = Member(member_id="a", name="a", started_at=0.0)
    runner = PythonRunner(Registry([book, cancel]))
    host = Host(cluster, runner, member, instruments=[metrics])
    metrics.watch(host.node, shards=2)
    assert value(metrics, "fsm_saga_ready") == 0
    task = asyncio.create_task(host.node.run())
    plans = [plan_of("good", "x"), plan_of("bad", "nothing"), plan_of("asked", "y", approval=True)]
    for plan in plans:
        await cluster.reader.post_command(submission(plan))
    async with asyncio.timeout(PATIENCE_S):
        while (value(metrics, "fsm_saga_commands_total", ok="yes") or 0) < 3:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        while value(metrics, "fsm_saga_sagas_under_way") != 1:  # noqa: ASYNC110  # it tells nobody
            await asyncio.sleep(0.005)
    assert value(metrics, "fsm_saga_sagas_submitted_total") == 3
    assert value(metrics, "fsm_saga_sagas_ended_total", state="DONE", outcome="committed") == 1
    lost = {"state": "FAILED", "outcome": "nothing_happened"}
    assert value(metrics, "fsm_saga_sagas_ended_total", **lost) == 1
    assert value(metrics, "fsm_saga_calls_total", tool="book", direction="do", result="ok") == 1
    assert (
        value(metrics, "fsm_saga_calls_total", tool="book", direction="do", result="rejected") == 1
    )
    assert value(metrics, "fsm_saga_people_waited_for", reason="approval") == 1
    assert value(metrics, "fsm_saga_shards_led") == 2
    assert value(metrics, "fsm_saga_shard_epoch", shard="0") == 1
    assert value(metrics, "fsm_saga_ready") == 1
    assert (value(metrics, "fsm_saga_appends_total", result="ok") or 0) >= 5
    assert b"fsm_saga_append_seconds_bucket" in generate_latest(metrics.registry)
    host.node.stop()
    await task
    assert value(metrics, "fsm_saga_shards_led") == 0


async def test_an_append_that_is_refused_is_counted_as_such() -> None:
    metrics = Metrics()
    store = MeasuredStore(MemoryStore.open("memory://"), metrics)
    head = Head(saga_id="x", state="DONE", outcome=None, position=4, created_at=0.0, updated_at=0.0)
    append = Append(saga_id="x", position=3, records=(PlanClosed(at=0.0),), head=head)
    with pytest.raises(ConflictError):
        await store.append(append)
    assert value(metrics, "fsm_saga_appends_total", result="conflict") == 1


def test_tools_that_promise_the_same_have_one_fingerprint() -> None:
    one, other = ToolFacts(name="a"), ToolFacts(name="a", undo="b")
    certified = ToolFacts(name="a", standing=Standing.CERTIFIED)
    assert fingerprint({"a": one}) == fingerprint({"a": certified})
    assert fingerprint({"a": one}) != fingerprint({"a": other})


async def test_a_store_that_tells_of_commands_does_so_when_it_is_measured_and_no_other() -> None:
    class Hinting(MemoryStore):
        async def wait_command(self, timeout_s: float) -> None: ...

    plain, hinting = MemoryStore.open("memory://"), Hinting.open("memory://")
    assert MeasuredStore(plain, Metrics()).wait_command is None
    wait_command = MeasuredStore(hinting, Metrics()).wait_command
    assert wait_command is not None
    await wait_command(1.0)
