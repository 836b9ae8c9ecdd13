"""The models of sagas, terms and commands: what they must accept, and above all must refuse."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import pytest

from tests.conformance.histories import Loaded, Refused, Shown
from tests.conformance.lives import (
    COMMANDS,
    LIVES,
    TERMS,
    Added,
    Answered,
    Listed,
    MayBeAnswered,
    MayBeRemoved,
    NotRemoved,
    Posted,
    Removed,
    Told,
    Won,
    Wrote,
)
from tests.support.linearizable import NEVER, Model, Operation, find_impossible


def in_turn(*whats: Hashable) -> list[Operation]:
    """Return operations that come one after the other."""
    return [Operation("x", what, 2 * at, 2 * at + 1) for at, what in enumerate(whats)]


def in_doubt(at: float, what: Hashable) -> Operation:
    return Operation("x", what, at, NEVER)


A = Added(0, ("a",), 1)
END = Added(1, ("b!",), 1)

POSSIBLE: dict[str, tuple[Model[Any], list[Operation]]] = {
    "a saga that lives twice": (
        LIVES,
        in_turn(A, END, Shown(2, "b!"), Removed(2, 1), Loaded(None), A, Loaded(("a",))),
    ),
    "a removal of what is not there": (LIVES, in_turn(Removed(2, 1), Loaded(None))),
    "a removal in doubt that happened": (
        LIVES,
        [*in_turn(A, END, Loaded(None)), in_doubt(3.5, MayBeRemoved(2, 1))],
    ),
    "a removal in doubt that did not": (
        LIVES,
        [*in_turn(A, END, Loaded(("a", "b!"))), in_doubt(3.5, MayBeRemoved(2, 1))],
    ),
    "a removal refused, for it has not ended": (LIVES, in_turn(A, NotRemoved(1))),
    "a removal refused, for it has grown": (LIVES, in_turn(A, END, NotRemoved(1))),
    "a write of a newer term": (LIVES, in_turn(A, Added(1, ("c",), 2))),
    "two terms": (TERMS, in_turn(Won(3), Wrote(3), Won(5), Wrote(5))),
    "two terms that overlap until the later is won": (
        TERMS,
        [*in_turn(Won(3), Wrote(3), Wrote(3), Wrote(5)), Operation("x", Won(5), 0.5, 6.5)],
    ),
    "a command that is answered twice, and the first answer stands": (
        COMMANDS,
        in_turn(Posted(), Listed(True), Answered("p"), Answered("q"), Told("p"), Listed(False)),
    ),
    "a command in doubt that was left": (COMMANDS, [in_doubt(0, Posted()), *in_turn(Listed(True))]),
    "an answer in doubt that was kept": (
        COMMANDS,
        [*in_turn(Posted(), Told(None), Told("p")), in_doubt(0.5, MayBeAnswered("p"))],
    ),
}

IMPOSSIBLE: dict[str, tuple[Model[Any], list[Operation]]] = {
    "two appends at one position": (LIVES, in_turn(A, Added(0, ("c",), 1))),
    "an older term after a newer one": (
        LIVES,
        in_turn(A, Added(1, ("c",), 2), Added(2, ("d",), 1)),
    ),
    "an older term in doubt, seen after a newer one wrote": (
        LIVES,
        [
            *in_turn(A, Added(1, ("c",), 2), Loaded(("a", "c", "d"))),
            in_doubt(0, Added(2, ("d",), 1)),
        ],
    ),
    "an older term removes what a newer one has written": (
        LIVES,
        in_turn(A, Added(1, ("b!",), 2), Removed(2, 1)),
    ),
    "a saga that is back": (LIVES, in_turn(A, END, Removed(2, 1), Loaded(("a", "b!")))),
    "a head of a removed saga": (LIVES, in_turn(A, END, Removed(2, 1), Shown(2, "b!"))),
    "a removal of what has not ended": (LIVES, in_turn(A, Removed(1, 1))),
    "a removal of what has grown": (LIVES, in_turn(A, END, Removed(1, 1))),
    "a removal in doubt of what has not ended": (
        LIVES,
        [*in_turn(A, Loaded(None)), in_doubt(1.5, MayBeRemoved(1, 1))],
    ),
    "a removal refused of what has ended just so": (LIVES, in_turn(A, END, NotRemoved(2))),
    "a removal refused of what is not there": (LIVES, in_turn(NotRemoved(0))),
    "a conflict where there is none": (LIVES, in_turn(A, Refused(1, 1))),
    "a write of a term that another has ended": (TERMS, in_turn(Won(3), Won(5), Wrote(3))),
    "a write after the first write of a later term that was won meanwhile": (
        TERMS,
        [*in_turn(Won(3), Wrote(5), Wrote(3)), Operation("x", Won(5), 0.5, 9)],
    ),
    "a term of an epoch that was there": (TERMS, in_turn(Won(3), Won(3))),
    "a write of a term that nobody won": (TERMS, in_turn(Won(3), Wrote(4))),
    "an acknowledged command that vanishes": (COMMANDS, in_turn(Posted(), Listed(False))),
    "a command that nobody left": (COMMANDS, in_turn(Listed(True))),
    "two answers": (
        COMMANDS,
        in_turn(Posted(), Answered("p"), Answered("q"), Told("q")),
    ),
    "an answer that changes": (
        COMMANDS,
        [
            *in_turn(Posted(), Told("p"), Told("q")),
            in_doubt(0, MayBeAnswered("p")),
            in_doubt(0, MayBeAnswered("q")),
        ],
    ),
    "an answer that is forgotten": (COMMANDS, in_turn(Posted(), Answered("p"), Told(None))),
    "a command that waits although it was answered": (
        COMMANDS,
        in_turn(Posted(), Answered("p"), Listed(True)),
    ),
}


@pytest.mark.parametrize(("model", "history"), POSSIBLE.values(), ids=POSSIBLE)
def test_what_a_store_may_do_is_accepted(model: Model[Any], history: list[Operation]) -> None:
    assert find_impossible(history, model) is None


@pytest.mark.parametrize(("model", "history"), IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_what_no_store_may_do_is_refused(model: Model[Any], history: list[Operation]) -> None:
    assert find_impossible(history, model) is not None


@pytest.mark.parametrize("model", [LIVES, TERMS, COMMANDS])
def test_what_a_model_does_not_know_is_an_error(model: Model[Any]) -> None:
    with pytest.raises(TypeError):
        find_impossible(in_turn("something"), model)
