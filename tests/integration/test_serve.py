"""``fsm-saga serve`` as operators meet it: real processes on one file, killed and told to stop."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.serving import TIMEOUT_S, Site, get, open_site, wait_until

# Handing over takes less than 0.1 s on a quiet machine; this one may be at its limit.
HAND_OVER_S = 10.0


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with open_site(tmp_path) as opened:
        yield opened


def test_who_stands_by_goes_on_when_the_leader_is_killed(site: Site) -> None:
    first = site.serve("--name", "first")
    first.wait_for("leads")
    second = site.serve("--name", "second")
    second.wait_for("stands-by")
    running = site.start("run", site.plan("a", "slow"), "--json")
    wait_until(lambda: site.reached(first))
    first.process.kill()
    second.wait_for("leads")
    wait_until(lambda: site.reached(second))
    (site.folder / "gate").touch()
    out, err = running.communicate(timeout=TIMEOUT_S)

    assert running.returncode == 0, err
    assert json.loads(out)["state"] == "DONE"
    assert site.effects() == ["do a", "do slow"]


def test_a_leader_that_is_told_to_stop_hands_over_at_once(site: Site) -> None:
    first = site.serve("--name", "first")
    first.wait_for("leads")
    second = site.serve("--name", "second")
    second.wait_for("stands-by")
    running = site.start("run", site.plan("a", "slow"), "--json")
    wait_until(lambda: site.reached(first))
    told_at = time.monotonic()
    first.process.send_signal(signal.SIGTERM)
    took_s = second.wait_for("leads") - told_at
    (site.folder / "gate").touch()
    out, _err = running.communicate(timeout=TIMEOUT_S)

    assert took_s < HAND_OVER_S
    assert first.process.wait(TIMEOUT_S) == 0
    assert json.loads(out)["state"] == "DONE"
    assert site.effects() == ["do a", "do slow"]


def test_others_submit_undo_and_decide_through_the_leader(site: Site) -> None:
    site.serve().wait_for("leads")
    done = site.type("run", site.plan("a", "b"), "--json")
    failed = site.type("run", site.plan("a", "nothing", name="lost"))
    refused = site.type("run", site.plan("a", name="odd", tool="tkae"), "--json")
    undone = site.type("undo", "trip", "--json")
    twice = site.type("undo", "lost", "--json")

    codes = [each[0] for each in (done, failed, refused, undone, twice)]
    assert codes == [0, 1, 2, 0, 2], (done, failed, refused, undone, twice)
    assert json.loads(refused[1])["problems"][0]["code"] == "unknown-tool"
    assert json.loads(undone[1])["saga_id"] == "trip.undo"
    assert "step 2 was refused" in failed[1] or "there is nothing to take" in failed[1]
    assert site.effects() == ["do a", "do a", "do b", "undo a", "undo a", "undo b"]


def test_a_running_saga_is_cancelled_through_the_leader(site: Site) -> None:
    serving = site.serve()
    serving.wait_for("leads")
    running = site.start("run", site.plan("a", "slow"))
    wait_until(lambda: site.reached(serving))
    code, out, err = site.type("cancel", "trip", "--by", "Ann", "--json")
    (site.folder / "gate").touch()
    running.communicate(timeout=TIMEOUT_S)

    assert code == 0, err
    assert json.loads(out)["decision"] == "carried out"
    assert running.returncode == 1
    assert site.effects() == ["do a", "do slow", "undo a", "undo slow"]


def test_it_says_over_http_whether_it_is_ready_and_what_it_has_done(site: Site) -> None:
    serving = site.serve("--listen", "0")
    serving.wait_for("leads")
    site.type("run", site.plan("a"))

    assert serving.url.startswith("http://127.0.0.1:")
    assert get(f"{serving.url}/healthz")[0] == 200
    wait_until(lambda: get(f"{serving.url}/readyz")[0] == 200)
    figures = get(f"{serving.url}/metrics")[1]
    assert 'fsm_saga_sagas_ended_total{outcome="committed",state="DONE"} 1.0' in figures
    assert 'fsm_saga_calls_total{direction="do",result="ok",tool="take"} 1.0' in figures
    assert "fsm_saga_shards_led 1.0" in figures


def test_the_state_of_the_cluster_is_told(site: Site) -> None:
    serving = site.serve()
    serving.wait_for("leads")
    code, out, _err = site.type("cluster", "--json")
    healthy = json.loads(out)
    running = site.start("run", site.plan("slow"))
    wait_until(lambda: site.reached(serving))
    serving.process.kill()
    serving.process.wait(TIMEOUT_S)
    unserved = site.type("cluster")
    running.kill()

    assert (code, healthy["healthy"]) == (0, True)
    assert healthy["members"][0]["leads"] == [0]
    assert unserved[0] == 1
    # The plan that was handed over may not have been answered for yet.
    assert "Nobody serves this store: 1 unfinished saga" in unserved[2]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--store", "sqlite:///tools.py"), "not a SQLite database"),
        (("--store", "sqlite:///missing/sagas.db"), "there is no directory"),
        (("--store", "sqlite:///sagas.db", "--shards", "4"), "one shard"),
        (("--store", "nothing://x"), "no backend 'nothing'"),
        (("--listen", "nowhere"), "cannot be listened on"),
        (("--certificates", "missing"), "missing"),
    ],
)
def test_what_cannot_be_served_is_refused_before_anything_starts(
    site: Site, words: tuple[str, ...], said: str
) -> None:
    code, out, err = site.type("serve", "--tools", "tools.py", *words)

    assert (code, out) == (2, ""), err
    assert said in err
    assert "Traceback" not in err
    assert not (site.folder / "sagas.db").exists()


def test_what_ended_long_ago_goes_into_the_archive(site: Site) -> None:
    site.type("run", site.plan("a"), "--tools", "tools.py")
    site.serve("--archive", "old", "--archive-after", "1s").wait_for("leads")

    def is_moved() -> bool:
        return any((site.folder / "old").glob("*.jsonl")) and not json.loads(
            site.type("list", "--json")[1]
        )

    wait_until(is_moved)


def test_without_tools_nothing_is_started(site: Site) -> None:
    code, _out, err = site.type("serve")

    assert code == 2
    assert "--tools" in err
