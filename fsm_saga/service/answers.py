"""What people and planners decide about a saga, as data that can wait in a store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import orjson

from fsm_saga.core import events as e
from fsm_saga.core.contract import ToolFacts
from fsm_saga.core.limits import LIMITS
from fsm_saga.core.references import ReferenceMissing, Template, name_keys
from fsm_saga.core.saga import Saga
from fsm_saga.errors import CommandError, PlanError
from fsm_saga.machine.compile import contract_as_json
from fsm_saga.plan.lint import Call
from fsm_saga.plan.problems import shown
from fsm_saga.plan.read import read_value
from fsm_saga.tools.output import BadOutputError, json_output

ANSWER_KINDS = (
    "cancel",
    "approve",
    "reject",
    "retry",
    "settled",
    "output",
    "calls",
    "amend",
)
_KINDS_WITH_VALUE = frozenset({"output", "calls", "amend"})
ANONYMOUS = "unnamed"
INT_BITS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One decision about one saga.

    Attributes:
        kind: One of ``ANSWER_KINDS``.
        step_id: The step that it is about, as the plan names it; None for the whole saga.
        by: Who decided.
        note: Why.
        digest: For an approval, the digest of what was shown; empty for what waits now.
        value: The output, the calls or the steps that go with the kind.
        position: The saga's position when the person looked; None is not compared.
    """

    kind: str
    step_id: int | str | None = None
    by: str = ""
    note: str = ""
    digest: str = ""
    value: Any = None
    position: int | None = None

    def as_json(self) -> dict[str, Any]:
        """Return everything but the kind, as JSON."""
        body = asdict(self)
        del body["kind"]
        return body

    @staticmethod
    def from_json(kind: str, body: Mapping[str, Any]) -> Answer:
        """Return the answer that ``as_json`` wrote.

        Raises:
            CommandError: If it is no answer that is known here; it may come from another version.
        """
        unknown = sorted(set(body) - _BODY_NAMES)
        if unknown:
            raise CommandError(
                f"An answer {kind!r} with {', '.join(map(repr, unknown))} is not known here. "
                "Nothing was changed."
            )
        return checked(Answer(kind=kind, **body))


_BODY_NAMES = frozenset(field.name for field in fields(Answer)) - {"kind"}


def checked(answer: Answer) -> Answer:
    """Return the answer with its output as plain JSON, once a journal can hold all of it.

    Raises:
        CommandError: If it cannot.
    """
    if answer.kind not in ANSWER_KINDS:
        raise CommandError(f"An answer {answer.kind!r} is not known here. Nothing was changed.")
    for name in ("by", "note", "digest"):
        _check_text(name, getattr(answer, name))
    if isinstance(answer.step_id, str):
        _check_text("step_id", answer.step_id)
    elif not _is_number_or_none(answer.step_id):
        raise CommandError(f"{shown(answer.step_id)} names no step. Nothing was changed.")
    if not _is_number_or_none(answer.position):
        raise CommandError(f"{shown(answer.position)} is no position. Nothing was changed.")
    if answer.value is not None and answer.kind not in _KINDS_WITH_VALUE:
        raise CommandError(f"An answer {answer.kind!r} has no value. Nothing was changed.")
    if answer.kind != "output":
        return answer
    try:
        return replace(answer, value=json_output(answer.value))
    except BadOutputError as error:
        raise CommandError(f"This output was refused: {error}. Nothing was changed.") from error


def _is_number_or_none(value: object) -> bool:
    """Return False for what is no number, and for numbers that no store can hold."""
    return value is None or (isinstance(value, int) and value.bit_length() < INT_BITS)


def _check_text(name: str, text: object) -> None:
    if not isinstance(text, str):
        raise CommandError(f"{name} is {type(text).__name__}, not a text. Nothing was changed.")
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise CommandError(
            f"{name} has half a character (a lone surrogate). Nothing was changed."
        ) from None
    if size > LIMITS.string_max:
        raise CommandError(
            f"{name} has {size} bytes, and {LIMITS.string_max} are allowed. Nothing was changed."
        )


def answer_event(
    saga: Saga,
    answer: Answer,
    *,
    at: float,
    calls: tuple[Call, ...] = (),
    catalogue: Mapping[str, ToolFacts] | None = None,
) -> e.Event:
    """Return the event that an answer is to its saga.

    Raises:
        CommandError: If the plan has no such step, or nobody is named.
    """
    if answer.kind == "cancel":
        return e.CancelAsked(at=at, by=answer.by or ANONYMOUS, note=answer.note)
    spec = None if answer.step_id is None else saga.program.step_named(answer.step_id)
    if spec is None:
        names = ", ".join(repr(str(step.step_id)) for step in saga.program.steps)
        raise CommandError(
            f"Saga {saga.saga_id!r} has no step {str(answer.step_id)!r}: its steps are {names}. "
            "Nothing was changed; name one of them."
        )
    if not answer.by.strip():
        raise CommandError("A decision carries a name: say who decides. Nothing was changed.")
    index, by, note = spec.index, answer.by, answer.note
    match answer.kind:
        case "approve" | "reject":
            return e.ApprovalAnswered(
                at=at,
                step=index,
                is_granted=answer.kind == "approve",
                by=by,
                note=note,
                digest=answer.digest or None,
            )
        case "retry":
            return e.RetryAsked(at=at, step=index, by=by, note=note, position=answer.position)
        case "settled":
            return e.SettledByHuman(at=at, step=index, by=by, note=note, position=answer.position)
        case "output":
            return e.OutputSupplied(
                at=at,
                step=index,
                by=by,
                note=note,
                position=answer.position,
                output=answer.value,
            )
        case "calls":
            return e.CallsOffered(
                at=at,
                step=index,
                by=by,
                note=note,
                position=answer.position,
                calls=tuple(_resolved(saga, calls)),
                tools=_declared(calls, catalogue or {}),
            )
        case _:
            raise CommandError(f"An answer {answer.kind!r} is not known here.")


def calls_text(value: object) -> str | bytes:
    """Return the text of supplied calls: as given, or written out; a bare list is accepted.

    Raises:
        PlanError: If a value from Python is no JSON.
    """
    if isinstance(value, str | bytes):
        return text_of_object(value, "calls")
    reading = read_value({"calls": value} if isinstance(value, list | tuple) else value)
    if reading.problems:
        raise PlanError(reading.problems)
    return orjson.dumps(reading.value)


def text_of_object(text: str | bytes, name: str) -> str | bytes:
    """Return a JSON text as it is, but a bare list as an object that has it under ``name``.

    Example:
        >>> text_of_object(' [1] ', "calls"), text_of_object('{"calls": []}', "calls")
        ('{"calls": [1]}', '{"calls": []}')
    """
    text = text.strip()
    if isinstance(text, bytes):
        return b'{"%b": %b}' % (name.encode(), text) if text.startswith(b"[") else text
    return f'{{"{name}": {text}}}' if text.startswith("[") else text


def _resolved(saga: Saga, calls: tuple[Call, ...]) -> list[dict[str, Any]]:
    """Resolve the references of late calls now: what runs is what is journalled."""
    index_of = {key: spec.index for spec in saga.program.steps for key in name_keys(spec.step_id)}
    outputs = {index: step.output for index, step in enumerate(saga.steps)}
    try:
        return [
            {
                "tool": call.tool,
                "params": Template.compile(call.params, index_of).resolve(
                    outputs, saga.program.inputs
                ),
            }
            for call in calls
        ]
    except ReferenceMissing as missing:
        raise CommandError(
            f"The calls were refused: {missing}. Nothing was changed; write the value out."
        ) from missing


def _declared(calls: tuple[Call, ...], catalogue: Mapping[str, ToolFacts]) -> dict[str, Any]:
    names = sorted({call.tool for call in calls})
    return {"contracts": {name: contract_as_json(catalogue[name].contract) for name in names}}
