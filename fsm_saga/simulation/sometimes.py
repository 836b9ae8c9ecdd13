"""What must happen sometimes: a set of runs in which one of these never came up proves too little.

The dangerous moments are rare, and a change of the workload can make one impossible without any
test turning red. So each has a count, and a large set of runs that leaves one at zero fails.
"""

from __future__ import annotations

from collections.abc import Mapping

ENOUGH_SEEDS = 5_000
"""A set of at least this many seeds is held to the list."""

EDGES = (
    "PENDING start -> EXECUTING",
    "PENDING cancelled -> FAILED",
    "EXECUTING step_succeeded -> EXECUTING",
    "EXECUTING step_succeeded -> DONE",
    "EXECUTING step_failed -> COMPENSATING",
    "EXECUTING step_failed -> FAILED",
    "EXECUTING cancelled -> COMPENSATING",
    "EXECUTING cancelled -> FAILED",
    "EXECUTING deadline_passed -> COMPENSATING",
    "EXECUTING deadline_passed -> FAILED",
    "EXECUTING forward_exhausted -> NEEDS_HUMAN",
    "EXECUTING plan_closed -> DONE",
    "COMPENSATING effect_cleared -> COMPENSATING",
    "COMPENSATING effect_cleared -> FAILED",
    "COMPENSATING nothing_left_to_try -> NEEDS_HUMAN",
    "NEEDS_HUMAN human_retries -> EXECUTING",
    "NEEDS_HUMAN human_retries -> COMPENSATING",
    "NEEDS_HUMAN human_settles -> EXECUTING",
    "NEEDS_HUMAN human_settles -> COMPENSATING",
    "NEEDS_HUMAN human_settles -> DONE",
    "NEEDS_HUMAN human_settles -> FAILED",
    "NEEDS_HUMAN human_supplies_output -> EXECUTING",
    "NEEDS_HUMAN human_supplies_output -> COMPENSATING",
    "NEEDS_HUMAN human_supplies_output -> DONE",
    "NEEDS_HUMAN human_supplies_calls -> COMPENSATING",
)

SOMETIMES: tuple[str, ...] = (
    # The hard corner: what arrives late, twice, or for nothing.
    "late action fenced",
    "null compensation",
    "action deduped",
    "compensation deduped",
    "action held until its undo was acknowledged",
    "call after its deadline refused",
    "late reply",
    "reply ignored",
    "retention expired before a resend",
    "refused before it was sent",
    "sibling settled as unknown",
    "check says done",
    "check says refused",
    "check says absent",
    # Every way in which a call ends, for each direction.
    "do ok",
    "do ok_with_bad_output",
    "do rejected",
    "do unknown",
    "undo ok",
    "undo rejected",
    "undo unknown",
    "check ok",
    "check unknown",
    # Coordinators that die and are overtaken.
    "killed between intent and send",
    "killed between send and reply",
    "killed between reply and record",
    "crash in recovery",
    "stale leader calls",
    "stale leader's call deduped",
    "stale leader's write refused",
    "stopped: fenced",
    "stopped: store-unavailable",
    "told that another leads",
    # The store.
    "stale write refused",
    "unknown append found applied",
    "unknown append found not applied",
    "corrupt journal refused",
    "watch reset",
    # People.
    "a person is asked: doubtful",
    "a person is asked: undo rejected",
    "a person is asked: undo unknown",
    "a person is asked: undo unresolvable",
    "a person is asked: undo semantic",
    "a person is asked: undo expired",
    "person says retry",
    "person says settled",
    "person says output",
    "person says calls",
    "answer by post",
    "cancel accepted",
    "cancel refused",
    "amend asked",
    "amend refused",
    *(f"edge {edge}" for edge in EDGES),
)


ENOUGH_SEEDS_OF_CLUSTERS = 500
"""A set of at least this many seeds of a cluster is held to its own list."""

SOMETIMES_OF_CLUSTERS: tuple[str, ...] = (
    # Members that come and go.
    "joined",
    "stopped by hand",
    "ended by a stop",
    "ended by a crash",
    "came at the end",
    "crash in recovery",
    "member key deleted",
    "member key restored",
    "leader key deleted",
    "request carried out twice",
    "cut from requests",
    "cut from replies",
    "hint lost",
    # Leases, and those who do not know that theirs has ended.
    "lease expired",
    "lease given back",
    "lease ended here first",
    "lease was lost by the store",
    "told that its lease has ended",
    "paused beyond its lease",
    "clock jumped",
    # Who leads.
    "handed over",
    "campaign won and not heard",
    "two serve one shard",
    "served a term that was over",
    "engine did not start",
    "led by one whose engine starts",
    "cancelled in vain",
    "engine outlived its term",
    "stopped: fenced",
    "stopped: store-unavailable",
    "shard moved with a saga under way",
    # What leaders of terms that are over still try.
    "stale leader calls",
    "stale leader's call deduped",
    "stale leader's write refused",
    "killed between intent and send",
    "killed between send and reply",
    "killed between reply and record",
    "submitted by post",
    "answer by post",
)


def never_happened(
    counts: Mapping[str, int], *, seeds: int, is_cluster: bool = False
) -> tuple[str, ...]:
    """Return what should have happened in so many seeds and did not; nothing for a small set."""
    wanted = SOMETIMES_OF_CLUSTERS if is_cluster else SOMETIMES
    if seeds < (ENOUGH_SEEDS_OF_CLUSTERS if is_cluster else ENOUGH_SEEDS):
        return ()
    return tuple(name for name in wanted if not counts.get(name))
