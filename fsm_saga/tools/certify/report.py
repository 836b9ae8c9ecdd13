"""What came of certifying one tool: the checks, their verdicts, and the calls behind each."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fsm_saga.core.contract import ToolContract


class Verdict(enum.StrEnum):
    """What a check found, held against what the tool declares."""

    KEPT = "kept"
    BROKEN = "broken"
    EXTRA = "not declared, but kept"
    NOT_DECLARED = "not declared"
    CANNOT_TELL = "cannot tell"


class Promise(enum.StrEnum):
    """What a check is about: a flag of the contract, or what every tool owes."""

    DEDUPE = "dedupe"
    STICKY = "sticky_failures"
    UNDO = "undo"
    FENCED = "fenced_compensation"
    CHECK = "check"
    CHECK_FENCES = "check_fences"
    DEADLINE = "deadline"
    READ_ONLY = "read_only"
    RETENTION = "retention_s"
    OUTPUT = "output"


@dataclass(frozen=True, slots=True, kw_only=True)
class CallMade:
    """One call that was really made, and what came of it.

    Attributes:
        tool: Which tool was called.
        label: A short name for its ``req_id``, the same for each copy.
        undoes: The label of the call that it undoes or asks about, or None.
        note: What was special about it.
        outcome: ``ok``, ``ok_with_bad_output``, ``rejected`` or ``unknown``.
        output: What it returned.
        error: Why it did not.
    """

    tool: str
    label: str
    params: Mapping[str, Any]
    undoes: str | None = None
    note: str = ""
    outcome: str
    output: Any = None
    error: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return the call as a JSON object without what it does not have."""
        told: dict[str, Any] = {"tool": self.tool, "call": self.label, "params": dict(self.params)}
        if self.undoes is not None:
            told["about"] = self.undoes
        if self.note:
            told["note"] = self.note
        told["outcome"] = self.outcome
        told |= {"error": self.error} if self.error else {"output": self.output}
        return told


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """One check.

    Attributes:
        name: Its name, for programs.
        promise: What it is about.
        title: What should hold, in words.
        verdict: Whether it does.
        why: What was seen, or what is missing to tell.
        calls: What was done to find out.
    """

    name: str
    promise: Promise
    title: str
    verdict: Verdict
    why: str
    calls: tuple[CallMade, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return the check as a JSON object, with its evidence."""
        return {
            "name": self.name,
            "promise": self.promise.value,
            "title": self.title,
            "verdict": self.verdict.value,
            "why": self.why,
            "calls": [call.as_json() for call in self.calls],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything that was found about one tool.

    Attributes:
        tool: Its name.
        contract: What it declares.
        results: The checks, in the order in which they were made.
    """

    tool: str
    contract: ToolContract
    results: tuple[CheckResult, ...]

    @property
    def is_kept(self) -> bool:
        """Nothing that the tool declares was found broken."""
        return not self.broken

    @property
    def broken(self) -> tuple[str, ...]:
        """The declared promises that a check refuted."""
        return self._promises(lambda verdicts: Verdict.BROKEN in verdicts)

    @property
    def proven(self) -> tuple[str, ...]:
        """The declared promises all of whose checks were kept."""
        return self._promises(lambda verdicts: verdicts == {Verdict.KEPT})

    @property
    def untried(self) -> tuple[str, ...]:
        """The promises of which something could not be told; of the retention it never can."""
        found = self._promises(
            lambda verdicts: Verdict.CANNOT_TELL in verdicts and Verdict.BROKEN not in verdicts
        )
        return tuple(name for name in found if name != Promise.RETENTION)

    @property
    def extra(self) -> tuple[str, ...]:
        """Promises that the tool keeps and could declare."""
        return self._promises(lambda verdicts: verdicts == {Verdict.EXTRA})

    def _promises(self, is_meant: Any) -> tuple[str, ...]:
        verdicts: dict[str, set[Verdict]] = {}
        for result in self.results:
            verdicts.setdefault(result.promise.value, set()).add(result.verdict)
        return tuple(name for name, found in verdicts.items() if is_meant(found))

    def as_json(self) -> dict[str, Any]:
        """Return the report as a JSON object."""
        return {
            "tool": self.tool,
            "is_kept": self.is_kept,
            "proven": list(self.proven),
            "broken": list(self.broken),
            "untried": list(self.untried),
            "extra": list(self.extra),
            "checks": [result.as_json() for result in self.results],
        }
