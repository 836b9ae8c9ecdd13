"""What the tools did, in the order of the world, and whether a saga's end is true of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from fsm_saga.core.effects import CallTool
from fsm_saga.core.states import Direction
from fsm_saga.ports import CallOutcome, OutcomeKind

REFUSING = "refuse"
"""The one tool that refuses, and does so whenever it is asked."""


class Effect(NamedTuple):
    """One line of the ledger; ``what`` is ``did`` or ``undid``."""

    what: str
    step: int
    req_id: str


class Ledger:
    """Tools that remember each ``req_id``, and with ``is_fenced`` what was undone before it came.

    Attributes:
        effects: What was done and undone, in order.
        arrivals: How many calls came.
        broken: Rules that a call broke the moment it came.
    """

    def __init__(self, *, is_fenced: bool) -> None:
        self.effects: list[Effect] = []
        self.arrivals = 0
        self.broken: list[str] = []
        self._is_fenced = is_fenced
        self._answers: dict[str, CallOutcome] = {}
        self._calls: dict[str, tuple[str, Mapping[str, object]]] = {}
        self._steps: dict[str, int] = {}
        self._fenced: set[str] = set()

    def note_send(self, call: CallTool) -> None:
        """Hold a send against the first of its ``req_id``: same id, same call (X2, P7)."""
        first = self._calls.setdefault(call.req_id, (call.tool, call.params))
        if first != (call.tool, call.params):
            self.broken.append(f"{call.req_id} was sent as {first} and as {call.tool, call.params}")

    def arrive(self, call: CallTool) -> CallOutcome:
        """Let a call reach its tool."""
        self.arrivals += 1
        known = self._answers.get(call.req_id)
        if known is None:
            known = self._undo(call) if call.direction is Direction.UNDO else self._do(call)
            self._answers[call.req_id] = known
        return known

    def _do(self, call: CallTool) -> CallOutcome:
        if call.req_id in self._fenced or call.tool == REFUSING:
            return CallOutcome(OutcomeKind.REJECTED, error="no")
        self._steps[call.req_id] = call.step
        self.effects.append(Effect("did", call.step, call.req_id))
        return CallOutcome(OutcomeKind.OK, {"id": call.req_id[:6]})

    def _undo(self, call: CallTool) -> CallOutcome:
        undoes = call.undoes or ""
        if undoes in self._steps:
            self.effects.append(Effect("undid", self._steps[undoes], undoes))
        elif self._is_fenced:
            self._fenced.add(undoes)
        else:
            self.broken.append(f"step {call.step} was undone and had never happened")
        return CallOutcome(OutcomeKind.OK, None)


def judge(
    ledger: Ledger, end: str, needs: tuple[tuple[int, ...], ...], *, may_be_done: bool
) -> list[str]:
    """Return what is wrong with a saga's end, given what the tools did; every late call has come.

    Args:
        ledger: What the tools did.
        end: The saga's state.
        needs: The steps that each step needs.
        may_be_done: No step refuses.
    """
    wrong = list(ledger.broken)
    did = [effect.step for effect in ledger.effects if effect.what == "did"]
    undid = [effect.step for effect in ledger.effects if effect.what == "undid"]
    if len(set(did)) < len(did):
        wrong.append("X1: a step was done twice")
    if len(set(undid)) < len(undid):
        wrong.append("C8: a step was undone twice")
    for at, step in enumerate(did):
        if not set(needs[step]) <= set(did[:at]):
            wrong.append(f"X3: step {step} was done before what it needs")
    for at, step in enumerate(undid):
        later = {other for other in did if step in _all_needs(needs, other)}
        if not later <= set(undid[:at]):
            wrong.append(f"C6: step {step} was undone before {later}")
    if end == "DONE":
        if len(did) != len(needs) or undid:
            wrong.append("C1: DONE, and not every effect is there once")
        if not may_be_done:
            wrong.append("DONE, although a step refused")
    elif end == "FAILED":
        if set(did) != set(undid):
            wrong.append("C2: FAILED, and an effect is left")
    else:
        wrong.append(f"V1: it ended {end}")
    return wrong


def _all_needs(needs: tuple[tuple[int, ...], ...], step: int) -> set[int]:
    found: set[int] = set()
    front = list(needs[step])
    while front:
        need = front.pop()
        if need not in found:
            found.add(need)
            front += needs[need]
    return found
