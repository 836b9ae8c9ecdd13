"""How everything that goes wrong is told: a sentence or one JSON document, and an exit code."""

from __future__ import annotations

import logging
import os
import sys
import traceback
from typing import Any

import typer

from fsm_saga.cli.output import note, print_json
from fsm_saga.cli.running import InterruptedBySignal
from fsm_saga.drawing.plain import plain_text
from fsm_saga.errors import FsmSagaError, InvariantBrokenError, PlanError

EXIT_REFUSED = 2
EXIT_INTERNAL = 70
EXIT_STORE_FAILED = 75  # EX_TEMPFAIL: the same again later may succeed


class RefusedElsewhereError(Exception):
    """The process that runs the sagas refused; it gave a code and a message."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message.removesuffix(f" [{code}]")


class StoreFailedError(Exception):
    """The store failed while sagas were under way, so calls may have been made."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def is_debugging() -> bool:
    """Return whether stack traces are wanted."""
    return os.environ.get("FSM_SAGA_DEBUG", "") not in ("", "0")


def report(error: BaseException, *, as_json: bool) -> int:
    """Tell what went wrong, without a stack trace, and return the exit code."""
    error = _cause_of(error)
    if is_debugging() and not isinstance(error, typer.TyperException | InterruptedBySignal):
        traceback.print_exception(error)
    match error:
        case PlanError():
            _report_plan(error, as_json=as_json)
        case InvariantBrokenError():
            return _report_internal(error, as_json=as_json)
        case FsmSagaError():
            _report_sentence(error.code, error.message, as_json=as_json)
        case RefusedElsewhereError():
            _report_sentence(error.code, error.message, as_json=as_json)
        case StoreFailedError():
            _report_sentence(error.code, error.message, as_json=as_json)
            return EXIT_STORE_FAILED
        case InterruptedBySignal():
            _report_sentence("interrupted", error.message, as_json=as_json)
            return error.exit_code
        case typer.TyperException():
            _report_usage(error, as_json=as_json)
            return error.exit_code
        case KeyboardInterrupt():
            _report_sentence("interrupted", "Interrupted before anything began.", as_json=as_json)
            return 130
        case typer.Abort():
            _report_sentence("aborted", "Nothing was changed.", as_json=as_json)
        case OSError():
            where = f" {error.filename!r}" if error.filename is not None else ""
            said = f"The system refused{where}: {error.strerror or error}."
            _report_sentence("system-error", said, as_json=as_json)
        case _:
            return _report_internal(error, as_json=as_json)
    return EXIT_REFUSED


def error_as_json(error: BaseException) -> dict[str, Any]:
    """Return what ``--json`` prints of a plan's refusal, or of another deliberate error."""
    if isinstance(error, PlanError):
        return {"problems": [problem.as_json() for problem in error.problems]}
    code = str(getattr(error, "code", "internal-error"))
    return {"error": {"code": code, "message": str(getattr(error, "message", error))}}


def _cause_of(error: BaseException) -> BaseException:
    """Return the error that counts in a group: a deliberate one, else the first."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    causes = [_cause_of(each) for each in error.exceptions]
    deliberate = [each for each in causes if isinstance(each, FsmSagaError)]
    return (deliberate or causes)[0]


def _report_sentence(code: str, message: str, *, as_json: bool) -> None:
    if as_json:
        print_json({"error": {"code": code, "message": message}})
    else:
        note(("Error: ", "bold red"), plain_text(message), (f" [{code}]", "dim"))


def _report_plan(error: PlanError, *, as_json: bool) -> None:
    if as_json:
        print_json(error_as_json(error))
        return
    count = len(error.problems)
    many = "s" if count != 1 else ""
    note(("The plan was refused: ", "bold red"), f"{count} problem{many}. Nothing was started.")
    for problem in error.problems:
        note("  ", (problem.pointer or "/", "bold"), f"  [{problem.code}]")
        note("      ", plain_text(f"{problem.message} {problem.hint}"))


def _report_usage(error: typer.TyperException, *, as_json: bool) -> None:
    if as_json:
        said = plain_text(error.format_message())
        print_json({"error": {"code": "usage", "message": said}})
        return
    show = getattr(error, "show", None)  # a usage error also shows how the command is used
    if show is not None:
        show()
    else:
        note(("Error: ", "bold red"), plain_text(error.format_message()))


def _report_internal(error: BaseException, *, as_json: bool) -> int:
    said = plain_text(f"{type(error).__name__}: {error}")
    hint = "This is a bug of fsm-saga; FSM_SAGA_DEBUG=1 shows where it is."
    if as_json:
        print_json({"error": {"code": "internal-error", "message": f"{said}. {hint}"}})
    else:
        note(("internal error: ", "bold red"), said)
        note(hint)
    return EXIT_INTERNAL


class _OneLineHandler(logging.Handler):
    """Writes a log record to the stderr of the moment, as one line without a trace."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record."""
        trace = record.exc_info[1] if record.exc_info else None
        said = record.getMessage() if trace is None else f"{record.getMessage()}: {trace!r}"
        print(f"{record.levelname.lower()}: {plain_text(said)}", file=sys.stderr)


def prepare_logging() -> None:
    """Send warnings, or everything while debugging, to stderr."""
    root = logging.getLogger()
    if not root.handlers:
        root.addHandler(_OneLineHandler())
    logging.getLogger("fsm_saga").setLevel(logging.DEBUG if is_debugging() else logging.WARNING)
