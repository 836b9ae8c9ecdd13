from __future__ import annotations

import os
import shlex
from pathlib import Path

import pytest

from fsm_saga.cli.options import (
    STORE,
    load_all,
    read_input,
    read_input_text,
    store_is_missing,
    tool_specs,
    typed,
)
from fsm_saga.core.limits import LIMITS
from fsm_saga.errors import CommandError


def test_tools_on_the_command_line_come_before_those_of_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert tool_specs(None) == []
    monkeypatch.setenv("FSM_SAGA_TOOLS", f"a.py{os.pathsep}{os.pathsep}b")
    assert tool_specs(None) == ["a.py", "b"]
    assert tool_specs(["c"]) == ["c"]
    assert load_all([]) == []


def test_a_file_that_is_too_long_is_not_read_to_its_end() -> None:
    assert len(read_input("/dev/zero", "Plan")) == LIMITS.plan_bytes_max + 1


def test_a_text_has_to_be_utf8_and_may_begin_with_a_mark(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"\xef\xbb\xbf[]")
    assert read_input_text(str(path), "Plan") == "[]"
    path.write_bytes(b"\xff")
    with pytest.raises(CommandError, match="not UTF-8"):
        read_input_text(str(path), "Plan")


def test_a_path_that_no_system_has_is_refused() -> None:
    with pytest.raises(CommandError, match="was not read"):
        read_input("a\0b", "Plan")


def test_a_command_to_type_survives_the_shell_and_names_what_is_not_the_default() -> None:
    line = typed("show", "it's; rm -rf", store="sqlite:///my store.db", tools=["t.py"])

    words = ["fsm-saga", "show", "it's; rm -rf", "--tools", "t.py"]
    assert shlex.split(line) == [*words, "--store", "sqlite:///my store.db"]
    assert typed("list", store=STORE) == "fsm-saga list"


def test_the_store_of_the_environment_need_not_be_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FSM_SAGA_STORE", "sqlite:///x.db")

    assert typed("list", store="sqlite:///x.db") == "fsm-saga list"
    assert typed("list", store=STORE) == f"fsm-saga list --store {STORE}"


def test_a_store_is_missing_only_if_it_is_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert store_is_missing(f"sqlite:///{tmp_path / 'x.db'}")
    (tmp_path / "x.db").touch()
    assert not store_is_missing(f"sqlite:///{tmp_path / 'x.db'}")
    assert not store_is_missing("memory://")
