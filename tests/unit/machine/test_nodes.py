from __future__ import annotations

import pytest

from fsm_saga.core.saga import Saga
from fsm_saga.machine import nodes
from fsm_saga.machine.ledger import EMPTY, Act, Ledger
from fsm_saga.machine.normal import Key, Normaliser, permuted
from tests.support.play import Play

BESIDE = "1 a / ua ; after=-\n2 b / ub ; after=-"


def test_what_a_change_of_places_leads_to_is_worked_out_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[tuple[int, ...]] = []

    def counted(
        saga: Saga, key: Key, order: tuple[int, ...], names: Normaliser
    ) -> tuple[Saga, Key]:
        made.append(order)
        return permuted(saga, key, order, names)

    monkeypatch.setattr(nodes, "permuted", counted)
    play = Play(BESIDE)
    play.ok(1)
    known = nodes.Nodes()
    here = known.first(play.saga)
    there = known.in_order(here, (1, 0))
    assert known.in_order(here, (1, 0)) is there is not here
    assert made == [(1, 0)]
    assert known.in_order(there, (1, 0)) is here


def test_equal_sagas_share_a_node_and_equal_ledgers_a_number() -> None:
    one, other = Play(BESIDE), Play(BESIDE)
    known = nodes.Nodes()
    assert known.first(one.saga) is known.first(other.saga)
    one.ok(1)
    other.ok(2)
    assert known.first(one.saga) is not known.first(other.saga)
    assert [node.number for node in known.all] == [0, 1, 2]
    ledgers = nodes.Ledgers()
    numbers = [ledgers.number(each) for each in (EMPTY, Ledger(late=1), Ledger())]
    assert numbers == [0, 1, 0]
    assert ledgers.of == [EMPTY, Ledger(late=1)]


@pytest.mark.parametrize(
    ("act", "words"),
    [
        (Act.ARRIVE_LATE, "a late copy arrives and takes effect"),
        (Act.ARRIVE_STRAY, "a late copy of a call that was given up takes effect"),
        (Act.UNDO_ARRIVE_LATE, "a late copy of the undo arrives and takes effect"),
        (Act.UNDO_ARRIVE_STRAY, "a late copy of an undo that was given up takes effect"),
    ],
)
def test_a_copy_that_arrives_late_is_told_of(act: Act, words: str) -> None:
    assert nodes.Late(3, act).what == words
