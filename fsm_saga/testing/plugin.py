"""The pytest plugin: the fixture ``saga``, and what a failed comparison of an end says.

It is loaded by every pytest run of whoever has the package installed, so it imports nothing of
the package until a test asks for the fixture.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

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
    for end, other in ((left, right), (right, left)):
        if type(end).__module__ == "fsm_saga.testing.end" and isinstance(other, str):
            story: list[str] = getattr(end, "story")()  # noqa: B009  # imported by nobody here
            return [f"{left!r} {op} {right!r}", *story]
    return None
