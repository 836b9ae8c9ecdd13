"""``fsm-saga resolve``: a person answers for a step that a saga cannot settle itself."""

from __future__ import annotations

from typing import Annotated, Any

import orjson
import typer

from fsm_saga.cli.commands import command
from fsm_saga.cli.deciding import Decision, decide_about
from fsm_saga.cli.options import (
    STORE,
    AsJson,
    By,
    Note,
    SagaId,
    StepName,
    StoreUrl,
    ToolSpecs,
    read_input_text,
    tool_specs,
)
from fsm_saga.core.limits import LIMITS
from fsm_saga.errors import CommandError
from fsm_saga.service.answers import Answer


@command(
    "resolve",
    examples="""
        fsm-saga resolve launch-party --step 2 --settled --by Grace --note "called the hall"
        fsm-saga resolve launch-party --step 2 --calls examples/semantic/calls.json --by Grace \
--note "said sorry in public" --tools examples/semantic/tools.py
    """,
)
def resolve(
    saga_id: SagaId,
    step: StepName,
    by: By,
    note: Note,
    retry: Annotated[
        bool, typer.Option("--retry", help="Make the call again, under the same request id.")
    ] = False,
    settled: Annotated[
        bool,
        typer.Option("--settled", help="You vouch that nothing more is to be done or undone."),
    ] = False,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            metavar="JSON",
            help="You vouch that the effect exists, and that the tool returned this.",
        ),
    ] = None,
    calls: Annotated[
        str | None,
        typer.Option(
            "--calls",
            metavar="FILE",
            help='Calls that make good for the step: [{"tool": ..., "params": ...}]; - for stdin.',
        ),
    ] = None,
    position: Annotated[
        int | None,
        typer.Option(
            "--position",
            metavar="N",
            help="The position that you looked at: refused if the saga has moved since.",
        ),
    ] = None,
    tools: ToolSpecs = None,
    store: StoreUrl = STORE,
    as_json: AsJson = False,
) -> int:
    """Answer for a step that a saga in NEEDS_HUMAN rests on, in exactly one way.

    `show` says which answers a step accepts now.

    Exit codes: 0 accepted or left in the store, whatever the saga comes to (its state is printed),
    2 refused, 75 the store failed.
    """
    kind, value = _answer(retry=retry, settled=settled, output=output, calls=calls)
    answer = Answer(kind=kind, step_id=step, by=by, note=note, value=value, position=position)
    specs = tool_specs(tools)
    return decide_about(
        Decision(saga_id=saga_id, answer=answer, store=store, specs=specs), as_json=as_json
    )


def _answer(
    *, retry: bool, settled: bool, output: str | None, calls: str | None
) -> tuple[str, Any]:
    """Return the kind of the one answer that was given, and its value."""
    given = {
        "retry": retry,
        "settled": settled,
        "output": output is not None,
        "calls": calls is not None,
    }
    kinds = [kind for kind, is_given in given.items() if is_given]
    if len(kinds) != 1:
        raise typer.BadParameter(
            "give exactly one of them, as `fsm-saga show` offers them.",
            param_hint="'--retry' / '--settled' / '--output' / '--calls'",
        )
    if output is not None:
        return "output", _parsed(output)
    if calls is not None:
        return "calls", read_input_text(calls, "The file with calls")
    return kinds[0], None


def _parsed(text: str) -> Any:
    if len(text.encode(errors="replace")) > LIMITS.output_bytes_max:
        raise CommandError(
            f"The output was refused: it is longer than {LIMITS.output_bytes_max} bytes. Nothing "
            "was changed."
        )
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise CommandError(
            f"The output was refused: it is not JSON ({error}). Nothing was changed; a text needs "
            "its own quotes, as in '\"order-7\"'."
        ) from error
