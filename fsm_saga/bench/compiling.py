"""How long it takes from a plan's text to its program, by the length of the plan."""

from __future__ import annotations

from functools import partial

import orjson

from fsm_saga.bench.measuring import seconds
from fsm_saga.bench.workloads import plan_body, workload_preparer
from fsm_saga.plan.model import Plan
from fsm_saga.service.preparing import Preparer


def compile_times_ms(plan_steps: tuple[int, ...]) -> dict[str, dict[str, float]]:
    """Return the milliseconds for plans of these lengths; meant for a process of its own.

    ``cold`` is the first plan of its shape; ``new`` another plan of a shape that is known, as
    a planner sends it; ``again`` the same plan for another task.
    """
    preparer = workload_preparer()
    _prepare(preparer, _text("warm", 1))  # what any first plan pays for is not of interest
    times: dict[str, dict[str, float]] = {}
    for steps in plan_steps:
        texts = {
            "cold_ms": _text("cold", steps),
            "new_ms": _text("new", steps, last="refuse"),
            "again_ms": _text("again", steps),
        }
        times[str(steps)] = {
            name: seconds(partial(_prepare, preparer, text)) * 1e3 for name, text in texts.items()
        }
    return times


def _text(task_id: str, steps: int, *, last: str = "make") -> bytes:
    return orjson.dumps(plan_body(task_id, ["make"] * (steps - 1) + [last]))


def _prepare(preparer: Preparer, text: bytes) -> None:
    preparer.prepare(Plan.read(text))
