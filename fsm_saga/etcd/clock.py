"""The clock of this package: seconds that never go back."""

from __future__ import annotations

from collections.abc import Callable

Clock = Callable[[], float]
