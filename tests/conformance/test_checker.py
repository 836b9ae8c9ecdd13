"""The checker of histories itself: what it must accept, and above all what it must refuse."""

from __future__ import annotations

import itertools
import random
from collections.abc import Hashable, Sequence

import pytest

from tests.support.linearizable import (
    NEVER,
    Model,
    Operation,
    TooManyStepsError,
    find_impossible,
)

Register = int | None


def _next(value: Register, what: Hashable) -> Register | None:
    """A register: ``("w", 3)`` writes 3, ``("r", 3)`` has read 3, ``("cas", 3, 4)`` swapped."""
    match what:
        case ("w", int() as written):
            return written
        case ("r", seen):
            return value if seen == value else None
        case ("cas", old, int() as new):
            return new if old == value else None
        case _:
            raise TypeError(what)


REGISTER: Model[Register] = Model(0, _next)


def op(called_at: float, returned_at: float, *what: Hashable, key: str = "x") -> Operation:
    return Operation(key, what, called_at, returned_at)


POSSIBLE = {
    "nothing": [],
    "one after the other": [op(0, 1, "w", 1), op(2, 3, "r", 1)],
    "a read beside a write sees the old value": [op(0, 9, "w", 1), op(1, 2, "r", 0)],
    "a read beside a write sees the new value": [op(0, 9, "w", 1), op(1, 2, "r", 1)],
    "first old, then new, beside one write": [
        op(0, 9, "w", 1),
        op(1, 2, "r", 0),
        op(3, 4, "r", 1),
    ],
    "two writes side by side, in either order": [
        op(0, 9, "w", 1),
        op(0, 9, "w", 2),
        op(1, 2, "r", 2),
        op(3, 4, "r", 1),
    ],
    "an unknown write that never happened": [op(0, NEVER, "w", 1), op(1, 2, "r", 0)],
    "an unknown write that happened late": [
        op(0, NEVER, "w", 1),
        op(1, 2, "r", 0),
        op(8, 9, "r", 1),
    ],
    "an unknown write that happened after the last read": [
        op(0, NEVER, "w", 1),
        op(1, 2, "w", 2),
        op(3, 4, "r", 2),
    ],
    "two keys do not touch each other": [
        op(0, 1, "w", 1, key="x"),
        op(2, 3, "r", 0, key="y"),
    ],
    "calls at the moment of a return are side by side": [op(0, 1, "w", 1), op(1, 2, "r", 0)],
    "a long way back from a wrong beginning": [
        *(op(0, 9, "w", number) for number in range(1, 6)),
        op(10, 11, "r", 3),
    ],
}

IMPOSSIBLE = {
    "a stale read": [op(0, 1, "w", 1), op(2, 3, "r", 0)],
    "a value that nobody wrote": [op(0, 1, "w", 1), op(2, 3, "r", 7)],
    "a read of what is written later": [op(0, 1, "r", 1), op(2, 3, "w", 1)],
    "a lost write": [op(0, 1, "w", 1), op(2, 3, "w", 2), op(4, 5, "r", 1)],
    "first new, then old, beside one write": [
        op(0, 9, "w", 1),
        op(1, 2, "r", 1),
        op(3, 4, "r", 0),
    ],
    "two readers that see two orders": [
        op(0, 1, "w", 1),
        op(0, 1, "w", 2),
        op(2, 3, "r", 1),
        op(4, 5, "r", 2),
    ],
    "two swaps of one value": [op(0, 9, "cas", 0, 1), op(0, 9, "cas", 0, 2)],
    "an unknown write that came and went": [
        op(0, NEVER, "w", 1),
        op(1, 2, "r", 1),
        op(3, 4, "r", 0),
    ],
    "an unknown write that is seen before it was called": [
        op(0, 1, "r", 1),
        op(2, NEVER, "w", 1),
    ],
    "the second key is wrong": [
        op(0, 1, "w", 1, key="x"),
        op(2, 3, "r", 1, key="x"),
        op(0, 1, "w", 1, key="y"),
        op(2, 3, "r", 0, key="y"),
    ],
}


@pytest.mark.parametrize("history", POSSIBLE.values(), ids=POSSIBLE)
def test_what_could_have_happened_in_turn_is_accepted(history: list[Operation]) -> None:
    for order in itertools.islice(itertools.permutations(history), 24):
        assert find_impossible(order, REGISTER) is None


@pytest.mark.parametrize("history", IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_what_could_not_have_happened_in_turn_is_refused(history: list[Operation]) -> None:
    for order in itertools.islice(itertools.permutations(history), 24):
        assert find_impossible(order, REGISTER) is not None


def test_a_refusal_names_the_key_how_far_it_goes_and_what_does_not_fit() -> None:
    history = [op(0, 1, "w", 1, key="y"), op(2, 3, "r", 1, key="y"), op(4, 5, "r", 0, key="y")]
    found = find_impossible(history, REGISTER)
    assert found is not None
    assert (found.key, list(found.reached), list(found.stuck)) == ("y", history[:2], history[2:])
    assert "none of these could come next" in str(found)


def test_an_operation_that_returns_before_it_was_called_is_no_history() -> None:
    with pytest.raises(ValueError, match="before it was called"):
        find_impossible([op(2, 1, "w", 1)], REGISTER)


def test_a_search_that_takes_too_long_says_so_and_decides_nothing() -> None:
    history = [op(0, 9, "w", number) for number in range(1, 12)] + [op(10, 11, "r", 99)]
    with pytest.raises(TooManyStepsError):
        find_impossible(history, REGISTER, steps_max=500)


def is_possible_by_trying_all_orders(history: Sequence[Operation]) -> bool:
    """The same question, answered as plainly as can be."""
    known = [operation for operation in history if operation.returned_at != NEVER]
    unknown = [operation for operation in history if operation.returned_at == NEVER]
    for count in range(len(unknown) + 1):
        for some in itertools.combinations(unknown, count):
            for order in itertools.permutations([*known, *some]):
                if _fits(order):
                    return True
    return False


def _fits(order: Sequence[Operation]) -> bool:
    for before, after in itertools.combinations(order, 2):
        if after.returned_at < before.called_at:
            return False
    value: Register | None = REGISTER.start
    for operation in order:
        assert value is not None
        value = _next(value, operation.what)
        if value is None:
            return False
    return True


def test_small_histories_are_judged_as_by_trying_all_orders() -> None:
    chance = random.Random(20_261_122)
    verdicts = {True: 0, False: 0}
    for _ in range(600):
        history = []
        for _ in range(chance.randint(1, 5)):
            called_at = chance.randint(0, 6)
            is_known = chance.random() < 0.8
            returned_at = called_at + chance.randint(0, 4) if is_known else NEVER
            kind = chance.choice("wrr") if is_known else "w"
            history.append(op(called_at, returned_at, kind, chance.randint(0, 2)))
        is_possible = is_possible_by_trying_all_orders(history)
        assert (find_impossible(history, REGISTER) is None) == is_possible, history
        verdicts[is_possible] += 1
    assert min(verdicts.values()) > 100
