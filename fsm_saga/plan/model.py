"""What a plan is: the fields a planner may write, and nothing else.

A plan is data, frozen, and says nothing of the engine: no request id, no state, no approval.
Its own shape is checked here; whether it makes sense with the tools at hand is `lint`'s work.

A plan built in Python (`Plan(...)`, `Step(...)`) raises pydantic's `ValidationError`; a plan that
came from outside (`Plan.read`, `Plan.of`) raises `PlanError` with every problem in it.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Literal, Self

import orjson
from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    TypeAdapter,
    ValidationError,
    model_validator,
)
from pydantic_core import PydanticCustomError

from fsm_saga.core.limits import LIMITS, Limits
from fsm_saga.errors import PlanError, Problem
from fsm_saga.plan.fields import (
    ALREADY_READ,
    Attempts,
    DeadlineSeconds,
    DelaySeconds,
    Inputs,
    Line,
    Paragraph,
    Params,
    StepId,
    TaskId,
    TimeoutSeconds,
    ToolName,
)
from fsm_saga.plan.problems import Problems
from fsm_saga.plan.read import Reading, read_json, read_value
from fsm_saga.plan.shape import shape_problems

DELAY_S_MAX_DEFAULT = 60.0

Kind = Literal["compensatable", "read_only", "pivot", "retriable"]


_TASK_ID: TypeAdapter[str] = TypeAdapter(TaskId)


class _Part(BaseModel):
    """What every part of a plan has in common: known fields only, exact types, no changes."""

    model_config = ConfigDict(
        strict=True, extra="forbid", frozen=True, allow_inf_nan=False, validate_default=False
    )


class Retry(_Part):
    """How often and how patiently a call that was refused is tried again."""

    attempts: Attempts = Field(description="How often the call is tried in all, 1 to 100.")
    delay_s: DelaySeconds = Field(
        default=1.0,
        description=(
            "Seconds before the second attempt; the wait doubles from there. Each wait is shortened"
            " at random by up to half, so that what failed together does not come back together."
        ),
    )
    delay_s_max: DelaySeconds | None = Field(
        default=None,
        description=(
            "The longest wait in seconds, before it is shortened; 60, or delay_s if that is longer."
        ),
    )

    @model_validator(mode="after")
    def _waits_agree(self) -> Self:
        if self.delay_s_max is not None and self.delay_s_max < self.delay_s:
            raise PydanticCustomError(
                "out-of-range",
                "delay_s_max is {longest} and delay_s is {first}: the longest wait is the shorter.",
                {
                    "longest": self.delay_s_max,
                    "first": self.delay_s,
                    "hint": "Make delay_s_max at least delay_s, or leave it out.",
                },
            )
        return self

    @property
    def longest_delay_s(self) -> float:
        """The longest wait, with the default filled in."""
        if self.delay_s_max is None:
            return max(DELAY_S_MAX_DEFAULT, self.delay_s)
        return self.delay_s_max


class Rollback(_Part):
    """The tool call that undoes a step."""

    tool: ToolName = Field(description="Name of the tool that undoes what the step did.")
    params: Params = Field(
        default_factory=dict,
        description=(
            "Its parameters. A value may be a reference: '$output.step_<id>.<path>' (the step's "
            "own output or that of a step before it) or '$input.<name>'."
        ),
    )
    retry: Retry | None = Field(default=None, description="How often the undo is tried again.")
    timeout_s: TimeoutSeconds | None = Field(
        default=None, description="Seconds that one attempt of the undo may take."
    )


class Semantic(_Part):
    """A making-good that is worked out when it is needed, because no tool call undoes the step."""

    semantic: Paragraph = Field(
        description=(
            "What the step changes in the world and what making good would mean. Use this "
            "only if no tool undoes the step; a person is asked before anything is done."
        )
    )


class Approval(_Part):
    """A person has to approve the step, within a time."""

    expires_s: DeadlineSeconds = Field(
        description="Seconds after which an approval that was not given counts as denied."
    )


def _rollback_tag(value: object) -> str:
    if isinstance(value, Semantic) or (isinstance(value, Mapping) and "semantic" in value):
        return "<semantic>"
    return "<call>"


def _approval_tag(value: object) -> str:
    return "<terms>" if isinstance(value, Mapping | Approval) else "<flag>"


RollbackField = Annotated[
    Annotated[Rollback, Tag("<call>")] | Annotated[Semantic, Tag("<semantic>")],
    Discriminator(_rollback_tag),
]
ApprovalField = Annotated[
    Annotated[bool, Tag("<flag>")] | Annotated[Approval, Tag("<terms>")],
    Discriminator(_approval_tag),
]


class Step(_Part):
    """One step: the tool call that does it, and the way back."""

    step_id: StepId = Field(
        description=(
            "Names the step: a whole number or a short text of letters, digits, '_' and '-'. "
            "References write it after 'step_': '$output.step_1' for step_id 1."
        )
    )
    name: Line | None = Field(default=None, description="What the step does, for people to read.")
    tool: ToolName = Field(description="Name of the tool to call.")
    params: Params = Field(
        default_factory=dict,
        description=(
            "The tool's parameters. A value may be a reference, as a whole text: "
            "'$output.step_<id>.<path>' for what an earlier step returned, '$input.<name>' for "
            "an input of the plan. References cannot stand inside a longer text."
        ),
    )
    rollback: RollbackField | None = Field(
        default=None,
        description=(
            "How the step is undone if a later one fails: the tool call that undoes it, or, "
            "where there is none, {'semantic': what making good would mean}. Leave it out if the "
            "step changes nothing or its tool already declares how it is undone."
        ),
    )
    depends_on: Annotated[tuple[StepId, ...], Field(strict=False)] | None = Field(
        default=None,
        description=(
            "The step_ids that must have succeeded first. Left out, the step comes after the one "
            "listed before it; an empty list makes it start at once."
        ),
    )
    kind: Kind | None = Field(
        default=None,
        description=(
            "'compensatable' (the default: it can be undone), 'read_only' (it changes nothing), "
            "'pivot' (it cannot be undone; at most one, and only retriable steps after it), "
            "'retriable' (it is tried until it succeeds)."
        ),
    )
    retry: Retry | None = Field(default=None, description="How often the call is tried again.")
    timeout_s: TimeoutSeconds | None = Field(
        default=None, description="Seconds that one attempt may take, above 0, at most a day."
    )
    deadline_s: DeadlineSeconds | None = Field(
        default=None, description="Seconds that the step may take with all its attempts."
    )
    approval: ApprovalField | None = Field(
        default=None,
        description="true if a person must approve the call first, or {'expires_s': seconds}.",
    )


class Plan(_Part):
    """A plan for a saga: steps in their order, each with its way back."""

    task_id: TaskId = Field(
        description="Names this task, without slashes; the same plan sent again is the same task."
    )
    goal: Paragraph | None = Field(default=None, description="What the plan is to achieve.")
    inputs: Inputs = Field(
        default_factory=dict,
        description=(
            "Values that steps use as '$input.<name>'. They are never searched for references, so "
            "this is also the place for texts that contain '$'."
        ),
    )
    steps: Annotated[tuple[Step, ...], Field(strict=False)] = Field(
        description="The steps, at least one."
    )
    deadline_s: DeadlineSeconds | None = Field(
        default=None,
        description=(
            "Seconds that the whole task may take; then what was done is undone. Finding out what "
            "became of a call in doubt is not cut short by it."
        ),
    )

    @classmethod
    def read(cls, text: str | bytes, *, limits: Limits = LIMITS) -> Plan:
        """Return the plan in a planner's JSON text.

        A byte order mark is dropped, one code fence is opened, ``//`` comments are skipped.

        Raises:
            PlanError: With every problem of the text and of the plan's shape.
        """
        return _plan_of(read_json(text, limits=limits), limits)

    @classmethod
    def of(cls, mapping: Mapping[str, Any], *, limits: Limits = LIMITS) -> Plan:
        """Return the plan that a Python mapping describes, checked like a text.

        Raises:
            PlanError: With every problem of the value and of the plan's shape.
        """
        return _plan_of(read_value(mapping, limits=limits), limits)

    @classmethod
    def json_schema(cls) -> dict[str, Any]:
        """Return the JSON Schema of a plan, with descriptions that a model can work from."""
        schema: dict[str, Any] = _without_titles(cls.model_json_schema())
        schema["properties"]["steps"]["minItems"] = 1
        schema["properties"]["steps"]["maxItems"] = LIMITS.step_max
        return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}

    @staticmethod
    def check_task_id(task_id: str) -> None:
        """Return if ``task_id`` may name a task.

        Raises:
            PlanError: If it may not.
        """
        try:
            _TASK_ID.validate_python(task_id, strict=True)
        except ValidationError as error:
            problems = Problems(LIMITS)
            problems.extend(
                Problem(
                    code=problem.code,
                    pointer="/task_id",
                    message=problem.message,
                    hint=problem.hint,
                )
                for problem in shape_problems(error, _FIELDS)
            )
            raise PlanError(problems) from error

    def canonical_json(self) -> bytes:
        """Return the one JSON text of this plan: sorted keys, no spaces, no absent options.

        Reading it gives an equal plan, and equal plans give equal bytes.
        """
        return self._canonical

    def content_hash(self) -> str:
        """Return the SHA-256 of `canonical_json`, in hex."""
        return self._content_hash

    @cached_property
    def _canonical(self) -> bytes:
        return orjson.dumps(self.model_dump(exclude_none=True), option=orjson.OPT_SORT_KEYS)

    @cached_property
    def _content_hash(self) -> str:
        return hashlib.sha256(self._canonical).hexdigest()

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a copy, checked again, so that an update cannot make an unsound plan."""
        if not update:
            return super().model_copy(deep=deep)
        fields = {name: getattr(self, name) for name in Plan.model_fields}
        return type(self)(**{**fields, **update})


def _without_titles(schema: Any) -> Any:
    """Return pydantic's schema without the titles and null defaults, which only cost a model time.

    No field of a plan is called "title" or "default", so no property is lost.
    """
    if isinstance(schema, list):
        return [_without_titles(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: _without_titles(part)
        for key, part in schema.items()
        if not (key == "title" or (key == "default" and part is None))
    }


# Options that no rule looks at: a plan without them has the same problems otherwise.
_HARMLESS = frozenset({"name", "goal", "retry", "timeout_s", "deadline_s", "approval"})
_TAGS = frozenset({"<call>", "<semantic>", "<terms>", "<flag>"})

# The fields of each part, by the name under which validation errors speak of it.
_FIELDS = {
    "": tuple(Plan.model_fields),
    "steps": tuple(Step.model_fields),
    "<call>": tuple(Rollback.model_fields),
    "<semantic>": tuple(Semantic.model_fields),
    "<terms>": tuple(Approval.model_fields),
    "retry": tuple(Retry.model_fields),
}


class ProposedCall(_Part):
    """One call of a compensation that is decided late."""

    tool: ToolName = Field(description="Name of the tool to call.")
    params: Params = Field(
        default_factory=dict,
        description="Its parameters; values may refer to the saga's outputs and inputs.",
    )


class Proposal(_Part):
    """A compensation that is decided late: calls to make one after the other."""

    calls: Annotated[tuple[ProposedCall, ...], Field(strict=False)] = Field(
        description="The calls, at least one."
    )


def too_many_steps(count: int, limits: Limits) -> Problem:
    """Return the problem of a plan with more steps than the limits allow."""
    return Problem(
        code="too-many-steps",
        pointer="/steps",
        message=f"The plan has {count} steps; {limits.step_max} are allowed.",
        hint="Split the task into several plans.",
    )


def plan_of_reading(reading: Reading, limits: Limits = LIMITS) -> tuple[Plan | None, Problems]:
    """Return the plan that was read, or None, with all that is wrong in text and shape."""
    problems = Problems(limits)
    problems.extend(reading.problems)
    plan: Plan | None = None
    steps = reading.value.get("steps")
    if isinstance(steps, list) and len(steps) > limits.step_max:
        problems.extend([too_many_steps(len(steps), limits)])
        return None, problems
    try:
        plan = Plan.model_validate(reading.value, context={ALREADY_READ: True})
    except ValidationError as error:
        problems.extend_elsewhere(shape_problems(error, _FIELDS, limits))
    return plan, problems


def calls_of_reading(
    reading: Reading, limits: Limits = LIMITS
) -> tuple[tuple[ProposedCall, ...] | None, Problems]:
    """Return the calls that were read, or None, with all that is wrong in text and shape."""
    problems = Problems(limits)
    problems.extend(reading.problems)
    calls: tuple[ProposedCall, ...] | None = None
    try:
        calls = Proposal.model_validate(reading.value, context={ALREADY_READ: True}).calls
    except ValidationError as error:
        fields = {
            "": tuple(Proposal.model_fields),
            "calls": tuple(ProposedCall.model_fields),
        }
        problems.extend_elsewhere(shape_problems(error, fields, limits))
    return calls, problems


def parts_of_reading(reading: Reading) -> tuple[Plan | None, tuple[tuple[int, Step], ...]]:
    """Return what is sound in a plan that is not: the plan without the bad parts, or its steps.

    Fields that no rule looks at can be left out without changing what the rules find. Where more
    is wrong, the steps that are sound each on their own are returned with their positions.
    """
    raw = reading.value.get("steps")
    if isinstance(raw, list) and len(raw) > LIMITS.step_max:
        return None, ()
    value = _without_bad_options(Plan, reading.value)
    try:
        return Plan.model_validate(value, context={ALREADY_READ: True}), ()
    except ValidationError:
        pass
    sound: list[tuple[int, Step]] = []
    for position, part in enumerate(raw if isinstance(raw, list) else ()):
        try:
            step = Step.model_validate(
                _without_bad_options(Step, part), context={ALREADY_READ: True}
            )
        except ValidationError:
            continue
        sound.append((position, step))
    return None, tuple(sound)


def _without_bad_options(model: type[_Part], value: Any) -> Any:
    """Return the value without unknown fields and without bad values of harmless options."""
    try:
        model.model_validate(value, context={ALREADY_READ: True})
    except ValidationError as error:
        if error.error_count() > LIMITS.problem_max:
            return value
        value = copy.deepcopy(value)
        for found in error.errors(include_url=False):
            way = [part for part in found["loc"] if part not in _TAGS]
            at = next((i for i, part in enumerate(way) if part in _HARMLESS), len(way) - 1)
            if found["type"] == "extra_forbidden" or (way and way[at] in _HARMLESS):
                _remove(value, way[: at + 1])
    return value


def _remove(value: Any, way: list[str | int]) -> None:
    """Remove the field at the end of a way through a value, if it is still there."""
    for part in way[:-1]:
        value = value[part]
    value.pop(way[-1], None)


def _plan_of(reading: Reading, limits: Limits) -> Plan:
    plan, problems = plan_of_reading(reading, limits)
    if plan is None or problems:
        raise PlanError(problems)
    return plan
