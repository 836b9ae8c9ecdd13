"""A picture takes the place of a file, and of nothing else."""

from __future__ import annotations

import os
import stat

import pytest

from tests.unit.cli.desk import Desk

COMMANDS = {
    "diagram": ("--format", "svg", "-o"),
    "verify": ("--picture",),
    "simulate": ("--seeds", "1", "--picture"),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_pipe_is_not_replaced_by_a_picture(desk: Desk, command: str) -> None:
    pipe = desk.folder / "pipe.svg"
    os.mkfifo(pipe)
    words = (command, desk.plan("a"), "--tools", desk.tools, *COMMANDS[command], str(pipe))
    ended = desk.type(*words)

    assert (ended.code, ended.out) == (2, "")
    assert "it is a device or a pipe, and no file" in ended.err
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_link_stays_a_link_to_the_new_picture(desk: Desk) -> None:
    (desk.folder / "real.svg").write_text("old")
    link = desk.folder / "plan.svg"
    link.symlink_to("real.svg")
    ended = desk.type("diagram", desk.plan("a"), "-o", str(link))

    assert ended.code == 0
    assert link.is_symlink()
    assert (desk.folder / "real.svg").read_bytes().startswith(b"<?xml")


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "no file can be called so"),
        ("nul\x00.svg", "no file can be called so"),
        (".", "no file can be called so"),
        ("/", "no file can be called so"),
        ("..", "it is a folder"),
        ("x" * 5_000 + ".svg", "File name too long"),
    ],
)
def test_a_name_that_no_file_can_have_is_refused(desk: Desk, name: str, why: str) -> None:
    ended = desk.type("diagram", desk.plan("a"), "--format", "svg", "-o", name)

    assert ended.code == 2
    assert why in ended.err


def test_verify_refuses_the_picture_before_it_searches(desk: Desk) -> None:
    ended = desk.type("verify", desk.plan("a"), "--picture", str(desk.folder / "no" / "x.svg"))
    missing = desk.type("verify", "no-plan.json", "--picture", str(desk.folder / "no" / "x.svg"))

    assert (ended.code, missing.code) == (2, 2)
    assert "its folder is not there" in ended.err
    assert "its folder is not there" in missing.err
