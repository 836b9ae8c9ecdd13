"""Steps that are behind the saga for good, merged: what became of them decides nothing any more.

A saga that goes back for good asks of a step that is cleared only whether the world was told what
is true of it: was there an effect, was it amended, did a person accept a rest. One word for the
whole configuration keeps that (``Word``), the strongest of all that were merged. A saga that can
only go forward asks of a step that is done nothing at all.

A step is merged only if its claim holds and no copy of its calls can still take effect; else it
stays as it is, and the search sees what comes of it.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from fsm_saga.core.program import Program
from fsm_saga.core.saga import Saga, StepState, UndoState
from fsm_saga.core.states import Phase, StepStatus
from fsm_saga.core.work import bits
from fsm_saga.machine.ledger import EMPTY, LATE_ACTS, Act, Ledger, StepWorld, Word
from fsm_saga.machine.normal import BARE, is_going_back_for_good
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


def is_mergeable(saga: Saga) -> bool:
    """Return whether the saga has steps that may be merged."""
    is_one_way = is_going_back_for_good(saga) or is_going_forward_for_good(saga)
    return is_one_way or any(step.status in _GONE for step in saga.steps)


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

    def saga(self, saga: Saga, mask: int) -> Saga:
        """Return the saga in which the steps behind it cannot be told apart.

        Of cleared steps it is kept whether any was undone, since the outcome says so; of steps
        that are still to be undone, that they are.

        Args:
            saga: A saga.
            mask: Those of its cleared steps whose ledgers were merged.
        """
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
