"""The command: ``python -m fsm_saga.simulation``."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fsm_saga.drawing.render import check_picture_path, write_picture
from fsm_saga.errors import DrawingError
from fsm_saga.simulation.many import Tally, run_many
from fsm_saga.simulation.picture import trace_picture, trace_text
from fsm_saga.simulation.run import Verdict
from fsm_saga.simulation.seeds import run_any_seed
from fsm_saga.simulation.shrink import rerun_line, shrink
from fsm_saga.simulation.sometimes import SOMETIMES, SOMETIMES_OF_CLUSTERS
from fsm_saga.simulation.workers import WorkerDiedError, WorkerFailedError

SHOWN_MAX = 10
RAREST_SHOWN = 8


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the arguments ask for; return 0 if everything held and 1 if something did not."""
    parser = _parser()
    asked = parser.parse_args(arguments)
    if asked.picture is not None:
        try:
            check_picture_path(asked.picture)
        except DrawingError as error:
            parser.error(str(error))
    if asked.seed is not None:
        only = None if asked.only is None else frozenset(filter(None, asked.only.split(",")))
        return _one(run_any_seed(asked.seed, only=only, is_cluster=asked.cluster), asked)
    return _set(asked)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m fsm_saga.simulation",
        description="Run the engine against faults on virtual time; one seed decides everything.",
    )
    parser.add_argument(
        "--cluster",
        action="store_true",
        help="run nodes that share shards, with seeds of their own",
    )
    parser.add_argument("--seed", type=int, help="run this seed alone, and show what happened")
    parser.add_argument("--only", help="with --seed: the faults that may happen, by name")
    parser.add_argument("--shrink", action="store_true", help="with --seed: to the fewest faults")
    parser.add_argument("--picture", type=Path, help="with --seed: draw it (.svg, .png, .dot)")
    parser.add_argument("--quiet", action="store_true", help="with --seed: without the trace")
    parser.add_argument("--seeds", type=int, default=1_000, help="how many seeds to run")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--counts", action="store_true", help="print how often each thing happened")
    parser.add_argument("--json", action="store_true", help="without --seed: print one document")
    return parser


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def _one(verdict: Verdict, asked: argparse.Namespace) -> int:
    if asked.shrink and verdict.violations:
        shrunk = shrink(verdict)
        verdict = shrunk.verdict
        _say(f"Of its faults {len(shrunk.faults)} are enough, found in {shrunk.runs} runs.")
    if not asked.quiet:
        _say(trace_text(verdict))
    _say(f"trace {verdict.trace_hash}, {verdict.virtual_s:.1f} virtual seconds")
    if asked.picture is not None:
        write_picture(trace_picture(verdict), asked.picture)
    if verdict.is_sound:
        _say("Everything held.")
        return 0
    for violation in verdict.violations[:SHOWN_MAX]:
        _say(str(violation))
    only = list(verdict.faults) if asked.shrink else None
    _say("Again: " + rerun_line(verdict.seed, only=only, is_cluster=verdict.is_cluster))
    return 1


def _set(asked: argparse.Namespace) -> int:
    try:
        tally = run_many(asked.first, asked.seeds, jobs=asked.jobs, is_cluster=asked.cluster)
    except (WorkerDiedError, WorkerFailedError) as error:
        sys.stderr.write(f"The run was ended: {error}\n")
        return 1
    if asked.json:
        _say(json.dumps(document_of(tally, first=asked.first, jobs=asked.jobs), indent=1))
        return 0 if tally.is_sound else 1
    _say(summary(tally))
    if asked.counts:
        for name, count in sorted(tally.counts.items()):
            _say(f"{count:9} {name}")
    for failure in tally.failures[:SHOWN_MAX]:
        _say(str(failure))
        _say(f"  {rerun_line(failure.seed, is_cluster=asked.cluster)} --shrink")
    if len(tally.failures) > SHOWN_MAX:
        _say(f"... and {len(tally.failures) - SHOWN_MAX} more seeds")
    for name in tally.missing:
        _say(f"Never happened: {name}")
    return 0 if tally.is_sound else 1


def summary(tally: Tally) -> str:
    """Return what a set of seeds came to, in two lines."""
    rate = 60.0 * tally.seeds / tally.wall_s if tally.wall_s else 0.0
    faults = sum(tally.faults.values())
    return (
        f"{tally.seeds} seeds, {len(tally.failures)} failed; {faults} faults, "
        f"{tally.virtual_s / 3600:.1f} virtual hours in {tally.wall_s:.1f} s "
        f"({rate:.0f} seeds a minute)\nall traces: {tally.hash}"
    )


def document_of(tally: Tally, *, first: int, jobs: int) -> dict[str, Any]:
    """Return what a set of seeds came to, as a document."""
    wanted = SOMETIMES_OF_CLUSTERS if tally.is_cluster else SOMETIMES
    sometimes = sorted((tally.counts.get(name, 0), name) for name in wanted)
    return {
        "cluster": tally.is_cluster,
        "first": first,
        "seeds": tally.seeds,
        "jobs": jobs,
        "failed": len(tally.failures),
        "failures": [
            {"seed": each.seed, "code": each.code, "message": each.message}
            for each in tally.failures[:SHOWN_MAX]
        ],
        "faults": sum(tally.faults.values()),
        "kinds_of_fault": len(tally.faults),
        "faults_by_kind": dict(sorted(tally.faults.items())),
        "sometimes": len(sometimes),
        "sometimes_never": [name for count, name in sometimes if not count],
        "rarest": [{"what": name, "times": count} for count, name in sometimes[:RAREST_SHOWN]],
        "virtual_hours": round(tally.virtual_s / 3600, 1),
        "seconds": round(tally.wall_s, 1),
        "seeds_per_minute": round(60 * tally.seeds / tally.wall_s) if tally.wall_s else None,
        "traces": tally.hash,
    }
