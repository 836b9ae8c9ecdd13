"""What a member remembers of the shards whose engines failed on it, and what follows.

The shard is tried again later and later. And for a while the member avoids it: it says so to the
others, and whichever of them does not avoid the shard is to lead it first, for what failed may be
this member's disk or one of its tools.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from msgspec import Struct

from fsm_saga.errors import FencedError, StoreError

RETRY_S = (0.5, 1.0, 2.0, 5.0, 10.0)
"""Waits before a shard is led again whose engine has stopped, time after time."""
AVOID_S = (10.0, 30.0, 60.0, 120.0, 300.0)
"""For how long others are preferred as leaders, time after time."""
STEADY_S = 30.0
"""An engine that has run so long did not stop for what its forerunner stopped for."""


class _Setback(Struct):
    """What is known of one shard."""

    why: str = ""
    failures: int = 0
    suspicions: int = 0
    not_before: float = 0.0
    avoid_until: float = 0.0


class Setbacks:
    """The failures of one member, by shard. It has no clock: whoever asks says what time it is."""

    def __init__(self) -> None:
        self._of: dict[int, _Setback] = {}

    @property
    def stopped(self) -> Mapping[int, str]:
        """Why shards do not run that are this member's to lead, in words."""
        return {shard: setback.why for shard, setback in self._of.items() if setback.why}

    def failed(
        self, shard: int, why: str, *, now: float, ran_s: float, error: Exception | None = None
    ) -> None:
        """Take note that a shard's engine stopped after ``ran_s``.

        That somebody else leads it says nothing of this member, and what the store does not answer
        once says little: only a second time in a row does the member avoid the shard for that.
        """
        setback = self._of.setdefault(shard, _Setback())
        if ran_s > STEADY_S:
            setback.failures = setback.suspicions = 0
        setback.why = why
        setback.failures += 1
        setback.not_before = now + _nth(RETRY_S, setback.failures)
        if isinstance(error, FencedError):
            return
        if not isinstance(error, StoreError) or setback.failures > 1:
            setback.suspicions += 1
            setback.avoid_until = now + _nth(AVOID_S, setback.suspicions)

    def runs(self, shard: int) -> None:
        """Take note that the shard's engine has come up. How often it failed is not forgotten."""
        if (setback := self._of.get(shard)) is not None:
            setback.why = ""
            setback.avoid_until = 0.0

    def leave_to_others(self, shards: Collection[int]) -> None:
        """Forget why shards stopped that are others' to lead by now."""
        for shard in shards:
            if (setback := self._of.get(shard)) is not None:
                setback.why = ""

    def may_try(self, shard: int, *, now: float) -> bool:
        """Return whether it is time to try to lead the shard."""
        setback = self._of.get(shard)
        return setback is None or now >= setback.not_before

    def avoided(self, *, now: float) -> Mapping[int, int]:
        """Return the shards that others ought to lead, and how often they failed in a row."""
        return {
            shard: setback.suspicions
            for shard, setback in sorted(self._of.items())
            if now < setback.avoid_until
        }


def _nth(waits_s: tuple[float, ...], number: int) -> float:
    """Return the wait after failure ``number``, counting from 1; the last one lasts for ever."""
    return waits_s[min(number, len(waits_s)) - 1]
