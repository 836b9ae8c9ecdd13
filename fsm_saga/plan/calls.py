"""Rules about one tool call: the tool is known and allowed, its parameters fit.

They hold for a step's action, for its rollback, and for the calls of a compensation that is
decided late, when a saga is already on its way back.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from fsm_saga.core.contract import ToolFacts
from fsm_saga.plan.model import Step
from fsm_saga.plan.problems import Path, Problems, listed, shown
from fsm_saga.plan.schemas import params_mismatches
from fsm_saga.plan.way_back import Catalogue, derived_undo


class CallRules:
    """Checks tool calls against one catalogue and one caller's rights, noting what is wrong."""

    def __init__(
        self, catalogue: Catalogue, allowed: Collection[str] | None, problems: Problems
    ) -> None:
        self.catalogue = catalogue
        self._allowed = None if allowed is None else frozenset(allowed)
        self._problems = problems

    def tool_at(self, name: str, at: Path) -> ToolFacts | None:
        """Return the facts of a tool that is named somewhere, or None if there is no such tool."""
        facts = self.catalogue.get(name)
        if facts is None:
            usable = sorted(self._usable())
            otherwise = f"The tools are {listed(usable)}." if usable else "There are no tools."
            hint = self._problems.near.hint(name, usable, otherwise=otherwise)
            self._problems.add("unknown-tool", at, f"There is no tool {shown(name)}.", hint)
        elif not self._may_use(name):
            self._problems.add(
                "tool-not-allowed",
                at,
                f"The tool {shown(name)} may not be used here.",
                f"The allowed tools are {listed(sorted(self._usable())) or 'none'}.",
            )
        return facts

    def promises_at(self, step: Step, facts: ToolFacts, at: Path) -> None:
        """Note if what a step's tool declares is untrue, or leans on tools that are missing."""
        if facts.refuted:
            self._problems.add(
                "broken-promise",
                at,
                f"The tool {shown(facts.name)} declares {listed(facts.refuted)}, and its "
                "certificate says that it does not keep it.",
                "The tool has to be mended and certified again, or to declare less; no other "
                "plan will help.",
            )
        check = facts.contract.check
        if check is not None and check not in self.catalogue:
            self._problems.add(
                "unknown-check-tool",
                at,
                f"The tool {shown(facts.name)} is to be asked through {shown(check)}, "
                "and there is no such tool.",
                "The tool's declaration has to be mended; no other plan will help.",
            )
        if derived_undo(step, self.catalogue) is None or facts.undo is None:
            return
        if not self._may_use(facts.undo):
            self._problems.add(
                "tool-not-allowed",
                at,
                f"Step {shown(step.step_id)} would be undone by {shown(facts.undo)}, "
                "which may not be used here.",
                "Write a rollback with an allowed tool, or use another tool.",
            )

    def params_at(
        self,
        facts: ToolFacts | None,
        params: dict[str, Any],
        references: tuple[Path, ...],
        place: Path,
    ) -> None:
        """Note what is certainly wrong with the parameters of a call."""
        if facts is None:
            return
        for mismatch in params_mismatches(facts, params, references, self._problems.near):
            at = (*place, *mismatch.path)
            self._problems.add(mismatch.code, at, mismatch.message, mismatch.hint)
            if self._problems.is_full:
                return

    def _may_use(self, name: str) -> bool:
        return self._allowed is None or name in self._allowed

    def _usable(self) -> list[str]:
        return [name for name in self.catalogue if self._may_use(name)]
