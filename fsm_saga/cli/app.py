"""The command line's entry: which commands there are, and the one place where every error ends."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from importlib import import_module
from typing import Annotated, Any

import typer
import typer.main

from fsm_saga.cli.commands import Listed, lazy_app
from fsm_saga.cli.failures import prepare_logging, report
from fsm_saga.cli.output import stdout_for_document
from fsm_saga.cli.running import InterruptedBySignal, leave_at_once
from fsm_saga.cli.streams import open_streams, output_was_lost

PROGRAM = "fsm-saga"
EXIT_OUTPUT_LOST = 74
# What these say of a saga was in the output too; the other codes say more than that it was lost.
_TOLD_BY_OUTPUT = frozenset({0, 1, 3})

COMMANDS = (
    Listed("run", "run", "Run a plan until it is done, undone, or a person is asked."),
    Listed("submit", "submit", "Hand plans over, and leave once the store has them."),
    Listed("resume", "resume", "Finish every saga that is unfinished in the store."),
    Listed("serve", "serve", "Run sagas until told to stop, alone or as one of a cluster."),
    Listed("cluster", "cluster", "Show who serves a store, who leads, and what is wrong."),
    Listed("verify", "verify", "Try every way in which a plan can go; prove that it ends well."),
    Listed("simulate", "simulate", "Run a plan under faults, on played tools: how it can end."),
    Listed("diagram", "diagram", "Draw a plan, a saga or one of the two state machines."),
    Listed("list", "listing", "List the sagas of the store."),
    Listed("show", "show", "Show one saga: its state, its steps, what a person is asked."),
    Listed("history", "history", "Print the journal of a saga, record by record."),
    Listed("watch", "watch", "Follow sagas live, whatever process runs them."),
    Listed("cancel", "cancel", "Stop a saga and undo what it did."),
    Listed("approve", "approval", "Let a step run that waits for approval."),
    Listed("reject", "approval", "Deny a step that waits for approval; the saga is undone."),
    Listed("resolve", "resolve", "Answer for a step that a saga needs a person for."),
    Listed("amend", "amend", "Append steps to a saga that is under way."),
    Listed("undo", "undo", "Take back a saga that is done, as a new saga."),
    Listed("schema", "schema", "Print the JSON Schema of a plan."),
    Listed("gc", "gc", "Remove sagas that ended long ago."),
    Listed("certify", "certify", "Call a tool for real and see whether it keeps its word."),
    Listed("bench", "bench", "Measure this machine."),
    Listed("doctor", "doctor", "Check what fsm-saga needs on this machine."),
)

app = lazy_app(
    COMMANDS,
    name=PROGRAM,
    no_args_is_help=True,
    epilog=(
        "\b\nExamples:\n"
        "  fsm-saga run examples/parallel/plan.json --tools examples/parallel/tools.py\n"
        "  fsm-saga show street-festival\n"
        "  fsm-saga run --help"
    ),
)


def _print_version(is_asked: bool) -> None:
    if is_asked:
        # By name: no module of the package imports the package's public face.
        print(PROGRAM, import_module("fsm_saga").__version__)
        raise typer.Exit


@app.callback()
def fsm_saga(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and stop."
        ),
    ] = False,
) -> None:
    """Run the plans of agents as sagas: done, undone, or a person asked, whatever happens.

    Exit codes: 0 done, 1 failed and undone, 2 refused (nothing ran), 3 a person is asked, 70 a bug,
    74 the output could not be written, 75 the store failed while sagas were under way: nothing
    acknowledged is lost, run `fsm-saga resume` when it answers again.
    """
    del version  # its callback has answered


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; no exception leaves it.

    Args:
        arguments: What was typed after the program's name; None takes it from the process.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    options = set(itertools.takewhile(lambda word: word != "--", words))
    as_json = "--json" in options and "--help" not in options
    with open_streams():
        prepare_logging()
        with stdout_for_document() if as_json else nullcontext():
            code = _run(words, as_json=as_json)
    return EXIT_OUTPUT_LOST if code in _TOLD_BY_OUTPUT and output_was_lost() else code


def _run(words: list[str], *, as_json: bool) -> int:
    try:
        group: Any = typer.main.get_command(app)
        code = group.main(words, prog_name=PROGRAM, standalone_mode=False)
    except SystemExit as ended:  # shell completion ends so
        return ended.code if isinstance(ended.code, int) else 1
    except InterruptedBySignal as stopped:
        code = report(stopped, as_json=as_json)
        leave_at_once(code)
        return code
    except BaseException as error:  # noqa: BLE001  # boundary: the last line before a user
        return report(error, as_json=as_json)
    return code if isinstance(code, int) else 0
