"""What people may say to a naive saga, and what comes of it."""

from __future__ import annotations

from typing import Any

from tests.property.naive import Naive, Refused


class NaiveWithPeople(Naive):
    """A naive saga that asks people and takes their answers."""

    def approve(self, i: int, *, is_granted: bool) -> None:
        self.calls = []
        step = self.steps[i]
        if step["status"] != "AWAITING_APPROVAL" or self.now >= step["approve_by"]:
            raise Refused
        if not is_granted:
            step.update(status="REJECTED", trouble=True)
        elif (self.troubles() or self.stop or self.is_overdue()) and self.way_back() != "closed":
            raise Refused
        else:
            step["was_approved"] = True
            self.start(i)
        self.go_on()

    def choices(self, i: int) -> set[str]:
        if self.phase != "NEEDS_HUMAN":
            return set()
        step, status = self.steps[i], self.steps[i]["status"]
        is_closed = self.way_back() == "closed"
        if status == "STUCK":
            return self.choices_stuck(i)
        if status == "DOUBTFUL":
            if not is_closed and any(j in self.left() for j in self.come_after(i)):
                return set()
            found = {"output"}
            if self.may_resend(i):
                found.add("retry")
            if not (self.plan[i].output_is_used and self.is_settled_as_done(i)):
                found.add("settled")
            return found if is_closed else found | {"calls"}
        if not is_closed or not step["trouble"] or status not in ("REJECTED", "SUCCEEDED"):
            return set()
        found = {"output"} if self.plan[i].output_is_used else {"output", "settled"}
        was_allowed = step["was_approved"] or not self.plan[i].approval
        can_resend = status == "REJECTED" or self.may_resend(i)
        if was_allowed and can_resend and step["has_params"]:
            found.add("retry")
        return found

    def choices_stuck(self, i: int) -> set[str]:
        step = self.steps[i]
        found = {"settled", "calls"}
        if step["undo"] is not None:
            is_safe = not step["undo"]["doubted"] or self.may_repeat_undo(i)
            if is_safe and self.undo_still_bites(i):
                found.add("retry")
        contract = self.plan[i].contract
        is_null = contract.fenced_compensation and not self.remembers(
            contract.retention_s, step["since"]
        )
        if step["wants_output"] and self.plan[i].has_undo and not is_null:
            found.add("output")
        return found

    def is_settled_as_done(self, i: int) -> bool:
        if self.steps[i]["status"] == "DOUBTFUL":
            others = [j for j in self.left() if j != i]
            return any(self.cannot_be_undone(j) for j in others)
        return self.steps[i]["status"] in ("REJECTED", "SUCCEEDED")

    def answer(self, i: int, choice: str, detail: Any = None) -> None:
        """A person's answer; ``detail`` is an output, or the number of calls and their dedupe."""
        self.calls = []
        if choice not in self.choices(i):
            raise Refused
        match choice:
            case "retry":
                self.retried(i)
            case "settled":
                self.settled(i)
            case "output":
                self.supplied(i, isinstance(detail, dict) and "id" in detail)
            case "calls":
                count, self.steps[i]["mend_dedupe"] = detail
                self.send_first_undo(i, "person", count)
            case _:
                raise AssertionError(choice)
        self.leave_rest()
        self.note_deadline()
        self.go_on()

    def leave_rest(self) -> None:
        is_free = not self.stop and not self.troubles() and not self.has_undone
        self.phase = "EXECUTING" if self.way_back() != "open" or is_free else "COMPENSATING"

    def retried(self, i: int) -> None:
        step = self.steps[i]
        step["trouble"] = False
        if step["status"] == "STUCK":
            undo = step["undo"]
            is_new = undo["refused"] and not undo["doubted"]
            step["status"] = "COMPENSATING"
            undo.update(mode="out", tried=1, refused=False)
            if is_new:
                undo["since"] = self.now
            self.send(i, "undo")
        elif step["status"] == "REJECTED":
            self.start(i)
        else:
            step.update(status="RUNNING", mode="out", tried=1, asked=0, bad=False)
            self.send(i, "do")

    def settled(self, i: int) -> None:
        step = self.steps[i]
        if self.is_settled_as_done(i):
            step.update(status="SUCCEEDED", bad=False, trouble=False)
        else:
            step.update(status="COMPENSATED", trouble=True, was_left=True)

    def supplied(self, i: int, is_good: bool) -> None:
        step = self.steps[i]
        if self.plan[i].has_undo and self.plan[i].undo_needs_output and not is_good:
            raise Refused
        if step["status"] == "STUCK":
            step["is_good_output"] = True
            self.send_first_undo(i, "plan", 1)
            return
        step.update(status="SUCCEEDED", bad=False, trouble=False)
        step["is_good_output"] = step["is_good_output"] or is_good
