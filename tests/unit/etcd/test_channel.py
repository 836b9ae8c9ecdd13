"""Which endpoint is used, and when another."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from fsm_saga.etcd.channel import (
    CHANNEL_OPTIONS,
    REST_S_MAX,
    REST_S_MIN,
    Endpoints,
    EtcdOptions,
)


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def three(clock: Clock) -> AsyncIterator[Endpoints]:
    endpoints = Endpoints(EtcdOptions(endpoints=("a:1", "b:1", "c:1")), clock=clock)
    yield endpoints
    await endpoints.close()


async def test_the_first_endpoint_is_used_until_it_fails(three: Endpoints) -> None:
    assert three.current.address == "a:1"
    three.report_answer(three.current)
    assert three.current.address == "a:1"
    three.report_failure(three.current)
    assert three.current.address == "b:1"


async def test_a_failure_of_another_endpoint_moves_nobody(three: Endpoints) -> None:
    first = three.current
    three.report_failure(first)
    three.report_failure(first)  # a second call that failed by the same fault, later
    assert three.current.address == "b:1"
    assert first.failures == 1


async def test_an_endpoint_that_failed_rests_longer_each_time(
    three: Endpoints, clock: Clock
) -> None:
    first = three.all[0]
    rests = []
    for _ in range(7):
        clock.now = first.rest_until + 1
        three.report_failure(first)
        rests.append(first.rest_until - clock.now)
    assert rests[:3] == [REST_S_MIN, 2 * REST_S_MIN, 4 * REST_S_MIN]
    assert rests[-1] == REST_S_MAX
    three.report_answer(first)
    assert (first.failures, first.rest_until) == (0, 0.0)


async def test_resting_endpoints_are_passed_over_unless_all_rest(
    three: Endpoints, clock: Clock
) -> None:
    a, b, c = three.all
    three.report_failure(b)
    three.report_failure(a)
    assert three.current is c
    clock.now += 0.1
    three.report_failure(c)
    assert three.current is a or three.current is b  # the one whose rest ends first
    assert three.current.rest_until == min(each.rest_until for each in three.all)


async def test_one_endpoint_alone_is_used_although_it_failed(clock: Clock) -> None:
    alone = Endpoints(EtcdOptions(endpoints=("a:1",)), clock=clock)
    alone.report_failure(alone.current)
    assert alone.current.address == "a:1"
    await alone.close()


def test_grpc_itself_never_repeats_a_call_and_pings_as_etcd_allows() -> None:
    options = dict(CHANNEL_OPTIONS)
    assert options["grpc.enable_retries"] == 0
    assert options["grpc.keepalive_time_ms"] >= 5_000
    assert options["grpc.max_receive_message_length"] == -1


def test_options_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        EtcdOptions(endpoints=())
    with pytest.raises(ValueError, match="above 0"):
        EtcdOptions(endpoints=("a:1",), try_timeout_s=0)
