"""The pytest plugin: the fixture ``saga``, and what a failed comparison of an end says.

It is loaded by every pytest run of whoever has the package installed, so it imports nothing of
the package until a test asks for the fixture.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from fsm_saga.testing.case import SagaTest


@pytest.fixture
def saga(request: pytest.FixtureRequest) -> SagaTest:
    """A plan to test: ``saga.plan(...)``, ``saga.tool(...)``, ``saga.run()``.

    Relative paths are looked for beside the test first, then where pytest runs.
    """
    from fsm_saga.testing.case import SagaTest  # noqa: PLC0415  # unused, it costs nothing

    return SagaTest(folder=request.path.parent)


def pytest_assertrepr_compare(op: str, left: object, right: object) -> list[str] | None:
    """Tell what happened when an end is not the one that the test wanted."""
    # Imported by nobody here, so that a test run without sagas pays nothing.
    ends: Any = sys.modules.get("fsm_saga.testing.end")
    if ends is None:
        return None
    told = ends.comparison(left, right) or ends.comparison(right, left)
    return told and [f"{left!r} {op} {right!r}", *told]
