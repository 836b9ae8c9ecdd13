"""How a cluster is, as the store tells it, and what of that needs somebody."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from fsm_saga.ports import ClusterStore, Member, Roster
from fsm_saga.stores.sharding import shard_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """One look at a cluster.

    Attributes:
        store: The URL, without a password.
        shards: How many shards it has.
        roster: Who is there and who leads.
        unfinished: Unfinished sagas, by shard.
        pending: Commands without an answer, by shard.
        waits: Sagas that wait for a person, by what for: ``approval`` or ``person``.
        at: When it was, in seconds since 1970.
        lags_s: For how long the saga that has stood still the longest has done so, by shard; those
            that wait for a person do not count.
    """

    store: str
    shards: int
    roster: Roster
    unfinished: Mapping[int, int]
    pending: Mapping[int, int]
    waits: Mapping[str, int]
    at: float
    lags_s: Mapping[int, float] = field(default_factory=dict)

    @property
    def is_single(self) -> bool:
        """True for one shard, of a store for one writer above all."""
        return self.shards == 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """Something that needs somebody: a word for programs, a sentence for people."""

    code: str
    message: str


async def survey(cluster: ClusterStore) -> Survey:
    """Return how the cluster is now.

    Raises:
        StoreError: The store cannot be read.
    """
    roster = await cluster.roster()
    heads = await cluster.reader.heads(only_unfinished=True)
    commands = await cluster.reader.pending_commands()
    now = time.time()
    lags_s: dict[int, float] = {}
    for head in heads:
        if not head.waits_for:
            shard = shard_of(head.saga_id, cluster.shards)
            lags_s[shard] = max(lags_s.get(shard, 0.0), now - head.updated_at)
    return Survey(
        store=cluster.url,
        shards=cluster.shards,
        roster=roster,
        unfinished=Counter(shard_of(head.saga_id, cluster.shards) for head in heads),
        pending=Counter(shard_of(command.saga_id, cluster.shards) for command in commands),
        waits=Counter(head.waits_for for head in heads if head.waits_for),
        at=now,
        lags_s=lags_s,
    )


def troubles(found: Survey) -> tuple[Trouble, ...]:
    """Return what needs somebody, the gravest first; nothing when all is well."""
    return tuple(
        Trouble(code=code, message=message)
        for look in (_unled, _failing, _differing, _left_alone, _waiting)
        for code, message in look(found)
    )


_Said = Iterator[tuple[str, str]]


def _unled(found: Survey) -> _Said:
    unled = [shard for shard in range(found.shards) if shard not in found.roster.leaders]
    work = {s: found.unfinished.get(s, 0) + found.pending.get(s, 0) for s in unled}
    able = [m for m in found.roster.members.values() if m.is_ready and not m.is_leaving]
    if len(unled) == found.shards and not able:
        # A file that nobody writes to is as it should be, unless something is left in it.
        if not found.is_single or any(work.values()):
            left = _left(found, unled)
            yield "unserved", f"Nobody serves this store{left}. Start `fsm-saga serve`."
        return
    for shard in unled:
        yield (
            "no-leader",
            f"Shard {shard} has no leader{_left(found, [shard])}. If that lasts for more than some "
            "seconds, the log of the members tells why.",
        )


def _failing(found: Survey) -> _Said:
    for member in sorted(found.roster.members.values(), key=lambda m: m.name):
        if member.avoids and member.is_ready:
            many = len(member.avoids) > 1
            numbers = ", ".join(map(str, member.avoids))
            yield (
                "shard-failed",
                f"{member.name} could not run {'shards' if many else 'shard'} {numbers} of late, "
                f"so others lead {'them' if many else 'it'} if they can. Its log tells why.",
            )


def _left(found: Survey, shards: list[int]) -> str:
    sagas = sum(found.unfinished.get(shard, 0) for shard in shards)
    commands = sum(found.pending.get(shard, 0) for shard in shards)
    parts = [_counted(sagas, "unfinished saga")] if sagas else []
    parts += [_counted(commands, "command")] if commands else []
    waits = "waits" if sagas + commands == 1 else "wait"
    return f": {' and '.join(parts)} {waits}" if parts else ""


def _differing(found: Survey) -> _Said:
    members = [m for m in found.roster.members.values() if m.is_ready]
    for code, what, why, value_of in _COMPARED:
        groups: dict[str, list[str]] = {}
        for member in members:
            if value := value_of(member):
                groups.setdefault(value, []).append(member.name)
        if len(groups) > 1:
            said = "; ".join(
                f"{value} on {', '.join(sorted(names))}" for value, names in sorted(groups.items())
            )
            yield code, f"The members have different {what}: {said}. {why}"


_COMPARED: tuple[tuple[str, str, str, Callable[[Member], str]], ...] = (
    (
        "different-tools",
        "tools",
        "A saga may be left alone, or a plan refused, depending on who leads its shard.",
        lambda member: member.tools,
    ),
    (
        "different-versions",
        "versions",
        "That is as it should be during an upgrade only.",
        lambda member: member.version,
    ),
)


def _left_alone(found: Survey) -> _Said:
    for member in sorted(found.roster.members.values(), key=lambda m: m.name):
        count = member.facts.get("sagas_left_alone", 0)
        if isinstance(count, int) and count > 0:
            yield (
                "left-alone",
                f"{member.name} has left {_counted(count, 'saga')} alone: tools are missing there, "
                "or a journal is damaged. Its log tells which.",
            )


def _waiting(found: Survey) -> _Said:
    for code, waits_for, what in (
        ("person-asked", "person", "needs a person"),
        ("approval-asked", "approval", "waits for an approval"),
    ):
        if count := found.waits.get(waits_for, 0):
            verb = what if count == 1 else what.replace("needs", "need").replace("waits", "wait")
            yield code, f"{_counted(count, 'saga')} {verb}; `fsm-saga list` shows which."


def _counted(count: int, thing: str) -> str:
    return f"{count} {thing}{'' if count == 1 else 's'}"


def as_json(found: Survey) -> dict[str, Any]:
    """Return what ``fsm-saga cluster --json`` prints."""
    wrong = troubles(found)
    members = sorted(found.roster.members.values(), key=lambda m: (m.started_at, m.member_id))
    return {
        "store": found.store,
        "healthy": not wrong,
        "needs_attention": [{"code": each.code, "message": each.message} for each in wrong],
        "members": [_member_as_json(found, member) for member in members],
        "shards": [_shard_as_json(found, shard) for shard in range(found.shards)],
        "waiting": {name: found.waits.get(name, 0) for name in ("approval", "person")},
    }


def _member_as_json(found: Survey, member: Member) -> dict[str, Any]:
    led = [s for s, each in found.roster.leaders.items() if each.member_id == member.member_id]
    return {
        "member_id": member.member_id,
        "name": member.name,
        "started_at": member.started_at,
        "version": member.version,
        "address": member.address,
        "tools": member.tools,
        "is_ready": member.is_ready,
        "is_leaving": member.is_leaving,
        "leads": sorted(led),
        "avoids": list(member.avoids),
        "facts": dict(member.facts),
    }


def _shard_as_json(found: Survey, shard: int) -> dict[str, Any]:
    leader = found.roster.leaders.get(shard)
    member = None if leader is None else found.roster.members.get(leader.member_id)
    return {
        "shard": shard,
        "leader": None if leader is None else leader.member_id,
        "leader_name": None if member is None else member.name,
        "epoch": None if leader is None else leader.epoch,
        "unfinished_sagas": found.unfinished.get(shard, 0),
        "pending_commands": found.pending.get(shard, 0),
        "lag_s": round(found.lags_s.get(shard, 0.0), 3),
    }
