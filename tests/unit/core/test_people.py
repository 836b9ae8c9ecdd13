from __future__ import annotations

from tests.support.play import Play


def test_a_pivot_in_doubt_that_is_tried_again_decides_over_a_noted_cancellation() -> None:
    """INV-12: while the pivot is in flight the saga may not turn round, whatever was noted."""
    play = Play("1 a / ua\n2 pay ; kind=pivot retry=1")
    play.ok(1)
    play.cancel()
    play.unknown(2)
    assert (play.state, play.statuses) == ("NEEDS_HUMAN", "SUCCEEDED DOUBTFUL")
    play.retry(2)
    assert (play.state, play.statuses) == ("EXECUTING(2)", "SUCCEEDED RUNNING")
    play.ok(2)
    assert (play.state, play.statuses) == ("DONE", "SUCCEEDED SUCCEEDED")
