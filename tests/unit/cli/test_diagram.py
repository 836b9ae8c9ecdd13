from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.cli.desk import Desk


def test_a_plan_is_drawn_as_text_by_default(desk: Desk) -> None:
    ended = desk.type("diagram", desk.plan("a", "b"), "--tools", desk.tools)

    assert (ended.code, ended.err) == (0, "")
    assert "take a" in ended.out
    assert "give_back" in ended.out


def test_a_plan_is_drawn_without_its_tools(desk: Desk) -> None:
    assert "take a" in desk.type("diagram", desk.plan("a", "b")).out
    assert "take a" in desk.type("diagram", desk.plan("a", "b"), "--open-ended").out


@pytest.mark.parametrize("name", ["trip", "a b", "x" * 5_000, "nul\x00"])
def test_whoever_names_no_file_is_told_how_a_saga_is_drawn(desk: Desk, name: str) -> None:
    ended = desk.on_store("diagram", name)
    shown = "'a b'" if name == "a b" else name.replace("\x00", "")

    assert (ended.code, ended.out) == (2, "")
    assert "there is no such file" in ended.err
    assert f"fsm-saga diagram --saga {shown}" in ended.err


@pytest.mark.parametrize("kind", ["dag", "machine", "step", "timeline"])
def test_a_saga_is_drawn_in_every_kind_without_tools(desk: Desk, kind: str) -> None:
    desk.run("a", "nothing")
    words = ("--saga", "trip", "--kind", kind, "--format", "dot")
    ended = desk.on_store("diagram", *words)
    earlier = desk.on_store("diagram", *words, "--at", "4")

    assert (ended.code, earlier.code) == (0, 0)
    assert ended.out.startswith("digraph")
    assert (ended.out == earlier.out) == (kind == "step")


@pytest.mark.parametrize(
    ("name", "beginning"),
    [
        ("plan.svg", b"<?xml"),
        ("plan.png", b"\x89PNG"),
        ("plan.dot", b"digraph"),
        ("plan.mmd", b"---"),
        ("plan.txt", b""),
    ],
)
def test_the_ending_of_the_name_says_the_format(desk: Desk, name: str, beginning: bytes) -> None:
    ended = desk.type("diagram", desk.plan("a"), "-o", name)

    assert ended.code == 0
    assert ended.out == f"Drawn: {name}\n"
    assert (desk.folder / name).read_bytes().startswith(beginning)


def test_the_format_may_be_named_and_goes_to_stdout_as_it_goes_to_a_file(desk: Desk) -> None:
    plan = desk.plan("a")
    printed = desk.type("diagram", plan, "--format", "svg", "-o", "-").out

    assert desk.type("diagram", plan, "--format", "svg", "-o", "picture").code == 0
    assert (desk.folder / "picture").read_text(encoding="utf-8") == printed


def test_as_json_it_says_where_the_picture_is(desk: Desk) -> None:
    ended = desk.type("diagram", "--kind", "step", "-o", "step.svg", "--json")

    assert ended.code == 0
    assert ended.json["file"] == "step.svg"
    assert (desk.folder / "step.svg").exists()
    assert desk.type("diagram", "--kind", "step", "--json").code == 2, "stdout is taken"


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("--kind", "machine"),
        ("plan.json", "--kind", "timeline"),
        ("plan.json", "--saga", "trip"),
        ("plan.json", "-o", "plan.unknown"),
        ("plan.json", "-o", "missing/plan.svg"),
        ("plan.json", "--format", "gif"),
        ("missing.json",),
        ("bad.json",),
        ("--saga", "nobody"),
    ],
)
def test_what_cannot_be_drawn_is_refused(desk: Desk, words: tuple[str, ...]) -> None:
    Path(desk.plan("a")).rename(desk.folder / "plan.json")
    desk.write("bad.json", "{")
    ended = desk.on_store("diagram", *words)

    assert ended.code == 2
    assert ended.out == ""
    assert ended.err
