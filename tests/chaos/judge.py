"""What the sagas claim, held against the shop's books."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from msgspec import Struct

from fsm_saga.ports import Head
from tests.chaos.shop import Books

STEPS = ("1", "2", "3")


class Verdict(Struct, frozen=True, kw_only=True):
    """What a run came to.

    Attributes:
        states: How many sagas of the round ended in each state.
        useful: How many sagas ended after the first fault of the round had struck.
        wrong: Everything that must never be, in words; empty if all is well.
        repeated: Calls that have come to the shop more than once, since the town began.
        refused_late: Calls that came after their undo, since then.
    """

    states: Mapping[str, int]
    useful: int
    wrong: Sequence[str]
    repeated: int
    refused_late: int


def judge(
    asked: Sequence[str], heads: Mapping[str, Head], books: Books, *, since: int, useful: int
) -> Verdict:
    """Return what is true of the sagas that were asked for; ``since`` is the round's first one.

    DONE has each effect once, FAILED has none left, no saga is missing, and no effect belongs to
    a saga that nobody asked for.
    """
    wrong = list(books.wrong)
    for saga_id in asked:
        head = heads.get(saga_id)
        left = [len(books.effects.get((saga_id, step), ())) for step in STEPS]
        if head is None:
            wrong.append(f"{saga_id} is lost; the shop has {left}")
        elif head.state == "DONE" and left != [1, 1, 1]:
            wrong.append(f"{saga_id} is DONE and the shop has {left}")
        elif head.state == "FAILED" and left != [0, 0, 0]:
            wrong.append(f"{saga_id} is FAILED and the shop has {left}")
    strangers = {saga_id for saga_id, _ in books.effects} - set(asked)
    wrong += [f"{saga_id} has effects and nobody asked for it" for saga_id in sorted(strangers)]
    return Verdict(
        states=Counter(heads[saga_id].state for saga_id in asked[since:] if saga_id in heads),
        useful=useful,
        wrong=wrong,
        repeated=sum(count > 1 for count in books.asked.values()),
        refused_late=sum(status == 409 for status, _ in books.answers.values()),
    )
