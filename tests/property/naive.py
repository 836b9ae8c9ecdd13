"""The meaning of a saga once more: plain dictionaries and loops, written from the design's text.

It shares nothing with the core but words. It knows no records, tables or masks; it counts by
counting and looks at everything each time. Slow, obvious, and of its own opinion.
"""

from __future__ import annotations

from typing import Any

from tests.modelcheck.programs import Needs, Step
from tests.property.naive_state import SKEW_S, NaiveState

APPROVAL_S = 3600.0


class Refused(Exception):  # noqa: N818  # what happened to the question
    """Somebody asked for what cannot be now."""


class Naive(NaiveState):
    """One saga."""

    ends_max = 5

    def __init__(
        self, steps: list[Step], needs: Needs, deadline_s: float | None, is_open: bool
    ) -> None:
        super().__init__(steps, needs, deadline_s, is_open)
        self.go_on()

    # --- driving --------------------------------------------------------------------------------

    def go_on(self) -> None:
        while True:
            before = (self.phase, [s["status"] for s in self.steps], list(self.calls))
            if self.phase == "EXECUTING":
                self.forward()
            if self.phase == "COMPENSATING":
                self.backward()
            if before == (self.phase, [s["status"] for s in self.steps], list(self.calls)):
                return

    def forward(self) -> None:
        if len(self.succeeded()) == len(self.steps) and not self.is_open:
            self.phase = "DONE"
            return
        if not self.troubles() and not self.stop:
            self.launch()
            return
        way = self.way_back()
        if way == "open":
            self.settle_idle_siblings()
            self.phase = "COMPENSATING"
            self.withdraw_approvals()
        elif way == "closed":
            self.launch()
            if self.troubles() and not self.with_status("RUNNING", "AWAITING_APPROVAL"):
                self.phase = "NEEDS_HUMAN"

    def launch(self) -> None:
        for i, step in enumerate(self.steps):
            ready = all(n in self.succeeded() for n in self.needs[i])
            if step["status"] != "WAITING" or not ready:
                continue
            step["has_params"] = True
            if self.plan[i].approval:
                step["status"] = "AWAITING_APPROVAL"
                step["approve_by"] = self.now + APPROVAL_S
            else:
                self.start(i)

    def start(self, i: int) -> None:
        step = self.steps[i]
        step.update(status="RUNNING", mode="out", tried=1, asked=0, since=self.now)
        step.update(doubted=False, refused=False, trouble=False)
        allowed_s = self.plan[i].deadline_s
        step["not_after"] = None if allowed_s is None else self.now + allowed_s
        self.send(i, "do")

    def settle_idle_siblings(self) -> None:
        for i in self.with_status("RUNNING"):
            step = self.steps[i]
            if step["mode"] not in ("idle", "asking-idle"):
                continue
            if not self.has_effect(i) or self.is_surely_refused(i):
                self.reject(i)
            elif self.exit_of(i) == "undo now":
                self.leave_in_doubt(i)

    def withdraw_approvals(self) -> None:
        for i in self.with_status("AWAITING_APPROVAL"):
            self.steps[i]["status"] = "WAITING"

    def backward(self) -> None:
        if not self.left():
            self.phase = "FAILED"
            for i in self.with_status("WAITING", "AWAITING_APPROVAL"):
                self.steps[i]["status"] = "SKIPPED"
            return
        if self.with_status("RUNNING"):
            return
        for i in self.left():
            self.start_undo(i)
        if not self.with_status("RUNNING", "COMPENSATING") and self.left():
            self.phase = "NEEDS_HUMAN"

    def start_undo(self, i: int) -> None:
        step, plan = self.steps[i], self.plan[i]
        if step["status"] not in ("SUCCEEDED", "DOUBTFUL"):
            return
        if any(j in self.left() for j in self.come_after(i)):
            return
        if step["status"] == "DOUBTFUL" and self.exit_of(i) not in ("undo now", "wait"):
            return
        has_forgotten = plan.contract.fenced_compensation and not self.remembers(
            plan.contract.retention_s, step["since"]
        )
        lacks_output = plan.undo_needs_output and not step["is_good_output"]
        if plan.semantic is not None or not plan.has_undo or lacks_output or has_forgotten:
            step["status"] = "STUCK"
            step["wants_output"] = plan.semantic is None and (not plan.has_undo or lacks_output)
        else:
            self.send_first_undo(i, "plan", 1)

    def send_first_undo(self, i: int, source: str, calls: int) -> None:
        step = self.steps[i]
        step["status"] = "COMPENSATING"
        step["wants_output"] = False
        step["undo"] = {
            "source": source,
            "left": calls,
            "mode": "out",
            "tried": 1,
            "doubted": False,
            "refused": False,
            "since": self.now,
        }
        self.has_undone = True
        self.send(i, "undo")

    # --- how a call ends ------------------------------------------------------------------------

    def reject(self, i: int) -> None:
        self.steps[i].update(status="REJECTED", mode=None, trouble=True)

    def leave_in_doubt(self, i: int) -> None:
        self.steps[i].update(status="DOUBTFUL", mode=None, trouble=True, doubted=True)

    def succeed(self, i: int, is_good_output: bool) -> None:
        step = self.steps[i]
        step.update(status="SUCCEEDED", mode=None)
        if self.plan[i].undo_needs_output and self.plan[i].has_undo and not is_good_output:
            step.update(bad=True, trouble=True)
        else:
            step.update(bad=False, trouble=False, is_good_output=is_good_output)

    def try_later(self, i: int) -> bool:
        step = self.steps[i]
        wait_s = min(2.0 ** (step["tried"] - 1), 1.0)
        if step["not_after"] is not None and self.now + wait_s >= step["not_after"]:
            return False
        step["mode"] = "idle"
        step["due"] = self.now + wait_s
        return True

    def doubt(self, i: int) -> None:
        step, exit_ = self.steps[i], self.exit_of(i)
        contract = self.plan[i].contract
        if exit_ == "ask" and self.remembers(contract.retention_s, step["since"]):
            step.update(mode="asking", doubted=True)
            step["asked"] += 1
            self.send(i, "check")
        elif exit_ == "wait" and step["not_after"] + SKEW_S > self.now:
            step.update(mode="waiting", doubted=True, due=step["not_after"] + SKEW_S)
        else:
            self.leave_in_doubt(i)

    def refused(self, i: int, *, was_sent: bool = True) -> None:
        step = self.steps[i]
        if not was_sent and not step["doubted"]:
            self.reject(i)
            return
        may_try = not self.turns_back() and step["tried"] < self.plan[i].retry.attempt_max
        if may_try and self.try_later(i):
            step["refused"] = True
        elif not self.has_effect(i) or self.refusal_is_final(i):
            self.reject(i)
        else:
            self.doubt(i)

    def lost(self, i: int) -> None:
        step = self.steps[i]
        helps = not self.turns_back() or self.exit_of(i) in ("resend", "ask")
        has_budget = step["tried"] < self.plan[i].retry.doubt_attempt_max
        if helps and has_budget and self.may_resend(i) and self.try_later(i):
            step.update(doubted=True, refused=False)
        elif not self.has_effect(i):
            self.reject(i)
        else:
            self.doubt(i)

    def told(self, i: int, direction: str, said: str, output: Any = None) -> None:
        """A reply to the call of this req_id: ok, bad, no, unsent or lost."""
        self.calls = []
        step = self.steps[i]
        if direction == "undo":
            self.told_undo(i, said)
        elif step["status"] == "RUNNING":
            if direction == "do":
                self.told_do(i, said, output)
            elif step["mode"] in ("asking", "asking-idle"):
                self.told_check(i, said, output)
        self.go_on()

    def told_do(self, i: int, said: str, output: Any) -> None:
        mode = self.steps[i]["mode"]
        is_good = isinstance(output, dict) and "id" in output
        if said == "ok":
            self.succeed(i, is_good)
        elif said == "bad" and mode in ("out", "idle"):
            if self.has_effect(i):
                self.steps[i].update(status="SUCCEEDED", mode=None, bad=True, trouble=True)
            else:
                self.reject(i)
        elif said in ("no", "unsent") and mode == "out":
            self.refused(i, was_sent=said == "no")
        elif said == "lost" and mode == "out":
            self.lost(i)

    def told_check(self, i: int, said: str, output: Any) -> None:
        step = self.steps[i]
        if said == "ok":
            status = output.get("status") if isinstance(output, dict) else None
            inner = output.get("output") if isinstance(output, dict) else None
            fences = self.plan[i].contract.check_fences
            if status == "done":
                self.succeed(i, isinstance(inner, dict) and "id" in inner)
            elif status == "refused" or (status == "absent" and fences):
                self.reject(i)
            else:
                self.leave_in_doubt(i)
        elif said == "bad" or step["mode"] == "asking":
            if step["asked"] >= 2:
                self.leave_in_doubt(i)
            else:
                step.update(mode="asking-idle", due=self.now + 1.0)

    def told_undo(self, i: int, said: str) -> None:
        step = self.steps[i]
        if step["status"] != "COMPENSATING":
            return
        undo = step["undo"]
        if said in ("ok", "bad"):
            if undo["left"] > 1:
                self.send_first_undo(i, undo["source"], undo["left"] - 1)
            else:
                step["status"] = "COMPENSATED"
        elif undo["mode"] == "out":
            self.undo_failed(i, is_lost=said == "lost", was_sent=said != "unsent")

    def undo_promises(self, i: int) -> tuple[bool, bool, float | None, int]:
        """Return dedupe, sticky, retention and budget of the undo under way."""
        if self.steps[i]["undo"]["source"] == "plan":
            contract = self.plan[i].undo_contract
            budget = self.plan[i].undo_retry.attempt_max
            return contract.dedupe, contract.sticky_failures, contract.retention_s, budget
        return self.steps[i]["mend_dedupe"], True, None, 6

    def may_repeat_undo(self, i: int) -> bool:
        undo = self.steps[i]["undo"]
        dedupe, _sticky, retention_s, _budget = self.undo_promises(i)
        return dedupe and self.remembers(retention_s, undo["since"])

    def undo_still_bites(self, i: int) -> bool:
        undo, contract = self.steps[i]["undo"], self.plan[i].contract
        if undo["source"] == "plan" and contract.fenced_compensation:
            return self.remembers(contract.retention_s, self.steps[i]["since"])
        return True

    def undo_failed(self, i: int, *, is_lost: bool, was_sent: bool = True) -> None:
        step = self.steps[i]
        undo = step["undo"]
        budget = self.undo_promises(i)[3]
        can_repeat = self.may_repeat_undo(i) if is_lost else True
        undo["doubted"] = undo["doubted"] or is_lost
        undo["refused"] = not is_lost
        if can_repeat and was_sent and undo["tried"] < budget:
            undo["mode"] = "idle"
            delays_s = (0.1, 0.2, 0.4, 0.8, 1.6) if undo["source"] != "plan" else (1.0,) * 9
            undo["due"] = self.now + delays_s[undo["tried"] - 1]
        else:
            step["status"] = "STUCK"

    # --- time, crashes, people ------------------------------------------------------------------

    def tick(self, now: float) -> None:
        self.calls = []
        self.now = now
        self.note_deadline()
        self.go_on()
        self.do_what_is_due()
        self.go_on()

    def do_what_is_due(self) -> None:
        for i, step in enumerate(self.steps):
            if step["status"] == "AWAITING_APPROVAL" and step["approve_by"] <= self.now:
                step.update(status="REJECTED", trouble=True)
            elif step["status"] == "COMPENSATING":
                self.undo_is_due(i)
            elif step["status"] == "RUNNING" and step["mode"] not in ("out", "asking"):
                self.step_is_due(i)

    def note_deadline(self) -> None:
        counts = self.phase == "EXECUTING" and not self.stop and self.way_back() != "closed"
        if self.is_overdue() and counts:
            self.stop = True

    def is_overdue(self) -> bool:
        return self.deadline is not None and self.deadline <= self.now

    def step_is_due(self, i: int) -> None:
        step = self.steps[i]
        if step["due"] > self.now:
            return
        knows = self.remembers(self.plan[i].contract.retention_s, step["since"])
        if step["mode"] == "waiting":
            self.leave_in_doubt(i)
        elif step["mode"] == "asking-idle":
            if knows:
                step["mode"] = "asking"
                step["asked"] += 1
                self.send(i, "check")
            else:
                self.leave_in_doubt(i)
        elif step["doubted"] and not self.may_resend(i):
            self.leave_in_doubt(i)
        else:
            step["mode"] = "out"
            step["tried"] += 1
            self.send(i, "do")

    def undo_is_due(self, i: int) -> None:
        undo = self.steps[i]["undo"]
        if undo["mode"] != "idle" or undo["due"] > self.now:
            return
        is_safe = not undo["doubted"] or self.may_repeat_undo(i)
        if is_safe and self.undo_still_bites(i):
            undo["mode"] = "out"
            undo["tried"] += 1
            self.send(i, "undo")
        else:
            self.steps[i]["status"] = "STUCK"

    def resume(self) -> None:
        """Everything in flight is sent again, or its outcome is unknown."""
        self.calls = []
        out = [
            i
            for i, step in enumerate(self.steps)
            if (step["status"] == "RUNNING" and step["mode"] in ("out", "asking"))
            or (step["status"] == "COMPENSATING" and step["undo"]["mode"] == "out")
        ]
        self.note_deadline()
        self.go_on()
        for i in out:
            self.resume_call(i)
        self.do_what_is_due()
        self.go_on()

    def resume_call(self, i: int) -> None:
        step = self.steps[i]
        self.ends[i] += 1
        if self.ends[i] >= self.ends_max:
            self.suspect(i)
        elif step["status"] == "COMPENSATING":
            undo = step["undo"]
            undo["doubted"] = undo["doubted"] or not self.undo_promises(i)[1]
            if self.may_repeat_undo(i) and self.undo_still_bites(i):
                self.calls.append((i, "undo"))
            else:
                self.undo_failed(i, is_lost=True)
        elif step["mode"] == "asking":
            if self.remembers(self.plan[i].contract.retention_s, step["since"]):
                self.calls.append((i, "check"))
            else:
                self.leave_in_doubt(i)
        else:
            is_sure = self.plan[i].contract.sticky_failures or not self.has_effect(i)
            step["doubted"] = step["doubted"] or not is_sure
            if self.may_resend(i):
                self.calls.append((i, "do"))
            else:
                self.lost(i)

    def suspect(self, i: int) -> None:
        """The process ended so often during this call that it may be the call's doing."""
        step = self.steps[i]
        if step["status"] == "COMPENSATING":
            step["undo"].update(doubted=True, refused=False)
            step["status"] = "STUCK"
        elif step["mode"] == "asking":
            self.leave_in_doubt(i)
        elif self.has_effect(i):
            self.doubt(i)
        else:
            self.reject(i)

    def cancel(self) -> None:
        self.calls = []
        if self.phase in ("DONE", "FAILED"):
            raise Refused
        if self.phase == "COMPENSATING":
            return
        if self.way_back() == "closed":
            raise Refused
        self.stop = True
        self.go_on()

    def close(self) -> None:
        self.calls = []
        if not self.is_open:
            return
        if self.phase != "EXECUTING":
            raise Refused
        self.is_open = False
        self.go_on()
