from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import typer

from tests.unit.cli.desk import Desk, Ended

SHOP = """
from fsm_saga import CallContext, tool

ORDERS = {}
CALLS = {}

@tool(undo="cancel", fenced_compensation=True)
def order(item: str, ctx: CallContext) -> dict[str, int]:
    if CALLS.get(ctx.req_id) in ("refused", "cancelled"):
        raise ValueError("never again")
    if item == "gold":
        CALLS[ctx.req_id] = "refused"
        raise ValueError("no gold")
    known = ORDERS.get(ctx.req_id)
    if known is not None and known[0] != item:
        raise ValueError("other params")
    return {"number": ORDERS.setdefault(ctx.req_id, (item, len(CALLS) + len(ORDERS)))[1]}

@tool
def cancel(ctx: CallContext) -> None:
    {tombstone}
    ORDERS.pop(ctx.undoes, None)

@tool(read_only=True)
def orders() -> int:
    return len(ORDERS)
"""
HONEST = 'CALLS[ctx.undoes] = "cancelled"'
LYING = "pass"
SAMPLES = ("--params", '{"item": "tea"}', "--bad-params", '{"item": "gold"}', "--probe", "orders")


def write_shop(desk: Desk, tombstone: str, name: str = "shop") -> str:
    return desk.write(f"{name}.py", SHOP.replace("{tombstone}", tombstone))


def certify(desk: Desk, tools: str, *more: str) -> Ended:
    folder = ("--certificates", str(desk.folder / "certificates"))
    return desk.type("certify", "order", "--tools", tools, *folder, *SAMPLES, *more)


def plan_of(desk: Desk) -> str:
    step = {"step_id": 1, "tool": "order", "params": {"item": "tea"}}
    return desk.write("plan.json", {"task_id": "tea", "steps": [step]})


def test_nothing_is_called_if_no_certificate_could_be_written(desk: Desk) -> None:
    tools = desk.write("shop.py", "from fsm_saga import tool\n@tool\ndef order(): print('called')")
    for folder in (tools, f"{tools}/deep/down"):
        words = ("certify", "order", "--tools", tools, "--certificates", folder, "--yes")
        ended = desk.type(*words)
        assert (ended.code, ended.out) == (2, "")
        assert f"'{tools}' is no folder. Nothing was called" in ended.err


def test_a_tool_that_there_is_none_of_is_named_before_anybody_has_to_agree(desk: Desk) -> None:
    ended = desk.type("certify", "ordr", "--tools", write_shop(desk, HONEST))
    assert ended.code == 2
    assert "'ordr' was not certified: it is no registered tool" in ended.err


@pytest.mark.parametrize("params", ["[]", '"tea"', " [1]"])
def test_params_that_are_typed_as_something_else_are_not_looked_for_as_a_file(
    desk: Desk, params: str
) -> None:
    tools = write_shop(desk, HONEST)
    ended = desk.type("certify", "order", "--tools", tools, "--params", params, "--yes")
    assert ended.code == 2
    assert "--params was refused: it is no JSON object" in ended.err


def test_an_honest_tool_is_certified(desk: Desk) -> None:
    ended = certify(desk, write_shop(desk, HONEST), "--yes")

    assert ended.code == 0, ended.err
    assert "kept" in ended.out
    assert "broken" not in ended.out
    assert "Proven: dedupe, sticky_failures, undo, fenced_compensation, output" in ended.out
    assert "Certificate: " in ended.out
    written = json.loads((desk.folder / "certificates" / "order.json").read_text())
    assert written["proven"][:2] == ["dedupe", "sticky_failures"]
    assert written["version"]


def test_a_lying_tool_is_refuted_with_the_calls_that_show_it(desk: Desk) -> None:
    ended = certify(desk, write_shop(desk, LYING), "--yes")

    assert ended.code == 3
    assert "Broken: dedupe, fenced_compensation" in ended.out
    (at,) = [n for n, line in enumerate(ended.out.splitlines()) if "An undo may come first" in line]
    told = ended.out.splitlines()[at + 1 : at + 4]
    assert [line.split()[1].partition("{")[0] for line in told] == ["orders", "cancel", "order"]
    assert "after its undo -> ok" in told[2]


def test_as_json_the_whole_report_is_one_document(desk: Desk) -> None:
    ended = certify(desk, write_shop(desk, LYING), "--yes", "--json")

    assert ended.code == 3
    assert ended.json["broken"] == ["dedupe", "fenced_compensation"]
    assert ended.json["certificate"].endswith("order.json")
    assert all(check["calls"] for check in ended.json["checks"] if check["verdict"] == "broken")


def test_nothing_is_called_unless_somebody_agrees(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools = write_shop(desk, HONEST)
    asked: list[str] = []

    def refuse(text: str, **_how: bool) -> bool:
        asked.append(text)
        raise typer.Abort

    piped = certify(desk, tools)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(typer, "confirm", refuse)
    as_json = certify(desk, tools, "--json")
    refused = certify(desk, tools)

    assert (piped.code, as_json.code, refused.code) == (2, 2, 2)
    assert "add --yes" in piped.err
    assert as_json.json["error"]["code"] == "command-refused"
    assert "calls order for real" in asked[0]
    assert not (desk.folder / "certificates").exists()


@pytest.mark.parametrize(
    ("option", "value", "why"),
    [
        ("--params", "{", "it is no JSON"),
        ("--params", "missing.json", "No such file"),
        ("--bad-params", "list.json", "it is no JSON object"),
        ("--undo-params", "[]", "it is no JSON object"),
        ("--probe", "nobody", "'nobody'"),
    ],
)
def test_samples_that_cannot_be_read_are_refused_before_anything_is_called(
    desk: Desk, option: str, value: str, why: str
) -> None:
    desk.write("list.json", [1])
    given = str(desk.folder / value) if value.endswith(".json") else value

    ended = certify(desk, write_shop(desk, HONEST), "--yes", option, given)

    assert ended.code == 2
    assert why in ended.err
    assert not (desk.folder / "certificates").exists()


def test_params_may_come_from_a_file(desk: Desk) -> None:
    path = desk.write("params.json", {"item": "milk"})
    tools = write_shop(desk, HONEST)

    ended = certify(desk, tools, "--yes", "--json", "--params", path)

    assert ended.code == 0, ended.err
    called = [call for check in ended.json["checks"] for call in check["calls"]]
    assert {"item": "milk"} in [call["params"] for call in called]


def test_a_plan_that_leans_on_a_refuted_tool_is_refused(desk: Desk) -> None:
    tools = write_shop(desk, LYING)
    certify(desk, tools, "--yes")
    folder = ("--certificates", str(desk.folder / "certificates"))
    typed = (plan_of(desk), "--tools", tools, "--json")

    with_it = desk.on_store("run", *typed, *folder)
    verified = desk.type("verify", *typed, *folder)
    without = desk.on_store("run", *typed)

    assert (with_it.code, verified.code, without.code) == (2, 2, 0)
    assert [p["code"] for p in with_it.json["problems"]] == ["broken-promise"]
    assert "'dedupe', 'fenced_compensation'" in with_it.json["problems"][0]["message"]


def test_verify_and_the_picture_tell_certified_from_only_declared(desk: Desk) -> None:
    tools = write_shop(desk, HONEST)
    certify(desk, tools, "--yes")
    folder = ("--certificates", str(desk.folder / "certificates"))
    (desk.folder / "nothing").mkdir()
    none = ("--certificates", str(desk.folder / "nothing"))
    plan = plan_of(desk)

    assert "  order: certified" in desk.type("verify", plan, "--tools", tools, *folder).out
    assert "  order: declared only" in desk.type("verify", plan, "--tools", tools, *none).out
    assert "Contracts:" not in desk.type("verify", plan, "--tools", tools).out
    as_json = desk.type("verify", plan, "--tools", tools, *folder, "--json").json
    assert as_json["standings"] == {"order": "certified"}
    drawn = desk.type("diagram", plan, "--tools", tools, *folder)
    assert "contract: certified" in drawn.out
    assert "contract:" not in desk.type("diagram", plan, "--tools", tools).out


def test_a_tool_that_changed_since_it_was_certified_is_told_and_believed(desk: Desk) -> None:
    certify(desk, write_shop(desk, LYING), "--yes")
    changed = write_shop(desk, HONEST, name="changed")
    folder = ("--certificates", str(desk.folder / "certificates"))
    typed = (plan_of(desk), "--tools", changed, *folder)

    ran = desk.on_store("run", *typed, "--json")
    verified = desk.type("verify", *typed)

    assert (ran.code, verified.code) == (0, 0)
    assert "Changed since certified, so believed only: order" in ran.err
    assert "  order: certificate outdated" in verified.out


def test_certificates_lie_where_the_commands_look_for_them(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(desk.folder)
    tools = write_shop(desk, HONEST)

    desk.type("certify", "order", "--tools", tools, *SAMPLES, "--yes")

    assert Path(".fsm-saga/certificates/order.json").is_file()
    assert "  order: certified" in desk.type("verify", plan_of(desk), "--tools", tools).out
