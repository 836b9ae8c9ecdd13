"""One branch after the other: where the order of independent branches makes no difference.

A saga that goes back undoes its branches side by side, and every mix of how far each has come is
a configuration. But what happens to one branch neither enables nor hinders what can happen to
another, nor changes what comes of it: so it is enough to follow one branch until it rests and then
the next (a persistent set of partial-order reduction). Where that holds is said here, and tried
out on every small program by ``tests/modelcheck/test_order.py``; ``search.py`` sees to it that no
branch is put off for ever.

- While calls still run forward in a saga that goes back, each ends for its own step only. The
  last one starts the undos.
- An undo ends for its own step only. Cleared, it may start the undo of what the step depended on.
- A person answers for one step after the other. None of the answers changes the others' choices
  but by waiting for this one's end, and each step can be cleared by some answer.

A crash touches all calls in flight at once. It changes nothing where a tool answers every copy of
a call alike and for ever; so only steps of such tools are put in order.
"""

from __future__ import annotations

from collections.abc import Sequence

from fsm_saga.core import people
from fsm_saga.core.program import Program, StepSpec
from fsm_saga.core.saga import Saga
from fsm_saga.core.states import Phase
from fsm_saga.core.work import bits
from fsm_saga.machine.ledger import StepWorld
from fsm_saga.machine.normal import NOW, is_going_back_for_good


class Branches:
    """Says which step of one program's sagas may go first."""

    def __init__(self, program: Program, worlds: Sequence[StepWorld]) -> None:
        calm = [
            not spec.is_effectful or (world.is_undo_steady and not _forgets(spec))
            for spec, world in zip(program.steps, worlds, strict=True)
        ]
        self._is_calm = all(calm)
        self._runs_calmly = sum(1 << i for i, world in enumerate(worlds) if world.is_steady)
        # A step that is cleared may start the undo of any that it depends on.
        self._is_undone_calmly = sum(
            1 << spec.index
            for spec in program.steps
            if calm[spec.index]
            and all(calm[a.index] for a in program.steps if a.descendants >> spec.index & 1)
        )

    def first(self, saga: Saga) -> int | None:
        """Return the step that goes first, or None where the order may count."""
        return next(iter(self.candidates(saga)), None)

    def candidates(self, saga: Saga, *, least: int = 2) -> list[int]:
        """Return the steps each of which may go first.

        Args:
            saga: A normal saga.
            least: Of how many branches one has to be chosen; where one is left there is no choice.
        """
        match saga.state.phase:
            case Phase.COMPENSATING if saga.running:
                steps = saga.running if self._is_calm else 0
                able = steps & self._runs_calmly
                return list(bits(able)) if saga.running.bit_count() >= least else []
            case Phase.COMPENSATING if saga.was_undone:
                able = saga.undoing & self._is_undone_calmly
                return list(bits(able)) if saga.undoing.bit_count() >= least else []
            case Phase.NEEDS_HUMAN if self._is_calm and is_going_back_for_good(saga):
                asked = [i for i in bits(saga.uncleared) if people.choices(saga, i, at=NOW)]
                return asked if len(asked) >= least else []
            case _:
                return []


def _forgets(spec: StepSpec) -> bool:
    """Return whether the undo may come to nothing because its tool has forgotten the call."""
    contract = spec.action.contract
    return contract.fenced_compensation and contract.retention_s is not None
