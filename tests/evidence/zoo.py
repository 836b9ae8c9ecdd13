"""``python -m tests.evidence.zoo``: hunt every planted bug in the simulation; print what caught it.

The table of all of them, with how often each is noticed, is docs/simulation-zoo.md; it is written
by ``python -m tests.simulation.zoo --write``. Here each is hunted anew, on the code as it is.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import sys
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

from tests.simulation.zoo.all_bugs import ZOO, bug_named
from tests.simulation.zoo.hunting import Hunt
from tests.simulation.zoo.table import hunt_named

SEED_MAX = 6_000
HARDEST_SHOWN = 8


def document_of(found: Sequence[Hunt]) -> dict[str, Any]:
    """Return what came of the hunts."""
    seeds = {hunt.name: hunt.first_seed + 1 for hunt in found if hunt.first_seed is not None}
    hardest = sorted(seeds, key=lambda name: -seeds[name])[:HARDEST_SHOWN]
    codes = {hunt.name: hunt.first_code for hunt in found}
    checks = Counter(codes[name] for name in seeds)
    return {
        "planted": len(found),
        "caught": len(seeds),
        "not_caught": [hunt.name for hunt in found if hunt.name not in seeds],
        "where": dict(sorted(Counter(bug_named(hunt.name).where for hunt in found).items())),
        "seeds_median": statistics.median(seeds.values()) if seeds else None,
        "seeds_most": max(seeds.values(), default=None),
        "caught_by_the_first_seed": sum(count == 1 for count in seeds.values()),
        "caught_within_100_seeds": sum(count <= 100 for count in seeds.values()),
        "checks": dict(sorted(checks.items(), key=lambda item: (-item[1], item[0]))),
        "hardest": [{"bug": name, "check": codes[name], "seeds": seeds[name]} for name in hardest],
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Hunt them all; return 1 if one was not caught."""
    parser = argparse.ArgumentParser(prog="python -m tests.evidence.zoo", description=__doc__)
    parser.add_argument("--seeds", type=int, default=SEED_MAX, help="When to give up on a bug.")
    parser.add_argument("--jobs", type=int, default=2, help="Processes.")
    asked = parser.parse_args(arguments)
    started = time.monotonic()
    # One seed at least: the rates of the table need more, and are not asked for here.
    tasks = [(bug.name, asked.seeds, 1) for bug in ZOO]
    with multiprocessing.get_context("spawn").Pool(asked.jobs) as pool:
        found = pool.map(hunt_named, tasks, chunksize=1)
    document = {**document_of(found), "seconds": round(time.monotonic() - started, 1)}
    sys.stdout.write(json.dumps(document, indent=1) + "\n")
    return 1 if document["not_caught"] else 0


if __name__ == "__main__":
    sys.exit(main())
