"""How long it takes from a plan's text to its program, by the length of the plan."""

from __future__ import annotations

import statistics
from functools import partial

import orjson

from fsm_saga.bench.measuring import seconds
from fsm_saga.bench.workloads import plan_body, workload_preparer
from fsm_saga.plan.model import Plan
from fsm_saga.service.preparing import Preparer

ABREAST = 14
NEW_PLANS = 9
AGAIN_PLANS = 25


def compile_times_ms(plan_steps: tuple[int, ...]) -> dict[str, dict[str, float]]:
    """Return the milliseconds for plans of these lengths; meant for a process of its own.

    ``cold`` is the first plan of its shape: its machine is made. ``abreast`` is such a plan too,
    but its steps run 14 at a time, so that its machine has three times the transitions. ``new``
    is another plan of a shape that is known, as a planner sends it; ``again`` the same plan for
    another task. Of these two the median of several is given.
    """
    preparer = workload_preparer()
    _prepare(preparer, _text("warm", 1))  # what any first plan pays for is not of interest
    times: dict[str, dict[str, float]] = {}
    for steps in plan_steps:
        cold = [_text("cold", steps)]
        new = [_text("new", steps, first=f"other-{number}") for number in range(NEW_PLANS)]
        again = [_text(f"again-{number}", steps) for number in range(AGAIN_PLANS)]
        abreast = [_text("abreast", steps, abreast=ABREAST)]
        times[str(steps)] = {
            name: _median_ms(preparer, texts)
            for name, texts in (
                ("cold_ms", cold),
                ("new_ms", new),
                ("again_ms", again),
                ("abreast_ms", abreast),
            )
        }
    return times


def _median_ms(preparer: Preparer, texts: list[bytes]) -> float:
    taken = [seconds(partial(_prepare, preparer, text)) for text in texts]
    return statistics.median(taken) * 1e3


def _text(task_id: str, steps: int, *, first: str = "first", abreast: int = 1) -> bytes:
    body = plan_body(task_id, ["make"] * steps)
    body["steps"][0]["params"]["name"] = first
    if abreast > 1:
        for index, step in enumerate(body["steps"]):
            step["params"]["name"] = first
            step["depends_on"] = [index + 1 - abreast] if index >= abreast else []
    return orjson.dumps(body)


def _prepare(preparer: Preparer, text: bytes) -> None:
    preparer.prepare(Plan.read(text))
