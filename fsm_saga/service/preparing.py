"""From a plan to what a submission needs: checked once, compiled once, shared by its like."""

from __future__ import annotations

import dataclasses
import hashlib
import weakref
from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import orjson

from fsm_saga.core.contract import ToolFacts
from fsm_saga.core.program import Program
from fsm_saga.errors import PlanError
from fsm_saga.machine.compile import (
    Declared,
    compile_shared,
    declare,
    program_of,
    structure_of,
)
from fsm_saga.machine.kept import Kept
from fsm_saga.plan.lint import checked
from fsm_saga.plan.model import Plan
from fsm_saga.plan.order import input_problems
from fsm_saga.plan.references import Use

KEPT_MAX = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A checked plan, ready to be submitted.

    Attributes:
        task_id: The id of the saga that it becomes.
        body: The plan as JSON, as it goes into the journal.
        declared: What its tools declared.
        program: What it compiles to; its ``plan_hash`` is that of ``body``.
    """

    task_id: str
    body: Mapping[str, Any]
    declared: Declared
    program: Program


@dataclass(frozen=True, slots=True, kw_only=True)
class _Structure:
    """What plans have in common that differ only in task, goal and the values of inputs.

    Nothing of the first such plan is in it but that.
    """

    declared: Declared
    program: Program
    input_uses: tuple[Use, ...]


class Preparer:
    """Checks and compiles plans against one set of tools, remembering what it has seen.

    Two plans that differ in task, goal or the values of inputs alone get the same verdict from
    the checks, so only the first of them is checked.
    """

    def __init__(self, catalogue: Mapping[str, ToolFacts], allowed: Collection[str] | None) -> None:
        self._catalogue = catalogue
        self._allowed = allowed
        self._structures: Kept[Hashable, _Structure] = Kept(KEPT_MAX)
        # Keyed by identity: a plan that is submitted many times is looked at once. Its entry goes
        # when the plan does, before its id can be given to another one.
        self._prepared: Kept[int, tuple[weakref.ref[Plan], Prepared]] = Kept(KEPT_MAX)

    def prepare(
        self,
        plan: Plan,
        *,
        task_id: str | None = None,
        inputs: Mapping[str, Any] | None = None,
        is_open: bool = False,
        undoes: Mapping[str, str] | None = None,
    ) -> Prepared:
        """Return the plan ready to be submitted.

        Args:
            plan: The plan.
            task_id: Used instead of the plan's own.
            inputs: Used over the plan's own, name by name.
            is_open: The plan will grow.
            undoes: For an undo of another saga, the req_id that each step undoes.

        Raises:
            PlanError: With everything that is wrong with the plan; nothing was started.
        """
        if inputs:
            plan = _with(plan, task_id, inputs)
        elif task_id is not None and task_id != plan.task_id:
            return _renamed(self.prepare(plan, is_open=is_open, undoes=undoes), task_id)
        if is_open or undoes:
            return self._prepare(plan, is_open=is_open, undoes=undoes)
        key = id(plan)
        known = self._prepared.get(key)
        if known is not None and known[0]() is plan:
            return known[1]
        prepared = self._prepare(plan, is_open=False, undoes=None)
        forget = partial(self._prepared.drop, key)
        self._prepared.put(key, (weakref.ref(plan, forget), prepared))
        return prepared

    def _prepare(self, plan: Plan, *, is_open: bool, undoes: Mapping[str, str] | None) -> Prepared:
        body: dict[str, Any] = orjson.loads(plan.canonical_json())
        # An undo of another saga is like no other plan: it is made of that saga's outputs.
        shared = (
            self._checked(plan, is_open, undoes) if undoes else self._known(plan, body, is_open)
        )
        return Prepared(
            task_id=plan.task_id,
            body=body,
            declared=shared.declared,
            program=program_of(shared.program, plan),
        )

    def _known(self, plan: Plan, body: Mapping[str, Any], is_open: bool) -> _Structure:
        # The names of the inputs count: the checks look at them, and tell them in hints.
        names = orjson.dumps(sorted(plan.inputs))
        key = (hashlib.sha256(structure_of(body) + names).digest(), is_open)
        known = self._structures.get(key)
        if known is None:
            known = self._checked(plan, is_open, None)
            self._structures.put(key, known)
        elif problems := input_problems(plan, known.input_uses):
            # The one verdict that hangs on the inputs' values: a path that leads into them.
            raise PlanError(problems)
        return known

    def _checked(self, plan: Plan, is_open: bool, undoes: Mapping[str, str] | None) -> _Structure:
        found = checked(plan, self._catalogue, allowed=self._allowed, is_open=is_open)
        declared = declare(plan, self._catalogue)
        program = compile_shared(plan, declared, is_open=is_open, undoes=undoes, graph=found.graph)
        return _Structure(declared=declared, program=program, input_uses=found.input_uses)


def _with(plan: Plan, task_id: str | None, inputs: Mapping[str, Any]) -> Plan:
    body = orjson.loads(plan.canonical_json())
    body["inputs"] = {**plan.inputs, **inputs}
    if task_id is not None:
        body["task_id"] = task_id
    return Plan.of(body)


def _renamed(prepared: Prepared, task_id: str) -> Prepared:
    """Return the same plan as another task; only the name has to be checked."""
    Plan.check_task_id(task_id)
    body = {**prepared.body, "task_id": task_id}
    text = orjson.dumps(body, option=orjson.OPT_SORT_KEYS)
    program = dataclasses.replace(prepared.program, plan_hash=hashlib.sha256(text).hexdigest())
    return Prepared(task_id=task_id, body=body, declared=prepared.declared, program=program)
