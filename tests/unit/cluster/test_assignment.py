"""Who ought to lead what: fair, steady, and the same for whoever computes it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping

from hypothesis import given
from hypothesis import strategies as st

from fsm_saga.cluster.assignment import assignment
from fsm_saga.ports import Leader, Member, Roster


def roster_of(
    names: list[str],
    led: dict[int, str],
    *,
    leaving: Collection[str] = (),
    idle: Collection[str] = (),
    avoids: Mapping[str, Mapping[int, int]] | None = None,
) -> Roster:
    members = {
        name: Member(
            member_id=name,
            name=name,
            started_at=0.0,
            is_leaving=name in leaving,
            is_ready=name not in idle,
            avoids=(avoids or {}).get(name, {}),
        )
        for name in names
    }
    leaders = {s: Leader(shard=s, epoch=s + 1, member_id=name) for s, name in led.items()}
    return Roster(members=members, leaders=leaders)


@st.composite
def rosters(draw: st.DrawFn) -> tuple[Roster, int]:
    names = draw(st.lists(st.sampled_from("abcdefg"), unique=True, max_size=7))
    shards = draw(st.integers(1, 16))
    # Leaders may be unknown by now, and of shards that are none: a roster is one look at a store.
    led = draw(st.dictionaries(st.integers(0, 17), st.sampled_from("abcdefgz")))
    leaving = set(draw(st.lists(st.sampled_from("abcdefg"), max_size=3)))
    return roster_of(names, led, leaving=leaving), shards


@st.composite
def rosters_with_avoidance(draw: st.DrawFn) -> tuple[Roster, int]:
    roster, shards = draw(rosters())
    failures = st.dictionaries(st.integers(0, 17), st.integers(1, 3))
    some = st.dictionaries(st.sampled_from("abcdefg"), failures)
    led = {shard: leader.member_id for shard, leader in roster.leaders.items()}
    leaving = [i for i, member in roster.members.items() if member.is_leaving]
    return roster_of(list(roster.members), led, leaving=leaving, avoids=draw(some)), shards


@given(rosters())
def test_every_shard_goes_to_a_member_that_can_lead_and_loads_differ_by_one_at_most(
    given_roster: tuple[Roster, int],
) -> None:
    roster, shards = given_roster
    able = [i for i, member in roster.members.items() if not member.is_leaving]
    wanted = assignment(roster, shards=shards)
    if not able:
        assert wanted == {}
        return
    assert set(wanted) == set(range(shards))
    counts = Counter(wanted.values())
    loads = [counts[member_id] for member_id in able]
    assert set(counts) <= set(able)
    assert max(loads) - min(loads) <= 1


@given(rosters_with_avoidance())
def test_once_it_is_carried_out_nothing_moves_any_more(given_roster: tuple[Roster, int]) -> None:
    roster, shards = given_roster
    wanted = assignment(roster, shards=shards)
    leaders = {s: Leader(shard=s, epoch=1, member_id=i) for s, i in wanted.items()}
    assert assignment(Roster(members=roster.members, leaders=leaders), shards=shards) == wanted


@given(rosters())
def test_no_more_shards_are_taken_away_than_the_balance_takes(
    given_roster: tuple[Roster, int],
) -> None:
    roster, shards = given_roster
    wanted = assignment(roster, shards=shards)
    able = [i for i, member in roster.members.items() if not member.is_leaving]
    led = Counter(
        leader.member_id
        for shard, leader in roster.leaders.items()
        if shard < shards and leader.member_id in able
    )
    kept = sum(
        1
        for shard, member_id in wanted.items()
        if shard in roster.leaders and roster.leaders[shard].member_id == member_id
    )
    each, odd = divmod(shards, len(able)) if able else (0, 0)
    loads = sorted((led[i] for i in able), reverse=True)
    best = sum(min(load, each + (place < odd)) for place, load in enumerate(loads))
    assert kept == best


@given(rosters_with_avoidance())
def test_a_shard_goes_to_those_on_which_it_failed_the_fewest_times(
    given_roster: tuple[Roster, int],
) -> None:
    roster, shards = given_roster
    able = {i: member for i, member in roster.members.items() if not member.is_leaving}
    wanted = assignment(roster, shards=shards)
    assert set(wanted) == (set(range(shards)) if able else set())
    for shard, member_id in wanted.items():
        failures = {i: member.avoids.get(shard, 0) for i, member in able.items()}
        assert failures[member_id] == min(failures.values())


def test_who_cannot_lead_one_shard_leads_another_in_its_place() -> None:
    led = {0: "a", 1: "a", 2: "b", 3: "b"}
    wanted = assignment(roster_of(["a", "b"], led, avoids={"a": {1: 1}}), shards=4)
    assert Counter(wanted.values()) == {"a": 2, "b": 2}
    assert (wanted[0], wanted[1]) == ("a", "b")


def test_who_avoids_everything_leads_nothing_and_gets_its_share_back_afterwards() -> None:
    led = {0: "a", 1: "a", 2: "b", 3: "b"}
    alone = assignment(
        roster_of(["a", "b"], led, avoids={"a": dict.fromkeys(range(4), 1)}), shards=4
    )
    assert set(alone.values()) == {"b"}
    assert Counter(assignment(roster_of(["a", "b"], alone), shards=4).values()) == {"a": 2, "b": 2}


def test_what_everybody_avoids_is_led_all_the_same() -> None:
    avoids = {"a": {0: 1}, "b": {0: 1}}
    assert assignment(roster_of(["a", "b"], {0: "b"}, avoids=avoids), shards=1) == {0: "b"}


def test_members_on_all_of_which_a_shard_failed_try_it_in_turn() -> None:
    avoids = {"a": {0: 1}, "b": {0: 2}}
    assert assignment(roster_of(["a", "b"], {0: "b"}, avoids=avoids), shards=1) == {0: "a"}


def test_one_shard_is_one_leader_and_the_others_stand_by() -> None:
    assert assignment(roster_of(["b", "a", "c"], {0: "b"}), shards=1) == {0: "b"}


def test_who_is_leaving_or_not_ready_leads_nothing() -> None:
    roster = roster_of(["a", "b", "c"], {0: "a", 1: "b"}, leaving={"a"}, idle={"b"})
    assert assignment(roster, shards=2) == {0: "c", 1: "c"}


def test_a_newcomer_gets_its_share_from_those_who_lead_most() -> None:
    roster = roster_of(["a", "b", "c"], {0: "a", 1: "a", 2: "a", 3: "b", 4: "b", 5: "b"})
    wanted = assignment(roster, shards=6)
    assert Counter(wanted.values()) == {"a": 2, "b": 2, "c": 2}
    assert [wanted[s] for s in (0, 1, 3, 4)] == ["a", "a", "b", "b"]
