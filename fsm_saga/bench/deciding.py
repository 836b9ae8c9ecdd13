"""How long one decision takes, without the making of its event."""

from __future__ import annotations

import time

from fsm_saga.bench.measuring import Samples
from fsm_saga.bench.workloads import Moment, moments_of, workload_plan
from fsm_saga.core.decide import decide
from fsm_saga.core.events import CallRejected, Submitted
from fsm_saga.core.saga import Saga
from fsm_saga.core.states import Phase


def measure_decisions(samples: Samples, *, times: int) -> None:
    """Note the microseconds per decision: on submission, on a success, on the turn, going back."""
    w1, w2 = moments_of(workload_plan("w1")), moments_of(workload_plan("w2"))
    kinds = {
        "submit_us": [moment for moment in w1 if isinstance(moment.event, Submitted)],
        "reply_us": [moment for moment in w1 if not isinstance(moment.event, Submitted)],
        "turn_us": [moment for moment in w2 if isinstance(moment.event, CallRejected)],
        "undo_us": [moment for moment in w2 if _goes_back(moment.saga)],
    }
    for name, moments in kinds.items():
        samples.add(f"decide.{name}", _decision_us(moments, times))


def _goes_back(saga: Saga) -> bool:
    return saga.state.phase is Phase.COMPENSATING


def _decision_us(moments: list[Moment], times: int) -> float:
    started = time.perf_counter()
    for _ in range(times):
        for moment in moments:
            decide(moment.saga, moment.event)
    return (time.perf_counter() - started) / (times * len(moments)) * 1e6
