from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from functools import partial

import pytest

from fsm_saga.simulation.workers import (
    Stopped,
    WorkerDiedError,
    WorkerFailedError,
    core_count,
    spread,
)

KILLED_AT = 7


def double(number: int) -> int:
    return 2 * number


def slow_at_first(number: int) -> int:
    time.sleep(0.01 if number == 0 else 0.0)
    return number


def dies(number: int, how: int) -> int:
    if number == KILLED_AT:
        if how:
            os.kill(os.getpid(), how)
        os._exit(3)
    return number


class OddError(Exception):
    """Cannot be made again from its arguments."""

    def __init__(self, one: int, other: int) -> None:
        super().__init__(f"{one} and {other}")


def fails(number: int) -> int:
    raise OddError(number, number)


def endless() -> Iterator[int]:
    number = 0
    while True:
        yield number
        number += 1


def nobody_is_left() -> bool:
    return not multiprocessing.active_children()


@pytest.mark.parametrize("jobs", [1, 2, 5])
def test_results_come_in_the_order_of_the_items(jobs: int) -> None:
    assert list(spread(double, range(30), jobs=jobs)) == [2 * number for number in range(30)]
    assert nobody_is_left()


def test_a_slow_item_holds_up_none_but_the_results_after_it() -> None:
    assert list(spread(slow_at_first, range(200), jobs=2)) == list(range(200))


def test_there_may_be_nothing_to_do() -> None:
    assert list(spread(double, [], jobs=3)) == []


def test_beside_another_thread_workers_are_not_forked_and_do_the_same() -> None:
    enough = threading.Event()
    other = threading.Thread(target=enough.wait)
    other.start()
    try:
        assert list(spread(double, range(5), jobs=1)) == [0, 2, 4, 6, 8]
    finally:
        enough.set()
        other.join()
    assert nobody_is_left()


@pytest.mark.parametrize(("how", "code"), [(0, 3), (signal.SIGKILL, -signal.SIGKILL)])
def test_a_worker_that_dies_is_told_with_what_it_worked_on(how: int, code: int) -> None:
    with pytest.raises(WorkerDiedError) as told:
        list(spread(partial(dies, how=how), range(20), jobs=2))

    assert (told.value.item, told.value.exit_code) == (KILLED_AT, code)
    assert nobody_is_left()


def test_what_a_worker_raises_is_told_whatever_it_is() -> None:
    with pytest.raises(WorkerFailedError, match="OddError: 0 and 0"):
        list(spread(fails, range(3), jobs=1))
    assert nobody_is_left()


def test_whoever_has_enough_gets_no_more_and_leaves_no_worker() -> None:
    found: list[int] = []

    def has_enough() -> bool:
        return len(found) >= 5

    results = spread(double, endless(), jobs=2, should_stop=has_enough)
    with pytest.raises(Stopped):
        found.extend(results)

    assert found[:5] == [0, 2, 4, 6, 8]
    assert nobody_is_left()


def test_whoever_goes_away_leaves_no_worker() -> None:
    results = spread(double, endless(), jobs=2)
    assert next(results) == 0
    results.close()  # type: ignore[attr-defined]  # it is a generator

    assert nobody_is_left()


def test_there_is_a_core() -> None:
    assert core_count() >= 1
