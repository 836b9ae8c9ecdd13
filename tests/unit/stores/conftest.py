"""What the tests of the stores share."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def recorded_fields() -> dict[str, Any]:
    """Give the fields of each type of record, as its present version was released with them."""
    path = Path(__file__).with_name("recorded_fields.json")
    fields: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return fields


@pytest.fixture
def wedding() -> datetime.datetime:
    """Give a date."""
    return datetime.datetime(2026, 2, 1, tzinfo=datetime.UTC)
