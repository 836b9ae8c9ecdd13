"""The harness measures what it says and leaves nothing behind. No time is asserted."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from fsm_saga.bench import child
from fsm_saga.bench.bare_store import write_finished
from fsm_saga.bench.command import measure, render_table, run_bench
from fsm_saga.bench.compiling import compile_times_ms
from fsm_saga.bench.machine_facts import machine_facts
from fsm_saga.bench.measuring import FULL, QUICK, Samples, Sizes, bench_place
from fsm_saga.bench.resting import memory_of_resting, open_ms
from fsm_saga.bench.verifying import measure_verifying
from fsm_saga.bench.workloads import appends_of, moments_of, workload_plan
from fsm_saga.errors import StoreError

TINY = dataclasses.replace(
    QUICK,
    sagas={1: 2, 4: 8},
    bare_sagas=2,
    bare_rounds=1,
    fsyncs=2,
    decisions=1,
    plan_steps=(3,),
    verify_plans=("3",),
    resting_sagas=5,
    finished_sagas=7,
)


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the child's measurements here: a process of its own is right, and slow to start."""

    def in_child(*arguments: object) -> Any:
        return child.main([str(argument) for argument in arguments])

    monkeypatch.setattr("fsm_saga.bench.command.in_child", in_child)


@pytest.mark.usefixtures("in_this_process")
def test_every_part_is_measured_as_often_as_asked(tmp_path: Path) -> None:
    results = measure(tmp_path, TINY, repeats=2, say=lambda _line: None)
    assert orjson.loads(orjson.dumps(results)) == results
    assert set(results["sqlite"]["w1"]) == {"1", "4"}
    assert set(results["bare"]["w2"]) == {"1", "4"}
    assert set(results["compile"]) == {"3"}
    assert set(results["verify"]) == {"3"}
    assert results["settings"]["finished_sagas"] == 7
    for spread in (
        results["sqlite"]["w1"]["1"]["times_of_bare"],
        results["sqlite"]["w2"]["4"]["share_of_bare"],
        results["memory"]["w1"]["4"]["sagas_per_s"],
        results["decide"]["undo_us"],
        results["resting"]["retry"]["5"]["kib_per_saga"],
        results["open"]["large_ms"],
    ):
        assert spread["runs"] == 2
        assert spread["min"] <= spread["median"] <= spread["max"]
    table = render_table(results)
    assert "w1 4 share_of_bare" in table
    assert f"cores: {results['machine']['cores']}" in table


@pytest.mark.usefixtures("in_this_process")
def test_in_memory_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    results = measure(None, TINY, repeats=1, say=lambda _line: None)
    assert {"decide", "compile", "memory", "resting"} <= set(results)
    assert {"bare", "sqlite", "disk", "open"}.isdisjoint(results)
    assert list(tmp_path.iterdir()) == []


def test_the_place_lies_beside_the_store_and_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[tuple[Path | None, bool, Sizes, int]] = []

    def noting(
        place: Path | None, sizes: Sizes, *, repeats: int, say: Callable[[str], None]
    ) -> dict[str, Any]:
        seen.append((place, place is not None and place.is_dir(), sizes, repeats))
        say("round 1 of 2")
        return {}

    monkeypatch.setattr("fsm_saga.bench.command.measure", noting)
    url = f"sqlite:///{tmp_path / 'sagas.db'}"
    run_bench(url, quick=True, repeats=2, as_json=True)
    ((place, was_there, sizes, repeats),) = seen
    assert place is not None
    assert (place.parent, was_there, sizes, repeats) == (tmp_path, True, QUICK, 2)
    assert list(tmp_path.iterdir()) == []
    assert capsys.readouterr() == ("", "")

    run_bench(url, quick=False, as_json=False)
    assert seen[1][2] is FULL
    assert capsys.readouterr() == ("", "round 1 of 2\n")


def test_without_a_store_the_current_directory_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with bench_place(None) as place:
        assert place is not None
        assert place.parent == tmp_path
    assert list(tmp_path.iterdir()) == []


def test_a_url_that_is_no_place_is_refused() -> None:
    with pytest.raises(StoreError, match="three slashes"):
        run_bench("sqlite://", quick=True, as_json=True)


def test_no_repeat_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match="repeats is 0"):
        run_bench("memory://", quick=True, repeats=0, as_json=True)


def test_w1_is_four_appends_and_w2_six() -> None:
    w1, w2 = moments_of(workload_plan("w1")), moments_of(workload_plan("w2"))
    assert [str(moment.decision.saga.state) for moment in w1] == [
        "EXECUTING(1)",
        "EXECUTING(2)",
        "EXECUTING(3)",
        "DONE",
    ]
    assert [str(moment.decision.saga.state) for moment in w2] == [
        "EXECUTING(1)",
        "EXECUTING(2)",
        "EXECUTING(3)",
        "COMPENSATING(2)",
        "COMPENSATING(1)",
        "FAILED",
    ]
    appends = appends_of(w2, "another")
    assert {append.head.saga_id for append in appends} == {"another"}
    assert [append.position for append in appends] == [m.saga.position for m in w2]


def test_a_plan_is_compiled_first_anew_and_again() -> None:
    times = compile_times_ms((3,))
    assert set(times["3"]) == {"cold_ms", "new_ms", "again_ms", "abreast_ms"}
    assert times["3"]["again_ms"] < times["3"]["new_ms"] < times["3"]["cold_ms"]


def test_more_histories_are_tried_where_steps_go_side_by_side() -> None:
    samples = Samples()
    measure_verifying(samples, ("4", "diamond"))
    counts = {name: found["configurations"] for name, found in samples.as_json()["verify"].items()}
    assert counts["diamond"]["median"] > counts["4"]["median"]


@pytest.mark.parametrize("kind", ["retry", "approval"])
def test_sagas_that_wait_are_all_in_memory_while_they_are_weighed(kind: str) -> None:
    # An approval and a timer leave the saga unfinished; a saga that had ended would be gone.
    memory_of_resting("memory://", kind, 5)


def test_a_store_with_finished_sagas_opens_with_nothing_to_go_on_with(tmp_path: Path) -> None:
    made = write_finished(
        tmp_path / "large.db", moments_of(workload_plan("w1")), sagas=3, seconds_max=10.0
    )
    assert made == 3
    assert open_ms(f"sqlite:///{tmp_path / 'large.db'}") > 0


def test_no_more_finished_sagas_are_made_than_time_allows(tmp_path: Path) -> None:
    moments = moments_of(workload_plan("w1"))
    assert write_finished(tmp_path / "large.db", moments, sagas=10, seconds_max=0.0) == 0


def test_the_facts_name_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = machine_facts()
    assert {"cores", "python", "sqlite", "commit", "load_average"} <= set(facts)
    monkeypatch.setattr("fsm_saga.bench.__file__", str(tmp_path / "a" / "b" / "__init__.py"))
    assert machine_facts()["commit"] is None
