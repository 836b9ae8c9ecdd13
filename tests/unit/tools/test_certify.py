"""An honest tool is certified; each planted lie is found, by the check that is about it."""

from __future__ import annotations

from typing import Any

import pytest

from fsm_saga.errors import CommandError
from fsm_saga.tools import CallContext, PythonRunner, Registry, tool
from fsm_saga.tools.certify import Report, Samples, Verdict, certify_tool, trial
from tests.support.liars import FLAWS, Shop, runner_of

SAMPLES = Samples(
    params={"item": "tea", "count": 2},
    bad_params={"item": "tea", "count": 1000},
    probe="count_orders",
)
NO_PROBE = Samples(params=SAMPLES.params, bad_params=SAMPLES.bad_params)

# For each lie: the checks that it breaks, and no others.
CAUGHT = {
    "no dedupe": {"repeat", "together", "other-params", "late-copy", "undo-first"}
    | {"status-fences", "refusal"},
    "no tombstone": {"undo-first"},
    "tombstone for one copy": {"undo-first", "late-copy", "status-fences"},
    "undo forgets the call": {"late-copy"},
    "refusals are forgotten": {"refusal"},
    "params are not compared": {"other-params"},
    "two at once": {"together"},
    "undo acts twice": {"undo-twice"},
    "undo does nothing": {"undo", "undo-twice", "late-copy", "status"},
    "absent does not fence": {"status-fences"},
    "status lies": {"status", "status-fences"},
    "deadline is ignored": {"deadline"},
    "deadline is always over": {"deadline"},
    "output of another type": {"output"},
    "copies are refused": {"repeat", "together"},
    "new answer each time": {"repeat", "together"},
}


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "DOUBT_DELAY_S", 0.0)


async def certify(shop: Shop, samples: Samples = SAMPLES, **declared: Any) -> Report:
    return await certify_tool(runner_of(shop, **declared), "order", samples)


def verdicts(report: Report) -> dict[str, Verdict]:
    return {result.name: result.verdict for result in report.results}


def names(report: Report, verdict: Verdict) -> set[str]:
    return {result.name for result in report.results if result.verdict is verdict}


async def test_an_honest_tool_is_certified_in_everything_that_it_declares() -> None:
    report = await certify(Shop())

    assert names(report, Verdict.BROKEN) == set()
    assert names(report, Verdict.CANNOT_TELL) == {"retention"}
    assert report.is_kept
    assert set(report.proven) == {
        "dedupe",
        "sticky_failures",
        "undo",
        "fenced_compensation",
        "check",
        "check_fences",
        "deadline",
        "output",
    }
    assert report.untried == report.extra == ()


@pytest.mark.parametrize("flaw", FLAWS)
async def test_each_lie_is_found_by_the_checks_that_are_about_it(flaw: str) -> None:
    report = await certify(Shop([flaw]))

    assert names(report, Verdict.BROKEN) == CAUGHT[flaw]
    assert not report.is_kept


@pytest.mark.parametrize(
    "flaw",
    [
        "no dedupe",
        "no tombstone",
        "tombstone for one copy",
        "undo forgets the call",
        "refusals are forgotten",
        "params are not compared",
        "two at once",
        "absent does not fence",
        "deadline is ignored",
        "new answer each time",
    ],
)
async def test_most_lies_show_in_the_answers_alone(flaw: str) -> None:
    report = await certify(Shop([flaw]), NO_PROBE)

    assert names(report, Verdict.BROKEN)
    assert names(report, Verdict.BROKEN) <= CAUGHT[flaw]


async def test_without_a_probe_an_honest_tool_is_left_with_what_only_a_probe_sees() -> None:
    report = await certify(Shop(), NO_PROBE)

    assert report.is_kept
    assert names(report, Verdict.CANNOT_TELL) == {"undo", "undo-twice", "retention"}
    assert report.untried == ("undo",)


async def test_what_is_kept_but_not_declared_is_told_and_what_is_not_kept_is_no_lie() -> None:
    promises: dict[str, Any] = {
        "fenced_compensation": False,
        "check_fences": False,
        "deadline": False,
    }

    kept = await certify(Shop(), **promises)
    not_kept = await certify(Shop(["no tombstone", "deadline is ignored"]), **promises)

    assert kept.extra == ("fenced_compensation", "check_fences", "deadline")
    assert not_kept.is_kept
    assert names(not_kept, Verdict.NOT_DECLARED) == {"undo-first", "deadline"}
    assert not_kept.extra == ("check_fences",)


async def test_each_verdict_comes_with_the_calls_behind_it() -> None:
    report = await certify(Shop(["no tombstone"]))
    result = next(each for each in report.results if each.name == "undo-first")
    undo, late = [call for call in result.calls if call.tool != "count_orders"]

    assert result.why == "the late call was accepted"
    assert undo.as_json() == {
        "tool": "cancel",
        "call": undo.label,
        "params": {},
        "about": late.label,
        "outcome": "ok",
        "output": {"cancelled": True},
    }
    assert late.note == "after its undo"
    assert late.outcome == "ok"


async def test_a_tool_without_a_memory_of_its_own_is_found_out_by_its_answers() -> None:
    @tool
    def ping(word: str) -> str:
        return word

    report = await certify_tool(
        PythonRunner(Registry([ping])), "ping", Samples(params={"word": "a"})
    )

    assert verdicts(report)["other-params"] is Verdict.BROKEN
    assert verdicts(report)["repeat"] is Verdict.CANNOT_TELL
    assert verdicts(report)["refusal"] is Verdict.CANNOT_TELL
    assert "undo" not in verdicts(report)


@pytest.mark.parametrize("is_honest", [True, False])
async def test_a_read_only_tool_is_watched_by_the_probe(is_honest: bool) -> None:
    seen: list[str] = []

    @tool(read_only=True)
    def look(word: str) -> str:
        if not is_honest:
            seen.append(word)
        return word

    @tool(read_only=True)
    def count() -> int:
        return len(seen)

    runner = PythonRunner(Registry([look, count]))
    report = await certify_tool(runner, "look", Samples(params={"word": "a"}, probe="count"))

    assert report.is_kept is is_honest
    assert set(verdicts(report)) == {"reading", "output"}
    blind = await certify_tool(runner, "look", Samples(params={"word": "a"}))
    assert verdicts(blind)["reading"] is Verdict.CANNOT_TELL


async def test_an_undo_that_needs_the_output_cannot_come_first() -> None:
    shop = Shop()

    @tool(undo="cancel_it", fenced_compensation=True)
    def order(item: str, count: int, ctx: CallContext) -> dict[str, int]:
        answer: dict[str, int] = shop.order(ctx.req_id, item, count, not_after=None)
        return answer

    @tool
    def cancel_it(order_number: int, ctx: CallContext) -> bool:
        assert order_number
        assert ctx.undoes is not None
        return shop.cancel(ctx.req_id, ctx.undoes)["cancelled"]

    @tool(read_only=True)
    def count_orders() -> int:
        return len(shop.orders)

    runner = PythonRunner(Registry([order, cancel_it, count_orders]))
    params = {"order_number": "$output.step_1.order"}
    samples = Samples(params=SAMPLES.params, undo_params=params, probe="count_orders")
    literal = Samples(params=SAMPLES.params, undo_params={"order_number": 7}, probe="count_orders")
    wrong = Samples(params=SAMPLES.params, undo_params={"order_number": "$output.step_1.no"})

    found = {
        result.name: result for result in (await certify_tool(runner, "order", samples)).results
    }
    assert found["undo"].verdict is Verdict.KEPT
    assert found["undo-first"].verdict is Verdict.CANNOT_TELL
    assert "needs the action's output" in found["undo-first"].why
    assert verdicts(await certify_tool(runner, "order", literal))["undo-first"] is Verdict.KEPT
    assert verdicts(await certify_tool(runner, "order", wrong))["undo"] is Verdict.CANNOT_TELL


async def test_an_undo_may_be_named_for_a_tool_that_declares_none() -> None:
    named = Samples(params=SAMPLES.params, undo="cancel", probe="count_orders")

    found = await certify(Shop(), named, undo=None)
    without = await certify(Shop(), SAMPLES, undo=None)

    assert verdicts(found)["undo-first"] is Verdict.KEPT
    assert verdicts(without)["undo-first"] is Verdict.CANNOT_TELL


@pytest.mark.parametrize(
    ("name", "samples", "why"),
    [
        ("sell", SAMPLES, "no registered tool"),
        ("order", Samples(params={"item": "tea", "count": 1000}), "so much is never there"),
        ("order", Samples(params={"item": "tea"}), "refused before anything was sent"),
        ("order", Samples(params=SAMPLES.params, probe="counter"), "'counter'"),
        ("order", Samples(params=SAMPLES.params, undo="uncancel"), "'uncancel'"),
        ("order", Samples(params=SAMPLES.params, probe="cancel"), "probe 'cancel' was refused"),
        ("status", Samples(params={}), "AssertionError"),
    ],
)
async def test_samples_that_lead_nowhere_are_the_callers_mistake(
    name: str, samples: Samples, why: str
) -> None:
    with pytest.raises(CommandError, match=why):
        await certify_tool(runner_of(Shop()), name, samples)


@pytest.mark.parametrize(("counted", "why"), [(3, "does not count what they do"), ("3", "number")])
async def test_a_probe_that_does_not_see_the_effects_is_refused(counted: Any, why: str) -> None:
    @tool(name="probe", read_only=True)
    def probe() -> Any:
        return counted

    shop = Shop()
    tools = [*runner_of(shop)._registry, probe]
    with pytest.raises(CommandError, match=why):
        await certify_tool(
            PythonRunner(Registry(tools)), "order", Samples(params=SAMPLES.params, probe="probe")
        )


async def test_a_probe_is_given_the_params_that_it_knows() -> None:
    asked: list[str] = []
    shop = Shop()

    @tool(name="probe", read_only=True)
    def probe(item: str) -> int:
        asked.append(item)
        return len(shop.orders)

    runner = PythonRunner(Registry([*runner_of(shop)._registry, probe]))
    report = await certify_tool(runner, "order", Samples(params=SAMPLES.params, probe="probe"))

    assert report.is_kept
    assert set(asked) == {"tea"}


async def test_doubt_is_repeated_under_the_same_id_before_it_is_judged() -> None:
    shop = Shop()
    answers = 0

    @tool(undo="cancel")
    def order(item: str, count: int, ctx: CallContext) -> dict[str, int]:
        nonlocal answers
        answers += 1
        answer: dict[str, int] = shop.order(ctx.req_id, item, count, not_after=None)
        if answers % 2:
            raise TimeoutError
        return answer

    tools = [each for each in runner_of(shop)._registry if each.name != "order"]
    report = await certify_tool(PythonRunner(Registry([order, *tools])), "order", SAMPLES)

    assert report.is_kept
    assert verdicts(report)["repeat"] is Verdict.KEPT


async def test_a_tool_that_never_answers_is_not_judged() -> None:
    @tool
    def order(item: str, count: int) -> int:
        raise TimeoutError

    with pytest.raises(CommandError, match="in doubt"):
        await certify_tool(PythonRunner(Registry([order])), "order", NO_PROBE)


async def test_a_report_is_one_json_document() -> None:
    report = (await certify(Shop(["no tombstone"]))).as_json()

    assert report["tool"] == "order"
    assert report["is_kept"] is False
    assert report["broken"] == ["fenced_compensation"]
    assert {check["verdict"] for check in report["checks"]} == {"kept", "broken", "cannot tell"}
