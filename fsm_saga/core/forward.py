"""Going forward: launching steps and making sense of how their calls end.

A call that ended is first judged for its own step: it succeeded, certainly had no effect, may
have had one, or is worth another attempt under the same req_id. What that means for the saga
is decided afterwards, in ``decide.advance``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from fsm_saga.core import ids
from fsm_saga.core import records as r
from fsm_saga.core.contract import ToolContract
from fsm_saga.core.draft import refusal_settles
from fsm_saga.core.effects import CallTool
from fsm_saga.core.guards import WayBack
from fsm_saga.core.invariants import broken
from fsm_saga.core.program import CallSpec, Program, StepSpec
from fsm_saga.core.references import JSON, ReferenceMissing
from fsm_saga.core.retry import next_attempt_delay_s
from fsm_saga.core.states import Direction, DoubtExit, Phase, SagaEvent, StepStatus
from fsm_saga.core.work import Work


def launch_ready(work: Work, candidates: Iterable[int]) -> None:
    """Start each candidate whose needs have all succeeded (INV-5)."""
    draft = work.draft
    for index in candidates:
        if draft.failing and draft.way_back() is not WayBack.CLOSED:
            return
        needs = draft.program.steps[index].needs
        if draft.steps[index].status is StepStatus.WAITING and not needs & ~draft.succeeded:
            _launch(work, index)


def _launch(work: Work, index: int) -> None:
    spec, draft = work.spec(index), work.draft
    try:
        params = spec.action.params.resolve(draft.output_of, draft.program.inputs)
        # A step whose undo cannot even be written down is not started at all.
        undo_params = undo_known_before(work, index)
    except ReferenceMissing as missing:
        work.write(r.ActionRejected(at=work.at, step=index, error=str(missing), was_sent=False))
        return
    if spec.approval_expires_s is None:
        start_action(work, index, params, undo_params)
        return
    digest = ids.approval_digest(draft.saga_id, index, spec.action.tool, params)
    expires_at = work.at + spec.approval_expires_s
    work.write(
        r.ApprovalRequested(
            at=work.at, step=index, params=params, digest=digest, expires_at=expires_at
        )
    )
    work.wake(expires_at, wait_s_max=spec.approval_expires_s)


def resolve_undo(
    work: Work, index: int, fresh: Mapping[int, Any] | None = None
) -> Mapping[str, Any] | None:
    """Return the params of a step's planned undo call, or None where none is planned.

    ``fresh`` has outputs that are known but not written down yet.

    Raises:
        ReferenceMissing: If they refer to something that is not there.
    """
    undo = work.spec(index).undo
    if undo is None:
        return None
    recorded = work.draft.output_of

    def output_of(step: int) -> JSON:
        return fresh[step] if fresh is not None and step in fresh else recorded(step)

    params: Mapping[str, Any] = undo.params.resolve(output_of, work.draft.program.inputs)
    return params


def undo_known_before(work: Work, index: int) -> Mapping[str, Any] | None:
    """Return the params of the undo if they do not need what the action will return, else None."""
    return None if work.spec(index).undo_needs_output else resolve_undo(work, index)


def start_action(
    work: Work,
    index: int,
    params: Mapping[str, Any],
    undo_params: Mapping[str, Any] | None,
    *,
    revision: int | None = None,
) -> None:
    """Write the intent of a step's first send, with the params that every resend will use."""
    spec = work.spec(index)
    if revision is None:
        revision = work.step(index).revision
    rid = ids.req_id(work.draft.call_scope, index, Direction.DO, revision)
    not_after = None if spec.deadline_s is None else work.at + spec.deadline_s
    work.write(
        r.ActionStarted(
            at=work.at,
            step=index,
            req_id=rid,
            revision=revision,
            params=params,
            undo_params=undo_params,
            not_after=not_after,
        )
    )
    send_action(work, index, is_repeat=False)


def send_action(
    work: Work, index: int, *, is_repeat: bool = True, since: float | None = None
) -> None:
    """Order the send of a step's call, exactly as its intent says (INV-3).

    ``since`` is when the first copy went out that may have had an effect; None stands for the
    first of all.
    """
    spec, step = work.spec(index), work.step(index)
    timeout_s = spec.action.timeout_s
    # What is sent after the deadline serves to learn what became of the call: it has its full time.
    if step.not_after is not None and step.not_after > work.at:
        timeout_s = min(timeout_s, max(step.not_after - work.at, 0.001))
    work.do(
        CallTool(
            step=index,
            direction=Direction.DO,
            tool=spec.action.tool,
            params=step.params or {},
            req_id=step.req_id or "",
            attempt=step.attempts,
            timeout_s=timeout_s,
            undoes=spec.undoes,
            not_after=step.not_after,
            is_repeat=is_repeat,
            send_before=sent_before(
                work.draft.program,
                spec.action,
                spec.action.contract,
                step.started_at if since is None else since,
            ),
        )
    )


def forgotten_at(contract: ToolContract, started_at: float) -> float | None:
    """Return from when on the tool may have forgotten a call that was first sent then, or None."""
    return None if contract.retention_s is None else started_at + contract.retention_s


def is_remembered(contract: ToolContract, started_at: float, now: float) -> bool:
    """Return whether the tool still knows a call that was first sent then."""
    return contract.retention_s is None or now - started_at <= contract.retention_s


def margin_s(program: Program, call: CallSpec, contract: ToolContract) -> float:
    """Return how long before a tool of this contract forgets a call is sent for the last time.

    A copy may be on its way for as long as its answer is waited for, and who wrote down when the
    first one went out may have had another clock. But half of what is promised is counted on
    whatever that comes to: else nothing could be sent to a tool that soon forgets.
    """
    kept_s = contract.retention_s
    return 0.0 if kept_s is None else min(call.timeout_s + program.clock_skew_s, kept_s / 2)


def finds_memory(
    program: Program, call: CallSpec, contract: ToolContract, started_at: float, now: float
) -> bool:
    """Return whether ``call``, sent now, finds what its tool knows of a call first sent then.

    ``contract`` is that of the memory: the call's own, or its action's for an undo or a check.
    """
    return is_remembered(contract, started_at, now + margin_s(program, call, contract))


def sent_before(
    program: Program, call: CallSpec, contract: ToolContract, started_at: float
) -> float | None:
    """Return until when ``call`` may go out to find that memory; None if for ever."""
    over_at = forgotten_at(contract, started_at)
    return None if over_at is None else over_at - margin_s(program, call, contract)


def may_resend(program: Program, call: CallSpec, started_at: float, now: float) -> bool:
    """Return whether the tool still answers this req_id with its first result."""
    contract = call.contract
    if contract.read_only:
        return True
    return contract.dedupe and finds_memory(program, call, contract, started_at, now)


def action_succeeded(work: Work, index: int, output: object) -> None:
    """Write a success, with the undo call resolved from what is known now."""
    spec = work.spec(index)
    undo_params = None
    if spec.undo is not None and spec.undo_needs_output:
        try:
            undo_params = resolve_undo(work, index, {index: output})
        except ReferenceMissing as missing:
            error = f"the output lacks what the rollback needs: {missing}"
            work.write(r.ActionSucceededBadly(at=work.at, step=index, error=error))
            return
    work.write(r.ActionSucceeded(at=work.at, step=index, output=output, undo_params=undo_params))
    if work.draft.state.phase is Phase.EXECUTING:
        work.candidates = spec.followers
        work.move(SagaEvent.STEP_SUCCEEDED)


def action_rejected(
    work: Work, index: int, error: str, jitter: float, *, was_sent: bool = True
) -> None:
    """Judge a refusal: try again, trust it, or doubt it."""
    spec, step = work.spec(index), work.step(index)
    if not was_sent and not step.is_doubted:
        work.write(r.ActionRejected(at=work.at, step=index, error=error, was_sent=False))
        return
    used = step.attempts - step.budget_from
    is_worth_it = not _stops(work) and used < spec.action.retry.attempt_max
    if is_worth_it and _retry(work, index, outcome="rejected", error=error, jitter=jitter):
        return
    if not spec.is_effectful or refusal_settles(step, spec.action.contract):
        work.write(r.ActionRejected(at=work.at, step=index, error=error))
    else:
        leave_in_doubt(work, index, f"refused, but an earlier copy may take effect: {error}")


def action_unknown(work: Work, index: int, error: str, jitter: float) -> None:
    """Judge a lost answer: time alone never turns it into success or failure."""
    spec, step = work.spec(index), work.step(index)
    used = step.attempts - step.budget_from
    can_repeat = may_resend(work.draft.program, spec.action, step.started_at, work.at)
    resolves = not _stops(work) or spec.exit in (DoubtExit.RESEND, DoubtExit.CHECK)
    is_worth_it = can_repeat and resolves and used < spec.action.retry.doubt_attempt_max
    if is_worth_it and _retry(work, index, outcome="unknown", error=error, jitter=jitter):
        return
    leave_in_doubt(work, index, error)


def _stops(work: Work) -> bool:
    """True when another attempt could only serve to resolve a doubt, not to succeed."""
    draft = work.draft
    if draft.state.phase is not Phase.EXECUTING:
        return True
    return draft.stop is not None and draft.way_back() is not WayBack.CLOSED


def _retry(work: Work, index: int, *, outcome: str, error: str, jitter: float) -> bool:
    spec, step = work.spec(index), work.step(index)
    used = step.attempts - step.budget_from
    retry_at = work.at + next_attempt_delay_s(spec.action.retry, attempt=used, jitter=jitter)
    if step.not_after is not None and retry_at >= step.not_after:
        return False
    work.write(
        r.AttemptFailed(
            at=work.at,
            step=index,
            direction=Direction.DO,
            attempt=step.attempts,
            outcome=outcome,
            error=error,
            retry_at=retry_at,
        )
    )
    work.wake(retry_at, wait_s_max=spec.action.retry.delay_s_max)
    return True


def leave_in_doubt(work: Work, index: int, error: str) -> None:
    """Take the exit that the compiler chose for this step; what only reads has no effect."""
    spec, step = work.spec(index), work.step(index)
    if not spec.is_effectful:
        work.write(r.ActionRejected(at=work.at, step=index, error=error))
        return
    match spec.exit:
        case DoubtExit.CHECK if can_check(work, index):
            work.write(r.CheckStarted(at=work.at, step=index, attempt=step.check_attempts + 1))
            send_check(work, index)
        case DoubtExit.WAIT_DEADLINE if step.not_after is not None:
            until = step.not_after + work.draft.program.clock_skew_s
            if until <= work.at:
                work.write(r.ActionDoubted(at=work.at, step=index, error=error))
            else:
                work.write(r.WaitStarted(at=work.at, step=index, until=until, error=error))
                work.wake(until, wait_s_max=None)
        case _:
            work.write(r.ActionDoubted(at=work.at, step=index, error=error))


def can_check(work: Work, index: int) -> bool:
    """Return whether a check can tell: a tool that has forgotten the call says absent of all."""
    spec, step = work.spec(index), work.step(index)
    return spec.check is not None and finds_memory(
        work.draft.program, spec.check, spec.action.contract, step.started_at, work.at
    )


def send_check(work: Work, index: int) -> None:
    """Order the question what became of a doubtful call."""
    spec, step = work.spec(index), work.step(index)
    if spec.check is None:
        broken(f"step {index} of {work.draft.saga_id!r} has no check to ask")
    work.do(
        CallTool(
            step=index,
            direction=Direction.CHECK,
            tool=spec.check.tool,
            params={},
            req_id=ids.req_id(work.draft.call_scope, index, Direction.CHECK, step.revision),
            attempt=step.check_attempts,
            timeout_s=spec.check.timeout_s,
            undoes=step.req_id,
            send_before=sent_before(
                work.draft.program, spec.check, spec.action.contract, step.started_at
            ),
        )
    )


def check_answered(work: Work, index: int, answer: object) -> None:
    """Settle a doubtful call by what its tool says became of it."""
    spec = work.spec(index)
    status = answer.get("status") if isinstance(answer, Mapping) else None
    match status:
        case "done":
            output = answer.get("output") if isinstance(answer, Mapping) else None
            action_succeeded(work, index, output)
        case "refused":
            work.write(r.ActionRejected(at=work.at, step=index, error="the check says: refused"))
        case "absent" if spec.action.contract.check_fences:
            work.write(r.ActionRejected(at=work.at, step=index, error="the check says: absent"))
        case "absent":
            # Absent now is not absent for ever: a copy may still be on its way.
            error = "the check says absent, but does not keep a late copy out"
            work.write(r.ActionDoubted(at=work.at, step=index, error=error))
        case _:
            error = f"the check answered neither done, refused nor absent: {status!r}"
            work.write(r.ActionDoubted(at=work.at, step=index, error=error[:300]))


def check_failed(work: Work, index: int, error: str, jitter: float) -> None:
    """Ask again within the check's budget, then leave the step to a person."""
    spec, step = work.spec(index), work.step(index)
    if spec.check is None or step.check_attempts >= spec.check.retry.doubt_attempt_max:
        work.write(r.ActionDoubted(at=work.at, step=index, error=f"the check failed: {error}"))
        return
    delay_s = next_attempt_delay_s(spec.check.retry, attempt=step.check_attempts, jitter=jitter)
    work.write(
        r.AttemptFailed(
            at=work.at,
            step=index,
            direction=Direction.CHECK,
            attempt=step.check_attempts,
            outcome="unknown",
            error=error,
            retry_at=work.at + delay_s,
        )
    )
    work.wake(work.at + delay_s, wait_s_max=spec.check.retry.delay_s_max)


def settle_before_turning(work: Work) -> None:
    """Settle the siblings that only wait for another attempt; those in flight stay in flight.

    A sibling that was certainly refused will not be tried again. One in doubt is left in doubt if
    its undo settles that; else it goes on trying, since only an answer does.
    """
    for index, step in enumerate(work.draft.steps):
        if step.status is not StepStatus.RUNNING or step.retry_at is None:
            continue
        spec: StepSpec = work.spec(index)
        error = step.error or "not tried again: the saga goes back"
        if not spec.is_effectful or work.draft.is_refused_and_idle(index):
            work.write(r.ActionRejected(at=work.at, step=index, error=error))
        elif spec.exit is DoubtExit.COMPENSATE_NOW:
            work.write(r.ActionDoubted(at=work.at, step=index, error=error))
