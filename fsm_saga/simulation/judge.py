"""What is judged at the end, when every message has arrived: the tools' ledgers have the word."""

from __future__ import annotations

from collections.abc import Iterable

from fsm_saga.coordinator.reading import read_saga
from fsm_saga.core.program import Program
from fsm_saga.core.saga import Saga
from fsm_saga.core.states import Outcome, Phase, StepStatus
from fsm_saga.errors import FsmSagaError
from fsm_saga.simulation.clients import Client
from fsm_saga.simulation.storage import LEASE_TTL_S, Storage
from fsm_saga.simulation.tools import StepTruth, ToolWorld
from fsm_saga.simulation.watch import Watch, is_same
from fsm_saga.simulation.world import World

RECORDS_PER_STEP_MAX = 150


def judge_end(
    world: World, storage: Storage, tools: ToolWorld, watch: Watch, clients: Iterable[Client]
) -> None:
    """Judge a run that has come to rest and whose messages have all arrived."""
    for client in clients:
        saga_id = client.saga_id
        if saga_id in watch.corrupt:
            continue
        watched = watch.sagas.get(saga_id)
        if watched is None:
            world.broken("V3", f"{saga_id} was submitted and is not there")
            continue
        _judge_stored(world, storage, watched.saga)
        _judge_steps(world, tools, watched.saga)
        _judge_outcome(world, tools, watched.saga)
    for complaint in world.loop.complaints:
        if "exception was never retrieved" not in complaint.get("message", ""):
            world.broken("TOTAL", f"asyncio complains: {complaint}")


def _judge_stored(world: World, storage: Storage, saga: Saga) -> None:
    """Hold the bytes in the store against what was accepted and acknowledged (W6, O1)."""
    journal = storage.journals[saga.saga_id]
    if journal.acknowledged > journal.length:
        message = f"{saga.saga_id}: {journal.acknowledged} records were acknowledged"
        world.broken("S1", f"{message}, {journal.length} are there")
    try:
        records = storage.load(saga.saga_id) or ()
        stored = read_saga(records)[0]
    except FsmSagaError as error:
        world.broken("W6", f"{saga.saga_id} cannot be read again: {error}")
        return
    if not is_same(stored, saga):
        world.broken(
            "W6", f"{saga.saga_id}: its bytes say {stored.state}, its writers {saga.state}"
        )
    limit = RECORDS_PER_STEP_MAX * (len(saga.steps) + 1)
    if journal.length > limit:
        world.broken("V6", f"{saga.saga_id} took {journal.length} records, more than {limit}")


def _judge_steps(world: World, tools: ToolWorld, saga: Saga) -> None:
    """Hold what the saga says of each step against its tool's ledger (C1, C2, C3)."""
    code = {Phase.DONE: "C1", Phase.FAILED: "C2"}.get(saga.state.phase, "C3")
    for index, step in enumerate(saga.steps):
        truth = tools.truths.get((saga.saga_id, index)) or StepTruth()
        if truth.word or not saga.program.steps[index].is_effectful:
            continue
        wanted = _wanted(step.status)
        if wanted is not None and truth.left != wanted:
            message = f"{saga.saga_id}.{index} is {step.status} in {saga.state}"
            world.broken(code, f"{message}, and {truth.left} effects are in the world")


def _wanted(status: StepStatus) -> int | None:
    """Return how many effects a step of this status claims; None where it claims nothing."""
    match status:
        case StepStatus.SUCCEEDED:
            return 1
        case (
            StepStatus.REJECTED
            | StepStatus.COMPENSATED
            | StepStatus.WAITING
            | StepStatus.AWAITING_APPROVAL
            | StepStatus.SKIPPED
        ):
            return 0
        case _:
            return None


def _judge_outcome(world: World, tools: ToolWorld, saga: Saga) -> None:
    """Hold the outcome against what is left in the world and who answers for it."""
    found = [t for (saga_id, _), t in tools.truths.items() if saga_id == saga.saga_id]
    has_effect = any(truth.effects for truth in found)
    words = {truth.word for truth in found}
    phase = saga.state.phase
    match saga.outcome:
        case Outcome.COMMITTED:
            is_true = phase is Phase.DONE
        case Outcome.NOTHING_HAPPENED:
            is_true = phase is Phase.FAILED and not has_effect and not words - {""}
        case Outcome.COMPENSATED:
            is_true = phase is Phase.FAILED and not words & {"accepted", "amended"}
        case Outcome.AMENDED:
            is_true = phase is Phase.FAILED and "amended" in words
        case Outcome.PARTLY_COMPENSATED:
            is_true = phase is Phase.FAILED and "accepted" in words
        case Outcome.UNKNOWN:
            is_true = phase is Phase.NEEDS_HUMAN
        case _:
            is_true = phase in (Phase.PENDING, Phase.EXECUTING, Phase.COMPENSATING)
    if not is_true:
        world.broken("OUTCOME", f"{saga.saga_id}: the outcome of {saga.state} is {saga.outcome}")


def bound_s(program: Program) -> float:
    """Return within how many seconds a saga of this program ends once nothing goes wrong (V1).

    It is the sum of what may lie ahead: the lease of a leader that died, and for each step every
    attempt at its full time, every wait, its approval and its tool's deadline, forwards and back.
    """
    total = 4 * LEASE_TTL_S + (program.deadline_s or 0.0)
    for spec in program.steps:
        for call in (spec.action, spec.check, spec.undo):
            if call is None:
                continue
            tries = max(call.retry.attempt_max, call.retry.doubt_attempt_max)
            waits = min(call.retry.delay_s_max, call.retry.delay_s * 2.0**tries)
            total += tries * (call.timeout_s + waits)
        total += (spec.approval_expires_s or 0.0) + (spec.deadline_s or 0.0)
        total += 2 * program.clock_skew_s
    return 2.0 * total + 60.0  # people look at it up to a dozen times
