"""From when on the space that an etcd member takes is worth a word."""

from __future__ import annotations

import pytest

from fsm_saga.etcd.data import EndpointStatus
from fsm_saga.stores.etcd_look import MIB, _member, _warnings

GIB = 1024 * MIB


def of_size(mib: int) -> EndpointStatus:
    return EndpointStatus(endpoint="a:1", version="3.5.30", leader_id=1, db_size=mib * MIB)


@pytest.mark.parametrize(
    ("mib", "quota", "words"),
    [
        (12, 16 * MIB, ""),
        (13, 16 * MIB, "13.0 MiB of the 16.0 MiB that its quota allows"),
        (1700, 8 * GIB, ""),
        (1500, None, ""),
        (1700, None, "2,048 is what etcd takes unless it was given another quota"),
        (9000, -1, ""),
    ],
)
def test_three_quarters_of_the_quota_are_worth_a_word(
    mib: int, quota: int | None, words: str
) -> None:
    said = "".join(message for message, _advice in _warnings(of_size(mib), quota))
    assert (words in said) if words else not said


@pytest.mark.parametrize(
    ("quota", "words"),
    [(16 * MIB, "quota 16.0 MiB"), (-1, "no quota"), (None, "quota not told")],
)
def test_what_is_not_told_is_said_not_to_be(quota: int | None, words: str) -> None:
    assert words in _member(of_size(1), quota)
