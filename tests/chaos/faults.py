"""What is done to a town while its sagas run. Each fault heals what it broke before it returns."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

from tests.chaos.judge import Verdict, judge
from tests.chaos.town import LEASE_TTL_S, Coordinator, Town
from tests.support.counting import IS_LONG
from tests.support.servers.proxy import Way

Fault = Callable[[Town], Awaitable[None]]

TAKEOVER_S_MAX = LEASE_TTL_S + 2.0
REST_S_MAX = 90.0
SUBMIT_EVERY_S = 0.1
USEFUL_MIN = 40
"""A run in which fewer sagas came to an end shows nothing."""


async def play(town: Town, *faults: Fault) -> Verdict:
    """Let sagas come in while one fault after the other happens; return what came of them."""
    await town.submit(USEFUL_MIN)
    over = asyncio.Event()
    submitting = asyncio.create_task(town.keep_submitting(every_s=SUBMIT_EVERY_S, until=over))
    try:
        for fault in faults:
            await fault(town)
    finally:
        over.set()
        await submitting
    heads = await town.rest(within_s=REST_S_MAX)
    return judge(town.asked, heads, town.shop.books)


async def kill_a_leader(town: Town) -> None:
    """Kill -9 the coordinator that leads most; the others have to take over in time."""
    victim = await town.leads_most()
    victim.kill()
    await _taken_over(town, len(town.coordinators) - 1)
    await _start(town, victim)


async def kill_all_coordinators(town: Town) -> None:
    """Kill -9 every coordinator at once."""
    for coordinator in town.coordinators:
        coordinator.kill()
    await asyncio.sleep(0.5)
    for coordinator in town.coordinators:
        coordinator.start(wait=False)
    await town.until_led(by=len(town.coordinators), within_s=30.0)


async def pause_a_leader(town: Town) -> None:
    """Stop a leader for three leases, so that it wakes up as one who has lost all."""
    victim = await town.leads_most()
    victim.pause()
    await _taken_over(town, len(town.coordinators) - 1)
    await asyncio.sleep(2 * LEASE_TTL_S)
    victim.resume()
    await town.until_led(by=len(town.coordinators), within_s=30.0)


async def stop_a_leader_before_a_call(town: Town) -> None:
    """Stop a leader with a call decided and not sent, let another take over, let it go on."""
    victim = town.coordinators[0]
    await asyncio.to_thread(victim.stop)
    victim.failpoint = "before_call:10:stop"
    victim.start(wait=False)
    await _stopped(victim)
    await _taken_over(town, len(town.coordinators) - 1)
    await asyncio.sleep(LEASE_TTL_S)
    victim.resume()
    await town.until_led(by=len(town.coordinators), within_s=30.0)
    victim.failpoint = ""


async def cut_a_leader_from_etcd(town: Town) -> None:
    """Let nothing pass between a leader and etcd; it still reaches the shop."""
    victim = await town.leads_most()
    for link in victim.links:
        link.cut()
    await _taken_over(town, len(town.coordinators) - 1)
    await _heal(town, victim)


async def lose_the_answers_of_etcd(town: Town) -> None:
    """Let a leader's requests reach etcd, and no answer reach the leader."""
    victim = await town.leads_most()
    for link in victim.links:
        link.blackhole(Way.TO_CLIENT)
    await _taken_over(town, len(town.coordinators) - 1)
    await _heal(town, victim)


async def lose_the_answers_of_the_shop(town: Town) -> None:
    """Let every call reach the shop, and no answer come back for a while."""
    for coordinator in town.coordinators:
        coordinator.shop.blackhole(Way.TO_CLIENT)
    await asyncio.sleep(2.0)
    for coordinator in town.coordinators:
        coordinator.shop.heal()


async def cut_the_shop_off(town: Town) -> None:
    """Let nobody reach the shop for a while."""
    for coordinator in town.coordinators:
        coordinator.shop.cut()
    await asyncio.sleep(2.0)
    for coordinator in town.coordinators:
        coordinator.shop.heal()


async def hold_calls_to_the_shop(town: Town) -> None:
    """Keep a leader's calls on their way until another has taken over, then deliver them."""
    victim = await town.leads_most()
    victim.shop.hold(Way.TO_SERVER)
    await asyncio.sleep(1.0)
    victim.kill()
    await _taken_over(town, len(town.coordinators) - 1)
    victim.shop.release(Way.TO_SERVER)
    victim.shop.heal()
    await _start(town, victim)


async def kill_the_leader_of_etcd(town: Town) -> None:
    """Kill -9 the member of etcd that leads, and start it again."""
    victim = await asyncio.to_thread(town.etcd.leader)
    victim.kill()
    await asyncio.sleep(3.0)
    await asyncio.to_thread(victim.start)


async def pause_a_member_of_etcd(town: Town) -> None:
    """Stop a member that follows; its connections stay open and silent."""
    victim = (await asyncio.to_thread(town.etcd.followers))[0]
    victim.pause()
    await asyncio.sleep(3.0)
    victim.resume()


async def lose_the_majority_of_etcd(town: Town, seconds: float = 30.0 if IS_LONG else 5.0) -> None:
    """Leave one member alone: nothing can be written until the others are back."""
    victims = town.etcd.members[:2]
    for victim in victims:
        victim.pause()
    await asyncio.sleep(seconds)
    for victim in victims:
        victim.resume()
    await town.until_led(by=len(town.coordinators), within_s=30.0)


async def compact_all_the_time(town: Town, seconds: float = 3.0) -> None:
    """Take the history away from under every watch, ten times a second."""
    ends_at = time.monotonic() + seconds
    while time.monotonic() < ends_at:
        with suppress(OSError):
            await asyncio.to_thread(town.etcd.members[0].compact)
        await asyncio.sleep(0.1)


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
    await asyncio.sleep(2.0)
    await asyncio.to_thread(_make_room, town)
    await town.until_led(by=len(town.coordinators), within_s=30.0)


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
        await asyncio.to_thread(coordinator.stop)
        await _start(town, coordinator)


async def restart_etcd_one_after_the_other(town: Town) -> None:
    """Stop and start each member of etcd."""
    for member in town.etcd.members:
        await asyncio.to_thread(member.restart)
        await asyncio.sleep(1.0)


async def burst(town: Town, sagas: int = 1_000) -> None:
    """Submit many sagas at once, and kill a leader in the middle."""
    asking = asyncio.create_task(town.submit(sagas))
    await asyncio.sleep(1.0)
    await kill_a_leader(town)
    await asking


async def _taken_over(town: Town, by: int) -> None:
    """Return once every shard is led by those who are left, in time."""
    started = time.monotonic()
    await town.until_led(by=by, within_s=TAKEOVER_S_MAX * 3)
    town.takeovers_s.append(time.monotonic() - started)


async def _stopped(coordinator: Coordinator) -> None:
    """Return once the coordinator has stopped itself."""
    async with asyncio.timeout(30.0):
        while not _is_stopped(coordinator.pid):  # noqa: ASYNC110  # it tells nobody
            await asyncio.sleep(0.05)


def _is_stopped(pid: int) -> bool:
    """Return whether the kernel says that the process is stopped."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


async def _heal(town: Town, victim: Coordinator) -> None:
    for link in victim.links:
        link.heal()
    await town.until_led(by=len(town.coordinators), within_s=30.0)


async def _start(town: Town, coordinator: Coordinator) -> None:
    coordinator.start(wait=False)
    await town.until_led(by=len(town.coordinators), within_s=30.0)
