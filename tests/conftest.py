"""What holds for every test: how Hypothesis searches, how long a test may take, what it inherits.

The rest (strict markers, warnings as errors, asyncio in debug mode) is said in pyproject.toml.
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Servers for whoever asks for one; nothing starts unless a test does.
from tests.support.servers.fixtures import (  # noqa: F401  # pytest finds them here
    certificates,
    etcd,
    new_etcd,
    new_etcd_cluster,
    new_proxy,
    new_redis,
    own_servers,
    pytest_runtest_makereport,
    redis,
    server_prefix,
)

TESTS = Path(__file__).resolve().parent

# Seconds per folder. A unit test takes milliseconds: the bound only says which one hangs.
FOLDER_TIMEOUT_S = {"unit": 20, "docs": 120, "integration": 300, "simulation": 300}

# Folders whose tests start processes or run long: `make quick` leaves them out.
SLOW_FOLDERS = frozenset({"integration", "simulation"})

# `dev` looks at new examples on each run; `ci` looks at the same ones each time, so that a change
# is never red for what it did not touch. A shared machine stalls, so neither sets a deadline.
settings.register_profile(
    "dev",
    max_examples=50,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    print_blob=True,
)
settings.register_profile(
    "ci",
    parent=settings.get_profile("dev"),
    max_examples=100,
    derandomize=True,
    database=None,
)
settings.load_profile("dev")


def pytest_configure() -> None:
    """Forget the settings of whoever runs the tests: a test says itself what it needs."""
    for name in [name for name in os.environ if name.startswith("FSM_SAGA_")]:
        del os.environ[name]
    # A shell lets what it starts in the background ignore interrupts, and children inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def log_is_left_on() -> Iterator[None]:
    """Blame the test that turns the log off for those after it."""
    before = logging.root.manager.disable
    yield
    after, logging.root.manager.disable = logging.root.manager.disable, before
    assert after == before, "the test has disabled logging and not enabled it again"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give each test the time limit and the speed class of its folder, unless it has its own."""
    for item in items:
        if not item.path.is_relative_to(TESTS):
            continue  # a doctest of the package
        folder = item.path.relative_to(TESTS).parts[0]
        if folder in FOLDER_TIMEOUT_S and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(FOLDER_TIMEOUT_S[folder]))
        if folder in SLOW_FOLDERS:
            item.add_marker(pytest.mark.slow)
