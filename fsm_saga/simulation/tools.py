"""The tools, their memories and the ledger of what they really did.

A tool here keeps exactly what its contract promises, and where the contract is silent it does the
worst (the truth table's rows). What it remembers is by ``req_id``; what it did is by step, which
only the oracles look at.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from fsm_saga.core.contract import ToolContract, ToolFacts
from fsm_saga.core.effects import CallTool
from fsm_saga.core.states import Direction
from fsm_saga.ports import CallOutcome, OutcomeKind
from fsm_saga.simulation.plans import AMENDS, CATALOGUE
from fsm_saga.simulation.world import World

FORGETS_AFTER_S = 0.0
"""How much later than its promise a tool forgets."""


class Memory(enum.Enum):
    """What a tool remembers of one req_id."""

    NOTHING = "nothing"
    DONE = "done"
    REFUSED = "refused"
    FENCED = "fenced"


class Remembered:
    """A tool's memory of one req_id.

    Attributes:
        effects: How often a call of this req_id took effect, whatever the tool remembers.
        sent_at: When the first copy that came was sent, if the tool forgets.
        renewed_at: When the first copy was sent that was sent after the tool could have forgotten
            the others; None if there is none.
    """

    __slots__ = (
        "answer",
        "arrivals",
        "effects",
        "first_at",
        "memory",
        "params",
        "renewed_at",
        "sent_at",
    )

    def __init__(self) -> None:
        self.memory = Memory.NOTHING
        self.answer: CallOutcome | None = None
        self.effects = 0
        self.arrivals = 0
        self.first_at: float | None = None
        self.sent_at: float | None = None
        self.renewed_at: float | None = None
        self.params: Mapping[str, Any] | None = None


class StepTruth:
    """What is in the world of one step, and what people took upon themselves.

    Attributes:
        effects: How often the action took effect, under any req_id.
        undone: How often its effect was taken back.
        word: ``accepted`` if a person settled it, ``vouched`` if one said that it is done,
            ``amended`` if calls were made that make it good; empty while only tools speak.
        undone_at: The place of its undo among all undos, or None.
    """

    __slots__ = ("effects", "undone", "undone_at", "word")

    def __init__(self) -> None:
        self.effects = 0
        self.undone = 0
        self.word = ""
        self.undone_at: int | None = None

    @property
    def left(self) -> int:
        """Effects that are in the world."""
        return self.effects - self.undone


class Outputs:
    """What tools return. The references of another plan need outputs of another form."""

    def whole(self, saga_id: str, step: int) -> Any:
        """Return what the action of a step returns."""
        return {"id": f"{saga_id}-{step}", "n": step}

    def poor(self, saga_id: str, step: int) -> Any:
        """Return an output that lacks what others refer to."""
        return {"n": step}

    def read(self, saga_id: str, step: int) -> Any:
        """Return what a step that only reads returns."""
        return {"id": f"read-{step}", "n": 1}


class LedgerWatcher(Protocol):
    """Who is told what the tools do."""

    def tool_of(self, req_id: str) -> str | None:
        """Return the tool of the call with this req_id, by its durable intent."""

    def took_effect(self, saga_id: str, step: int, req_id: str) -> None:
        """An action took effect."""

    def taken_back(self, saga_id: str, step: int, req_id: str) -> None:
        """An effect was taken back."""


class ToolWorld:
    """All tools of one run.

    Attributes:
        catalogue: What each declares.
        outputs: What they return.
        clocks_differ_s: How much the clocks of two coordinators may differ in this run.
    """

    def __init__(
        self,
        world: World,
        catalogue: Mapping[str, ToolFacts] = CATALOGUE,
        outputs: Outputs | None = None,
    ) -> None:
        self.catalogue = catalogue
        self.outputs = Outputs() if outputs is None else outputs
        self.clocks_differ_s = 0.0
        self.truths: dict[tuple[str, int], StepTruth] = {}
        self.held: dict[str, list[Callable[[], None]]] = {}
        self.watcher: LedgerWatcher | None = None
        self._world = world
        self._memory: dict[str, Remembered] = {}
        self._undo_count = 0

    def truth(self, saga_id: str, step: int) -> StepTruth:
        """Return what is in the world of a step."""
        found = self.truths.get((saga_id, step))
        if found is None:
            found = self.truths[saga_id, step] = StepTruth()
        return found

    def memory(self, req_id: str) -> Remembered:
        """Return what is remembered of a req_id; what a tool has forgotten is gone."""
        found = self._memory.get(req_id)
        if found is None:
            found = self._memory[req_id] = Remembered()
        return found

    def arrive(self, request: CallTool, saga_id: str, *, sent_at: float) -> CallOutcome | None:
        """Have the tool deal with one copy; return its answer, or None if the copy is void."""
        world = self._world
        contract = self.catalogue[request.tool].contract
        if contract.read_only and request.direction is not Direction.CHECK:
            return CallOutcome(OutcomeKind.OK, self.outputs.read(saga_id, request.step))
        if self._is_void(request, contract, sent_at):
            return None
        if request.direction is Direction.CHECK:
            return self._check(request, saga_id)
        found = self._recall(request.req_id, contract)
        found.arrivals += 1
        if found.params is None:
            found.params = request.params
        elif found.params != request.params:
            world.broken("P7", f"{saga_id} step {request.step}: one req_id came with two params")
        if request.direction is Direction.UNDO:
            return self._undo(request, saga_id, contract, found)
        return self._do(request, saga_id, contract, found)

    def _is_void(self, request: CallTool, contract: ToolContract, sent_at: float) -> bool:
        """Return whether a copy, or what it is about, was sent so long ago that it is lost.

        Assumed: a copy is not on its way for longer than its answer is waited for, once a tool may
        have forgotten the call or what it undoes or asks about. Nor is one that was sent before the
        call was sent anew after that.
        """
        if contract.retention_s is not None:
            found = self.memory(request.req_id)
            if found.sent_at is None:
                found.sent_at = sent_at
            elif sent_at > found.sent_at + contract.retention_s:
                found.sent_at = found.renewed_at = sent_at
            elif found.renewed_at is not None and sent_at < found.renewed_at:
                return True
            if self._is_over(request, found, contract, sent_at):
                return True
        if request.undoes is None:
            return False
        action = self._contract_of(request.undoes)
        return self._is_over(request, self.memory(request.undoes), action, sent_at)

    def _is_over(
        self, request: CallTool, found: Remembered, contract: ToolContract, sent_at: float
    ) -> bool:
        kept_s = contract.retention_s
        if kept_s is None or found.sent_at is None:
            return False
        # The engine counts on half of what is promised, however long a copy may take.
        way_s = min(request.timeout_s, kept_s / 2 - self.clocks_differ_s)
        return self._world.loop.time() > max(found.sent_at + kept_s, sent_at + way_s)

    def _contract_of(self, req_id: str) -> ToolContract:
        """Return the contract of the tool that was called under this id."""
        tool = None if self.watcher is None else self.watcher.tool_of(req_id)
        return ToolContract() if tool is None else self.catalogue[tool].contract

    def _recall(self, req_id: str, contract: ToolContract) -> Remembered:
        found = self.memory(req_id)
        now = self._world.loop.time()
        if found.first_at is None:
            found.first_at = now
        kept_s = math.inf if contract.retention_s is None else contract.retention_s
        if now > found.first_at + kept_s + FORGETS_AFTER_S:
            # What comes now is a new call to it, and remembered from now on.
            found.memory, found.answer, found.first_at = Memory.NOTHING, None, now
        return found

    # Doing.

    def _do(
        self, request: CallTool, saga_id: str, contract: ToolContract, found: Remembered
    ) -> CallOutcome:
        world = self._world
        if found.memory is Memory.DONE and found.answer is not None:
            world.counts["action deduped"] += 1
            return found.answer
        if found.memory is Memory.REFUSED:
            return _refused("as before")
        if found.memory is Memory.FENCED:
            world.counts["late action fenced"] += 1
            return _refused("fenced")
        if contract.deadline and request.not_after is not None and world.now() > request.not_after:
            world.counts["call after its deadline refused"] += 1
            return _refused("too late")
        place = f"{saga_id}.{request.step}.do"
        draw = world.chance.draw(f"fate.{place}")
        if world.happens("refuses", place, draw[0]) or (
            found.arrivals <= 1 + int(2 * draw[2])
            and world.happens("refuses-first", f"{place}#{found.arrivals}", draw[1])
        ):
            return self._refuse(contract, found)
        once = world.chance.draw(f"once.{place}#{found.arrivals}")
        if world.happens("unknown", f"{place}#{found.arrivals}", once[0]):
            return CallOutcome(OutcomeKind.UNKNOWN, error="status 503")
        answer = self._output(request, saga_id, place, draw)
        self._take_effect(request, saga_id, found)
        if contract.dedupe:
            found.memory, found.answer = Memory.DONE, answer
        if world.happens("unknown-done", f"{place}#{found.arrivals}", once[1]):
            return CallOutcome(OutcomeKind.UNKNOWN, error="status 500")
        return answer

    def _output(
        self, request: CallTool, saga_id: str, place: str, draw: tuple[float, ...]
    ) -> CallOutcome:
        if self._world.happens("bad-output", place, draw[3]):
            return CallOutcome(OutcomeKind.OK_WITH_BAD_OUTPUT, error="no JSON at all")
        if self._world.happens("poor-output", place, draw[4]):
            return CallOutcome(OutcomeKind.OK, self.outputs.poor(saga_id, request.step))
        return CallOutcome(OutcomeKind.OK, self.outputs.whole(saga_id, request.step))

    def _take_effect(self, request: CallTool, saga_id: str, found: Remembered) -> None:
        found.effects += 1
        self.truth(saga_id, request.step).effects += 1
        self._world.note("tools", "does", f"{saga_id}.{request.step}")
        if self.watcher is not None:
            self.watcher.took_effect(saga_id, request.step, request.req_id)

    def _refuse(self, contract: ToolContract, found: Remembered) -> CallOutcome:
        if contract.sticky_failures:
            found.memory = Memory.REFUSED
        return _refused("no")

    # Undoing.

    def _undo(
        self, request: CallTool, saga_id: str, contract: ToolContract, found: Remembered
    ) -> CallOutcome:
        world = self._world
        if found.memory is Memory.DONE:
            world.counts["compensation deduped"] += 1
            return CallOutcome(OutcomeKind.OK, {})
        if found.memory is Memory.REFUSED:
            return _refused("as before")
        place = f"{saga_id}.{request.step}.undo{request.call or ''}"
        draw = world.chance.draw(f"fate.{place}")
        if world.happens("undo-refuses", place, draw[0]) or (
            found.arrivals <= 1 + int(2 * draw[2])
            and world.happens("undo-refuses-first", f"{place}#{found.arrivals}", draw[1])
        ):
            return self._refuse(contract, found)
        once = world.chance.draw(f"once.{place}#{found.arrivals}")
        is_lost = world.happens("undo-unknown", f"{place}#{found.arrivals}", once[0])
        if is_lost and once[1] < 0.5:
            return CallOutcome(OutcomeKind.UNKNOWN, error="status 503")
        if request.tool == AMENDS:
            world.note("tools", "makes good", place)
        else:
            self._take_back(request, saga_id)
        found.effects += 1
        if contract.dedupe:
            found.memory = Memory.DONE
        if is_lost:
            return CallOutcome(OutcomeKind.UNKNOWN, error="status 500")
        return CallOutcome(OutcomeKind.OK, {})

    def _take_back(self, request: CallTool, saga_id: str) -> None:
        world, undoes = self._world, request.undoes or ""
        contract = self._contract_of(undoes)
        action = self._recall(undoes, contract)
        truth = self.truth(saga_id, request.step)
        if contract.fenced_compensation and action.memory is not Memory.DONE:
            # It goes by the action's req_id, of which the tool knows no effect.
            world.counts["null compensation"] += 1
            world.note("tools", "null undo", f"{saga_id}.{request.step}")
            action.memory = Memory.FENCED
            return
        if not truth.effects:
            world.counts["null compensation"] += 1
            return
        truth.undone += 1
        self._undo_count += 1
        truth.undone_at = self._undo_count
        world.note("tools", "undoes", f"{saga_id}.{request.step}")
        if self.watcher is not None:
            self.watcher.taken_back(saga_id, request.step, request.req_id)

    # Asking.

    def _check(self, request: CallTool, saga_id: str) -> CallOutcome:
        world, undoes = self._world, request.undoes or ""
        contract = self._contract_of(undoes)
        found = self._recall(undoes, contract)
        name = world.chance.next_name(f"{saga_id}.{request.step}.check")
        draw = world.chance.draw(name)
        if world.happens("check-garbled", name, draw[0]):
            return CallOutcome(OutcomeKind.OK, {"status": "?"})
        if found.memory is Memory.DONE and found.answer is not None:
            world.counts["check says done"] += 1
            if world.happens("check-bare", name, draw[1]):
                return CallOutcome(OutcomeKind.OK, {"status": "done"})
            return CallOutcome(OutcomeKind.OK, {"status": "done", "output": found.answer.output})
        if found.memory is Memory.REFUSED:
            world.counts["check says refused"] += 1
            return CallOutcome(OutcomeKind.OK, {"status": "refused"})
        world.counts["check says absent"] += 1
        if contract.check_fences:
            found.memory = Memory.FENCED
        return CallOutcome(OutcomeKind.OK, {"status": "absent"})


def _refused(why: str) -> CallOutcome:
    return CallOutcome(OutcomeKind.REJECTED, error=why)
