"""A plugin of pytest for runs of mutmut: no mutant hides behind what was made before it.

mutmut runs all tests once, unchanged, to see which test reaches which function. Each mutant is then
a fork of that process, and only the tests that reach its function are run. So what the package
keeps is forgotten first, a fixture that many tests share is counted for each of them, and a test
that a mutant makes endless, or idle, is ended after seconds. Most mutants are found by the first
few tests, so the others are not even collected before those have passed.
"""

from __future__ import annotations

import importlib
import os
import resource
import signal
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from typing import Any, Final

import pytest

from fsm_saga.machine.kept import Kept
from tests.mutants.control import ask_for, check_control

# Seconds of the processor, so that a busy machine makes no difference. The slowest test needs four.
TEST_CPU_S_MAX: Final = 12.0
# A test that waits for what will not come uses no processor: this is the clock on the wall. It is
# long, for a test that is late on a busy machine would be taken for one that found a mutant.
TEST_S_MAX: Final = 90.0
# Who has nothing to do for so long waits for what will not come. A process that is only kept from
# the processor by others gets its share of it.
IDLE_S_MAX: Final = 15.0
IDLE_CPU_S_MAX: Final = 0.15
# While mutmut finds out which test reaches what, all is ten times slower.
STATS_S_MAX: Final = 300.0
MEMORY_BYTES_MAX: Final = 4 << 30
# Each call of a mutated function is three: what may go a hundred deep has to be let.
RECURSION_MAX: Final = 3_000
TIMED_OUT: Final = 36  # mutmut's own code for it
FIRST_TESTS: Final = 16

_reached_by_fixture: defaultdict[object, set[str]] = defaultdict(set)
_later_tests: list[str] = []


def pytest_configure(config: pytest.Config) -> None:
    """Bound what the process of a mutant may take, and let it begin with nothing."""
    if _is_mutant() and not _later_tests:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES_MAX, MEMORY_BYTES_MAX))
        sys.setrecursionlimit(RECURSION_MAX)
        signal.signal(signal.SIGPROF, _end)
        threading.Thread(target=_end_if_idle, daemon=True).start()
        _forget()
        # mutmut lists the quick ones first.
        _later_tests[:] = config.args[FIRST_TESTS:]
        config.args = config.args[:FIRST_TESTS]
    elif _under_test() == "":
        ask_for(config.args)
    elif _under_test() == "fail":  # mutmut's last run before it tries mutants
        check_control([each for each in _options(config) if each not in config.args])


@pytest.hookimpl(tryfirst=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Let a test have the same id whenever it is collected.

    pytest keeps the ids that it made with a test, and if it collects the test once more, each
    backslash in them is doubled: what mutmut then asks for by its first id would not be found.
    """
    for mark in metafunc.definition.iter_markers("parametrize"):
        if mark._param_ids_from is not None:
            object.__setattr__(mark._param_ids_from, "_param_ids_generated", None)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Run the tests that were put off, if those before them have passed."""
    tests = _later_tests.copy()
    is_first = tests and tests[0] not in session.config.args
    if is_first and session.exitstatus == pytest.ExitCode.OK:
        given = set(tests)
        given |= set(session.config.args)
        options = [each for each in _options(session.config) if each not in given]
        session.exitstatus = pytest.main([*options, *tests])


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the limit of a wait before the one that the folder has."""
    for item in items:
        limit = TEST_S_MAX if _is_mutant() else STATS_S_MAX
        item.add_marker(pytest.mark.timeout(limit), append=False)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol() -> Iterator[None]:
    """Count the processor's seconds of each test of a mutant."""
    if _is_mutant():
        signal.setitimer(signal.ITIMER_PROF, TEST_CPU_S_MAX)
    elif _is_stats():
        _forget()
    try:
        return (yield)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef: pytest.FixtureDef[Any]) -> Iterator[Any]:
    """Note what the making of a fixture reaches."""
    reached = _reached()
    before = set(reached)
    try:
        return (yield)
    finally:
        _reached_by_fixture[fixturedef] |= reached - before


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> None:
    """Count a shared fixture for each test that uses it, not for the first alone."""
    if _is_stats() and isinstance(item, pytest.Function):
        for found in item._fixtureinfo.name2fixturedefs.values():
            for each in found:
                _reached().update(_reached_by_fixture[each])


def _reached() -> set[str]:
    """Return mutmut's own set of the functions that the current test has reached."""
    if not _is_stats():
        return set()
    state = importlib.import_module("mutmut.state").state()  # only a run of mutmut has it
    reached: set[str] = state._stats
    return reached


def _forget() -> None:
    """Empty every cache of the package."""
    for name, module in list(sys.modules.items()):
        if not name.startswith("fsm_saga"):
            continue
        for value in list(vars(module).values()):
            if isinstance(value, Kept):
                value._values.clear()
            elif callable(clear := getattr(value, "cache_clear", None)):
                clear()


def _options(config: pytest.Config) -> list[str]:
    return [str(each) for each in config.invocation_params.args]


def _is_stats() -> bool:
    return _under_test() == "stats"


def _is_mutant() -> bool:
    return "__mutmut_" in _under_test()


def _under_test() -> str:
    """Return what mutmut says: the name of a mutant or of a step before all mutants, or nothing."""
    return os.environ.get("MUTANT_UNDER_TEST", "-")


def _end(_number: int, _frame: object) -> None:
    """End the process: what a mutant broke may well catch an exception."""
    os._exit(TIMED_OUT)


def _end_if_idle() -> None:
    """End the process when it has used next to no time of the processor for long."""
    while True:
        before = time.process_time()
        time.sleep(IDLE_S_MAX)
        if time.process_time() - before < IDLE_CPU_S_MAX:
            os._exit(TIMED_OUT)
