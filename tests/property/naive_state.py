"""How a saga stands, asked of plain dictionaries: the first half of the naive saga."""

from __future__ import annotations

from typing import Any

from tests.modelcheck.programs import Needs, Step

TIMEOUT_S = 30.0
SKEW_S = 5.0
Call = tuple[int, str]


class NaiveState:
    """One saga: what can be asked of it, and nothing that changes it but a send."""

    def __init__(
        self, steps: list[Step], needs: Needs, deadline_s: float | None, is_open: bool
    ) -> None:
        self.plan = steps
        self.needs = needs
        self.is_open = is_open
        self.now = 0.0
        self.phase = "EXECUTING"
        self.deadline = None if deadline_s is None else deadline_s
        self.stop = False
        self.has_undone = False
        self.calls: list[Call] = []
        self.ends: dict[int, int] = {}  # of the process, since a step's call was sent
        self.steps: list[dict[str, Any]] = [self.fresh_step() for _ in steps]

    @staticmethod
    def fresh_step() -> dict[str, Any]:
        return {
            "status": "WAITING",
            "trouble": False,  # its failure is not resolved
            "bad": False,  # the effect is there, the output is of no use
            "doubted": False,  # some copy of the call may have taken effect
            "refused": False,  # the last answer was a refusal
            "tried": 0,  # sends since the budget began
            "asked": 0,  # checks since the budget began
            "mode": None,  # while RUNNING: out, idle, asking, asking-idle, waiting
            "was_called": False,
            "was_approved": False,
            "has_params": False,
            "is_good_output": False,
            "was_left": False,  # a person settled what is left of it
            "undo": None,
        }

    # --- what is asked of a step ----------------------------------------------------------------

    def has_effect(self, i: int) -> bool:
        return self.plan[i].kind != "read_only"

    def cannot_be_undone(self, i: int) -> bool:
        step = self.plan[i]
        return self.has_effect(i) and not step.has_undo and step.semantic is None

    def blind_undo(self, i: int) -> bool:
        return self.plan[i].has_undo and not self.plan[i].undo_needs_output

    def exit_of(self, i: int) -> str:
        contract = self.plan[i].contract
        if not self.has_effect(i):
            return "none"
        if self.blind_undo(i) and contract.fenced_compensation:
            return "undo now"
        if contract.check is not None:
            return "ask"
        if self.blind_undo(i) and contract.deadline:
            return "wait"
        return "resend" if contract.dedupe else "person"

    def remembers(self, retention_s: float | None, since: float) -> bool:
        if retention_s is None:
            return True
        # A copy may take as long as its answer is waited for, and clocks differ.
        early = min(TIMEOUT_S + SKEW_S, retention_s / 2)
        return self.now - since <= retention_s - early

    def may_resend(self, i: int) -> bool:
        contract = self.plan[i].contract
        if contract.read_only:
            return True
        return contract.dedupe and self.remembers(contract.retention_s, self.steps[i]["since"])

    def may_be_there(self, i: int) -> bool:
        status = self.steps[i]["status"]
        if status == "SUCCEEDED":
            return self.has_effect(i)
        return status in ("RUNNING", "DOUBTFUL", "COMPENSATING", "STUCK")

    def come_after(self, i: int) -> set[int]:
        found: set[int] = set()
        while True:
            more = {
                j
                for j in range(len(self.steps))
                if j not in found and any(n == i or n in found for n in self.needs[j])
            }
            if not more:
                return found
            found |= more

    def send(self, i: int, what: str) -> None:
        self.calls.append((i, what))
        self.ends[i] = 0

    # --- how the saga stands --------------------------------------------------------------------

    def succeeded(self) -> list[int]:
        return [i for i, s in enumerate(self.steps) if s["status"] == "SUCCEEDED" and not s["bad"]]

    def left(self) -> list[int]:
        return [i for i in range(len(self.steps)) if self.may_be_there(i)]

    def with_status(self, *statuses: str) -> list[int]:
        return [i for i, s in enumerate(self.steps) if s["status"] in statuses]

    def troubles(self) -> list[int]:
        return [i for i, s in enumerate(self.steps) if s["trouble"]]

    @property
    def state(self) -> str:
        if self.phase == "EXECUTING":
            return f"EXECUTING({len(self.succeeded()) + 1})"
        if self.phase == "COMPENSATING":
            return f"COMPENSATING({len(self.left())})"
        return self.phase

    @property
    def outcome(self) -> str | None:
        if self.phase in ("EXECUTING", "COMPENSATING"):
            return None
        if self.phase in ("DONE", "NEEDS_HUMAN"):
            return {"DONE": "committed", "NEEDS_HUMAN": "unknown"}[self.phase]
        if any(step["was_left"] for step in self.steps):
            return "partly_compensated"
        undone = self.with_status("COMPENSATED")
        if any(self.steps[i]["undo"]["source"] == "person" for i in undone):
            return "amended"
        return "compensated" if undone else "nothing_happened"

    def is_surely_refused(self, i: int) -> bool:
        step = self.steps[i]
        return step["mode"] == "idle" and step["refused"] and self.refusal_is_final(i)

    def refusal_is_final(self, i: int) -> bool:
        contract = self.plan[i].contract
        if contract.sticky_failures:
            return True
        return not self.steps[i]["doubted"] and not contract.fenced_compensation

    def way_back(self) -> str:
        fatal = [i for i in range(len(self.steps)) if self.cannot_be_undone(i)]
        if any(self.steps[i]["status"] in ("SUCCEEDED", "DOUBTFUL") for i in fatal):
            return "closed"
        for i in fatal:
            if self.steps[i]["status"] == "RUNNING" and not self.is_surely_refused(i):
                return "open question"
        return "open"

    def turns_back(self) -> bool:
        """True when a further attempt could only tell what became of the first."""
        return self.phase != "EXECUTING" or (self.stop and self.way_back() != "closed")
