"""Steps of every kind, with tools of every promise that changes what the engine does."""

from __future__ import annotations

from collections.abc import Mapping

from fsm_saga.core.contract import ToolContract as Promises
from fsm_saga.core.states import StepKind
from tests.modelcheck.programs import (
    APPROVED,
    CHECKED,
    COMPENSATABLE,
    FENCED,
    FENCING_CHECK,
    PIVOT,
    PLAIN,
    READ_ONLY,
    RETRIABLE,
    SEMANTIC,
    TIMED,
    TWICE,
    Step,
)

BACKWARD: Mapping[str, Step] = {
    "read_only": READ_ONLY,
    "semantic": SEMANTIC,
    "approved": APPROVED,
    "fenced": FENCED,
    "checked": CHECKED,
    "fencing check": FENCING_CHECK,
    "timed": TIMED,
    "deadline of ours only": Step(deadline_s=60.0, retry=TWICE),
    "undo needs output": Step(undo_needs_output=True),
    "undo needs output, checked": Step(undo_needs_output=True, contract=Promises(check="look")),
    "no dedupe": Step(contract=Promises(dedupe=False)),
    "no dedupe, fenced": Step(
        contract=Promises(dedupe=False, fenced_compensation=True), retry=TWICE
    ),
    "no dedupe, checked": Step(contract=Promises(dedupe=False, check="look"), retry=TWICE),
    "no dedupe, timed": Step(
        contract=Promises(dedupe=False, deadline=True), deadline_s=60.0, retry=TWICE
    ),
    "forgets refusals": Step(contract=Promises(sticky_failures=False), retry=TWICE),
    "forgets refusals, fenced": Step(
        contract=Promises(sticky_failures=False, fenced_compensation=True), retry=TWICE
    ),
    "forgets refusals, checked": Step(
        contract=Promises(sticky_failures=False, check="look"), retry=TWICE
    ),
    "forgets refusals, fencing check": Step(
        contract=Promises(sticky_failures=False, check="look", check_fences=True), retry=TWICE
    ),
    "forgets refusals, timed": Step(
        contract=Promises(sticky_failures=False, deadline=True), deadline_s=60.0, retry=TWICE
    ),
    "promises nothing": Step(contract=Promises(dedupe=False, sticky_failures=False)),
    "retention": Step(contract=Promises(retention_s=60.0)),
    "retention, fenced": Step(contract=Promises(retention_s=60.0, fenced_compensation=True)),
    "retention, timed": Step(contract=Promises(retention_s=60.0, deadline=True), deadline_s=60.0),
    "retention, checked": Step(contract=Promises(retention_s=60.0, check="look")),
    "retention, fencing check": Step(
        contract=Promises(retention_s=60.0, check="look", check_fences=True)
    ),
    "undo without dedupe": Step(undo_contract=Promises(dedupe=False)),
    "undo forgets refusals": Step(undo_contract=Promises(sticky_failures=False)),
    "undo promises nothing": Step(undo_contract=Promises(dedupe=False, sticky_failures=False)),
    "undo with retention": Step(undo_contract=Promises(retention_s=60.0)),
    "both with retention": Step(
        contract=Promises(retention_s=60.0, fenced_compensation=True),
        undo_contract=Promises(retention_s=50.0),
    ),
}
"""Steps that have a way back, or need none."""


def _pivot(contract: Promises = PLAIN, **more: bool | float) -> Step:
    return Step(kind=StepKind.PIVOT, has_undo=False, contract=contract, **more)  # type: ignore[arg-type]


PIVOTS: Mapping[str, Step] = {
    "pivot": PIVOT,
    "pivot, checked": _pivot(Promises(check="look")),
    "pivot, fencing check": _pivot(Promises(check="look", check_fences=True)),
    "pivot, timed": _pivot(Promises(deadline=True), deadline_s=60.0),
    "pivot without dedupe": _pivot(Promises(dedupe=False)),
    "pivot forgets refusals": _pivot(Promises(sticky_failures=False)),
    "pivot with retention": _pivot(Promises(retention_s=60.0)),
    "pivot, its output used": _pivot(output_is_used=True),
    "pivot, approved": _pivot(approval=True),
}

AFTER: Mapping[str, Step] = {
    "retriable": RETRIABLE,
    "retriable, its output used": Step(
        kind=StepKind.RETRIABLE, has_undo=False, retry=TWICE, output_is_used=True
    ),
    "retriable, approved": Step(
        kind=StepKind.RETRIABLE, has_undo=False, retry=TWICE, approval=True
    ),
    "retriable with undo": Step(kind=StepKind.RETRIABLE, retry=TWICE),
    "compensatable": COMPENSATABLE,
}
"""Steps that come after the point of no return, or beside it."""
