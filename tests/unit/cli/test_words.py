from __future__ import annotations

import io
import sys

import pytest

from fsm_saga.cli.words import state_style, status_style, status_symbol
from fsm_saga.core.states import Phase, StepStatus, executing


def test_every_status_and_state_has_its_look() -> None:
    symbols = {status_symbol(status) for status in StepStatus}

    assert len({status for status in StepStatus if status_style(status)}) == len(StepStatus)
    assert len(symbols) >= len(StepStatus) - 1, "undoing and undone share a symbol, not a word"
    for phase in Phase:
        counted = phase in (Phase.EXECUTING, Phase.COMPENSATING)
        assert state_style(f"{phase}(1)" if counted else str(phase))
    assert state_style(str(executing(3))) == state_style(str(executing(1)))


def test_a_symbol_that_the_terminal_cannot_show_is_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "__stdout__", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))

    assert status_symbol(StepStatus.SUCCEEDED) == " "
    assert status_symbol(StepStatus.STUCK) == "!"
