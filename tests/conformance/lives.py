"""What sagas, terms and commands do when operations come one after the other: three models.

A saga's name ends with ``!`` where it comes to its end; only then may it be removed. What may have
had an effect or not stands in the history without a return, as an operation that fits only where
it changes something: what changes nothing needs no place in the order.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import NamedTuple

from tests.conformance.histories import Loaded, Names, Refused, Shown
from tests.support.linearizable import Model

END = "!"


class Life(NamedTuple):
    """A saga: what is in its journal, and the newest epoch that has written it or removed it."""

    names: Names = ()
    epoch: int = 0

    @property
    def is_final(self) -> bool:
        """True once it has come to its end."""
        return bool(self.names) and self.names[-1].endswith(END)


class Added(NamedTuple):
    """An append of a term that was acknowledged, or of unknown outcome."""

    position: int
    names: Names
    epoch: int


class Removed(NamedTuple):
    """A removal that was acknowledged; what is not there is removed as well."""

    position: int
    epoch: int


class MayBeRemoved(NamedTuple):
    """A removal of unknown outcome."""

    position: int
    epoch: int


class NotRemoved(NamedTuple):
    """A removal that was refused for what the saga is."""

    position: int


def _next_life(life: Life, what: Hashable) -> Life | None:
    names = life.names
    match what:
        case Added(position, added, epoch):
            fits = position == len(names) and epoch >= life.epoch
            return Life(names + added, epoch) if fits else None
        case Removed(position, epoch) | MayBeRemoved(position, epoch):
            if not names:
                return life if isinstance(what, Removed) else None
            fits = life.is_final and position == len(names) and epoch >= life.epoch
            return Life((), epoch) if fits else None
        case NotRemoved(position):
            fits = bool(names) and not (life.is_final and position == len(names))
        case Refused(position, found):
            fits = position != len(names) and found == (len(names) or None)
        case Loaded(seen):
            fits = seen == (names or None)
        case Shown(position, last):
            fits = (position, last) == ((len(names), names[-1]) if names else (None, None))
        case _:
            raise TypeError(what)
    return life if fits else None


LIVES: Model[Life] = Model(Life(), _next_life)


class Won(NamedTuple):
    """A term was won; it was called when its winner first tried."""

    epoch: int


class Wrote(NamedTuple):
    """A write of a term was accepted, to whichever saga of the shard."""

    epoch: int


def _next_term(epoch: int, what: Hashable) -> int | None:
    """A shard: from the moment that a term is won, no write of an earlier one is accepted."""
    match what:
        case Won(new):
            return new if new > epoch else None
        case Wrote(of):
            return epoch if of == epoch else None
        case _:
            raise TypeError(what)


TERMS: Model[int] = Model(0, _next_term)


class Posted(NamedTuple):
    """A command was left; for certain or perhaps."""


class Answered(NamedTuple):
    """An answer was acknowledged: it stands, or one before it does."""

    answer: str


class MayBeAnswered(NamedTuple):
    """An answer of unknown outcome."""

    answer: str


class Listed(NamedTuple):
    """Whether the command was among those that wait for an answer."""

    is_listed: bool


class Told(NamedTuple):
    """The answer that was seen; None if there was none."""

    answer: str | None


ABSENT = "absent"
OPEN = "open"


def _next_command(state: str, what: Hashable) -> str | None:
    match what:
        case Posted():
            return OPEN if state == ABSENT else None
        case Answered(answer) | MayBeAnswered(answer):
            if state == OPEN:
                return f"={answer}"
            return state if state != ABSENT and isinstance(what, Answered) else None
        case Listed(is_listed):
            fits = is_listed == (state == OPEN)
        case Told(None):
            fits = state in (ABSENT, OPEN)
        case Told(answer):
            fits = state == f"={answer}"
        case _:
            raise TypeError(what)
    return state if fits else None


COMMANDS: Model[str] = Model(ABSENT, _next_command)
