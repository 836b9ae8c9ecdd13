"""The world outside, as the checker plays it: what one step's calls have left at their tool.

A tool here keeps exactly what its contract declares, and where the contract is silent it does the
worst: without ``dedupe`` a second copy has a second effect, without ``sticky_failures`` a late
copy of a refused call may still take effect, without ``fenced_compensation`` the undo of a call
that has not arrived leaves no trace, and the call may arrive afterwards.

What happens to a call is split into small acts. Each act either cannot happen as things stand
(None) or gives the new state of the ledger; chance is a choice between acts. Two assumptions go
in: after ``retention_s`` no copy of a call is still on its way, and, unless ``has_doubles`` is
set, the network itself makes no copies.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from typing import NamedTuple

from fsm_saga.core.contract import ToolContract
from fsm_saga.core.program import StepSpec

COPIES_MAX = 2
"""Copies and effects are counted to two: the second is already wrong."""


class Memory(enum.IntEnum):
    """What a tool remembers of one req_id."""

    NOTHING = 0
    DONE = 1
    REFUSED = 2
    FENCED = 3


class Word(enum.IntEnum):
    """What the outcome of a saga has to say of its steps; the strongest word counts."""

    NOTHING = 0
    TOOK_EFFECT = 1
    AMENDED = 2
    ACCEPTED = 3


class Ledger(NamedTuple):
    """What one step has left in the world, and which copies of its calls are still under way.

    Attributes:
        memory: What the tool remembers of the action's req_id.
        effects: How often the action took effect, under any req_id.
        undone: How often an effect was undone.
        late: Copies of the action that may still arrive.
        stray: The same, of a req_id that was given up for a new one.
        undo_memory: What the tool remembers of the undo's req_id.
        undo_late: Copies of the undo that may still arrive.
        undo_stray: The same, of a req_id that was given up for a new one.
        is_accepted: A person settled that what is left of the step may stay.
        is_vouched: A person vouched for the effect: it is there, by whatever hand.
        is_amended: It was made good for by calls that a person supplied.
    """

    memory: Memory = Memory.NOTHING
    effects: int = 0
    undone: int = 0
    late: int = 0
    stray: int = 0
    undo_memory: Memory = Memory.NOTHING
    undo_late: int = 0
    undo_stray: int = 0
    is_accepted: bool = False
    is_vouched: bool = False
    is_amended: bool = False

    @property
    def left(self) -> int:
        """Effects that are in the world."""
        return self.effects - self.undone

    @property
    def word(self) -> Word:
        """What the outcome of a saga has to say of the step."""
        if self.is_accepted:
            return Word.ACCEPTED
        if self.is_amended:
            return Word.AMENDED
        return Word.TOOK_EFFECT if self.effects else Word.NOTHING


EMPTY = Ledger()


class Act(enum.IntEnum):
    """One thing that can happen between a step's calls and their tools."""

    SEND = 0
    DO = 1
    REFUSE = 2
    LOSE = 3
    ANSWER_LATE = 4
    ARRIVE_LATE = 5
    ARRIVE_STRAY = 6
    RENEW = 7
    CLOSE = 8
    FORGET = 9
    FIND_DONE = 10
    FIND_REFUSED = 11
    FIND_ABSENT = 12
    UNDO_SEND = 13
    UNDO = 14
    UNDO_REFUSE = 15
    UNDO_LOSE = 16
    UNDO_ANSWER_LATE = 17
    UNDO_ARRIVE_LATE = 18
    UNDO_ARRIVE_STRAY = 19
    UNDO_RENEW = 20
    UNDO_FORGET = 21
    ACCEPT = 22
    AMEND = 23
    WITNESS = 24
    VOUCH = 25


LATE_ACTS = (Act.ARRIVE_LATE, Act.ARRIVE_STRAY, Act.UNDO_ARRIVE_LATE, Act.UNDO_ARRIVE_STRAY)


def more(count: int) -> int:
    """Return one more, counted to ``COPIES_MAX``."""
    return min(count + 1, COPIES_MAX)


class StepWorld:
    """The tools of one step: what each act does to its ledger.

    ``is_steady`` says that the action's tool answers every copy of a call alike, whenever it
    comes. Then it makes no difference when a copy arrives that nobody looks at: the checker lets
    it arrive when the engine next looks, and leaves out the moments in between.
    ``is_undo_steady`` says the same of the undo's tool. With ``has_doubles`` the network may
    deliver one call twice, which matters only where a tool forgets its refusals.
    """

    def __init__(self, spec: StepSpec, *, has_doubles: bool = False) -> None:
        self.action: ToolContract = spec.action.contract
        self.undo: ToolContract = ToolContract() if spec.undo is None else spec.undo.contract
        self.is_effectful = spec.is_effectful
        self.has_doubles = has_doubles
        self.is_steady = _is_steady(self.action) and not self.action.deadline
        self.is_undo_steady = _is_steady(self.undo)

    def after(self, act: Act, ledger: Ledger) -> Ledger | None:
        """Return the ledger after the act, or None if it cannot happen now."""
        has_word = ledger.is_accepted or ledger.is_vouched or ledger.is_amended
        if act not in _PEOPLE_ACTS and (has_word or not self.is_effectful):
            # Where a person's word has replaced the tools' memory, whatever they answer may be.
            return None if act in _EFFECT_ACTS else ledger
        found = _ACTS[act](self, ledger)
        return None if found is None else self._settle(found)

    def _settle(self, ledger: Ledger) -> Ledger:
        """Drop the copies that can have no effect any more, so that equal worlds look equal."""
        if ledger.memory is not Memory.NOTHING and ledger.late:
            ledger = ledger._replace(late=0)
        if ledger.undo_memory is not Memory.NOTHING and ledger.undo_late:
            ledger = ledger._replace(undo_late=0)
        return ledger

    # The action.

    def send(self, ledger: Ledger) -> Ledger | None:
        """A copy goes out; at a steady tool it stands for every copy under way."""
        return ledger._replace(late=0) if self.is_steady else ledger

    def do(self, ledger: Ledger) -> Ledger | None:
        """The copy in flight arrives and is answered with success."""
        if ledger.memory is Memory.DONE:
            return ledger
        if ledger.memory is not Memory.NOTHING:
            return None
        memory = Memory.DONE if self.action.dedupe else Memory.NOTHING
        return ledger._replace(memory=memory, effects=more(ledger.effects))

    def refuse(self, ledger: Ledger) -> Ledger | None:
        """The copy in flight arrives and is refused."""
        if ledger.memory is Memory.DONE:
            return None
        if ledger.memory is Memory.NOTHING and self.action.sticky_failures:
            return ledger._replace(memory=Memory.REFUSED)
        if self.has_doubles:
            # The network made a second copy of the call, and that one is still on its way.
            return ledger._replace(late=more(ledger.late))
        return ledger

    def lose(self, ledger: Ledger) -> Ledger | None:
        """Nothing is heard of the copy in flight: it may arrive later."""
        return ledger._replace(late=1 if self.is_steady else more(ledger.late))

    def answer_late(self, ledger: Ledger) -> Ledger | None:
        """The success of an attempt that was given up is heard after all."""
        if ledger.memory is Memory.DONE or (not self.action.dedupe and ledger.effects):
            return ledger
        return self.arrive_late(ledger)

    def arrive_late(self, ledger: Ledger) -> Ledger | None:
        """A copy that was given up arrives and takes effect."""
        if not ledger.late or ledger.memory is not Memory.NOTHING:
            return None
        return self.do(ledger._replace(late=ledger.late - 1))

    def arrive_stray(self, ledger: Ledger) -> Ledger | None:
        """A copy of a req_id that was given up arrives and takes effect."""
        if not ledger.stray:
            return None
        return ledger._replace(stray=ledger.stray - 1, effects=more(ledger.effects))

    def renew(self, ledger: Ledger) -> Ledger | None:
        """The step is called anew under another req_id, of which the tool knows nothing."""
        stray = min(ledger.stray + ledger.late, COPIES_MAX)
        return ledger._replace(memory=Memory.NOTHING, late=0, stray=stray)

    def close(self, ledger: Ledger) -> Ledger | None:
        """The time of the call is over: a tool with a deadline refuses what comes now."""
        if self.action.deadline and ledger.memory is Memory.NOTHING:
            return ledger._replace(memory=Memory.FENCED)
        return ledger

    def forget(self, ledger: Ledger) -> Ledger | None:
        """The tool's retention is over; copies of the call, or of its undo, are long gone."""
        return ledger._replace(memory=Memory.NOTHING, late=0, undo_late=0)

    def _has_forgotten(self, ledger: Ledger) -> bool:
        is_gone = self.action.dedupe and ledger.memory is not Memory.DONE
        return self.action.retention_s is not None and is_gone and ledger.left > 0

    # What a check finds.

    def find_done(self, ledger: Ledger) -> Ledger | None:
        """The check sees the effect."""
        if self._has_forgotten(ledger):
            return None
        return ledger if ledger.left > 0 else self.arrive_late(ledger)

    def find_refused(self, ledger: Ledger) -> Ledger | None:
        """The check sees a refusal that the tool remembers, or that happens just now."""
        if ledger.memory is Memory.REFUSED:
            return ledger
        if ledger.memory is Memory.NOTHING and ledger.late and self.action.sticky_failures:
            return ledger._replace(memory=Memory.REFUSED)
        return None

    def find_absent(self, ledger: Ledger) -> Ledger | None:
        """The check sees nothing; where it fences, nothing comes after it either."""
        has_forgotten = self._has_forgotten(ledger)
        if (ledger.left > 0 and not has_forgotten) or ledger.memory is Memory.REFUSED:
            return None
        if ledger.memory is Memory.NOTHING and self.action.check_fences:
            return ledger._replace(memory=Memory.FENCED)
        return ledger

    # The undo.

    def undo_send(self, ledger: Ledger) -> Ledger | None:
        """A copy of the undo goes out."""
        return ledger._replace(undo_late=0) if self.is_undo_steady else ledger

    def undo_done(self, ledger: Ledger) -> Ledger | None:
        """The undo arrives and is answered with success, with or without anything to undo."""
        if ledger.undo_memory is Memory.DONE:
            return ledger
        if ledger.undo_memory is not Memory.NOTHING:
            return None
        return self._take_back(ledger, self.undo.dedupe)

    def _take_back(self, ledger: Ledger, is_remembered: bool) -> Ledger:
        memory, undone = ledger.memory, ledger.undone
        if self.action.fenced_compensation and self._has_forgotten(ledger):
            # It goes by the action's req_id, of which the tool knows nothing: a null undo.
            return ledger._replace(memory=Memory.FENCED)
        if self.action.fenced_compensation and memory is Memory.NOTHING:
            memory = Memory.FENCED
        # Undoing what is undone already, under another req_id or without memory, is done again.
        if ledger.effects:
            undone = more(undone)
        undo_memory = Memory.DONE if is_remembered else ledger.undo_memory
        return ledger._replace(memory=memory, undone=undone, undo_memory=undo_memory)

    def undo_refuse(self, ledger: Ledger) -> Ledger | None:
        """The undo arrives and is refused."""
        if ledger.undo_memory is Memory.DONE:
            return None
        if ledger.undo_memory is Memory.NOTHING and self.undo.sticky_failures:
            return ledger._replace(undo_memory=Memory.REFUSED)
        return ledger

    def undo_lose(self, ledger: Ledger) -> Ledger | None:
        """Nothing is heard of the undo in flight: it may arrive later."""
        return ledger._replace(undo_late=1 if self.is_undo_steady else more(ledger.undo_late))

    def undo_answer_late(self, ledger: Ledger) -> Ledger | None:
        """The success of an undo that was given up is heard after all."""
        is_known = ledger.undo_memory is Memory.DONE
        if is_known or (not self.undo.dedupe and ledger.undone):
            return ledger
        return self.undo_arrive_late(ledger)

    def undo_arrive_late(self, ledger: Ledger) -> Ledger | None:
        """A copy of the undo that was given up arrives and takes effect."""
        if not ledger.undo_late or ledger.undo_memory is not Memory.NOTHING:
            return None
        return self.undo_done(ledger._replace(undo_late=ledger.undo_late - 1))

    def undo_arrive_stray(self, ledger: Ledger) -> Ledger | None:
        """A copy of an undo under a req_id that was given up arrives and takes effect."""
        if not ledger.undo_stray:
            return None
        return self._take_back(ledger._replace(undo_stray=ledger.undo_stray - 1), False)

    def undo_renew(self, ledger: Ledger) -> Ledger | None:
        """The undo is ordered anew under another req_id."""
        stray = min(ledger.undo_stray + ledger.undo_late, COPIES_MAX)
        return ledger._replace(undo_memory=Memory.NOTHING, undo_late=0, undo_stray=stray)

    def undo_forget(self, ledger: Ledger) -> Ledger | None:
        """The retention of the undo's tool is over."""
        return ledger._replace(undo_memory=Memory.NOTHING, undo_late=0)

    # People.

    def accept(self, ledger: Ledger) -> Ledger | None:
        """A person settles the step: whatever is left of it may stay."""
        return Ledger(is_accepted=True)

    def vouch(self, ledger: Ledger) -> Ledger | None:
        """A person vouches that the effect is there, if need be brought about by hand."""
        return ledger if ledger.left > 0 else Ledger(is_vouched=True)

    def amend(self, ledger: Ledger) -> Ledger | None:
        """The calls that a person supplied are done."""
        return Ledger(is_amended=True)

    def witness(self, ledger: Ledger) -> Ledger | None:
        """A person sees the effect; nobody vouches for what is not there."""
        is_there = ledger.left > 0 or ledger.is_vouched
        return ledger if is_there else self.arrive_late(ledger)


def _is_steady(contract: ToolContract) -> bool:
    return contract.dedupe and contract.sticky_failures and contract.retention_s is None


_ACTS: Mapping[Act, Callable[[StepWorld, Ledger], Ledger | None]] = {
    Act.SEND: StepWorld.send,
    Act.DO: StepWorld.do,
    Act.REFUSE: StepWorld.refuse,
    Act.LOSE: StepWorld.lose,
    Act.ANSWER_LATE: StepWorld.answer_late,
    Act.ARRIVE_LATE: StepWorld.arrive_late,
    Act.ARRIVE_STRAY: StepWorld.arrive_stray,
    Act.RENEW: StepWorld.renew,
    Act.CLOSE: StepWorld.close,
    Act.FORGET: StepWorld.forget,
    Act.FIND_DONE: StepWorld.find_done,
    Act.FIND_REFUSED: StepWorld.find_refused,
    Act.FIND_ABSENT: StepWorld.find_absent,
    Act.UNDO_SEND: StepWorld.undo_send,
    Act.UNDO: StepWorld.undo_done,
    Act.UNDO_REFUSE: StepWorld.undo_refuse,
    Act.UNDO_LOSE: StepWorld.undo_lose,
    Act.UNDO_ANSWER_LATE: StepWorld.undo_answer_late,
    Act.UNDO_ARRIVE_LATE: StepWorld.undo_arrive_late,
    Act.UNDO_ARRIVE_STRAY: StepWorld.undo_arrive_stray,
    Act.UNDO_RENEW: StepWorld.undo_renew,
    Act.UNDO_FORGET: StepWorld.undo_forget,
    Act.ACCEPT: StepWorld.accept,
    Act.AMEND: StepWorld.amend,
    Act.WITNESS: StepWorld.witness,
    Act.VOUCH: StepWorld.vouch,
}
_PEOPLE_ACTS = frozenset({Act.ACCEPT, Act.VOUCH, Act.AMEND, Act.WITNESS})
# What needs an effect, and so cannot happen to a step that has none.
_EFFECT_ACTS = frozenset({*LATE_ACTS, Act.FIND_DONE, Act.FIND_REFUSED, Act.FIND_ABSENT})
