from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fsm_saga.errors import CommandError, PlanError, ToolsError
from fsm_saga.plan.model import Plan
from fsm_saga.simulation.tools import ToolWorld
from fsm_saga.testing import FakeTool, SagaTest
from fsm_saga.tools.python import Tool, tool

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
DAY_S = 86_400.0


def step(step_id: str, tool: str, *, undo: bool = True, **more: Any) -> dict[str, Any]:
    body: dict[str, Any] = {"step_id": step_id, "tool": tool, "params": {}, **more}
    if undo and "kind" not in more and "rollback" not in more:
        body["rollback"] = {"tool": f"un{tool}", "params": {"id": f"$output.step_{step_id}.id"}}
    return body


def plan(*steps: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"task_id": "trip", "steps": list(steps), **more}


TWO = plan(step("a", "fly"), step("b", "sleep", params={"flight": "$output.step_a.id"}))
PAID = plan(
    step("reserve", "hold"), step("wire", "pay", kind="pivot", approval={"expires_s": 3 * DAY_S})
)


def make_tool(name: str) -> Tool[..., Any]:
    @tool(name=name)
    def real() -> Any:
        raise AssertionError("a test calls no real tool")

    return real


@tool
def count(n: int) -> None:
    raise AssertionError("a test calls no real tool")


@tool
def take_back(id: str) -> None:
    raise AssertionError("a test calls no real tool")


@pytest.fixture
def saga() -> SagaTest:
    return SagaTest()


def test_without_a_word_every_tool_works(saga: SagaTest) -> None:
    end = saga.plan(TWO).run()

    assert end == "DONE committed"
    assert (end.state, end.outcome) == ("DONE", "committed")
    assert end.done == ["fly", "sleep"]
    assert end.left == ["fly", "sleep"]
    assert end.undone == []
    assert 0 < end.calls[0].at < end.calls[1].at < end.seconds < 1
    assert [(c.tool, c.direction, c.answer) for c in end.calls] == [
        ("fly", "do", "ok"),
        ("sleep", "do", "ok"),
    ]


def test_a_refusal_takes_back_what_was_done(saga: SagaTest) -> None:
    saga.plan(TWO)
    saga.tool("fly").returns({"id": "F-7"})
    saga.tool("sleep").rejects("full")
    end = saga.run()

    assert end == "FAILED compensated"
    assert end.undone == ["fly"]
    assert end.left == []
    assert "full" in (end.cause or "")
    assert end.calls_of("sleep")[0].params == {"flight": "F-7"}
    assert end.calls_of("unfly")[0].params == {"id": "F-7"}


def test_a_run_can_be_repeated_and_is_the_same(saga: SagaTest) -> None:
    saga.plan(TWO)
    saga.tool("sleep").loses_reply()

    one, other = saga.run(), saga.run()

    assert [str(call) for call in one.calls] == [str(call) for call in other.calls]


def test_a_lost_reply_is_asked_for_again_under_the_same_req_id(saga: SagaTest) -> None:
    saga.plan(TWO)
    saga.tool("sleep").loses_reply()
    end = saga.run()

    assert end == "DONE committed"
    assert end.done == ["fly", "sleep"]
    first, second = end.calls_of("sleep")
    assert first.req_id == second.req_id
    assert (first.answer, second.answer) == ("unknown", "ok")


@pytest.mark.parametrize("is_before", [True, False])
def test_a_coordinator_that_dies_in_a_call_is_replaced(saga: SagaTest, is_before: bool) -> None:
    saga.plan(TWO)
    saga.tool("sleep").crashes(before=is_before)
    end = saga.run()

    assert end == "DONE committed"
    assert end.crashes == 1
    assert end.done == ["fly", "sleep"]
    assert [call.answer for call in end.calls_of("sleep")] == ["", "ok"]


def test_a_call_that_arrives_twice_acts_once(saga: SagaTest) -> None:
    saga.plan(TWO)
    saga.tool("fly").arrives_twice()

    assert saga.run().done == ["fly", "sleep"]


def test_a_late_action_that_is_answered_in_time_by_its_repeat_acts_once(saga: SagaTest) -> None:
    saga.plan(TWO)
    saga.tool("sleep").late_by(500.0)
    end = saga.run()

    assert end == "DONE committed"
    assert end.done == ["fly", "sleep"]


def test_a_hanging_tool_ends_with_a_person_who_has_choices(saga: SagaTest) -> None:
    saga.plan(TWO)
    saga.tool("sleep").hangs()
    end = saga.run()

    assert end == "NEEDS_HUMAN unknown"
    assert end.left == ["fly"]
    assert [(a.step_id, a.status) for a in end.asked] == [("b", "DOUBTFUL")]
    assert "settled" in end.asked[0].choices


def test_a_person_who_settles_lets_the_rest_be_undone(saga: SagaTest) -> None:
    saga.plan(TWO)
    saga.tool("sleep").hangs()
    saga.person("b", by="Ada").settles()
    end = saga.run()

    assert end == "FAILED partly_compensated"
    assert end.undone == ["fly"]
    assert end.view.step("b").settled_by == "Ada"


def test_a_person_who_supplies_the_output_lets_the_saga_go_on(saga: SagaTest) -> None:
    saga.plan(plan(step("a", "fly"), step("b", "sleep"), step("c", "drive")))
    saga.tool("sleep").loses_reply(times=None)
    saga.person("sleep").supplies({"id": "H-1"})
    end = saga.run()

    assert end == "DONE committed"
    assert end.output("b") == {"id": "H-1"}


def test_a_person_may_try_again_more_than_once(saga: SagaTest) -> None:
    saga.plan(TWO)
    saga.tool("sleep").rejects()
    saga.tool("unfly").rejects(times=1)
    saga.person("a").retries(2)
    end = saga.run()

    assert end == "FAILED compensated"
    assert end.undone == ["fly"]


def test_calls_that_a_person_orders_make_good(saga: SagaTest) -> None:
    saga.plan(plan(step("a", "post", rollback={"semantic": "say sorry"}), step("b", "sleep")))
    saga.tool("sleep").rejects()
    saga.person("a").makes_good({"tool": "post", "params": {}})

    assert saga.run() == "FAILED amended"


def test_a_bad_answer_is_an_effect_that_must_be_undone(saga: SagaTest) -> None:
    saga.plan(plan(step("a", "fly", rollback={"tool": "unfly", "params": {}}), step("b", "sleep")))
    saga.tool("fly").answers_badly()
    end = saga.run()

    assert end == "FAILED compensated"
    assert end.undone == ["fly"]


def test_a_tool_that_fails_without_a_word_is_tried_again(saga: SagaTest) -> None:
    saga.plan(TWO)
    saga.tool("fly").fails("503").loses_request()
    end = saga.run()

    assert end == "DONE committed"
    assert [call.answer for call in end.calls_of("fly")] == ["unknown", "unknown", "ok"]


@pytest.mark.parametrize("when", [{"after": "fly"}, {"after": "a"}, {"during": "sleep"}])
def test_a_cancelled_saga_is_undone(saga: SagaTest, when: dict[str, str]) -> None:
    saga.plan(TWO).cancel(**when, by="Ada")  # type: ignore[arg-type]  # names only
    end = saga.run()

    assert end == "FAILED compensated"
    assert "fly" in end.undone
    assert end.left == []


def test_a_saga_can_be_cancelled_at_a_time(saga: SagaTest) -> None:
    saga.plan(PAID).cancel(at_s=2 * DAY_S)
    end = saga.run()

    assert end == "FAILED compensated"
    assert 2 * DAY_S <= end.seconds < 2 * DAY_S + 60


def test_a_cancellation_says_when(saga: SagaTest) -> None:
    saga.plan(TWO)
    with pytest.raises(CommandError, match="exactly one"):
        saga.cancel()


def test_an_approval_that_was_given_lets_the_step_run(saga: SagaTest) -> None:
    saga.plan(PAID).approve("wire", by="Ada")
    end = saga.run()

    assert end == "DONE committed"
    assert (end.view.step("wire").approval or {})["approved_by"] == "Ada"
    assert [(a.step_id, a.choices) for a in end.asked] == [("wire", ("approve", "reject"))]


def test_a_denied_approval_takes_back_the_rest(saga: SagaTest) -> None:
    saga.plan(PAID).deny("pay", by="Bob")

    assert saga.run() == "FAILED compensated"


def test_three_days_without_an_approval_take_no_time(saga: SagaTest) -> None:
    saga.plan(PAID)
    started = time.perf_counter()
    end = saga.run()

    assert end == "FAILED compensated"
    assert 3 * DAY_S <= end.seconds < 3 * DAY_S + 60
    assert time.perf_counter() - started < 10


def test_an_approval_that_comes_too_late_is_not_taken(saga: SagaTest) -> None:
    saga.plan(PAID).approve("wire", after_s=4 * DAY_S)
    end = saga.run()

    assert end == "FAILED compensated"
    assert len(end.refused) == 1
    assert end.refused[0].startswith("approve by somebody: ")


def test_a_script_can_be_for_one_step_of_a_tool(saga: SagaTest) -> None:
    saga.plan(plan(step("a", "tell"), step("b", "tell")))
    saga.tool("tell", step="b").rejects("no")
    end = saga.run()

    assert end == "FAILED compensated"
    assert [call.answer for call in end.calls_of("tell")] == ["ok", "rejected"]


def test_what_a_tool_promises_it_keeps_whatever_the_script_says(saga: SagaTest) -> None:
    saga.plan(plan(step("a", "fly", retry={"attempts": 3, "delay_s": 1})))
    saga.tool("fly").rejects("full", times=1)
    end = saga.run()

    assert end == "FAILED nothing_happened"
    assert {call.error for call in end.calls_of("fly")} == {"full"}


# Real tools: their schemas and contracts, never their code.


def travel(saga: SagaTest) -> SagaTest:
    return saga.plan(EXAMPLES / "travel/plan.json", tools=EXAMPLES / "travel/tools.py")


def test_real_tools_are_not_called(saga: SagaTest) -> None:
    assert travel(saga).run() == "DONE committed"


def test_a_played_tool_cannot_return_what_the_real_one_could_not(saga: SagaTest) -> None:
    travel(saga)
    with pytest.raises(ToolsError, match="cannot return this"):
        saga.tool("book_flight").returns({"order_id": 7})


def test_params_that_a_real_tool_refuses_are_refused_here_too(saga: SagaTest) -> None:
    saga.plan(EXAMPLES / "approval/plan.json", tools=str(EXAMPLES / "approval/tools.py"))
    body: dict[str, Any] = {"reservation_id": "R", "price_cents": 5}
    saga.tool("reserve_goods").returns(body)
    saga.approve("pay")

    end = saga.run()
    assert end == "DONE committed"
    assert end.calls_of("pay_supplier")[0].params["amount_cents"] == 5

    saga.plan(EXAMPLES / "approval/plan.json", tools=EXAMPLES / "approval/tools.py")
    with pytest.raises(CommandError, match="Did you mean 'pay_supplier'"):
        saga.tool("pay_suplier")


def test_a_plan_object_and_its_inputs_will_do(saga: SagaTest) -> None:
    body = plan(step("a", "fly", params={"to": "$input.city"}), inputs={"city": "Rome"})
    end = saga.plan(Plan.of(body), inputs={"city": "Oslo"}).run()

    assert end.calls[0].params == {"to": "Oslo"}


def test_a_plan_that_is_refused_says_why(saga: SagaTest) -> None:
    with pytest.raises(PlanError):
        saga.plan({"task_id": "x", "steps": []})


def test_a_step_that_is_not_there_is_named(saga: SagaTest) -> None:
    saga.plan(TWO)
    with pytest.raises(CommandError, match="no step 'c'"):
        saga.person("c")


def test_a_plan_comes_first(saga: SagaTest) -> None:
    with pytest.raises(CommandError, match="call saga"):
        saga.run()
    with pytest.raises(CommandError, match="call run"):
        saga.picture("x.svg")


def test_the_last_run_can_be_drawn(saga: SagaTest, tmp_path: Path) -> None:
    saga.plan(TWO).run()
    saga.picture(tmp_path / "run.svg")

    assert "<svg" in (tmp_path / "run.svg").read_text(encoding="utf-8")


async def test_a_test_that_is_a_coroutine_may_run_one_too(saga: SagaTest) -> None:
    assert saga.plan(TWO).run() == "DONE committed"


def test_many_seeds_break_no_rule(saga: SagaTest) -> None:
    found = saga.plan(TWO).simulate(seeds=30)

    assert found.is_sound
    assert sum(found.ends.values()) == 30


def test_a_person_may_order_calls_of_tools_that_the_plan_does_not_name(saga: SagaTest) -> None:
    tools = [make_tool(name) for name in ("post", "apologise", "sleep")]
    body = plan(
        step("a", "post", rollback={"semantic": "say sorry"}), step("b", "sleep", undo=False)
    )
    saga.plan(body, tools=tools)
    saga.tool("sleep").rejects()
    saga.person("a").makes_good({"tool": "apologise", "params": {}})
    end = saga.run()

    assert end == "FAILED amended"
    assert [call.direction for call in end.calls_of("apologise")] == ["undo"]


def test_a_call_that_its_real_tool_cannot_take_is_not_sent(saga: SagaTest) -> None:
    body = plan(step("a", "fly"), step("b", "count", undo=False, params={"n": "$output.step_a.id"}))
    body["steps"][0]["rollback"]["params"] = {}
    saga.plan(body, tools=[make_tool("fly"), make_tool("unfly"), count])
    saga.tool("fly").returns({"id": "three"})
    end = saga.run()

    assert end == "FAILED compensated"
    assert end.calls_of("count")[0].answer == "rejected"
    assert "the params do not fit 'count'" in end.calls_of("count")[0].error
    assert end.done == ["fly"]


def test_a_story_tells_calls_and_questions(saga: SagaTest) -> None:
    saga.plan(TWO)
    saga.tool("sleep").hangs()
    story = "\n".join(saga.run().story())

    assert "do fly, step a: ok" in story
    assert "unknown: no answer within" in story
    assert "left in the world: fly" in story
    assert "asked: step b DOUBTFUL" in story


def test_an_outcome_that_is_not_what_is_in_the_world_fails_the_test(
    saga: SagaTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    saga.plan(TWO)
    saga.tool("sleep").rejects()
    monkeypatch.setattr(ToolWorld, "_take_back", lambda *_: None)

    with pytest.raises(AssertionError, match="a rule of the engine was broken"):
        saga.run()
    with pytest.raises(AssertionError, match="broke a rule of the engine"):
        saga.simulate(seeds=10)


@pytest.mark.parametrize("refused", ["sleep", "fly", None])
def test_a_plan_survives_a_crash_at_every_call(saga: SagaTest, refused: str | None) -> None:
    saga.plan(TWO)
    if refused is not None:
        saga.tool(refused).rejects()
    end = saga.survives_crashes()

    assert end.crashes == 0
    assert end == str(saga.run())


def test_a_tool_that_does_not_dedupe_does_not_survive_a_crash(saga: SagaTest) -> None:
    forgetful = tool(name="pay", dedupe=False)(make_tool("pay").function)
    saga.plan(plan(step("a", "pay", kind="pivot")), tools=[forgetful])

    with pytest.raises(AssertionError, match="killed at call"):
        saga.survives_crashes()


PATIENT = {"attempts": 3, "delay_s": 1}


@pytest.mark.parametrize(
    ("name", "deed", "ends"),
    [
        ("fly", lambda fake: fake.loses_reply(), "DONE committed"),
        ("sleep", lambda fake: fake.loses_request().loses_reply(), "DONE committed"),
        ("sleep", lambda fake: fake.rejects("busy", times=2), "DONE committed"),
        ("sleep", lambda fake: fake.fails(times=2), "DONE committed"),
        ("sleep", lambda fake: fake.fails(times=3), "NEEDS_HUMAN unknown"),
        ("sleep", lambda fake: fake.hangs(times=2), "DONE committed"),
        ("sleep", lambda fake: fake.hangs(times=3), "NEEDS_HUMAN unknown"),
        ("sleep", lambda fake: fake.fails().hangs(times=2), "NEEDS_HUMAN unknown"),
        ("fly", lambda fake: fake.late_by(100), "DONE committed"),
        ("fly", lambda fake: fake.arrives_twice(), "DONE committed"),
        ("sleep", lambda fake: fake.answers_badly(times=1), "NEEDS_HUMAN unknown"),
        ("sleep", lambda fake: fake.crashes(2), "DONE committed"),
        ("sleep", lambda fake: fake.fails().crashes(before=True).fails(), "DONE committed"),
    ],
)
def test_a_script_of_so_many_calls_means_the_same_after_a_crash(
    saga: SagaTest, name: str, deed: Callable[[FakeTool], FakeTool], ends: str
) -> None:
    """A call that is sent again, since its sender died, is the same call.

    The tools forget refusals: it is the script that has to remember them.
    """
    forgetful(saga)
    deed(saga.tool(name))

    assert saga.survives_crashes() == ends


def test_a_refusal_that_a_tool_forgets_does_not_survive_a_crash(saga: SagaTest) -> None:
    forgetful(saga)
    saga.tool("sleep").rejects("busy", times=3)

    with pytest.raises(AssertionError, match="refused, but an earlier copy may take effect"):
        saga.survives_crashes()


def forgetful(saga: SagaTest) -> None:
    """Say a plan of two steps that are tried three times, on tools that forget refusals."""
    acts = {each: make_tool(each).function for each in ("fly", "sleep")}
    undoes = dict.fromkeys(("unfly", "unsleep"), take_back.function)
    tools = [tool(name=each, sticky_failures=False)(act) for each, act in (acts | undoes).items()]
    saga.plan(plan(step("a", "fly", retry=PATIENT), step("b", "sleep", retry=PATIENT)), tools=tools)
    for each in ("fly", "sleep"):
        saga.tool(each).returns({"id": each})


def test_a_call_that_is_repeated_without_a_crash_counts_again(saga: SagaTest) -> None:
    saga.plan(plan(step("a", "fly", retry=PATIENT)))
    saga.tool("fly").loses_reply(times=2)
    end = saga.survives_crashes()

    assert [call.answer for call in end.calls] == ["unknown", "unknown", "ok"]
    assert str(end) == str(saga.run())
