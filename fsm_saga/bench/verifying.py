"""How long it takes to try every history of a plan."""

from __future__ import annotations

import time
from typing import Any

from fsm_saga.bench.measuring import Samples
from fsm_saga.bench.workloads import plan_body, workload_preparer
from fsm_saga.machine.verify import verify_program
from fsm_saga.plan.model import Plan


def measure_verifying(samples: Samples, plans: tuple[str, ...]) -> None:
    """Note the time and the configurations per second for these plans.

    Args:
        samples: Where to note them.
        plans: ``diamond``, or the number of steps in line, such as ``3``.
    """
    for name in plans:
        body = _diamond_body() if name == "diamond" else plan_body("line", ["make"] * int(name))
        program = workload_preparer().prepare(Plan.of(body)).program
        started = time.perf_counter()
        count = verify_program(program).configurations
        taken_s = time.perf_counter() - started
        samples.add(f"verify.{name}.ms", taken_s * 1e3)
        samples.add(f"verify.{name}.configurations", count)
        samples.add(f"verify.{name}.configurations_per_s", count / taken_s)


def _diamond_body() -> dict[str, Any]:
    """Return a plan whose second and third step go side by side."""
    body = plan_body("diamond", ["make"] * 4)
    _first, _left, right, last = body["steps"]
    right["depends_on"], right["params"] = [1], {"name": "$output.step_1.id"}
    last["depends_on"] = [2, 3]
    return body
