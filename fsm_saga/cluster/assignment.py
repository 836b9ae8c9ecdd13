"""Which member ought to lead which shard: a pure function that every member computes alike.

It decides only who tries and who hands over. Two members with different views of the roster may
both try for a shard; the store lets one of them lead it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from fsm_saga.ports import Roster


def assignment(roster: Roster, *, shards: int) -> dict[int, str]:
    """Return the member that ought to lead each shard; empty if no member can lead.

    The members' numbers of shards differ by one at most, and no more shards change hands than
    that takes.

    Example:
        >>> from fsm_saga.ports import Leader, Member, Roster
        >>> members = {i: Member(member_id=i, name=i, started_at=0.0) for i in "ab"}
        >>> leaders = {s: Leader(shard=s, epoch=s + 1, member_id="a") for s in range(4)}
        >>> assignment(Roster(members=members, leaders=leaders), shards=4)
        {0: 'a', 1: 'a', 2: 'b', 3: 'b'}
    """
    able = sorted(i for i, member in roster.members.items() if _can_lead(roster, i))
    if not able:
        return {}
    led = {member_id: _led_by(roster, member_id, shards) for member_id in able}
    quota = _quotas(led, shards)
    wanted = {shard: i for i in able for shard in led[i][: quota[i]]}
    free = iter(_free(wanted, shards))
    for member_id in able:
        for _ in range(quota[member_id] - len(led[member_id][: quota[member_id]])):
            wanted[next(free)] = member_id
    return dict(sorted(wanted.items()))


def _can_lead(roster: Roster, member_id: str) -> bool:
    member = roster.members[member_id]
    return member.is_ready and not member.is_leaving


def _led_by(roster: Roster, member_id: str, shards: int) -> list[int]:
    return sorted(
        shard
        for shard, leader in roster.leaders.items()
        if leader.member_id == member_id and shard < shards
    )


def _quotas(led: Mapping[str, Collection[int]], shards: int) -> dict[str, int]:
    """Return how many shards each member gets; the odd ones go to those who lead most."""
    each, odd = divmod(shards, len(led))
    by_load = sorted(led, key=lambda member_id: (-len(led[member_id]), member_id))
    return {member_id: each + (place < odd) for place, member_id in enumerate(by_load)}


def _free(taken: Collection[int], shards: int) -> list[int]:
    return [shard for shard in range(shards) if shard not in taken]
