"""``fsm-saga cluster``: who serves a store, who leads what, and what is wrong."""

from __future__ import annotations

from fsm_saga.cli.commands import command
from fsm_saga.cli.options import STORE, AsJson, StoreUrl, store_is_missing
from fsm_saga.cli.output import note, print_json, print_line
from fsm_saga.cli.running import run_async
from fsm_saga.cli.words import duration_text
from fsm_saga.cluster.survey import Survey, Trouble, survey, troubles
from fsm_saga.cluster.survey import as_json as survey_as_json
from fsm_saga.drawing.plain import plain_text
from fsm_saga.errors import StoreError
from fsm_saga.ports import Member
from fsm_saga.stores.opening import open_cluster

EXIT_HEALTHY = 0
EXIT_NEEDS_ATTENTION = 1


@command(
    "cluster",
    examples="""
        fsm-saga cluster
        fsm-saga cluster --json
        fsm-saga cluster --store etcd://10.0.0.1,10.0.0.2,10.0.0.3/trips
    """,
)
def cluster(store: StoreUrl = STORE, as_json: AsJson = False) -> int:
    """Show who serves a store, who leads which shard, and what needs somebody.

    A store in a file has one shard, led by the process that writes to it.

    Exit codes: 0 all is well, 1 something needs attention, 2 the store cannot be read.
    """
    if store_is_missing(store):
        raise StoreError(f"There is no store {store!r}. Nothing was looked at.")
    found = run_async(_look(store))
    wrong = troubles(found)
    if as_json:
        print_json(survey_as_json(found))
    else:
        _print(found, wrong)
    return EXIT_NEEDS_ATTENTION if wrong else EXIT_HEALTHY


async def _look(url: str) -> Survey:
    async with open_cluster(url, may_create=False) as opened:
        return await survey(opened)


def _print(found: Survey, wrong: tuple[Trouble, ...]) -> None:
    members = sorted(found.roster.members.values(), key=lambda m: (m.started_at, m.name))
    if not members:
        print_line(("Nobody serves this store.", "dim"))
    for member in members:
        _print_member(found, member)
    unled = [s for s in range(found.shards) if s not in found.roster.leaders]
    sagas = sum(found.unfinished.values())
    if found.is_single:
        print_line(f"{sagas} unfinished {'saga' if sagas == 1 else 'sagas'}")
    else:
        led = found.shards - len(unled)
        print_line(f"{led} of {found.shards} shards are led; {sagas} unfinished sagas")
        for shard in range(found.shards):
            _print_shard(found, shard)
    for trouble in wrong:
        note(("! ", "bold yellow"), plain_text(trouble.message))


def _print_member(found: Survey, member: Member) -> None:
    led = [s for s, each in found.roster.leaders.items() if each.member_id == member.member_id]
    parts = []
    if found.is_single:
        parts.append("is the writer" if led else "stands by")
    else:
        parts.append(f"leads {len(led)}")
    if member.started_at:
        parts.append(f"for {duration_text(max(found.at - member.started_at, 0.0))}")
    if member.version:
        parts.append(f"version {plain_text(member.version)}")
    if member.tools:
        parts.append(f"tools {plain_text(member.tools)}")
    under_way = member.facts.get("sagas_under_way")
    if under_way is not None:
        parts.append(f"{plain_text(str(under_way))} sagas under way")
    if member.address:
        parts.append(plain_text(member.address))
    if member.is_leaving:
        parts.append("is handing over")
    elif not member.is_ready and not found.is_single:
        parts.append("for one command")
    print_line((plain_text(member.name), "bold"), "  ", ", ".join(parts))


def _print_shard(found: Survey, shard: int) -> None:
    leader = found.roster.leaders.get(shard)
    member = None if leader is None else found.roster.members.get(leader.member_id)
    sagas, commands = found.unfinished.get(shard, 0), found.pending.get(shard, 0)
    lag_s = found.lags_s.get(shard)
    work = f"{sagas} unfinished" + (f", {commands} commands" if commands else "")
    work += "" if lag_s is None else f", lag {duration_text(max(lag_s, 0.0))}"
    if leader is None:
        print_line(f"  shard {shard:>3}  ", ("no leader", "bold red"), f"  {work}")
        return
    name = plain_text(leader.member_id if member is None else member.name)
    print_line(f"  shard {shard:>3}  ", name, (f"  epoch {leader.epoch}", "dim"), f"  {work}")
