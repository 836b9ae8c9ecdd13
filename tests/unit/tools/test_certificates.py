"""Certificates hold for the tool that was certified, and for no other."""

from __future__ import annotations

import datetime
import functools
import json
from pathlib import Path
from typing import Any

import pytest

from fsm_saga.core.contract import Standing
from fsm_saga.errors import ToolsError
from fsm_saga.tools import CallContext, Registry, Tool, load_tools, tool
from fsm_saga.tools.certificates import Certificate, Certificates, file_name, fingerprint_of
from fsm_saga.tools.certify import Report, Samples, certificate_of, certify_tool
from tests.support.liars import Shop, runner_of

AT = datetime.datetime(2026, 2, 1, 12, tzinfo=datetime.UTC)
SAMPLES = Samples(
    params={"item": "tea", "count": 2},
    bad_params={"item": "tea", "count": 1000},
    probe="count_orders",
)
SOURCE = """
from fsm_saga import CallContext, tool

@tool(undo="unpost"{promise})
def post(text: {kind}, ctx: CallContext) -> str:
    return text

@tool
def unpost(ctx: CallContext) -> {undo_kind}:
    {undo_line}
"""
PLAIN = {"promise": "", "kind": "str", "undo_kind": "str", "undo_line": "return ''"}


def tools_of(folder: Path, **changed: str) -> dict[str, Tool[..., Any]]:
    path = folder / f"tools_{abs(hash(str(sorted(changed.items()))))}.py"
    path.write_text(SOURCE.format(**PLAIN | changed), encoding="utf-8")
    return {each.name: each for each in load_tools(str(path))}


def certificate(**changed: Any) -> Certificate:
    return Certificate.model_validate(
        {
            "tool": "post",
            "undo": None,
            "fingerprint": "",
            "contract": {},
            "proven": (),
            "broken": (),
            "untried": (),
            "extra": (),
            "checks": (),
            "certified_at": AT,
            "version": "0",
        }
        | changed
    )


def certified(shop: Shop, report: Report) -> tuple[Registry, Certificates]:
    registry = runner_of(shop)._registry
    found = certificate_of(report, registry.known, undo=None, at=AT, version="0.1.0")
    return registry, Certificates({"order": found})


@pytest.mark.parametrize(
    ("flaws", "samples", "standing", "refuted"),
    [
        ([], SAMPLES, Standing.CERTIFIED, ()),
        ([], Samples(params=SAMPLES.params), Standing.PARTLY, ()),
        (["no tombstone"], SAMPLES, Standing.REFUTED, ("fenced_compensation",)),
    ],
)
async def test_a_registry_knows_what_a_certificate_says_of_its_tools(
    flaws: list[str], samples: Samples, standing: Standing, refuted: tuple[str, ...]
) -> None:
    shop = Shop(flaws)
    report = await certify_tool(runner_of(shop), "order", samples)
    registry, certificates = certified(shop, report)

    catalogue = Registry(registry.known.values(), certificates=certificates).catalogue

    assert catalogue["order"].standing is standing
    assert catalogue["order"].refuted == refuted
    assert catalogue["cancel"].standing is Standing.DECLARED
    assert catalogue["order"].contract == registry.catalogue["order"].contract


async def test_a_certificate_is_read_as_it_was_written(tmp_path: Path) -> None:
    shop = Shop()
    report = await certify_tool(runner_of(shop), "order", SAMPLES)
    found = certificate_of(report, runner_of(shop)._registry.known, undo=None, at=AT, version="1")

    path = found.write(tmp_path / "a" / "b")

    assert path == tmp_path / "a" / "b" / "order.json"
    assert Certificates.read(path.parent).get("order") == found
    assert [each.name for each in path.parent.iterdir()] == ["order.json"]
    told = json.loads(path.read_text(encoding="utf-8"))
    assert told["certified_at"] == "2026-02-01T12:00:00Z"
    assert told["proven"][0] == "dedupe"
    assert "calls" not in told["checks"][0]


@pytest.mark.parametrize(
    "changed",
    [
        {"promise": ", fenced_compensation=True"},
        {"kind": "int"},
        {"undo_kind": "int", "undo_line": "return 0"},
        {"undo_line": "return 'gone'"},
    ],
)
def test_a_change_of_the_tool_or_of_its_undo_outdates_its_certificate(
    changed: dict[str, str], tmp_path: Path
) -> None:
    before = tools_of(tmp_path)
    found = certificate(fingerprint=fingerprint_of("post", before), broken=("dedupe",))
    certificates = Certificates({"post": found})

    after = tools_of(tmp_path, **changed)

    assert certificates.judged(before["post"].facts, before).standing is Standing.REFUTED
    judged = certificates.judged(after["post"].facts, after)
    assert judged.standing is Standing.OUTDATED
    assert judged.refuted == ()


def test_a_fingerprint_knows_a_missing_undo_and_one_that_was_named(tmp_path: Path) -> None:
    tools = tools_of(tmp_path)
    alone = {"post": tools["post"]}
    plain = {"unpost": tools["unpost"], "other": tool(name="other")(lambda: "")}

    assert fingerprint_of("post", tools) != fingerprint_of("post", alone)
    assert fingerprint_of("unpost", plain) != fingerprint_of("unpost", plain, undo="other")


def test_a_fingerprint_is_the_same_in_every_process(tmp_path: Path) -> None:
    assert fingerprint_of("post", tools_of(tmp_path)) == fingerprint_of("post", tools_of(tmp_path))


def test_a_function_whose_source_is_nowhere_counts_by_its_declaration() -> None:
    names: dict[str, Any] = {"CallContext": CallContext}
    exec("def post(text: str) -> str: return text", names)  # noqa: S102  # as a console does
    one, part = tool(names["post"]), tool(name="post")(functools.partial(names["post"], text="a"))

    assert fingerprint_of("post", {"post": one})
    assert fingerprint_of("post", {"post": one}) != fingerprint_of("post", {"post": part})


@pytest.mark.parametrize(
    ("tool_name", "file"),
    [
        ("book_flight", "book_flight.json"),
        ("..", "...json"),
        ("a/b\\c", "a%2Fb%5Cc.json"),
        ("预订", "%E9%A2%84%E8%AE%A2.json"),
    ],
)
def test_the_name_of_a_tool_never_leads_out_of_the_folder(tool_name: str, file: str) -> None:
    assert file_name(tool_name) == file


def test_two_long_names_are_two_files() -> None:
    one, other = file_name("预" * 128), file_name("预" * 127 + "订")

    assert one != other
    assert len(one) < 200


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("", "Invalid JSON"),
        ("{}", "tool: is missing"),
        (certificate().model_dump_json().replace("{", '{"more": 1, ', 1), "more"),
        (certificate(format=2).model_dump_json(), "its format is 2"),
        (" " * 1_000_001, "longer than"),
    ],
)
def test_a_file_that_is_no_certificate_is_named(tmp_path: Path, body: str, why: str) -> None:
    (tmp_path / "post.json").write_text(body, encoding="utf-8")

    with pytest.raises(ToolsError, match=why) as raised:
        Certificates.read(tmp_path)
    assert "post.json" in raised.value.message


def test_a_file_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    (tmp_path / "post.json").mkdir()

    with pytest.raises(ToolsError, match=r"post\.json"):
        Certificates.read(tmp_path)


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ToolsError, match="no folder"):
        Certificates.read(tmp_path / "nothing")


def test_other_files_in_the_folder_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("what these are", encoding="utf-8")

    assert "post" not in Certificates.read(tmp_path)
