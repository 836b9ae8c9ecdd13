"""What a tool promises, and what the compiler may know of a tool.

A contract is data. The compiler reads it to choose, for each step, how a doubtful call is
settled; the choice is frozen into the program, so that a later change of the tool's
declaration cannot change a saga that is running.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolContract:
    """The promises of one tool about repeated, late and undone calls.

    Attributes:
        dedupe: A repeated ``req_id`` gets the first answer and has no second effect.
        sticky_failures: A refusal is part of that memory: a late or repeated copy of a
            refused ``req_id`` is refused again.
        fenced_compensation: The undo of a ``req_id`` that never arrived succeeds, and a late
            original is refused from then on.
        check: Name of the tool that answers whether a ``req_id`` took effect, or None.
        check_fences: The check's answer "absent" also refuses a late original.
        deadline: A call that arrives after its ``not_after`` is refused by the tool itself.
        retention_s: For how long the tool remembers a ``req_id``, in seconds; None is for ever.
        read_only: The tool has no effect: nothing to undo, and doubt does no harm.
    """

    dedupe: bool = True
    sticky_failures: bool = True
    fenced_compensation: bool = False
    check: str | None = None
    check_fences: bool = False
    deadline: bool = False
    retention_s: float | None = None
    read_only: bool = False


class Standing(enum.StrEnum):
    """What is known of whether a tool keeps what it declares."""

    DECLARED = "declared only"
    CERTIFIED = "certified"
    PARTLY = "certified in part"
    OUTDATED = "certificate outdated"
    REFUTED = "refuted"


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolFacts:
    """What the checks and the compiler know of a tool; never the code behind it.

    ``params_schema`` is a JSON Schema of type object; ``output_schema`` is None when the tool
    does not declare what it returns. ``undo`` names the tool that undoes this one. ``standing``
    is what a certificate says of the contract, ``refuted`` the promises that it found broken;
    neither changes what the compiler chooses.
    """

    name: str
    description: str = ""
    params_schema: Mapping[str, Any] = field(default_factory=dict)
    output_schema: Mapping[str, Any] | None = None
    contract: ToolContract = ToolContract()
    undo: str | None = None
    wants_context: bool = False
    standing: Standing = Standing.DECLARED
    refuted: tuple[str, ...] = ()
