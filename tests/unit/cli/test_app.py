from __future__ import annotations

from typing import Any

import pytest
import typer.main

from fsm_saga.cli import app as cli
from fsm_saga.cli.commands import Listed, load_command
from tests.unit.cli.desk import Desk


def test_the_list_of_commands_is_complete(desk: Desk) -> None:
    ended = desk.type("--help")

    assert ended.code == 0
    for listed in cli.COMMANDS:
        assert f"  {listed.name} " in ended.out
        assert listed.summary in ended.out


@pytest.mark.parametrize("listed", cli.COMMANDS, ids=lambda listed: listed.name)
def test_each_command_says_what_it_does_and_gives_an_example(desk: Desk, listed: Listed) -> None:
    ended = desk.type(listed.name, "--help")

    assert ended.code == 0
    assert ended.err == ""
    assert load_command(listed).help
    assert f"Examples:\n    fsm-saga {listed.name}" in ended.out


def test_help_goes_to_stdout_even_where_json_is_asked_for(desk: Desk) -> None:
    assert "Usage:" in desk.type("run", "--json", "--help").out


def test_the_version_is_printed(desk: Desk) -> None:
    ended = desk.type("--version")

    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith("fsm-saga 0.")


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("rnu",),
        ("run",),
        ("run", "--wat"),
        ("show",),
        ("approve", "x", "--step", "1"),
        ("resolve", "x", "--step", "1", "--by", "Ann", "--note", "n"),
        ("diagram", "--kind", "wat"),
        ("gc",),
        ("gc", "--older-than", "soon"),
    ],
)
def test_a_wrong_command_ends_with_exit_code_2(desk: Desk, words: tuple[str, ...]) -> None:
    text = desk.type(*words)

    assert text.code == 2
    assert text.out == ""
    assert text.err
    assert "Traceback" not in text.err
    if words:
        as_json = desk.type(*words, "--json")
        assert as_json.code == 2
        assert as_json.json["error"]["code"] == "usage"
        assert as_json.err == ""


def test_a_mistyped_command_is_told_which_one_is_near(desk: Desk) -> None:
    assert "Did you mean" in desk.type("hsitory", "x").err


def test_completion_knows_commands_and_options(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def completed(typed: str, position: str) -> str:
        monkeypatch.setenv("_FSM_SAGA_COMPLETE", "complete_bash")
        monkeypatch.setenv("COMP_WORDS", typed)
        monkeypatch.setenv("COMP_CWORD", position)
        ended = desk.type()
        assert ended.code == 0
        return ended.out

    assert completed("fsm-saga wa", "1").split() == ["watch"]
    assert "--settled" in completed("fsm-saga resolve --se", "2")


def test_commands_are_not_imported_before_they_are_used() -> None:
    # The group knows names and summaries only; what it lists are stand-ins without parameters.
    group: Any = typer.main.get_command(cli.app)
    for command in group.commands.values():
        assert [p.name for p in command.params] == []
