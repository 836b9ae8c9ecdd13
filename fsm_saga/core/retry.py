"""Back-off arithmetic."""

from __future__ import annotations

from fsm_saga.core.program import RetryRule


def next_attempt_delay_s(rule: RetryRule, *, attempt: int, jitter: float) -> float:
    """Return the seconds to wait before the attempt that follows ``attempt``.

    The wait doubles from ``rule.delay_s`` up to ``rule.delay_s_max``; ``jitter`` then shortens
    it by at most half, so that sagas which failed together do not come back together. The
    caller draws ``jitter`` and the resulting time is journalled: replay waits equally long.

    Args:
        rule: The limits of the call.
        attempt: How many attempts have ended, counting from 1.
        jitter: A number in [0, 1).

    Raises:
        ValueError: If ``attempt`` is below 1 or ``jitter`` lies outside [0, 1).
    """
    if attempt < 1:
        raise ValueError(f"attempt counts from 1, not {attempt!r}")
    if not 0.0 <= jitter < 1.0:
        raise ValueError(f"jitter lies in [0, 1), not {jitter!r}")
    # The exponent is capped: 2.0**2000 raises, and no wait needs it.
    doubled = rule.delay_s * 2.0 ** min(attempt - 1, 60)
    return float(min(doubled, rule.delay_s_max)) * (1.0 - jitter / 2.0)
