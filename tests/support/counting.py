"""What a test counted: said with ``record_property``, read by ``tests.evidence.counted``."""

from __future__ import annotations

import os
from collections.abc import Callable

Count = Callable[[str, object], None]
"""The type of the fixture ``record_property``: words for a number, and the number."""

IS_LONG = os.environ.get("TESTS_ARE_LONG") == "1"
"""Whether tests that take a choice in every run take all there is; `make nightly` asks for it."""
