"""``fsm-saga schema``: what a planner has to write."""

from __future__ import annotations

import enum
from typing import Annotated

import typer

from fsm_saga.cli.commands import command
from fsm_saga.cli.options import AsJson
from fsm_saga.cli.output import print_json
from fsm_saga.plan.model import Plan


class SchemaKind(enum.StrEnum):
    """What there is a schema of."""

    PLAN = "plan"


@command("schema", examples="fsm-saga schema > plan.schema.json")
def schema(
    kind: Annotated[SchemaKind, typer.Option("--kind", help="What to describe.")] = SchemaKind.PLAN,
    as_json: AsJson = False,
) -> int:
    """Print the JSON Schema of a plan, with descriptions that a model can work from.

    A plan that fits it can still be refused for what no schema says: unknown tools, cycles, steps
    without a way back. `run` and `verify` say so.
    """
    del kind, as_json  # there is one kind, and it is JSON in any case
    print_json(Plan.json_schema())
    return 0
