"""Calling a tool for real, as the engine would, and keeping what it answers as evidence."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from fsm_saga.core.contract import ToolFacts
from fsm_saga.core.effects import CallTool
from fsm_saga.core.references import ReferenceMissing, ReferenceRefused, Template, name_keys
from fsm_saga.core.states import Direction
from fsm_saga.errors import CommandError
from fsm_saga.plan.model import Step
from fsm_saga.plan.way_back import derive_undo
from fsm_saga.ports import CallOutcome, OutcomeKind, ToolRunner
from fsm_saga.tools.certify.report import CallMade

SAGA_ID = "certify"
STEP_ID = 1
DOUBT_ATTEMPT_MAX = 4
DOUBT_DELAY_S = 0.2
TIMEOUT_S = 30.0

ACCEPTED = frozenset({OutcomeKind.OK, OutcomeKind.OK_WITH_BAD_OUTPUT})


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """What to call a tool with.

    Attributes:
        params: Params that the tool accepts, as often as it is asked with a new ``req_id``.
        other_params: Others that it accepts; made from ``params`` if not given.
        bad_params: Params that fit its schema and that it refuses for good.
        undo: The tool that undoes it, if it does not declare one.
        undo_params: The undo's params, where they do not follow from the declarations.
            ``$output.step_1.<path>`` stands for what the action returned.
        probe: A read-only tool that counts the effects there are. It is given those of
            ``params`` that it has a parameter for.
    """

    params: Mapping[str, Any] = field(default_factory=dict)
    other_params: Mapping[str, Any] | None = None
    bad_params: Mapping[str, Any] | None = None
    undo: str | None = None
    undo_params: Mapping[str, Any] | None = None
    probe: str | None = None


class CannotTellError(Exception):
    """A check came to a point from which nothing follows; the message says why."""


@dataclass(frozen=True, slots=True)
class Answered:
    """How a call ended, after doubt had its repeats."""

    outcome: CallOutcome

    @property
    def is_accepted(self) -> bool:
        """The tool says that the effect exists."""
        return self.outcome.kind in ACCEPTED

    @property
    def is_refused(self) -> bool:
        """The tool says that there is no effect and never will be."""
        return self.outcome.kind is OutcomeKind.REJECTED

    @property
    def output(self) -> Any:
        """What it returned."""
        return self.outcome.output

    @property
    def said(self) -> str:
        """How it ended, in words."""
        if self.is_accepted:
            return "accepted"
        return f"{'refused' if self.is_refused else 'in doubt'} ({self.outcome.error})"


class Trial:
    """The calls of one certification: each check takes new ids, and its calls are kept.

    Args:
        runner: What makes the calls.
        facts: The tool.
        samples: What to call it with.
        timeout_s: How long to wait for an answer.

    Raises:
        CommandError: If a tool that is needed is not there.
    """

    def __init__(
        self, runner: ToolRunner, facts: ToolFacts, samples: Samples, *, timeout_s: float
    ) -> None:
        self.facts = facts
        self.samples = samples
        self.undo = samples.undo if samples.undo is not None else facts.undo
        self.calls: list[CallMade] = []
        self.saw_bad_output = ""
        self._runner = runner
        self._timeout_s = timeout_s
        self._prefix = f"certify-{secrets.token_hex(6)}"
        self._number = 0
        self._standing: dict[str, Any] = {}
        for name in (self.undo, facts.contract.check, samples.probe):
            if name is not None and name not in runner.catalogue:
                raise CommandError(
                    f"{facts.name!r} was not certified: {name!r}, which is needed for it, is no "
                    "registered tool. Nothing was called; add its module with --tools."
                )

    def new(self, prefix: str = "r") -> str:
        """Return a label for a new ``req_id``."""
        self._number += 1
        return f"{prefix}{self._number}"

    def taken_calls(self) -> tuple[CallMade, ...]:
        """Return the calls made since this was last asked."""
        taken, self.calls = tuple(self.calls), []
        return taken

    async def do(
        self,
        label: str,
        params: Mapping[str, Any] | None = None,
        *,
        attempt: int = 1,
        not_after: float | None = None,
        note: str = "",
    ) -> Answered:
        """Call the tool under the id of this label."""
        answered = await self._settled(
            self.facts.name,
            Direction.DO,
            label,
            self.samples.params if params is None else params,
            attempt=attempt,
            not_after=not_after,
            note=note,
        )
        if answered.is_accepted:
            self._standing[label] = answered.output
        return answered

    async def take_back(
        self, label: str, *, undoes: str, output: Any = None, is_done: bool = True, attempt: int = 1
    ) -> Answered:
        """Call the undo; without an output of the action if it is not ``is_done``.

        Raises:
            CannotTellError: If nothing says what to call it with.
        """
        if self.undo is None:
            raise CannotTellError("no undo is declared: name one with --undo")
        params = self._undo_params(self.undo, output, is_done=is_done)
        answered = await self._settled(
            self.undo, Direction.UNDO, label, params, undoes=undoes, attempt=attempt
        )
        if answered.is_accepted:
            self._standing.pop(undoes, None)
        return answered

    async def tidy(self) -> None:
        """Undo what the calls so far have left, as far as it can be undone; judge nothing.

        A test environment has so many seats, too.
        """
        standing, self._standing = self._standing, {}
        kept, self.calls = self.calls, []
        with suppress(CannotTellError):
            for label, output in standing.items():
                await self.take_back(self.new("u"), undoes=label, output=output)
        self.calls = kept

    async def ask(self, label: str) -> Answered:
        """Ask the check tool about a call."""
        check = self.facts.contract.check
        if check is None:
            raise CannotTellError("no check is declared")
        return await self._settled(check, Direction.CHECK, self.new("c"), {}, undoes=label)

    async def effects(self) -> int | None:
        """Return how many effects the probe counts; None where there is no probe.

        Raises:
            CannotTellError: If the probe does not answer.
            CommandError: If it answers with something else than a number.
        """
        probe = self.samples.probe
        if probe is None:
            return None
        known = self._runner.catalogue[probe].params_schema.get("properties", {})
        params = {name: value for name, value in self.samples.params.items() if name in known}
        answered = await self._settled(probe, Direction.DO, self.new("p"), params)
        if not answered.is_accepted:
            raise CannotTellError(f"the probe {probe!r} was {answered.said}")
        if type(answered.output) is not int:
            raise CommandError(
                f"The probe {probe!r} did not return a whole number, so it counts nothing. The "
                "certification was stopped; what was called until then has happened."
            )
        return answered.output

    def _undo_params(self, undo: str, output: Any, *, is_done: bool) -> Mapping[str, Any]:
        try:
            step = Step.model_validate(
                {"step_id": STEP_ID, "tool": self.facts.name, "params": dict(self.samples.params)}
            )
        except ValidationError as error:
            raise CannotTellError(f"no plan could hold these params: {error}") from error
        given: Any = self.samples.undo_params
        if given is None:
            given = derive_undo(step, self.facts, self._runner.catalogue[undo])
        if given is None:
            raise CannotTellError(f"what {undo!r} is called with is not known: give --undo-params")
        try:
            template = Template.compile(given, dict.fromkeys(name_keys(STEP_ID), 0))
            if template.steps and not is_done:
                raise CannotTellError(
                    f"{undo!r} needs the action's output, so no engine sends it before there is one"
                )
            resolved: Any = template.resolve({0: output}, {})
        except (ReferenceRefused, ReferenceMissing) as error:
            raise CannotTellError(f"the undo's params cannot be made: {error}") from error
        return dict(resolved)

    async def _settled(
        self,
        tool: str,
        direction: Direction,
        label: str,
        params: Mapping[str, Any],
        *,
        undoes: str | None = None,
        attempt: int = 1,
        not_after: float | None = None,
        note: str = "",
    ) -> Answered:
        """Make a call, and repeat it under its id as long as it ends in doubt."""
        last = attempt + DOUBT_ATTEMPT_MAX - 1
        while True:
            outcome = await self._runner.call(
                CallTool(
                    step=0,
                    direction=direction,
                    tool=tool,
                    params=params,
                    req_id=self._req_id(label),
                    attempt=attempt,
                    timeout_s=self._timeout_s,
                    undoes=None if undoes is None else self._req_id(undoes),
                    not_after=not_after,
                ),
                saga_id=f"{SAGA_ID}-{self._prefix}",
                step_id=STEP_ID,
            )
            self.calls.append(_call_made(tool, label, params, undoes, note, outcome))
            if outcome.kind is OutcomeKind.OK_WITH_BAD_OUTPUT:
                self.saw_bad_output = f"{tool!r}: {outcome.error}"
            if outcome.kind is not OutcomeKind.UNKNOWN or attempt >= last:
                return Answered(outcome)
            attempt += 1
            await asyncio.sleep(DOUBT_DELAY_S)

    def _req_id(self, label: str) -> str:
        return f"{self._prefix}-{label}"


def _call_made(
    tool: str,
    label: str,
    params: Mapping[str, Any],
    undoes: str | None,
    note: str,
    outcome: CallOutcome,
) -> CallMade:
    return CallMade(
        tool=tool,
        label=label,
        params=params,
        undoes=undoes,
        note=note,
        outcome=outcome.kind.value,
        output=outcome.output,
        error=outcome.error,
    )
