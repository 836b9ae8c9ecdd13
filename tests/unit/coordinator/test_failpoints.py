from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from fsm_saga.coordinator import failpoints
from fsm_saga.errors import CommandError


@pytest.fixture
def kills(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[int, int]]]:
    """Collect the signals instead of dying of them; disarm afterwards."""
    sent: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: sent.append((pid, number)))
    yield sent
    failpoints.arm("")


def test_nothing_is_armed_without_the_variable() -> None:
    assert failpoints.VARIABLE not in os.environ
    assert not failpoints.is_armed


def test_the_nth_pass_kills_and_no_other(kills: list[tuple[int, int]]) -> None:
    failpoints.arm("after_append:2:kill")
    assert failpoints.is_armed
    for name in ("before_call", "after_append", "before_append", "before_call"):
        failpoints.failpoint(name)
    assert kills == []
    failpoints.failpoint("after_append")
    assert kills == [(os.getpid(), signal.SIGKILL)]
    failpoints.failpoint("after_append")
    assert len(kills) == 1


def test_the_nth_pass_may_stop_the_process_instead(kills: list[tuple[int, int]]) -> None:
    failpoints.arm("before_call:1:stop")
    failpoints.failpoint("before_call")
    assert kills == [(os.getpid(), signal.SIGSTOP)]


def test_an_empty_order_disarms(kills: list[tuple[int, int]]) -> None:
    failpoints.arm("before_call:1:kill")
    failpoints.arm("")
    assert not failpoints.is_armed
    assert kills == []


@pytest.mark.parametrize(
    "order",
    [
        "before_call",
        "before_call:1",
        "before_call:0:kill",
        "before_call:-1:kill",
        "before_call:x:kill",
        "before_call:1:pause",
        "nowhere:1:kill",
        ":1:kill",
    ],
)
def test_an_order_that_is_not_understood_is_refused(
    order: str, kills: list[tuple[int, int]]
) -> None:
    failpoints.arm("before_call:1:kill")
    with pytest.raises(CommandError, match="name:nth:kill or name:nth:stop"):
        failpoints.arm(order)
    failpoints.failpoint("before_call")
    assert len(kills) == 1, "what was armed before stays armed"
