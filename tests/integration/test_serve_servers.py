"""``fsm-saga serve`` on etcd and on Redis: shards shared out, members killed and told to stop."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.servers.etcd import EtcdServer
from tests.support.servers.redis import RedisServer
from tests.support.serving import TIMEOUT_S, Serving, Site, open_site, wait_until

HAND_OVER_S = 10.0
LEASE_S = 2.0
TTL = ("--lease-ttl", f"{LEASE_S:g}")


@pytest.fixture(params=["etcd", "redis"])
def site(request: pytest.FixtureRequest, tmp_path: Path, server_prefix: str) -> Iterator[Site]:
    server: EtcdServer | RedisServer = request.getfixturevalue(request.param)
    if request.param == "etcd":
        url = f"etcd://{server.address}/{server_prefix}"
    else:
        url = f"redis://{server.address}/0?prefix={server_prefix}"
    with open_site(tmp_path, url) as opened:
        yield opened


def cluster(site: Site) -> Any:
    return json.loads(site.type("cluster", "--json")[1])


def leads(serving: Serving) -> set[int]:
    """Return the shards that it leads, by its log."""
    led: set[int] = set()
    for line in list(serving.lines):
        if line.get("event") == "leads":
            led.add(line["shard"])
        elif line.get("event") == "leads-no-more":
            led.discard(line["shard"])
    return led


def until_led(first: Serving, second: Serving, how: Callable[[int, int], bool]) -> None:
    def is_so() -> bool:
        one, two = leads(first), leads(second)
        return how(len(one), len(two)) and not one & two

    wait_until(is_so, lambda: f"{first.lines} {second.lines}")


def test_members_share_the_shards_and_one_goes_on_when_the_other_is_killed(site: Site) -> None:
    first = site.serve("--shards", "4", "--name", "first", *TTL)
    second = site.serve("--shards", "4", "--name", "second", *TTL)
    until_led(first, second, lambda one, two: (one, two) == (2, 2))
    told = cluster(site)
    names = [f"trip-{number}" for number in range(6)]
    running = [site.start("run", site.plan("a", "slow", name=name), "--json") for name in names]
    wait_until(lambda: site.reached(first) and site.reached(second))
    first.process.kill()
    wait_until(lambda: len(leads(second)) == 4, lambda: str(second.lines))
    (site.folder / "gate").touch()
    states = [json.loads(each.communicate(timeout=TIMEOUT_S)[0])["state"] for each in running]

    assert told["healthy"], told
    assert sorted(member["name"] for member in told["members"]) == ["first", "second"]
    assert {shard["leader_name"] for shard in told["shards"]} == {"first", "second"}
    assert states == ["DONE"] * 6
    assert site.effects() == ["do a"] * 6 + ["do slow"] * 6


def test_a_member_that_is_told_to_stop_hands_over_at_once(site: Site) -> None:
    first = site.serve("--shards", "4", "--name", "first")
    second = site.serve("--shards", "4", "--name", "second")
    until_led(first, second, lambda one, two: (one, two) == (2, 2))
    told_at = time.monotonic()
    first.process.send_signal(signal.SIGTERM)
    wait_until(lambda: len(leads(second)) == 4, lambda: str(second.lines))
    took_s = time.monotonic() - told_at
    done = site.type("run", site.plan("a"), "--json")

    assert first.process.wait(TIMEOUT_S) == 0
    # Far below the lease: it was handed over, not waited for.
    assert took_s < HAND_OVER_S
    assert done[0] == 0, done


def test_with_one_shard_who_stands_by_leads_soon_after_the_leader_is_killed(site: Site) -> None:
    words = ("--shards", "1", *TTL)
    first = site.serve("--name", "first", *words)
    first.wait_for("leads")
    second = site.serve("--name", "second", *words)
    second.wait_for("started")
    running = site.start("run", site.plan("a", "slow"), "--json")
    wait_until(lambda: site.reached(first))
    wait_until(lambda: len(cluster(site)["members"]) == 2)
    killed_at = time.monotonic()
    first.process.kill()
    took_s = second.wait_for("leads") - killed_at
    (site.folder / "gate").touch()
    done = json.loads(running.communicate(timeout=TIMEOUT_S)[0])

    assert took_s < LEASE_S + 2.0
    assert done["state"] == "DONE"
    assert site.effects() == ["do a", "do slow"]


def test_plans_are_submitted_to_whoever_leads_and_stored_where_nobody_does(site: Site) -> None:
    names = [f"trip-{number}" for number in range(8)]
    early = site.type("submit", site.plan("a", name="early"), "--json")
    stored = site.type("submit", "early.json", "--tools", "tools.py", "--json")
    before = json.loads(site.type("show", "early", "--json")[1])
    site.serve("--shards", "8").wait_for("leads")
    burst = site.type("submit", *(site.plan("a", name=name) for name in names), "--json")
    again = site.type("submit", "trip-0.json", "early.json", "--json")
    refused = site.type("submit", site.plan("a", name="odd", tool="tkae"), "--json")

    def is_done() -> bool:
        heads = json.loads(site.type("list", "--json")[1])
        return {head["saga_id"] for head in heads if head["state"] == "DONE"} == {"early", *names}

    wait_until(is_done)
    codes = [each[0] for each in (early, stored, burst, again, refused)]
    assert codes == [2, 0, 0, 0, 2], (early, stored, burst, again, refused)
    assert "--tools" in json.loads(early[1])["error"]["message"]
    assert [step["status"] for step in before["steps"]] == ["WAITING"]
    assert [each["saga_id"] for each in json.loads(burst[1])["submitted"]] == names
    assert [each["is_new"] for each in json.loads(again[1])["submitted"]] == [False, False]
    assert json.loads(refused[1])["problems"][0]["code"] == "unknown-tool"
    assert site.effects() == ["do a"] * 9


def test_a_plan_that_nobody_can_run_is_refused_for_want_of_tools(site: Site) -> None:
    code, _out, err = site.type("run", site.plan("a"))

    assert code == 2
    assert "add --tools MODULE_OR_FILE, or serve the store" in err
    assert "makes it" not in err


def test_without_members_a_plan_is_run_here_and_nothing_stays_behind(site: Site) -> None:
    done = site.type("run", site.plan("a", "b"), "--tools", "tools.py", "--json")
    told = cluster(site)
    undone = site.type("undo", "trip", "--tools", "tools.py", "--json")
    listed = json.loads(site.type("list", "--json")[1])

    assert (done[0], undone[0]) == (0, 0), (done, undone)
    assert told["members"] == []
    assert [each["code"] for each in told["needs_attention"]] == ["unserved"]
    assert {head["saga_id"] for head in listed} == {"trip", "trip.undo"}


def test_decisions_reach_the_leader_of_the_saga(site: Site) -> None:
    serving = site.serve("--shards", "2")
    wait_until(lambda: len(leads(serving)) == 2, lambda: str(serving.lines))
    plan = json.loads(Path(site.plan("a", "b")).read_text())
    plan["steps"][1]["approval"] = True
    (site.folder / "trip.json").write_text(json.dumps(plan))
    asked = site.type("run", "trip.json", "--json")
    approved = site.type("approve", "trip", "--step", "2", "--by", "Ann", "--json")
    wait_until(lambda: json.loads(site.type("show", "trip", "--json")[1])["state"] == "DONE")
    late = site.type("cancel", "trip", "--json")
    undone = site.type("undo", "trip", "--json")

    assert [asked[0], approved[0], late[0], undone[0]] == [3, 0, 2, 0], (asked, approved, undone)
    assert json.loads(approved[1])["decision"] == "carried out"
    assert site.effects() == ["do a", "do b", "undo a", "undo b"]


def test_another_number_of_shards_is_refused(site: Site) -> None:
    serving = site.serve("--shards", "2")
    serving.wait_for("leads")
    code, _out, err = site.type("serve", "--tools", "tools.py", "--shards", "3")

    assert code == 2
    assert "2" in err
    assert "Traceback" not in err


@pytest.mark.parametrize("url", ["etcd://127.0.0.1:1/x", "redis://127.0.0.1:1/0"])
def test_a_server_that_cannot_be_reached_is_told_at_once(tmp_path: Path, url: str) -> None:
    with open_site(tmp_path, url) as site:
        code, out, err = site.type("serve", "--tools", "tools.py")

    assert (code, out) == (2, ""), err
    assert "127.0.0.1:1" in err
    assert "Traceback" not in err
