"""What is played when it is not a plan of the seed's: one plan, its tools, what cannot happen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fsm_saga.core.contract import ToolFacts
from fsm_saga.simulation.plans import Sketch
from fsm_saga.simulation.tools import Outputs


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One plan, with the tools that it calls.

    Attributes:
        saga_id: What the saga is called.
        catalogue: What its tools declare; the played ones keep exactly that.
        outputs: What they return.
        without: Kinds of faults that do not happen.
        heal_at_s: How long things go wrong, in virtual seconds.
    """

    saga_id: str
    sketch: Sketch
    catalogue: Mapping[str, ToolFacts]
    outputs: Outputs
    without: frozenset[str]
    heal_at_s: float
