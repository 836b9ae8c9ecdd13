"""The whole zoo."""

from __future__ import annotations

from tests.simulation.zoo.bug import Bug
from tests.simulation.zoo.in_core import IN_CORE
from tests.simulation.zoo.in_driver import IN_DRIVER
from tests.simulation.zoo.in_node import IN_NODE
from tests.simulation.zoo.in_world import IN_STORE, IN_TOOLS

ZOO: tuple[Bug, ...] = (*IN_CORE, *IN_DRIVER, *IN_STORE, *IN_TOOLS, *IN_NODE)
CANARY = "no dedupe"
"""The bug of which every large set of runs has to be red."""


def bug_named(name: str) -> Bug:
    """Return the bug of this name."""
    return next(bug for bug in ZOO if bug.name == name)
