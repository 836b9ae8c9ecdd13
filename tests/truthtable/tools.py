"""The tool of one step, as it really behaves: with or without each of the habits that matter.

``fsm_saga.core.contract`` says what a tool promises; this says what it does. The two differ in the
rows of the truth table that have a tool which breaks its word.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

DONE, REFUSED, FENCED = "done", "refused", "fenced"

DO, CHECK, UNDO = "do", "check", "undo"


@dataclass(frozen=True, kw_only=True)
class Habits:
    """What a tool does with calls that come again, late, or after their undo.

    Attributes:
        dedupes: A repeated key gets the first answer and has no second effect.
        keeps_refusals: A refusal is remembered too.
        fences_undo: The undo of a key that never came leaves a tombstone.
        undo_forgets: The undo drops what was remembered of the key that it undoes.
        fences_once: The tombstone goes when the first late copy has run into it.
        collects: What is remembered may be dropped while a copy is still on its way.
        collects_late: The same, once no copy of any call can be on its way any more.
        has_deadline: Calls that arrive after their time are refused.
        answers_checks: It says what became of a key.
        check_fences: Whoever asks about a key that never came leaves a tombstone.
    """

    dedupes: bool = True
    keeps_refusals: bool = True
    fences_undo: bool = False
    undo_forgets: bool = False
    fences_once: bool = False
    collects: bool = False
    collects_late: bool = False
    has_deadline: bool = False
    answers_checks: bool = False
    check_fences: bool = False


class Ledger(NamedTuple):
    """What the tool has done for the one step, and what it remembers.

    ``memory`` has what it knows of each key of the action, sorted by key.
    """

    memory: tuple[tuple[str, str], ...] = ()
    effects: int = 0
    undone: int = 0
    knows_undo: bool = False

    def of(self, key: str) -> str | None:
        """Return what is remembered of a key."""
        return dict(self.memory).get(key)

    def with_memory(self, key: str, word: str | None) -> Ledger:
        """Return the ledger that remembers ``word`` of the key, or nothing of it."""
        memory = {**dict(self.memory), key: word}
        return self._replace(memory=tuple(sorted((k, w) for k, w in memory.items() if w)))


class Answer(NamedTuple):
    """One way in which a call can end at the tool.

    ``words`` is what a trace says; ``reply`` is ``ok``, ``rejected``, or what a check says.
    """

    words: str
    reply: str
    ledger: Ledger


def answers(habits: Habits, ledger: Ledger, call: str, key: str, *, is_late: bool) -> list[Answer]:
    """Return every way in which a call that arrives now can end.

    Args:
        habits: What the tool is like.
        ledger: What it did and knows so far.
        call: ``do``, ``check`` or ``undo``.
        key: The key of the action that is to be done, asked about or undone.
        is_late: The action's time is over.
    """
    match call:
        case "do":
            return _do(habits, ledger, key, is_late=is_late)
        case "check":
            return [_check(habits, ledger, key)]
        case _:
            return [_undo(habits, ledger, key)]


def _do(habits: Habits, ledger: Ledger, key: str, *, is_late: bool) -> list[Answer]:
    match ledger.of(key):
        case "done" if habits.dedupes:
            return [Answer("arrives and is answered as before", "ok", ledger)]
        case "refused" if habits.keeps_refusals:
            return [Answer("arrives and is refused as before", "rejected", ledger)]
        case "fenced":
            after = ledger.with_memory(key, None) if habits.fences_once else ledger
            return [Answer("arrives and is kept out by the tombstone", "rejected", after)]
        case _:
            pass
    if is_late and habits.has_deadline:
        return [Answer("arrives after its time and is refused", "rejected", ledger)]
    done = ledger._replace(effects=ledger.effects + 1)
    done = done.with_memory(key, DONE) if habits.dedupes else done
    refused = ledger.with_memory(key, REFUSED) if habits.keeps_refusals else ledger
    return [
        Answer("arrives and takes effect", "ok", done),
        Answer("arrives and is refused", "rejected", refused),
    ]


def _check(habits: Habits, ledger: Ledger, key: str) -> Answer:
    if ledger.effects > ledger.undone:
        return Answer("finds it done", DONE, ledger)
    if ledger.of(key) == REFUSED:
        return Answer("finds it refused", REFUSED, ledger)
    if habits.check_fences:
        fenced = ledger.with_memory(key, FENCED)
        return Answer("finds nothing and leaves a tombstone", "absent", fenced)
    return Answer("finds nothing", "absent", ledger)


def _undo(habits: Habits, ledger: Ledger, key: str) -> Answer:
    if ledger.knows_undo:
        return Answer("arrives and is answered as before", "ok", ledger)
    known = ledger._replace(knows_undo=True)
    if ledger.effects > ledger.undone:
        undone = known._replace(undone=ledger.undone + 1)
        if habits.undo_forgets:
            undone = undone.with_memory(key, None)
        return Answer("arrives and takes the effect back", "ok", undone)
    if habits.fences_undo and ledger.of(key) is None:
        fenced = known.with_memory(key, FENCED)
        return Answer("arrives before its original and leaves a tombstone", "ok", fenced)
    return Answer("arrives and finds nothing to take back", "ok", known)


def forgotten(habits: Habits, ledger: Ledger) -> Ledger | None:
    """Return the ledger after the tool tidied up, or None if it never does or has nothing to."""
    if not habits.collects or not ledger.memory:
        return None
    return ledger._replace(memory=())
