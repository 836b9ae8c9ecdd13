"""``pytest tests/scenarios --rewrite`` writes down what the stories answer now."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--rewrite",
        action="store_true",
        help="write the answers of the stories into their files instead of comparing them",
    )


@pytest.fixture
def is_rewriting(pytestconfig: pytest.Config) -> bool:
    """True when the stories are to be written down as they are told now."""
    return bool(pytestconfig.getoption("--rewrite", default=False))
