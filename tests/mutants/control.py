"""The control of a run of mutmut: a process like a mutant's, in which nothing is mutated.

Each mutant is a fork of a process that has run all tests before. A test that fails there whatever
the code says would find every mutant that it reaches. So, before the first of them, such a fork
runs every test that a mutant may be tried by, and the run is refused unless all of them pass.
"""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Final

import pytest

# Named like a mutant, so that all is done that is done for one; no code goes by this name.
NAME: Final = "fsm_saga.x_nothing__mutmut_0"

# What mutmut's second run, with nothing mutated, was asked for.
_asked: list[str] = []


def ask_for(tests: Sequence[str]) -> None:
    """Note the tests that are about to be run with nothing mutated."""
    _asked[:] = tests


def check_control(options: Sequence[str]) -> None:
    """Return if the tests pass in a fork; end the whole run if they do not.

    mutmut would take an exception for what it waits for here: that a test fails.
    """
    durations: dict[str, float] = importlib.import_module("mutmut.state").state().duration_by_test
    tests = sorted((test for test in durations if _is_asked_for(test)), key=durations.__getitem__)
    child = os.fork()
    if child == 0:
        # Without names pytest would run whatever there is.
        os._exit(_run([*options, *tests]) if tests else pytest.ExitCode.NO_TESTS_COLLECTED)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code != pytest.ExitCode.OK:
        os.write(2, _REFUSED.format(code=code).encode())
        os._exit(1)


def _is_asked_for(test: str) -> bool:
    """Return whether a folder, a file or a function was asked for to which the test belongs."""
    return any(
        test == name or test.startswith((f"{name}/", f"{name}::", f"{name}[")) for name in _asked
    )


_REFUSED: Final = """
No mutant was tried: with nothing mutated, the tests end with {code} in a fork, so they would find
mutants that they do not see. Mend the test that failed, or leave it out in tests/mutants/parts.py.
"""


def _run(arguments: Sequence[str]) -> int:
    try:
        os.environ["MUTANT_UNDER_TEST"] = NAME
        # mutmut keeps back what is written. A file of its own is not caught by pytest either.
        sys.stdout = sys.stderr = os.fdopen(os.dup(2), "w")
        code = int(pytest.main(list(arguments)))
        sys.stdout.flush()
    except BaseException:  # noqa: BLE001  # this process must never go on as its parent would
        traceback.print_exc()
        return int(pytest.ExitCode.INTERNAL_ERROR)
    return code
