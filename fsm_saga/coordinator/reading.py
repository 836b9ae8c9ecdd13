"""Journal -> saga: compiles the plans in it again and folds its records."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import orjson
from pydantic import ValidationError

from fsm_saga.core.decide import fold
from fsm_saga.core.program import Program
from fsm_saga.core.records import PlanClosed, Record, SagaSubmitted, StepsAppended
from fsm_saga.core.saga import Saga
from fsm_saga.errors import CorruptRecordError, InvariantBrokenError
from fsm_saga.machine.compile import Declared, compile_plan
from fsm_saga.machine.kept import Kept
from fsm_saga.plan.model import Plan

# What records raise that can each be read and together mean nothing: a step that the plan does not
# have, a state that no machine has, declarations of another form.
_NONSENSE = (
    InvariantBrokenError,
    ArithmeticError,
    AttributeError,
    LookupError,
    TypeError,
    ValueError,
)

PLANS_KEPT = 32
# Plans that were found to be sound and of their hash, by hash and by exactly what was read.
_SOUND: Kept[tuple[str, str], Plan] = Kept(PLANS_KEPT)


class JournalReader:
    """Compiles the program that each plan-bearing record of one journal stands for.

    ``plan`` and ``declared`` are those of the latest such record.
    """

    def __init__(self) -> None:
        self.plan: Plan | None = None
        self.declared: Declared = {}
        self._is_open = False
        self._undoes: Mapping[str, str] | None = None

    def program_of(self, record: Record) -> Program:
        """Return the program that is in force after the record.

        Raises:
            CorruptRecordError: If the plan in it is not the plan whose hash it carries.
        """
        if isinstance(record, SagaSubmitted):
            self._is_open, self._undoes = record.is_open, record.undoes
        if isinstance(record, SagaSubmitted | StepsAppended):
            self.plan = _plan_of(record)
            self.declared = record.tools
        elif isinstance(record, PlanClosed):
            self._is_open = False
        if self.plan is None:
            raise CorruptRecordError("A journal does not start with its plan; it is left alone.")
        return compile_plan(self.plan, self.declared, is_open=self._is_open, undoes=self._undoes)


def _plan_of(record: SagaSubmitted | StepsAppended) -> Plan:
    """Return the plan in a record; what was read and checked lately is not checked again."""
    key = _key_of(record)
    plan = None if key is None else _SOUND.get(key)
    if plan is None:
        plan = _checked_plan_of(record)
        if key is not None:
            _SOUND.put(key, plan)
    # A saga's inputs can be reached, and so changed, by whoever runs it; the steps cannot.
    own = plan.model_copy()
    own.__dict__["inputs"] = orjson.loads(orjson.dumps(plan.inputs))
    return own


def _key_of(record: SagaSubmitted | StepsAppended) -> tuple[str, str] | None:
    """Return what only a record of the same hash and plan has, or None for what is nested too deep.

    Not JSON's text: it would write NaN as null and a tuple as a list, and those are no plan.
    """
    try:
        return record.plan_hash, repr(record.plan)
    except RecursionError:
        return None


def _checked_plan_of(record: SagaSubmitted | StepsAppended) -> Plan:
    try:
        plan = Plan.model_validate(record.plan)
    except ValidationError as error:
        raise CorruptRecordError(
            "A stored plan no longer has the form of a plan: its record was changed. "
            "The saga is left alone; other sagas are not affected."
        ) from error
    if plan.content_hash() != record.plan_hash:
        raise CorruptRecordError(
            f"A stored plan does not match its hash {record.plan_hash[:12]!r}: its record was "
            "changed. The saga is left alone; other sagas are not affected."
        )
    return plan


def read_saga(journal: Iterable[Record]) -> tuple[Saga, JournalReader]:
    """Return the saga of a whole journal, and the reader with its latest plan.

    Raises:
        CorruptRecordError: If the journal cannot be read as one saga.
    """
    reader = JournalReader()
    try:
        return fold(journal, reader.program_of), reader
    except _NONSENSE as error:
        # What comes from a disk is input: one journal that makes no sense is no bug that has to
        # stop the others.
        why = error.message if isinstance(error, InvariantBrokenError) else repr(error)
        raise CorruptRecordError(
            f"A journal cannot be read as one saga: {why}. The saga is left alone; other sagas are "
            "not affected."
        ) from error


def read_saga_at(journal: Sequence[Record], position: int) -> Saga:
    """Return the saga as it was after its first ``position`` records.

    Raises:
        ValueError: If the journal has no such position.
    """
    if not 1 <= position <= len(journal):
        raise ValueError(f"position {position} is outside 1..{len(journal)}")
    return read_saga(journal[:position])[0]
