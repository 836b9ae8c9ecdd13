"""What `doctor` says of tools: proven, refuted, changed since, unknown."""

from __future__ import annotations

from pathlib import Path

import pytest

from fsm_saga.cli.checks import Finding, Level
from fsm_saga.cli.checks_certificates import certificate_findings
from tests.unit.cli.desk import Desk

TOOLS = """
import itertools
from fsm_saga import tool

NUMBERS = itertools.count()

@tool(undo="cancel", dedupe=True)
def order() -> int:
    return next(NUMBERS)

@tool(dedupe=True, read_only=True)
def look() -> int:
    return 7

@tool
def cancel() -> None: ...

@tool
def ask() -> None: ...
"""


def certified(desk: Desk) -> tuple[Path, str]:
    """Certify two tools; return where the certificates are, and the tools."""
    tools = desk.write("shop.py", TOOLS)
    folder = desk.folder / "certificates"
    for name in ("order", "look"):
        desk.type("certify", name, "--tools", tools, "--certificates", str(folder), "--yes")
    return folder, tools


def by_tool(findings: list[Finding]) -> dict[str, Finding]:
    return {finding.message.partition(":")[0]: finding for finding in findings}


def test_each_tool_is_listed_with_what_is_known_of_it(desk: Desk) -> None:
    folder, tools = certified(desk)
    found = by_tool(certificate_findings(folder, [tools]))

    assert set(found) == {"order", "look", "ask"}, "an undo goes with what it undoes"
    assert found["order"].level is Level.WARN
    assert "refuted: dedupe" in found["order"].message
    assert "Plans that use it are refused" in found["order"].advice
    assert found["look"].level is Level.OK
    assert "proven in part: " in found["look"].message
    assert found["ask"].level is Level.OK
    assert "unknown, declared only" in found["ask"].message
    for name in ("order", "look"):
        assert " UTC by fsm_saga " in found[name].message
        assert "not held against" not in found[name].message


def test_without_the_tools_a_certificate_is_listed_as_it_is(desk: Desk) -> None:
    folder, _ = certified(desk)
    found = by_tool(certificate_findings(folder, []))

    assert set(found) == {"order", "look"}
    assert "refuted: dedupe" in found["order"].message
    assert "not held against the tool of today" in found["order"].message


def test_a_tool_that_changed_is_told(desk: Desk) -> None:
    folder, _ = certified(desk)
    tools = desk.write("shop.py", TOOLS.replace("return 7", "return 8"))
    found = by_tool(certificate_findings(folder, [tools]))

    assert found["look"].level is Level.WARN
    assert "changed since it was certified" in found["look"].message
    assert "Certify it again" in found["look"].advice


def test_what_is_no_certificate_fails(desk: Desk) -> None:
    folder, tools = certified(desk)
    (folder / "order.json").write_text("{}", encoding="utf-8")
    (finding,) = certificate_findings(folder, [tools])

    assert finding.level is Level.FAIL
    assert "order.json" in finding.message


def test_without_certificates_tools_are_declared_only(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(desk.folder)
    tools = desk.write("shop.py", TOOLS)

    assert certificate_findings(None, []) == []
    (finding,) = certificate_findings(None, [tools])
    assert "what the tools declare is believed" in finding.message


def test_tools_that_cannot_be_loaded_keep_no_certificate_from_being_listed(desk: Desk) -> None:
    folder, _ = certified(desk)
    assert set(by_tool(certificate_findings(folder, ["no_such_module"]))) == {"order", "look"}


def test_doctor_prints_them(desk: Desk) -> None:
    folder, tools = certified(desk)
    ended = desk.on_store("doctor", "--certificates", str(folder), "--tools", tools)

    assert ended.code == 0
    assert "order: refuted: dedupe" in ended.out
