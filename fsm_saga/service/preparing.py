"""From a plan to what a submission needs: checked once, compiled once, shared by its like."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from fsm_saga.core.contract import ToolFacts
from fsm_saga.core.program import Program
from fsm_saga.core.records import SagaSubmitted, StepsAppended
from fsm_saga.machine.compile import Declared, compile_plan, declare
from fsm_saga.plan.lint import check_plan
from fsm_saga.plan.model import Plan

PREPARED_MAX = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A checked plan with its program and what its tools declared."""

    plan: Plan
    body: Mapping[str, Any]
    declared: Declared
    program: Program


class Preparer:
    """Checks and compiles plans against one set of tools, remembering what it has seen.

    Two plans that differ in task, goal or the values of inputs alone get the same verdict from
    the checks, so only the first of them is checked.
    """

    def __init__(self, catalogue: Mapping[str, ToolFacts], allowed: Collection[str] | None) -> None:
        self._catalogue = catalogue
        self._allowed = allowed
        self._seen: dict[tuple[str, bool], Declared] = {}

    def prepare(
        self,
        plan: Plan,
        *,
        is_open: bool = False,
        undoes: Mapping[str, str] | None = None,
    ) -> Prepared:
        """Return the plan ready to be submitted.

        Raises:
            PlanError: With everything that is wrong with the plan; nothing was started.
        """
        body: dict[str, Any] = orjson.loads(plan.canonical_json())
        key = (_structure_key(body), is_open)
        declared = self._seen.get(key)
        if declared is None:
            check_plan(plan, self._catalogue, allowed=self._allowed, is_open=is_open)
            declared = declare(plan, self._catalogue)
            if len(self._seen) >= PREPARED_MAX:
                self._seen.clear()
            self._seen[key] = declared
        program = compile_plan(plan, declared, is_open=is_open, undoes=undoes)
        return Prepared(plan=plan, body=body, declared=declared, program=program)


def _structure_key(body: Mapping[str, Any]) -> str:
    shared = {key: body[key] for key in body if key not in ("task_id", "goal", "inputs")}
    text = orjson.dumps([shared, sorted(body.get("inputs", ()))])
    return hashlib.sha256(text).hexdigest()


def has_same_plan(record: SagaSubmitted | StepsAppended, plan: Plan) -> bool:
    """Return whether a saga was made from this very plan."""
    return record.plan_hash == plan.content_hash()
