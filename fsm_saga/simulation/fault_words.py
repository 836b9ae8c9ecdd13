"""Faults in words, for somebody who asks what happened to a plan of theirs."""

from __future__ import annotations

import re
from collections.abc import Mapping

from fsm_saga.core.program import Program

WORDS: Mapping[str, str] = {
    "request-lost": "the call is lost on its way to the tool",
    "reply-lost": "the tool acts, and its answer is lost",
    "slow": "the network is slow",
    "very-slow": "the call arrives after the engine has given it up",
    "duplicate": "the call arrives twice",
    "late-reply": "the answer comes after the time-out",
    "held-for-undo": "a copy of the call arrives only after its undo",
    "held-for-deadline": "a copy of the call arrives about when its time is over",
    "other-answer": "a second answer contradicts the first",
    "refuses": "the tool refuses",
    "refuses-first": "the tool refuses, and would not later",
    "unknown": "the tool fails without saying whether it acted; it did not",
    "unknown-done": "the tool fails without saying whether it acted; it did",
    "bad-output": "the tool acts, and what it returns cannot be read",
    "poor-output": "the tool acts, and its answer lacks what others need",
    "never-answers": "the tool hangs",
    "undo-refuses": "the undo is refused",
    "undo-refuses-first": "the undo is refused, and would not be later",
    "undo-unknown": "the undo fails without saying whether it acted",
    "check-garbled": "the check's answer cannot be read",
    "check-bare": "the check says done, and not what the tool returned",
    "not-sent": "there is no thread free to make the call",
    "store-lost": "a write is lost on its way to the store",
    "store-reply-lost": "the store writes, and its answer is lost",
    "store-slow": "the store is slow",
    "store-late": "a write is carried out after it was given up",
    "store-conflict": "somebody else wrote first",
    "store-closed": "the store takes no writes for a while",
    "watch-reset": "the watch on the store ends early",
    "crash-before": "the coordinator is killed",
    "crash-sent": "the coordinator is killed while it writes",
    "crash-after": "the coordinator is killed after it wrote",
    "crash-asleep": "the coordinator is killed while it waits",
    "pause": "the coordinator is frozen for a while",
    "crash-loop": "the coordinator is killed again while it recovers",
    "cut-store": "the coordinator does not reach the store for a while",
    "cut-tools": "the coordinator does not reach the tools for a while",
    "lease-lost": "the coordinator loses its lease, and another takes over",
    "stays-dead": "the machine does not come back",
    "outage": "all coordinators are down for a while",
    "clock-skew": "a clock is wrong",
    "clock-jump": "a clock jumps",
    "store-twice": "what the coordinator asks of the store is carried out twice",
    "cut-requests": "what the coordinator asks does not reach the store for a while",
    "cut-replies": "what the store answers does not reach the coordinator for a while",
    "leaves": "the coordinator is stopped, and hands over",
    "joins-late": "the coordinator joins the others later",
    "member-lost": "the key by which the others know the coordinator is deleted",
    "leader-lost": "the key by which the coordinator leads is deleted",
    "stubborn": "the tool does not let itself be cancelled",
    "engine-fails": "the engine of a shard does not start on one machine",
    "cancel": "the saga is cancelled",
    "denied": "the approval is denied",
    "silence": "nobody answers the request for approval",
    "comes-late": "a person answers late",
    "stale-answer": "a person answers an older question",
    "wrong-answer": "a person answers what is not asked",
    "doubled": "a person says it twice",
    "by-post": "an answer is left in the store",
    "ignored": "the person who is asked does not come",
}

_CALL = re.compile(r"(\d+)\.(do|undo|check)?")
_DIRECTIONS = {"do": "", "undo": "undo of ", "check": "check of "}


def fault_text(name: str, *, saga_id: str, program: Program) -> str:
    """Return what a fault was, and which step it met.

    Args:
        name: As the simulation writes it, ``reply-lost@trip.2.do#1``.
        saga_id: The saga whose steps it may name.
        program: Of that saga.
    """
    kind, _, place = name.partition("@")
    words = WORDS.get(kind, kind)
    _before, _, rest = place.rpartition(f"{saga_id}.")
    found = _CALL.match(rest) if rest != place else None
    if found is None or int(found[1]) >= len(program.steps):
        return words
    spec = program.steps[int(found[1])]
    direction = _DIRECTIONS[found[2] or "do"]
    return f"{direction}step {spec.step_id} ({spec.action.tool}): {words}"
