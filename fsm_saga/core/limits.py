"""Every bound on what a plan or a tool may make the engine hold, each with a name."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds that are checked before memory or time is spent in proportion to what came in.

    Attributes:
        step_max: Steps in one plan.
        call_max: Calls in one compensation that is decided late.
        plan_bytes_max: Bytes of a plan's JSON text.
        value_max: Texts, numbers, objects and lists in one plan, all levels together.
        depth_max: Levels of objects and lists inside each other, the outermost included.
        string_max: Characters in one text value.
        reference_max: Characters in one ``$output`` or ``$input`` reference.
        output_bytes_max: Bytes of what a tool returned, as JSON.
        problem_max: Problems that are listed for one plan; of the rest only that it exists.
        attempt_max: Attempts that a plan may ask for in one ``retry``.
        timeout_s_max: Seconds that a plan may give one call, or wait between two attempts.
        deadline_s_max: Seconds that a plan may give a step, an approval or the whole saga.
        interruption_max: Ends of the process in a row while the same call was under way; after so
            many the call is suspected of them and not sent again without a person.
    """

    step_max: int = 200
    call_max: int = 20
    plan_bytes_max: int = 1_048_576
    value_max: int = 50_000
    depth_max: int = 64
    string_max: int = 65_536
    reference_max: int = 1_024
    output_bytes_max: int = 262_144
    problem_max: int = 100
    attempt_max: int = 100
    timeout_s_max: float = 86_400.0
    deadline_s_max: float = 31_536_000.0
    interruption_max: int = 5


LIMITS = Limits()
