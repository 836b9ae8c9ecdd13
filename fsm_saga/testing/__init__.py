"""Tests of your own plans: the real engine, played tools, virtual time, five lines each.

    def test_a_full_hotel_takes_the_flight_back(saga):
        saga.plan("plan.json", tools="tools.py")
        saga.tool("book_hotel").rejects("full")
        end = saga.run()
        assert end == "FAILED compensated"
        assert end.undone == ["book_flight"]

``saga`` is a fixture of the pytest plugin that comes with the package; outside of pytest,
``SagaTest()`` is the same. No tool of yours is called and nothing waits: a played tool keeps
exactly what the real one declares, and goes wrong where the test says so.

What belongs here: how a test says what happens, and what it is told. How a coordinator, its store
and tools are played is in ``fsm_saga.simulation``. Read ``case.py`` first.

Names are imported when they are first used: a test run without sagas pays nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fsm_saga.testing.case import SagaTest
    from fsm_saga.testing.end import Call, End
    from fsm_saga.testing.fakes import FakeTool
    from fsm_saga.testing.people import Person

__all__ = ["Call", "End", "FakeTool", "Person", "SagaTest"]

_ELSEWHERE = {
    "Call": "fsm_saga.testing.end",
    "End": "fsm_saga.testing.end",
    "FakeTool": "fsm_saga.testing.fakes",
    "Person": "fsm_saga.testing.people",
    "SagaTest": "fsm_saga.testing.case",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in _ELSEWHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_ELSEWHERE[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return the public names."""
    return sorted(__all__)
