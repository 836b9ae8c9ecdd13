"""A world that tools act upon, and a ``ToolRunner`` that misbehaves as it is told.

The world is honest: what it remembers of each ``req_id`` follows from what the tool promised, and
its ledger says what was really done and undone. Misfortune is scripted per tool, one behaviour
for each send, and ``ok`` when none is left:

    ok [JSON]         it is done; the output is the JSON
    rejected TEXT     refused
    unknown           lost on the way there
    lost              done, but the reply is lost
    bad               done, but the output cannot be used
    hang              lost on the way there, and nobody says so before the time is up
    slow S            as ok, but it arrives only after S seconds, be the time up or not
    says JSON         a check's answer instead of the truth
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fsm_saga.core.contract import ToolContract, ToolFacts
from fsm_saga.core.effects import CallTool
from fsm_saga.core.states import Direction
from fsm_saga.ports import CallOutcome, Clock, OutcomeKind

_WORD = re.compile(r"\s*(ok|rejected|unknown|lost|bad|hang|slow|says)\b\s*")
_TIMES = re.compile(r"\s*(?:x(\d+))?\s*(?:,|$)")
_DECODER = json.JSONDecoder()


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What becomes of one send."""

    word: str
    value: Any = None


FINE = Behaviour("ok")


def behaviours_of(text: str) -> list[Behaviour]:
    """Return the behaviours that a text lists, separated by commas."""
    found: list[Behaviour] = []
    at = 0
    while at < len(text):
        word = _WORD.match(text, at)
        if word is None:
            raise ValueError(f"no behaviour: {text[at:]!r}")
        value, at = None, word.end()
        if text[at : at + 1] not in ("", "x", ","):
            value, at = _DECODER.raw_decode(text, at)
        times = _TIMES.match(text, at)
        if times is None:
            raise ValueError(f"what is {text[at:]!r} in {text!r}?")
        found += [Behaviour(word[1], value)] * int(times[1] or 1)
        at = times.end()
    return found


@dataclass(slots=True)
class Entry:
    """One line of the ledger."""

    at: float
    saga_id: str
    step_id: int | str
    tool: str
    what: str
    detail: Any = None


@dataclass(slots=True)
class World:
    """What the tools have done.

    ``did`` and ``undid`` count the effects of each action by its ``req_id``; ``params`` keeps what
    each ``req_id`` was first sent with.
    """

    ledger: list[Entry] = field(default_factory=list)
    did: dict[str, int] = field(default_factory=dict)
    undid: dict[str, int] = field(default_factory=dict)
    sent: dict[str, CallTool] = field(default_factory=dict)
    origin: dict[str, tuple[str, int | str]] = field(default_factory=dict)
    memory: dict[str, CallOutcome] = field(default_factory=dict)
    fenced: set[str] = field(default_factory=set)
    broken_rules: list[str] = field(default_factory=list)

    def note_send(self, call: CallTool, saga_id: str, step_id: int | str) -> None:
        """Hold a send against its first: same id, same call (INV-3)."""
        first = self.sent.setdefault(call.req_id, call)
        self.origin.setdefault(call.req_id, (saga_id, step_id))
        if (first.tool, first.params) != (call.tool, call.params):
            self.broken_rules.append(f"{call.req_id} was sent with other params")

    def left(self, saga_id: str) -> list[str]:
        """Return which of a saga's steps have an effect in the world now."""
        rids = [rid for rid, count in self.did.items() if count > self.undid.get(rid, 0)]
        found = [self.origin[rid] for rid in rids]
        return sorted(str(step_id) for owner, step_id in found if owner == saga_id)

    def check_sound(self) -> None:
        """Return if nothing was done or undone twice and no id ever changed its call."""
        twice = [rid for rid, count in self.did.items() if count > 1]
        over = [rid for rid, count in self.undid.items() if count > self.did.get(rid, 0)]
        assert not self.broken_rules, self.broken_rules
        assert not twice, [self.sent[rid] for rid in twice]
        assert not over, over


Trap = Callable[[CallTool, str], Awaitable[None]]


async def _no_trap(_call: CallTool, _when: str) -> None:
    pass


class ScriptedRunner:
    """The ``ToolRunner`` port over a world. ``trap`` is told before and after each effect."""

    def __init__(self, catalogue: Mapping[str, ToolFacts], world: World, clock: Clock) -> None:
        self.world = world
        self.script: dict[str, list[Behaviour]] = {}
        self.trap: Trap = _no_trap
        self._catalogue = catalogue
        self._clock = clock
        self._numbers: dict[str, int] = {}

    @property
    def catalogue(self) -> Mapping[str, ToolFacts]:
        """See ``ToolRunner``."""
        return self._catalogue

    async def call(self, request: CallTool, *, saga_id: str, step_id: int | str) -> CallOutcome:
        """See ``ToolRunner``."""
        self.world.note_send(request, saga_id, step_id)
        await self.trap(request, "before")
        script = self.script.get(request.tool)
        behaviour = script.pop(0) if script else FINE
        outcome = await self._carry_out(request, step_id, behaviour)
        await self.trap(request, "after")
        return outcome

    async def _carry_out(
        self, request: CallTool, step_id: int | str, behaviour: Behaviour
    ) -> CallOutcome:
        match behaviour.word:
            case "unknown":
                self._note(step_id, request, "got nothing")
                return CallOutcome(OutcomeKind.UNKNOWN, error="connection lost")
            case "hang":
                await self._clock.sleep(request.timeout_s)
                return _silent(request)
            case "slow" if behaviour.value >= request.timeout_s:
                asyncio.get_running_loop().call_later(
                    behaviour.value, self._arrive, request, step_id, FINE
                )
                await self._clock.sleep(request.timeout_s)
                return _silent(request)
            case "slow":
                await self._clock.sleep(behaviour.value)
                return self._arrive(request, step_id, FINE)
            case _:
                await asyncio.sleep(0)
        outcome = self._arrive(request, step_id, behaviour)
        if behaviour.word == "lost":
            return CallOutcome(OutcomeKind.UNKNOWN, error="the reply was lost")
        return outcome

    def _arrive(self, request: CallTool, step_id: int | str, behaviour: Behaviour) -> CallOutcome:
        """Let a request reach its tool; what follows is as the tool promised."""
        contract, rid = self._contract(request.tool), request.req_id
        if request.direction is Direction.CHECK:
            return self._check(request, step_id, behaviour)
        if rid in self.world.fenced:
            return self._refuse(request, step_id, "fenced: it was undone")
        known = self.world.memory.get(rid)
        if known is not None and contract.dedupe:
            self._note(step_id, request, f"answered again: {known.kind.value}")
            return known
        # After the memory: a repeat is answered with what the first one came to, however late.
        is_bound = request.not_after is not None and contract.deadline
        if is_bound and self._clock.now() > (request.not_after or 0.0):
            return self._refuse(request, step_id, "too late")
        outcome = self._act(request, step_id, behaviour)
        if contract.sticky_failures or outcome.kind is not OutcomeKind.REJECTED:
            self.world.memory[rid] = outcome
        return outcome

    def _act(self, request: CallTool, step_id: int | str, behaviour: Behaviour) -> CallOutcome:
        if behaviour.word == "rejected":
            return self._refuse(request, step_id, behaviour.value or "no")
        world, rid = self.world, request.req_id
        if request.shown_direction is Direction.UNDO and request.undoes is not None:
            return self._undo(request, step_id)
        is_reading = self._contract(request.tool).read_only
        if not is_reading:
            world.did[rid] = world.did.get(rid, 0) + 1
        output = behaviour.value if behaviour.word == "ok" else None
        if output is None:
            number = self._numbers[request.tool] = self._numbers.get(request.tool, 0) + 1
            output = {"id": f"{request.tool}-{number}"}
        what = "said it" if is_reading else "did it"
        self._note(step_id, request, what, request.params or None)
        if behaviour.word == "bad":
            return CallOutcome(OutcomeKind.OK_WITH_BAD_OUTPUT, error="the output is no JSON")
        return CallOutcome(OutcomeKind.OK, output)

    def _undo(self, request: CallTool, step_id: int | str) -> CallOutcome:
        world, undoes = self.world, request.undoes or ""
        action = world.sent.get(undoes)
        contract = self._contract(action.tool) if action is not None else ToolContract()
        if contract.fenced_compensation:
            world.fenced.add(undoes)
        if world.did.get(undoes, 0) > world.undid.get(undoes, 0):
            world.undid[undoes] = world.undid.get(undoes, 0) + 1
            self._note(step_id, request, "undid it", request.params or None)
        elif world.did.get(undoes, 0):
            self._note(step_id, request, "made good further", request.params or None)
        elif contract.fenced_compensation:
            self._note(step_id, request, "had nothing to undo, keeps it out")
        else:
            return self._refuse(request, step_id, "there is nothing to undo")
        return CallOutcome(OutcomeKind.OK, None)

    def _check(self, request: CallTool, step_id: int | str, behaviour: Behaviour) -> CallOutcome:
        undoes = request.undoes or ""
        if behaviour.word == "rejected":
            return CallOutcome(OutcomeKind.REJECTED, error=behaviour.value or "no")
        if behaviour.word == "says":
            answer = behaviour.value
        else:
            known = self.world.memory.get(undoes)
            answer = {"status": "absent"}
            if known is not None and known.kind is OutcomeKind.REJECTED:
                answer = {"status": "refused"}
            elif known is not None:
                answer = {"status": "done", "output": known.output}
            elif self._contract(self.world.sent[undoes].tool).check_fences:
                self.world.fenced.add(undoes)
        said = answer["status"] if isinstance(answer, dict) else answer
        self._note(step_id, request, f"says {said}")
        return CallOutcome(OutcomeKind.OK, answer)

    def _refuse(self, request: CallTool, step_id: int | str, why: str) -> CallOutcome:
        self._note(step_id, request, f"refused: {why}")
        return CallOutcome(OutcomeKind.REJECTED, error=why)

    def _contract(self, tool: str) -> ToolContract:
        facts = self._catalogue.get(tool)
        return ToolContract() if facts is None else facts.contract

    def _note(self, step_id: int | str, request: CallTool, what: str, detail: Any = None) -> None:
        saga_id, _step_id = self.world.origin[request.req_id]
        entry = Entry(self._clock.now(), saga_id, step_id, request.tool, what, detail)
        self.world.ledger.append(entry)


def _silent(request: CallTool) -> CallOutcome:
    return CallOutcome(OutcomeKind.UNKNOWN, error=f"no answer within {request.timeout_s:g} s")
