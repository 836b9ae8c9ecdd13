"""Each example in a ``--help`` is typed as it stands there, in a folder where it makes sense."""

from __future__ import annotations

import io
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer.main

from examples.travel.process import open_agency
from fsm_saga.cli.app import COMMANDS, app, main
from fsm_saga.cli.commands import load_command

ROOT = Path(__file__).resolve().parents[2]
PARALLEL = "examples/parallel"
RUN_PARALLEL = f"run {PARALLEL}/plan.json --tools {PARALLEL}/tools.py"
RUN_APPROVAL = "run examples/approval/plan.json --tools examples/approval/tools.py"
RUN_SEMANTIC = "run examples/semantic/plan.json --tools examples/semantic/tools.py"
APPROVE = "approve order-desks --step pay --by Ada"
RUN_TRIP = "run examples/travel/plan.json --tools examples/travel/tools.py"

# What was typed before, by the beginning of the example.
BEFORE = {
    "amend": (RUN_APPROVAL,),
    "approve": (RUN_APPROVAL,),
    "cancel": (RUN_APPROVAL,),
    "cluster": (RUN_PARALLEL,),
    "diagram --saga": (RUN_PARALLEL,),
    "gc": (RUN_PARALLEL,),
    "history": (RUN_PARALLEL,),
    "list": (RUN_PARALLEL,),
    "reject": (RUN_APPROVAL,),
    "resolve": (RUN_SEMANTIC,),
    "resume": (RUN_APPROVAL, APPROVE),
    "show": (RUN_PARALLEL,),
    "undo": (RUN_TRIP,),
    "watch street": (RUN_PARALLEL,),
}
# The exit codes that are not 0: in this plan every cook is at a wedding.
CODES = {RUN_PARALLEL: 1, "run - ": 1}
# These run for ever, for minutes or on a server: that they are understood is tried, what they do
# elsewhere.
LONG = ("watch --forever", "bench", "serve", "cluster --store")
ELSEWHERE = (*LONG, "undo")


def examples_of(help_text: str) -> list[str]:
    """Return the command lines at the end of a help text, without the program's name."""
    lines = help_text.partition("Examples:\n")[2].splitlines()
    return [line.strip().removeprefix("fsm-saga ") for line in lines if line.strip()]


def all_examples() -> list[str]:
    groups: list[Any] = [
        typer.main.get_command(app),
        *(load_command(listed) for listed in COMMANDS),
    ]
    return [example for group in groups for example in examples_of(group.epilog or "")]


def chosen(table: dict[str, int], example: str) -> int:
    return next((code for start, code in table.items() if example.startswith(start)), 0)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with the examples in it, and what the examples name beside them."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    step = {"step_id": "thank", "tool": "send_message", "kind": "retriable"}
    thanks = step | {"params": {"to": "Ada", "about": "$output.step_pay.payment_id"}}
    (tmp_path / "more-steps.json").write_text(json.dumps([thanks]))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def type_line(line: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """Return the exit code of a command line, redirections included."""
    words = shlex.split(line)
    if "<" in words:
        at = words.index("<")
        body = Path(words[at + 1]).read_bytes()
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(body)))
        del words[at : at + 2]
    if ">" in words:
        words = words[: words.index(">")]
    return main(words)


@pytest.mark.parametrize("example", [e for e in all_examples() if not e.startswith(ELSEWHERE)])
@pytest.mark.usefixtures("folder")
def test_each_example_works_as_it_stands_in_the_help(
    example: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for start, lines in BEFORE.items():
        if example.startswith(start):
            assert {type_line(line, monkeypatch) for line in lines} <= {0, 1, 3}
    capsys.readouterr()

    code = type_line(example, monkeypatch)
    printed = capsys.readouterr()

    assert code == chosen(CODES, example), printed.err
    assert printed.out
    assert printed.err == ""
    if "--json" in example:
        json.loads(printed.out)


@pytest.mark.parametrize("example", [e for e in all_examples() if e.startswith(LONG)])
def test_an_example_that_takes_long_is_at_least_understood(example: str) -> None:
    group: Any = typer.main.get_command(app)
    words = shlex.split(example)
    with group.make_context("fsm-saga", list(words)) as context:
        _name, command, rest = group.resolve_command(context, words)
        with command.make_context(words[0], rest) as understood:
            assert any(understood.params.values())


@pytest.mark.slow
def test_the_examples_of_undo_take_a_trip_back(folder: Path) -> None:
    command = load_command(next(listed for listed in COMMANDS if listed.name == "undo"))
    with open_agency(folder) as agency:
        env = os.environ | {"TRAVEL_URL": agency.url, "PYTHONPATH": str(ROOT)}
        for line in (RUN_TRIP, *examples_of(command.epilog)):
            ended = subprocess.run(
                [sys.executable, "-m", "fsm_saga", *shlex.split(line)],
                cwd=folder,
                env=env,
                capture_output=True,
                encoding="utf-8",
                timeout=60,
                check=False,
            )
            assert ended.returncode == 0, ended.stderr
        assert {order["state"] for order in agency.ledger()["orders"]} == {"cancelled"}
