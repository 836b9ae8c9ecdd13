"""What is done to the coordinators of a town and to their ways to etcd and to the shop.

Each fault heals what it broke before it returns. It looks whether it did what it says, notes that
in ``Town.did``, and fails if it had no effect: a fault that nobody felt shows nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from fsm_saga.ports import Head
from tests.chaos.town import LEASE_TTL_S, Coordinator, Town
from tests.support.counting import IS_LONG
from tests.support.servers.proxy import Way

TAKEOVER = "leader gone, until the others lead"
HANDOVER = "coordinator told to stop, until the others lead"
ALL_BACK = "all coordinators killed, from their restart until all lead again"
ETCD_LEADER = "leader of etcd killed, until a new saga moves"
ETCD_MEMBER = "member of etcd restarted, until a new saga moves"
MAJORITY = "majority of etcd back, until a new saga moves"
ROOM = "etcd has room again, until a new saga moves"

BOUNDS_MS = {
    TAKEOVER: round(LEASE_TTL_S * 1_000) + 2_000,
    HANDOVER: 3_000,
    ALL_BACK: round(LEASE_TTL_S * 1_000) + 6_000,
    ETCD_LEADER: 8_000,
    ETCD_MEMBER: 8_000,
    MAJORITY: 8_000,
    ROOM: 8_000,
}
"""How long each may take, at worst, on a busy machine. In ``ALL_BACK`` interpreters start; etcd
elects a leader within one to two seconds, and then clients find it."""
HANDOVER_MEDIAN_MS = 1_000
"""What handing over takes when nothing else is in the way."""

WAIT_S_MAX = 30.0
SHOP_GONE_S = 2.0
COMPACT_S, COMPACT_EVERY_S, COMPACTIONS_MIN = 3.0, 0.1, 10
SETTLE_S = 0.5
"""After this nothing is between a proxy and the shop any more."""

LOST_ITS_LEASE = "has lost its lease and steps down"


async def kill_a_leader(town: Town) -> None:
    """Kill -9 the coordinator that leads most; the others have to take over in time."""
    victim = await town.leads_most()
    victim.kill()
    town.did["leaders killed"] += 1
    await _taken_over(town)
    await _start(town, victim)


async def kill_all_coordinators(town: Town) -> None:
    """Kill -9 every coordinator at once; those that are started again find their leases running."""
    dead = await town.leading_members()
    for coordinator in town.coordinators:
        coordinator.kill()
    town.did["coordinators killed together"] += len(town.coordinators)
    await asyncio.sleep(0.5)
    with town.timing(ALL_BACK):
        for coordinator in town.coordinators:
            coordinator.start(wait=False)
        await town.until_led(by=len(town.coordinators), without=dead, within_s=WAIT_S_MAX)


async def pause_a_leader(town: Town) -> None:
    """Stop a leader for three leases; it wakes up as one who has lost all, and knows it."""
    victim = await town.leads_most()
    lost = victim.said(LOST_ITS_LEASE)
    victim.pause()
    await _taken_over(town)
    await asyncio.sleep(2 * LEASE_TTL_S)
    victim.resume()
    await _stepped_down(town, victim, since=lost)
    await _all_lead(town)


async def stop_a_leader_before_a_call(town: Town) -> None:
    """Stop a leader with a call decided and not sent; it sends it when others ended the saga."""
    victim, ended = await _stop_at(town, "before_call:10:stop")
    sent = dict(town.shop.books.sent)
    lost = victim.said(LOST_ITS_LEASE)
    victim.resume()

    def late() -> int:
        # Nobody has a reason to call for a saga at its end but who does not know of that.
        now = town.shop.books.sent
        return sum(now[who] - sent.get(who, 0) for who in ((victim.name, each) for each in ended))

    await town.until(
        lambda: late() > 0,
        what=f"{victim.name} sends the call before which it was stopped",
        within_s=WAIT_S_MAX,
    )
    town.did["calls of former leaders for sagas that others had ended"] += late()
    await _stepped_down(town, victim, since=lost)
    await _all_lead(town)


async def stop_a_leader_before_a_write(town: Town) -> None:
    """Stop a leader with a record decided and not written; what it then writes is not taken."""
    victim, ended = await _stop_at(town, "before_append:10:stop")
    lost = victim.said(LOST_ITS_LEASE)
    victim.resume()
    await _stepped_down(town, victim, since=lost)
    await town.until(
        lambda: victim.writes_in_vain() > 0,
        what=f"the write before which {victim.name} was stopped comes to nothing",
        within_s=WAIT_S_MAX,
    )
    town.did["writes of former leaders that came to nothing"] += victim.writes_in_vain()
    now = await town.heads()
    changed = [saga_id for saga_id, head in ended.items() if now[saga_id] != head]
    assert not changed, f"{victim.name} wrote to {changed}, which others had ended"
    await _all_lead(town)


async def cut_a_leader_from_etcd(town: Town) -> None:
    """Let nothing pass between a leader and etcd; it still reaches the shop."""
    victim = await town.leads_most()
    lost = victim.said(LOST_ITS_LEASE)
    for link in victim.links:
        link.cut()
    await _alone(town, victim, since=lost)


async def lose_the_answers_of_etcd(town: Town) -> None:
    """Let a leader's requests reach etcd, and no answer reach the leader."""
    await _silence(town, Way.TO_CLIENT)


async def lose_the_requests_to_etcd(town: Town) -> None:
    """Let none of a leader's requests reach etcd, while its connections stay open."""
    await _silence(town, Way.TO_SERVER)


async def lose_the_answers_of_the_shop(town: Town) -> None:
    """Let every call reach the shop, and no answer come back for a while: each is sent again."""
    before = town.shop.books.repeats
    lost = await _without_shop(town, Way.TO_CLIENT)
    assert lost, "no answer of the shop was lost"
    await town.until(
        lambda: town.shop.books.repeats > before,
        what="a call whose answer was lost is sent again",
        within_s=WAIT_S_MAX,
    )
    town.did["calls sent again for a lost answer"] += town.shop.books.repeats - before


async def lose_the_requests_to_the_shop(town: Town) -> None:
    """Let no call reach the shop for a while; its callers do not know that."""
    lost = await _without_shop(town, Way.TO_SERVER)
    assert lost, "no call to the shop was lost"
    town.did["bytes of calls lost"] += lost


async def lose_all_between_coordinators_and_shop(town: Town) -> None:
    """Let neither calls nor answers pass; the connections stay open and silent."""
    lost = await _without_shop(town, None)
    assert lost, "no call to the shop was lost"
    town.did["bytes of calls lost"] += lost


async def cut_the_shop_off(town: Town) -> None:
    """Reset every connection to the shop for a while, the open and the new ones."""
    tried = sum(c.shop.connections for c in town.coordinators)
    for coordinator in town.coordinators:
        coordinator.shop.cut()
    await asyncio.sleep(SETTLE_S)
    came = town.shop.books.came.total()
    await asyncio.sleep(SHOP_GONE_S)
    assert town.shop.books.came.total() == came, "the shop was reached though it was cut off"
    for coordinator in town.coordinators:
        coordinator.shop.heal()
    refused = sum(c.shop.connections for c in town.coordinators) - tried
    assert refused, "nobody tried to reach the shop"
    town.did["connections to the shop refused"] += refused


async def hold_calls_to_the_shop(town: Town) -> None:
    """Keep a leader's calls on their way until another has taken over, then deliver them."""
    victim = await town.leads_most()
    seen = victim.shop.bytes_seen(Way.TO_SERVER)
    victim.shop.hold(Way.TO_SERVER)
    await town.until(
        lambda: victim.shop.bytes_seen(Way.TO_SERVER) > seen,
        what=f"{victim.name} calls the shop, and the call is held",
        within_s=WAIT_S_MAX,
    )
    await asyncio.sleep(SETTLE_S)
    victim.kill()
    await _taken_over(town)
    came = town.shop.books.came[victim.name]
    victim.shop.release(Way.TO_SERVER)
    await town.until(
        lambda: town.shop.books.came[victim.name] > came,
        what="a call that was held comes to the shop",
        within_s=WAIT_S_MAX,
    )
    await asyncio.sleep(SETTLE_S)
    town.did["calls that came when their sender was dead"] += (
        town.shop.books.came[victim.name] - came
    )
    victim.shop.heal()
    await _start(town, victim)


async def kill_the_leader_of_etcd(town: Town) -> None:
    """Kill -9 the member of etcd that leads, and start it again."""
    victim = await asyncio.to_thread(town.etcd.leader)
    with town.timing(ETCD_LEADER):
        victim.kill()
        await town.until_moved(within_s=WAIT_S_MAX)
    leader = await asyncio.to_thread(town.etcd.leader)
    assert leader is not victim, f"{victim.name} leads etcd though it is dead"
    town.did["leaders of etcd killed"] += 1
    await asyncio.to_thread(victim.start)


async def pause_a_member_of_etcd(town: Town) -> None:
    """Stop a member that follows; its connections stay open and silent, and sagas go on."""
    victim = (await asyncio.to_thread(town.etcd.followers))[0]
    victim.pause()
    try:
        await town.until_moved(within_s=WAIT_S_MAX)
        await asyncio.sleep(3.0)
    finally:
        victim.resume()
    town.did["members of etcd paused"] += 1


async def lose_the_majority_of_etcd(town: Town, seconds: float = 30.0 if IS_LONG else 5.0) -> None:
    """Leave one member alone: nothing can be written until the others are back."""
    victims = town.etcd.members[:2]
    for victim in victims:
        victim.pause()
    try:
        await asyncio.sleep(SETTLE_S)
        mark = len(town.begun)
        await asyncio.sleep(seconds)
        assert not town.has_moved(since=mark), "a saga was written without a majority"
    finally:
        for victim in victims:
            victim.resume()
    with town.timing(MAJORITY):
        await town.until_moved(within_s=WAIT_S_MAX)
    await _all_lead(town)
    town.did["seconds without a majority of etcd"] += round(seconds)


async def compact_all_the_time(town: Town) -> None:
    """Take the history away from under every watch, ten times a second."""
    started = time.monotonic()
    done = 0
    for number in range(round(COMPACT_S / COMPACT_EVERY_S)):
        # Of a history without a change since the last time etcd has nothing to take away.
        with suppress(OSError):
            await asyncio.to_thread(town.etcd.members[0].compact)
            done += 1
        due = started + (number + 1) * COMPACT_EVERY_S
        await asyncio.sleep(max(0.0, due - time.monotonic()))
    assert done >= COMPACTIONS_MIN, f"the history was taken away {done} times only"
    town.did["compactions"] += done


async def fill_etcd(town: Town) -> None:
    """Reach the space quota, wait a while, and make room again."""
    member = town.etcd.members[0]
    for number in range(200):
        try:
            await asyncio.to_thread(member.put, f"junk/{number}", "x" * 500_000)
        except OSError:
            break
    else:
        raise AssertionError("the quota was never reached")
    await asyncio.sleep(SETTLE_S)
    mark = len(town.begun)
    await asyncio.sleep(2.0)
    assert not town.has_moved(since=mark), "a saga was written without space"
    await asyncio.to_thread(_make_room, town)
    with town.timing(ROOM):
        await town.until_moved(within_s=WAIT_S_MAX)
    await _all_lead(town)
    town.did["alarms for space"] += 1


def _make_room(town: Town) -> None:
    member = town.etcd.members[0]
    member.call("kv/deleterange", {"key": "anVuay8=", "range_end": "anVuazA="})  # junk/ to junk0
    member.compact()
    for each in town.etcd.members:
        each.defragment()
    member.disarm()


async def restart_one_after_the_other(town: Town) -> None:
    """Stop and start each coordinator as an operator does; each hands over before it ends."""
    for coordinator in town.coordinators:
        stopped = coordinator.said("stopped, as told")
        with town.timing(HANDOVER):
            stopping = asyncio.create_task(asyncio.to_thread(coordinator.stop))
            await town.until_led(by=len(town.coordinators) - 1, within_s=WAIT_S_MAX)
        await stopping
        assert coordinator.said("stopped, as told") > stopped, coordinator.log_tail()
        town.did["coordinators told to stop"] += 1
        await _start(town, coordinator)


async def restart_etcd_one_after_the_other(town: Town) -> None:
    """Kill and start each member of etcd."""
    for member in town.etcd.members:
        with town.timing(ETCD_MEMBER):
            await asyncio.to_thread(member.restart)
            await town.until_moved(within_s=WAIT_S_MAX)
        town.did["members of etcd restarted"] += 1


async def burst(town: Town, sagas: int = 1_000, sources: int = 10) -> None:
    """Submit many sagas at once, and kill a leader while hundreds are under way."""
    before = len(town.asked)
    asking = [asyncio.create_task(town.submit(sagas // sources)) for _ in range(sources)]
    await town.until(
        lambda: len(town.asked) - before > sagas // 3, what="a third is left", within_s=WAIT_S_MAX
    )
    under_way = len(await town.heads(only_unfinished=True))
    assert under_way >= sagas // 10, f"only {under_way} sagas are under way"
    town.did["sagas under way in the burst when a leader was killed"] += under_way
    await kill_a_leader(town)
    await asyncio.gather(*asking)


async def _taken_over(town: Town) -> None:
    """Return once every shard is led by those who are left."""
    with town.timing(TAKEOVER):
        await town.until_led(by=len(town.coordinators) - 1, within_s=WAIT_S_MAX)


async def _stop_at(town: Town, failpoint: str) -> tuple[Coordinator, Mapping[str, Head]]:
    """Stop a coordinator at a failpoint until others have ended what it had under way.

    Return it, still stopped, and the sagas that have ended.
    """
    victim = town.coordinators[0]
    await asyncio.to_thread(victim.stop)
    victim.failpoint = failpoint
    victim.start(wait=False)
    victim.failpoint = ""
    async with asyncio.timeout(WAIT_S_MAX):
        while not _is_stopped(victim.pid):  # noqa: ASYNC110  # it tells nobody
            await asyncio.sleep(0.02)
    under_way = await town.heads(only_unfinished=True)
    await _taken_over(town)
    await town.until_ended(under_way, within_s=WAIT_S_MAX)
    heads = await town.heads()
    return victim, {saga_id: head for saga_id, head in heads.items() if head.is_final}


def _is_stopped(pid: int) -> bool:
    """Return whether the kernel says that the process is stopped."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


async def _stepped_down(town: Town, victim: Coordinator, *, since: int) -> None:
    """Return once a coordinator has noticed that its lease is over."""
    await town.until(
        lambda: victim.said(LOST_ITS_LEASE) > since,
        what=f"{victim.name} notices that its lease is over",
        within_s=WAIT_S_MAX,
    )
    town.did["leaders who noticed that they lead no more"] += 1


async def _silence(town: Town, way: Way) -> None:
    """Lose what goes one way between a leader and etcd, until others have taken over."""
    victim = await town.leads_most()
    lost = victim.said(LOST_ITS_LEASE)
    seen = sum(link.bytes_seen(way) for link in victim.links)
    for link in victim.links:
        link.blackhole(way)
    await _alone(town, victim, since=lost)
    gone = sum(link.bytes_seen(way) for link in victim.links) - seen
    assert gone, f"nothing was lost between {victim.name} and etcd"


async def _alone(town: Town, victim: Coordinator, *, since: int) -> None:
    """Let others take over from a leader that etcd cannot be reached by, and heal its ways."""
    await _taken_over(town)
    await _stepped_down(town, victim, since=since)
    assert not await asyncio.to_thread(victim.is_ready), f"{victim.name} says that it is ready"
    for link in victim.links:
        link.heal()
    await _all_lead(town)


async def _without_shop(town: Town, way: Way | None) -> int:
    """Lose what goes one way or both between all coordinators and the shop; return the bytes."""
    counted = way or Way.TO_SERVER
    for coordinator in town.coordinators:
        coordinator.shop.blackhole(way)
    seen = sum(c.shop.bytes_seen(counted) for c in town.coordinators)
    await asyncio.sleep(SETTLE_S)
    came = town.shop.books.came.total()
    await asyncio.sleep(SHOP_GONE_S)
    reached = town.shop.books.came.total() - came
    lost = sum(c.shop.bytes_seen(counted) for c in town.coordinators) - seen
    for coordinator in town.coordinators:
        coordinator.shop.heal()
    assert bool(reached) is (way is Way.TO_CLIENT), f"{reached} calls reached the shop"
    return lost


async def _all_lead(town: Town) -> None:
    await town.until_led(by=len(town.coordinators), within_s=WAIT_S_MAX)


async def _start(town: Town, coordinator: Coordinator) -> None:
    coordinator.start(wait=False)
    await _all_lead(town)
