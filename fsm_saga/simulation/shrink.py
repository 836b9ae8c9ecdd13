"""From a failed seed to the few faults that it takes.

Each fault can be left out alone, and what remains draws the same numbers; so the faults that
happened are cut down by delta debugging, as long as the run still breaks the same rule.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fsm_saga.simulation.run import Verdict
from fsm_saga.simulation.seeds import run_any_seed

RUNS_MAX = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class Shrunk:
    """What is left of a failed run.

    Attributes:
        faults: The faults without any of which it does not fail in this way.
        runs: How many runs it took.
    """

    verdict: Verdict
    faults: tuple[str, ...]
    code: str
    runs: int

    @property
    def command(self) -> str:
        """The line that runs it again."""
        return rerun_line(self.verdict.seed, only=self.faults, is_cluster=self.verdict.is_cluster)


def rerun_line(seed: int, *, only: Sequence[str] | None = None, is_cluster: bool = False) -> str:
    """Return the command that repeats a run, whole or with some of its faults alone."""
    line = f"python -m fsm_saga.simulation{' --cluster' if is_cluster else ''} --seed {seed}"
    return line if only is None else f"{line} --only '{','.join(only)}'"


def shrink(verdict: Verdict, *, code: str | None = None) -> Shrunk:
    """Return the failed run with as few faults as it takes to break the same rule.

    Args:
        verdict: Of a seed that failed.
        code: The rule; None for the first that was broken.

    Raises:
        ValueError: If nothing was broken.
    """
    if not verdict.violations:
        raise ValueError(f"seed {verdict.seed} broke no rule")
    wanted = verdict.violations[0].code if code is None else code
    search = _Search(verdict, wanted)
    faults = search.smallest(list(verdict.faults))
    found = search.run(faults)
    return Shrunk(verdict=found, faults=tuple(faults), code=wanted, runs=search.runs)


class _Search:
    def __init__(self, verdict: Verdict, code: str) -> None:
        self.runs = 0
        self._failed = verdict
        self._code = code

    def run(self, faults: Sequence[str]) -> Verdict:
        """Return the run with these faults alone."""
        failed = self._failed
        return run_any_seed(failed.seed, only=frozenset(faults), is_cluster=failed.is_cluster)

    def _fails(self, faults: Sequence[str]) -> list[str] | None:
        """Return which of the faults still happen, if the run with these alone fails alike."""
        if self.runs >= RUNS_MAX:
            return None
        self.runs += 1
        verdict = self.run(faults)
        return list(verdict.faults) if self._code in verdict.codes else None

    def smallest(self, faults: list[str]) -> list[str]:
        """Return a subset of which nothing can be left out."""
        return smallest(faults, self._fails)


def smallest(faults: list[str], fails: Callable[[Sequence[str]], list[str] | None]) -> list[str]:
    """Return a subset of the faults of which nothing can be left out.

    Args:
        faults: With all of them it fails.
        fails: Returns which of the faults that it is given still happen, if that fails alike.
    """
    parts = 2
    while faults:
        size = max(1, -(-len(faults) // parts))
        for start in range(0, len(faults), size):
            rest = fails(faults[:start] + faults[start + size :])
            if rest is not None:
                faults, parts = rest, max(parts - 1, 2)
                break
        else:
            if size == 1:
                break
            parts = min(2 * parts, len(faults))
    return faults
