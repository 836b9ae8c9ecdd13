"""Going back: which steps are undone now, by which calls, and when a person is needed.

An undo starts when nothing is in flight forward (INV-7) and everything that depends on the
step is cleared (INV-8). A step's compensation is a list of calls; the plan's is a list of one,
a late-decided one is what a person supplied.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fsm_saga.core import ids
from fsm_saga.core import records as r
from fsm_saga.core.contract import ToolContract
from fsm_saga.core.draft import Draft
from fsm_saga.core.effects import CallTool
from fsm_saga.core.forward import finds_memory, may_resend, sent_before
from fsm_saga.core.program import CallSpec, RetryRule
from fsm_saga.core.references import Template
from fsm_saga.core.retry import next_attempt_delay_s
from fsm_saga.core.saga import UndoState
from fsm_saga.core.states import Direction, DoubtExit, StepStatus
from fsm_saga.core.work import Work

# Undoing is worth more patience than doing: an undo given up is a person's evening.
UNDO_RETRY = RetryRule(attempt_max=6, doubt_attempt_max=6, delay_s=0.1, delay_s_max=30.0)
UNDO_TIMEOUT_S = 30.0
_NO_PARAMS = Template.compile({}, {})


def start_undos(work: Work) -> None:
    """Start every undo that may start now, latest steps first."""
    draft = work.draft
    if draft.running:
        return
    for index in draft.program.undo_order:
        bit = 1 << index
        if not draft.uncleared & bit or (draft.undoing | draft.stuck) & bit:
            continue
        if draft.program.steps[index].descendants & draft.uncleared:
            continue
        _start_undo(work, index)


def _start_undo(work: Work, index: int) -> None:
    spec, step, draft = work.spec(index), work.step(index), work.draft
    if step.status is StepStatus.DOUBTFUL and spec.exit not in (
        DoubtExit.COMPENSATE_NOW,
        DoubtExit.WAIT_DEADLINE,
    ):
        return
    if spec.semantic is not None:
        work.write(r.UndoStuck(at=work.at, step=index, reason="semantic", error=spec.semantic))
    elif spec.undo is None or step.undo_params is None:
        error = step.undo_error or step.error or "the step's output is not known"
        error = f"the rollback's parameters cannot be resolved: {error}"
        work.write(r.UndoStuck(at=work.at, step=index, reason="unresolvable", error=error))
    elif is_forgotten(draft, index, work.at):
        error = "the tool no longer remembers the call that would be undone"
        work.write(r.UndoStuck(at=work.at, step=index, reason="expired", error=error))
    else:
        start_undo_call(work, index, spec.undo.tool, step.undo_params, call=0, revision=0)


def is_forgotten(draft: Draft, index: int, now: float) -> bool:
    """Return whether the planned undo of a step, sent now, may be taken for the undo of nothing."""
    spec, started_at = draft.program.steps[index], draft.steps[index].started_at
    contract = spec.action.contract
    # Only an undo that goes by the action's req_id, and may be null, depends on the memory.
    if spec.undo is None or not contract.fenced_compensation:
        return False
    return not finds_memory(draft.program, spec.undo, contract, started_at, now)


def may_send_undo(draft: Draft, index: int, now: float) -> bool:
    """Return whether sending the step's current undo call once more does what it says.

    An undo that may have happened is repeated only while its tool remembers it; one that goes by
    the action's req_id only while the action is remembered.
    """
    undo = draft.steps[index].undo or UndoState()
    if undo.source == "plan" and is_forgotten(draft, index, now):
        return False
    call = undo_call_spec(draft, index)
    return not undo.is_doubted or may_resend(draft.program, call, undo.started_at, now)


def start_undo_call(
    work: Work, index: int, tool: str, params: Mapping[str, Any], *, call: int, revision: int
) -> None:
    """Write the intent of one call of a compensation and order it."""
    rid = ids.req_id(work.draft.call_scope, index, Direction.UNDO, revision, call)
    work.write(
        r.UndoStarted(
            at=work.at,
            step=index,
            call=call,
            req_id=rid,
            revision=revision,
            tool=tool,
            params=params,
        )
    )
    send_undo(work, index)


def undo_call_spec(draft: Draft, index: int) -> CallSpec:
    """Return the limits and promises under which the step's current undo call runs."""
    spec, undo = draft.program.steps[index], draft.steps[index].undo or UndoState()
    if undo.source == "plan" and spec.undo is not None:
        return spec.undo
    tool = undo.calls[undo.call][0]
    declared = (undo.tools or {}).get("contracts", {}).get(tool, {})
    return CallSpec(
        tool=tool,
        params=_NO_PARAMS,
        timeout_s=UNDO_TIMEOUT_S,
        retry=UNDO_RETRY,
        contract=ToolContract(**declared),
    )


def undo_of(work: Work, index: int) -> UndoState:
    """Return the step's undo as it stands; an empty one if none was begun."""
    return work.step(index).undo or UndoState()


def send_undo(
    work: Work, index: int, *, is_repeat: bool = False, since: float | None = None
) -> None:
    """Order the send of the step's current undo call, exactly as its intent says (INV-3).

    ``since`` is when the first copy went out that may have had an effect; None stands for the
    first of all.
    """
    undo = undo_of(work, index)
    tool, params = undo.calls[undo.call]
    call = undo_call_spec(work.draft, index)
    work.do(
        CallTool(
            step=index,
            direction=Direction.UNDO,
            tool=tool,
            params=params,
            req_id=undo.req_id or "",
            attempt=undo.attempts,
            timeout_s=call.timeout_s,
            undoes=work.step(index).req_id,
            call=undo.call,
            is_repeat=is_repeat or undo.attempts > 1,
            send_before=_undo_sent_before(
                work, index, call, undo.started_at if since is None else since
            ),
        )
    )


def _undo_sent_before(work: Work, index: int, call: CallSpec, since: float) -> float | None:
    """Return from when on the undo's tool, or the action's, may take it for something else."""
    limits = [sent_before(work.draft.program, call, call.contract, since)]
    action = work.spec(index).action.contract
    if undo_of(work, index).source == "plan" and action.fenced_compensation:
        limits.append(sent_before(work.draft.program, call, action, work.step(index).started_at))
    return min((limit for limit in limits if limit is not None), default=None)


def undo_succeeded(work: Work, index: int) -> None:
    """Go on to the compensation's next call, or clear the step."""
    undo = undo_of(work, index)
    is_last = undo.call + 1 >= len(undo.calls)
    work.write(r.UndoSucceeded(at=work.at, step=index, call=undo.call, is_last=is_last))
    if is_last:
        return
    tool, params = undo.calls[undo.call + 1]
    start_undo_call(work, index, tool, params, call=undo.call + 1, revision=undo.revision)


def undo_failed(
    work: Work, index: int, error: str, jitter: float, *, is_unknown: bool, was_sent: bool = True
) -> None:
    """Try the undo again within its budget, then call a person."""
    call, undo = undo_call_spec(work.draft, index), undo_of(work, index)
    used = undo.attempts - undo.budget_from
    budget = call.retry.doubt_attempt_max if is_unknown else call.retry.attempt_max
    can_repeat = not is_unknown or may_resend(work.draft.program, call, undo.started_at, work.at)
    if can_repeat and was_sent and used < budget:
        delay_s = next_attempt_delay_s(call.retry, attempt=used, jitter=jitter)
        work.write(
            r.AttemptFailed(
                at=work.at,
                step=index,
                direction=Direction.UNDO,
                attempt=undo.attempts,
                outcome="unknown" if is_unknown else "rejected",
                error=error,
                retry_at=work.at + delay_s,
            )
        )
        work.wake(work.at + delay_s, wait_s_max=call.retry.delay_s_max)
        return
    reason = "unknown" if is_unknown or undo.is_doubted else "rejected"
    work.write(r.UndoStuck(at=work.at, step=index, reason=reason, error=error))
