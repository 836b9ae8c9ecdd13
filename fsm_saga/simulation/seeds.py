"""The two kinds of runs under one roof: of one shard with a small election, and of a cluster."""

from __future__ import annotations

from fsm_saga.simulation.cluster_run import run_cluster_seed
from fsm_saga.simulation.run import Verdict, run_seed


def run_any_seed(
    seed: int, *, only: frozenset[str] | None = None, is_cluster: bool = False
) -> Verdict:
    """Return what becomes of a seed, always the same; the kinds have seeds of their own.

    Args:
        seed: Decides everything.
        only: The faults that may happen; None allows all that the seed draws.
        is_cluster: Run it with real nodes that share shards.
    """
    return (run_cluster_seed if is_cluster else run_seed)(seed, only=only)
