"""Steps that are behind the saga for good, merged: what became of them decides nothing any more.

A saga that goes back for good asks of a step that is cleared only whether the world was told what
is true of it: was there an effect, was it amended, did a person accept a rest. One word for the
whole configuration keeps that (``Word``), the strongest of all that were merged. A saga that can
only go forward asks of a step that is done nothing at all.

That a tool has forgotten a call is of account only when the undo goes by the call's req_id, and
only from when that undo may be next. Before, a step whose call is forgotten is taken for one whose
call is not: it may be forgotten later just as well.

A step is merged only if its claim holds and no copy of its calls can still take effect; else it
stays as it is, and the search sees what comes of it.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from fsm_saga.core.program import Program, StepSpec
from fsm_saga.core.saga import Saga, StepState, UndoState
from fsm_saga.core.states import Phase, StepStatus
from fsm_saga.core.work import bits
from fsm_saga.machine.ledger import EMPTY, LATE_ACTS, Act, Ledger, Memory, StepWorld, Word
from fsm_saga.machine.normal import BARE, NOW, is_going_back_for_good
from fsm_saga.machine.properties import judge_claim

_GONE = frozenset({StepStatus.COMPENSATED, StepStatus.SKIPPED})
_NEVER_OR_NO_MORE = frozenset({*_GONE, StepStatus.WAITING, StepStatus.REJECTED})


def is_going_forward_for_good(saga: Saga) -> bool:
    """Return whether a step that cannot be undone is done."""
    return bool(saga.program.irrevocable & saga.succeeded) or saga.state.phase is Phase.DONE


def cleared_steps(saga: Saga) -> tuple[tuple[int, StepStatus], ...]:
    """Return the steps of which nothing is left and to which nothing more can happen."""
    steps = enumerate(saga.steps)
    if not is_going_back_for_good(saga):
        return tuple((index, step.status) for index, step in steps if step.status in _GONE)
    effectful = saga.program.effectful
    return tuple(
        (index, step.status)
        for index, step in steps
        if step.status in _NEVER_OR_NO_MORE
        or (step.status is StepStatus.SUCCEEDED and not effectful >> index & 1)
    )


def done_steps(saga: Saga) -> tuple[int, ...]:
    """Return the steps that are done and will not be undone."""
    if not is_going_forward_for_good(saga):
        return ()
    done = saga.succeeded & saga.program.effectful
    return tuple(index for index in range(len(saga.steps)) if done >> index & 1)


def handed_over_steps(saga: Saga) -> tuple[int, ...]:
    """Return the steps that are made good for by a person's calls, whatever their own calls do."""
    masks = saga.undoing | saga.stuck
    return tuple(index for index in bits(masks) if _is_handed_over(saga.steps[index].undo))


def _is_handed_over(undo: UndoState | None) -> bool:
    return undo is not None and undo.source == "person" and undo.stuck_reason != "unresolvable"


def forgotten_steps(saga: Saga) -> tuple[int, ...]:
    """Return the steps of which it is of no account yet whether their calls are forgotten."""
    return tuple(
        spec.index
        for spec, step in zip(saga.program.steps, saga.steps, strict=True)
        if spec.action.contract.retention_s is not None
        and spec.action.contract.dedupe
        and _is_forgetting_idle(saga, spec, step)
    )


def _is_forgetting_idle(saga: Saga, spec: StepSpec, step: StepState) -> bool:
    is_fenced = spec.action.contract.fenced_compensation
    match step.status:
        case StepStatus.SUCCEEDED if not step.has_bad_output or is_going_back_for_good(saga):
            behind = spec.descendants & saga.uncleared
            is_behind = any(saga.steps[i].status is StepStatus.SUCCEEDED for i in bits(behind))
            return is_behind or not is_fenced
        case StepStatus.COMPENSATING | StepStatus.STUCK:
            return not is_fenced
        case _:
            return False


def is_mergeable(saga: Saga) -> bool:
    """Return whether the saga has steps that may be merged."""
    is_one_way = is_going_back_for_good(saga) or is_going_forward_for_good(saga)
    is_any_gone = any(step.status in _GONE for step in saga.steps)
    return is_one_way or is_any_gone or bool(forgotten_steps(saga))


def _with_fresh(saga: Saga, fresh: int) -> Saga:
    steps = list(saga.steps)
    is_changed = False
    for index in bits(fresh):
        if steps[index].started_at != NOW:
            steps[index] = replace(steps[index], started_at=NOW)
            is_changed = True
    return replace(saga, steps=tuple(steps)) if is_changed else saga


class Merger:
    """Merges the steps of one program's sagas."""

    def __init__(self, program: Program, worlds: Sequence[StepWorld]) -> None:
        self._worlds = worlds
        # An undo's params may use what an earlier step returned, and be resolved late.
        self._read_late = frozenset(
            index
            for spec in program.steps
            if spec.undo is not None
            for index in spec.undo.params.steps - {spec.index}
        )
        self._done = [world.after(Act.DO, EMPTY) or EMPTY for world in worlds]

    def saga(self, saga: Saga, mask: int, fresh: int) -> Saga:
        """Return the saga in which the steps behind it cannot be told apart.

        Of cleared steps it is kept whether any was undone, since the outcome says so; of steps
        that are still to be undone, that they are.

        Args:
            saga: A saga.
            mask: Those of its cleared steps whose ledgers were merged.
            fresh: Those of its steps whose calls are taken for not forgotten.
        """
        saga = _with_fresh(saga, fresh)
        if not is_going_back_for_good(saga):
            return saga
        is_undone = any(step.status is StepStatus.COMPENSATED for step in saga.steps)
        nothing = StepStatus.SKIPPED if saga.state.is_final else StepStatus.WAITING
        bare = BARE[StepStatus.COMPENSATED if is_undone else nothing]
        steps, succeeded = list(saga.steps), saga.succeeded & ~mask
        for index, step in enumerate(steps):
            if mask >> index & 1:
                steps[index] = bare
            elif step.status is StepStatus.SUCCEEDED:
                steps[index] = self._to_undo(step, index)
                succeeded |= 1 << index
        if all(new is old for new, old in zip(steps, saga.steps, strict=True)):
            return saga
        return replace(saga, steps=tuple(steps), succeeded=succeeded)

    def _to_undo(self, step: StepState, index: int) -> StepState:
        """Return a step that is done and is to be undone, however it was done."""
        output = step.output if index in self._read_late else None
        is_plain = not (step.has_bad_output or step.is_doubted or step.not_after is not None)
        if is_plain and output is step.output and step.approved_by is None:
            return step
        return replace(
            step,
            output=output,
            has_bad_output=False,
            is_doubted=False,
            not_after=None,
            approved_by=None,
        )

    def word(self, index: int, status: StepStatus, ledger: Ledger) -> Word | None:
        """Return the word that is left of a step, or None if it must stay as it is.

        Args:
            index: The step.
            status: STUCK for a step that was handed over, else the status that it was cleared in.
            ledger: What its calls have left.
        """
        if status is StepStatus.STUCK:
            world = self._worlds[index]
            is_settled = world.is_steady and world.is_undo_steady
        else:
            is_settled = status is StepStatus.SUCCEEDED or self._is_settled(index, status, ledger)
        return ledger.word if is_settled else None

    def fresh(self, ledger: Ledger) -> Ledger | None:
        """Return the ledger as if the call were not forgotten, or None if that cannot be said."""
        if ledger.memory is Memory.DONE:
            return ledger
        is_done = ledger.effects == 1 and not (ledger.late or ledger.stray)
        if ledger.memory is Memory.NOTHING and is_done:
            return ledger._replace(memory=Memory.DONE)
        return None

    def done(self, index: int, ledger: Ledger) -> Ledger:
        """Return the ledger that stands for this one of a step that is done."""
        has_word = ledger.is_accepted or ledger.is_amended
        if has_word or not self._is_settled(index, StepStatus.SUCCEEDED, ledger):
            return ledger
        return self._done[index]

    def _is_settled(self, index: int, status: StepStatus, ledger: Ledger) -> bool:
        if judge_claim(status, ledger) is not None:
            return False
        world = self._worlds[index]
        return all(world.after(act, ledger) is None for act in LATE_ACTS)
