"""What certify says where a tool gives no clear answer, or the samples show nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fsm_saga.tools import CallContext, CheckAnswer, PythonRunner, Registry, Tool, tool
from fsm_saga.tools.certify import CheckResult, Samples, Verdict, certify_tool, trial
from tests.support.liars import Shop, tools_of

PARAMS = {"item": "tea", "count": 2}
BAD = {"item": "tea", "count": 1000}
SAMPLES = Samples(params=PARAMS, bad_params=BAD, probe="count_orders")
BLIND = Samples(params=PARAMS, bad_params=BAD)


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "DOUBT_DELAY_S", 0.0)


async def results(
    tools: list[Tool[..., Any]], samples: Samples = SAMPLES
) -> dict[str, CheckResult]:
    report = await certify_tool(PythonRunner(Registry(tools)), "order", samples)
    return {result.name: result for result in report.results}


class TroubledShop(Shop):
    """Raises the error for a call of this kind whose own row, or action's, has this state."""

    def __init__(self, error: Exception, kind: str, states: set[str | None]) -> None:
        super().__init__()
        self._error = error
        self._kind = kind
        self._states = states

    def _trouble(self, kind: str, req_id: str) -> None:
        state = self.calls[req_id][0] if req_id in self.calls else None
        if kind == self._kind and state in self._states:
            raise self._error

    def order(self, req_id: str, item: str, count: int, *, not_after: float | None) -> Any:
        self._trouble("order", req_id)
        return super().order(req_id, item, count, not_after=not_after)

    def cancel(self, req_id: str, undoes: str) -> dict[str, bool]:
        self._trouble("cancel", undoes)
        return super().cancel(req_id, undoes)

    def status(self, req_id: str) -> CheckAnswer:
        self._trouble("status", req_id)
        return super().status(req_id)


SILENT = TimeoutError("no answer")
REFUSAL = ValueError("not today")


@pytest.mark.parametrize(
    ("kind", "states", "names", "why"),
    [
        ("order", {"done"}, {"repeat", "together", "other-params"}, "stayed in doubt"),
        ("order", {"fenced"}, {"undo-first", "status-fences"}, "stayed in doubt"),
        ("order", {"refused"}, {"refusal"}, "in doubt"),
        ("cancel", {"done"}, {"undo", "undo-twice", "late-copy"}, "undo was in doubt"),
        ("cancel", {"undone"}, {"undo-twice"}, "copy was in doubt"),
        ("cancel", {None}, {"undo-first"}, "was in doubt"),
        ("status", {"done", None}, {"status", "status-fences"}, "the check was in doubt"),
    ],
)
async def test_where_a_call_only_ends_in_doubt_nothing_is_judged(
    kind: str, states: set[str | None], names: set[str], why: str
) -> None:
    found = await results(tools_of(TroubledShop(SILENT, kind, states)))

    assert {n for n, r in found.items() if r.verdict is Verdict.CANNOT_TELL} >= names
    assert all(why in found[name].why for name in names)
    assert not any(result.verdict is Verdict.BROKEN for result in found.values())


@pytest.mark.parametrize(
    ("kind", "states", "verdicts"),
    [
        (
            "cancel",
            {"done"},
            {"undo": "broken", "undo-twice": "cannot tell", "late-copy": "cannot tell"},
        ),
        ("cancel", {"undone"}, {"undo": "kept", "undo-twice": "broken"}),
        ("cancel", {None}, {"undo-first": "broken"}),
        ("status", {None}, {"status": "cannot tell", "status-fences": "cannot tell"}),
    ],
)
async def test_an_undo_that_is_refused_is_no_undo(
    kind: str, states: set[str | None], verdicts: dict[str, str]
) -> None:
    found = await results(tools_of(TroubledShop(REFUSAL, kind, states)))

    assert {name: str(found[name].verdict) for name in verdicts} == verdicts


async def test_a_late_call_in_doubt_is_not_judged() -> None:
    class SlowShop(Shop):
        def _refuse(self, req_id: str, params: dict[str, Any], why: str) -> Any:
            if why == "too late":
                raise SILENT
            return super()._refuse(req_id, params, why)

    assert (await results(tools_of(SlowShop())))["deadline"].verdict is Verdict.CANNOT_TELL


@pytest.mark.parametrize(
    ("samples", "name", "why"),
    [
        (Samples(params=PARAMS, bad_params=PARAMS), "refusal", "were accepted"),
        (Samples(params=PARAMS, bad_params={}), "refusal", "never led to a refusal of the tool"),
        (Samples(params=PARAMS, other_params=BAD), "other-params", "so much is never there"),
        (Samples(params=PARAMS, other_params=PARAMS), "other-params", "give --other-params"),
    ],
)
async def test_samples_that_show_nothing_are_told(samples: Samples, name: str, why: str) -> None:
    found = (await results(tools_of(Shop()), samples))[name]

    assert found.verdict is Verdict.CANNOT_TELL
    assert why in found.why


def other_order(function: Callable[..., Any], shop: Shop, **declared: Any) -> list[Tool[..., Any]]:
    rest = [each for each in tools_of(shop) if each.name != "order"]
    return [tool(name="order", **declared)(function), *rest]


@pytest.mark.parametrize(("value", "other"), [(2, 3), ("tea", "tea 2"), (None, None)])
async def test_other_params_are_made_of_what_can_be_changed(value: Any, other: Any) -> None:
    asked: list[Any] = []

    def order(value: int | str | None, ctx: CallContext) -> str:
        asked.append(value)
        return ctx.req_id

    tools = other_order(order, Shop())
    found = (await results(tools, Samples(params={"value": value})))["other-params"]

    assert asked.count(other) > 0
    assert found.verdict is (Verdict.CANNOT_TELL if other is None else Verdict.BROKEN)


async def test_a_tool_that_is_not_told_the_time_cannot_keep_a_deadline() -> None:
    def order(item: str, count: int) -> str:
        return item

    found = await results(other_order(order, Shop(), deadline=True), BLIND)

    assert found["deadline"].verdict is Verdict.BROKEN
    assert "takes no CallContext" in found["deadline"].why


async def test_a_check_that_answers_nonsense_tells_nothing() -> None:
    shop = Shop()

    @tool(name="status", read_only=True)
    def status(ctx: CallContext) -> str:
        return "fine, thank you"

    tools = [status if each.name == "status" else each for each in tools_of(shop)]

    found = await results(tools)

    assert found["status"].verdict is Verdict.CANNOT_TELL
    assert "did not return a CheckAnswer" in found["status"].why


async def test_a_check_with_another_output_is_a_lie() -> None:
    shop = Shop()

    @tool(name="status", read_only=True)
    def status(ctx: CallContext) -> CheckAnswer:
        assert ctx.undoes is not None
        return CheckAnswer(status="done", output={"order": -1})

    tools = [status if each.name == "status" else each for each in tools_of(shop)]

    found = await results(tools)

    assert found["status"].verdict is Verdict.BROKEN
    assert "output" in found["status"].why
    assert found["status-fences"].verdict is Verdict.BROKEN


async def test_a_check_that_knows_calls_that_never_came_is_a_lie() -> None:
    class Eager(Shop):
        def status(self, req_id: str) -> CheckAnswer:
            return super().status(req_id) if req_id in self.calls else CheckAnswer(status="refused")

    found = await results(tools_of(Eager()))

    assert found["status"].why == "a call that was never made is 'refused'"
    assert found["status-fences"].verdict is Verdict.BROKEN


async def test_a_check_that_denies_what_was_done_is_a_lie() -> None:
    class Denying(Shop):
        def status(self, req_id: str) -> CheckAnswer:
            return CheckAnswer(status="absent")

    found = (await results(tools_of(Denying())))["status"]

    assert found.verdict is Verdict.BROKEN
    assert found.why == "a call that was done is 'absent'"


@pytest.mark.parametrize("is_replayed", [True, False])
async def test_without_a_probe_a_late_copy_is_judged_by_its_answer(is_replayed: bool) -> None:
    shop = Shop([] if is_replayed else ["undo forgets the call"])

    def order(item: str, count: int, ctx: CallContext) -> Any:
        known = shop.calls.get(ctx.req_id)
        if known is not None and known[0] == "undone":
            return known[2]
        return shop.order(ctx.req_id, item, count, not_after=ctx.not_after)

    found = (await results(other_order(order, shop, undo="cancel"), BLIND))["late-copy"]

    assert found.verdict is (Verdict.KEPT if is_replayed else Verdict.BROKEN)


async def test_an_undo_whose_copies_answer_differently_is_found_without_a_probe() -> None:
    class Counting(Shop):
        undos = 0

        def cancel(self, req_id: str, undoes: str) -> dict[str, bool]:
            self.undos += 1
            return {"cancelled": bool(super().cancel(req_id, undoes)) and self.undos % 2 == 0}

    found = (await results(tools_of(Counting()), BLIND))["undo-twice"]

    assert found.verdict is Verdict.BROKEN
    assert found.why == "the copy got a different answer"


async def test_a_refused_call_that_is_accepted_when_it_comes_again_is_found() -> None:
    class Moody(Shop):
        def order(self, req_id: str, item: str, count: int, *, not_after: float | None) -> Any:
            if req_id in self.calls and self.calls[req_id][0] == "refused":
                return {"order": 1}
            return super().order(req_id, item, count, not_after=not_after)

    found = (await results(tools_of(Moody())))["refusal"]

    assert found.verdict is Verdict.BROKEN
    assert found.why == "a refused call came again: accepted"


async def test_an_undo_without_known_params_cannot_be_tried() -> None:
    shop = Shop()

    def order(item: str, count: int, ctx: CallContext) -> str:
        return str(shop.order(ctx.req_id, item, count, not_after=None))

    @tool(name="cancel")
    def cancel(voucher: str, reason: str, ctx: CallContext) -> str:
        return voucher + reason

    tools = [
        cancel if each.name == "cancel" else each
        for each in other_order(order, shop, undo="cancel")
    ]

    found = await results(tools, BLIND)

    assert found["undo"].verdict is Verdict.CANNOT_TELL
    assert "give --undo-params" in found["undo"].why


class SmallShop(Shop):
    """Has so many of everything; whatever is cancelled is there again."""

    def __init__(self, stock: int, flaws: tuple[str, ...] = ()) -> None:
        super().__init__(flaws)
        self.stock = stock

    def _first(self, req_id: str, params: dict[str, Any], not_after: float | None) -> Any:
        if len(self.orders) >= self.stock:
            return self._refuse(req_id, params, "sold out")
        return super()._first(req_id, params, not_after)


async def test_what_was_done_is_undone_after_each_check_so_that_a_small_stock_lasts() -> None:
    shop = SmallShop(3)

    found = await results(tools_of(shop))

    assert {r.verdict for n, r in found.items() if n != "retention"} == {Verdict.KEPT}
    assert shop.orders == []


@pytest.mark.parametrize("flaws", [(), ("no tombstone", "refusals are forgotten")])
async def test_where_nothing_is_left_refusals_show_nothing(flaws: tuple[str, ...]) -> None:
    shop = SmallShop(2, flaws)

    def order(item: str, count: int, ctx: CallContext) -> Any:
        return shop.order(ctx.req_id, item, count, not_after=ctx.not_after)

    found = await results(other_order(order, shop), BLIND)

    assert found.keys() >= {"repeat", "together", "other-params", "refusal", "deadline"}
    assert {r.verdict for n, r in found.items() if n != "output"} == {Verdict.CANNOT_TELL}
    assert "sold out" in found["repeat"].why
    assert "refusals show nothing" in found["refusal"].why
