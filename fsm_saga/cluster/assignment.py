"""Which member ought to lead which shard: a pure function that every member computes alike.

It decides only who tries and who hands over. Two members with different views of the roster may
both try for a shard; the store lets one of them lead it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from fsm_saga.ports import Roster


def assignment(roster: Roster, *, shards: int) -> dict[int, str]:
    """Return the member that ought to lead each shard; empty if no member can lead.

    The members' numbers of shards differ by one at most, and no more shards change hands than
    that takes. A shard that a member avoids goes to one that does not, even if the numbers are
    less even then; if everybody avoids it, to one of those on which it failed the fewest times, so
    that they try in turn.

    Example:
        >>> from fsm_saga.ports import Leader, Member, Roster
        >>> members = {i: Member(member_id=i, name=i, started_at=0.0) for i in "ab"}
        >>> leaders = {s: Leader(shard=s, epoch=s + 1, member_id="a") for s in range(4)}
        >>> assignment(Roster(members=members, leaders=leaders), shards=4)
        {0: 'a', 1: 'a', 2: 'b', 3: 'b'}
    """
    able = sorted(i for i in roster.members if _can_lead(roster, i))
    if not able:
        return {}
    takers = _takers(roster, able, shards)
    led: dict[str, list[int]] = {member_id: [] for member_id in able}
    free = []
    for shard in range(shards):
        leader = roster.leaders.get(shard)
        if leader is not None and leader.member_id in takers[shard]:
            led[leader.member_id].append(shard)
        else:
            free.append(shard)
    # Who has the least choice chooses first.
    for shard in sorted(free, key=lambda shard: (len(takers[shard]), shard)):
        led[min(takers[shard], key=lambda i: (len(led[i]), i))].append(shard)
    while (move := _fairer(led, takers)) is not None:
        shard, giver, taker = move
        led[giver].remove(shard)
        led[taker].append(shard)
    return dict(sorted((shard, i) for i in able for shard in led[i]))


def _can_lead(roster: Roster, member_id: str) -> bool:
    member = roster.members[member_id]
    return member.is_ready and not member.is_leaving


def _takers(roster: Roster, able: Sequence[str], shards: int) -> Sequence[Collection[str]]:
    """Return who may lead each shard, in the order of the ids."""
    avoids = {i: roster.members[i].avoids for i in able}
    avoided = frozenset[int]().union(*avoids.values())

    def takers(shard: int) -> Collection[str]:
        failures = {i: avoids[i].get(shard, 0) for i in able}
        fewest = min(failures.values())
        return [i for i in able if failures[i] == fewest]

    return [takers(shard) if shard in avoided else able for shard in range(shards)]


def _fairer(
    led: Mapping[str, Sequence[int]], takers: Sequence[Collection[str]]
) -> tuple[int, str, str] | None:
    """Return a shard, who leads it and who ought to, or None if no move makes it fairer."""
    by_load = sorted(led, key=lambda i: (len(led[i]), i))
    for giver in reversed(by_load):
        for taker in by_load:
            if len(led[giver]) - len(led[taker]) <= 1:
                break
            movable = [shard for shard in led[giver] if taker in takers[shard]]
            if movable:
                return max(movable), giver, taker
    return None
