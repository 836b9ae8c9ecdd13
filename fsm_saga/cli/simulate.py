"""``fsm-saga simulate``: a plan under faults, on played tools, hundreds of times in seconds."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from fsm_saga.cli.commands import command
from fsm_saga.cli.options import AsJson, PlanFile, ToolSpecs, tool_specs
from fsm_saga.cli.output import note, print_json, print_line
from fsm_saga.cli.planning import plan_of_file
from fsm_saga.drawing.extract_timeline import timeline_picture
from fsm_saga.drawing.picture import Picture
from fsm_saga.drawing.plain import plain_text
from fsm_saga.drawing.render import write_picture
from fsm_saga.errors import PlanError
from fsm_saga.simulation.ends import (
    Ending,
    Sweep,
    asked_json,
    ending_json,
    fault_lines,
    play,
    scene_of,
    sweep,
    with_fewest_faults,
)
from fsm_saga.simulation.scene import Scene

SEEDS = 200
SHOWN_MAX = 10
EXIT_BROKEN = 1
TOLD = frozenset({"tools", "person", "faults", "oracle"})
TOLD_OF_NODES = frozenset({"calls", "crashes", "pauses", "leads"})


class Shown(NamedTuple):
    """What the report says beside the counts.

    Attributes:
        told: The worst run, or the one that was asked for.
        shrunk: The same end with the fewest faults.
        again: The command line that runs it alone.
    """

    told: Ending
    shrunk: Ending
    again: str


@command(
    "simulate",
    examples="""
        fsm-saga simulate examples/travel/plan.json --tools examples/travel/tools.py
        fsm-saga simulate examples/approval/plan.json --assume-tools --seeds 50 --json
        fsm-saga simulate examples/travel/plan.json --tools examples/travel/tools.py --seed 7
    """,
)
def simulate(
    plan: PlanFile,
    tools: ToolSpecs = None,
    is_assumed: Annotated[
        bool,
        typer.Option(
            "--assume-tools", help="Take every tool that the plan names as there, and undeclared."
        ),
    ] = False,
    seeds: Annotated[
        int, typer.Option("--seeds", metavar="N", min=1, help="How many runs, each on its seed.")
    ] = SEEDS,
    first: Annotated[
        int, typer.Option("--first", metavar="S", min=0, help="The first of the seeds.")
    ] = 0,
    seed: Annotated[
        int | None,
        typer.Option("--seed", metavar="S", min=0, help="Run this seed alone, and tell the story."),
    ] = None,
    picture: Annotated[
        str | None,
        typer.Option(
            "--picture", metavar="FILE", help="Draw the worst run over time (.svg, .png, .dot)."
        ),
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Run a plan under faults on virtual time, and say how it can end.

    The engine is the one that runs in production; its tools are played. They keep exactly what
    the plan's tools declare and do the worst where that is silent: they refuse, hang, answer too
    late, twice, badly or not at all. Coordinators are killed and replaced, sagas are cancelled,
    approvals denied. No tool of yours is called.

    Exit codes: 0 every rule held in every run, 1 one was broken (with the seed), 2 the plan is
    refused.
    """
    specs = tool_specs(tools)
    try:
        checked, catalogue = plan_of_file(plan, specs, is_assumed=is_assumed)
    except PlanError:
        if not (specs or is_assumed or as_json):
            note("No tools were given: add --tools MODULE_OR_FILE, or --assume-tools.")
        raise
    scene = scene_of(checked, catalogue)
    found = None if seed is not None else sweep(scene, first=first, count=seeds)
    worst = None if found is None else found.worst
    told = worst or play(scene, first if seed is None else seed)
    again = _again(plan, specs, is_assumed=is_assumed, seed=told.seed)
    shown = Shown(told, with_fewest_faults(scene, told), again)
    if picture is not None:
        write_picture(_picture(scene, shown), Path(picture))
    if as_json:
        print_json(_json(scene, found, shown))
    else:
        _print(scene, found, shown, picture)
    is_broken = bool(told.violations) if found is None else not found.is_sound
    return EXIT_BROKEN if is_broken else 0


def _again(plan: str, specs: Sequence[str], *, is_assumed: bool, seed: int) -> str:
    """Return the command line that runs a seed again."""
    words = [plan, *(word for spec in specs for word in ("--tools", spec))]
    words += ["--assume-tools"] if is_assumed else []
    return shlex.join(["fsm-saga", "simulate", *map(plain_text, words), "--seed", str(seed)])


def _picture(scene: Scene, shown: Shown) -> Picture:
    drawn = timeline_picture(shown.shrunk.program, shown.shrunk.records)
    lines = fault_lines(scene, shown.shrunk)[:3] or ["Nothing went wrong."]
    return Picture(
        title=f"{scene.saga_id}, seed {shown.told.seed}: {shown.told.end}",
        nodes=drawn.nodes,
        edges=drawn.edges,
        notes=(*lines, *drawn.notes),
        flow=drawn.flow,
    )


def _json(scene: Scene, found: Sweep | None, shown: Shown) -> dict[str, Any]:
    told = ending_json(scene, shown.told) | {
        "faults": fault_lines(scene, shown.shrunk),
        "fault_names": list(shown.shrunk.faults),
        "again": shown.again,
    }
    if found is None:
        return {"saga_id": scene.saga_id, "run": told}
    longest, most = found.longest, found.most_attempts
    return {
        "saga_id": scene.saga_id,
        "seeds": found.seeds,
        "first": found.first,
        "is_sound": found.is_sound,
        "ends": dict(found.ends.most_common()),
        "worst": told,
        "left": dict(found.left.most_common()),
        "asked_runs": found.asked_runs,
        "asked": [asked_json(a) | {"runs": n} for a, n in found.asked.most_common()],
        "most_attempts": None if most is None else {"attempts": most.attempts, "seed": most.seed},
        "longest": None
        if longest is None
        else {"seconds": round(longest.seconds, 3), "seed": longest.seed},
        "faults": dict(found.faults.most_common()),
        "violations": [ending_json(scene, ending) for ending in found.broken],
    }


def _print(scene: Scene, found: Sweep | None, shown: Shown, picture: str | None) -> None:
    if found is None:
        _print_story(shown)
    else:
        _print_counts(scene, found)
    _print_told(scene, shown, is_worst=found is not None)
    if found is not None:
        _print_asked(found)
        _print_longest(found)
    if picture is not None:
        print_line(f"Drawn: {picture}")


def _print_counts(scene: Scene, found: Sweep) -> None:
    last = found.first + found.seeds - 1
    print_line(
        f"{scene.saga_id}: {found.seeds} runs under faults, seeds {found.first} to {last}, on "
        "played tools; nothing of yours was called."
    )
    if found.is_sound:
        print_line("Every rule held in every run.")
    else:
        print_line(f"A rule was broken in {len(found.broken)} runs:")
        for ending in found.broken[:SHOWN_MAX]:
            print_line(f"  seed {ending.seed}: {ending.violations[0]}")
    print_line("Ends:")
    for end, count in found.ends.most_common():
        print_line(f"  {count:6}  {end}")


def _print_told(scene: Scene, shown: Shown, *, is_worst: bool) -> None:
    told, lines = shown.told, fault_lines(scene, shown.shrunk)
    head = "Worst: " if is_worst else "End: "
    print_line(f"{head}{told.end} (seed {told.seed})")
    names = {spec.step_id: spec.action.tool for spec in told.program.steps}
    left = [f"step {step_id} ({names[step_id]})" for step_id in told.left]
    print_line(f"  left in the world: {', '.join(left) or 'nothing'}")
    if lines:
        print_line(f"  what it takes, of {len(told.faults)} faults in that run:")
    for line in lines:
        print_line(f"    - {line}")
    if not is_worst:
        for asked in told.asked:
            print_line(f"  asked: step {asked.step_id} {asked.status}: {', '.join(asked.choices)}")
        for violation in told.violations[:SHOWN_MAX]:
            print_line(f"  broken: {violation}")
    print_line(f"  again: {shown.again}")


def _print_asked(found: Sweep) -> None:
    if not found.asked:
        print_line("Nobody was asked anything.")
        return
    print_line(f"A person was called in {found.asked_runs} of {found.seeds} runs. Questions:")
    for asked, count in found.asked.most_common(SHOWN_MAX):
        choices = ", ".join(asked.choices)
        print_line(f"  {count:6}  step {asked.step_id} {asked.status}: {choices}")
    if len(found.asked) > SHOWN_MAX:
        print_line(f"          ... and {len(found.asked) - SHOWN_MAX} more; --json has all")


def _print_longest(found: Sweep) -> None:
    if found.most_attempts is not None and found.longest is not None:
        print_line(
            f"Longest: {found.most_attempts.attempts} calls (seed {found.most_attempts.seed}); "
            f"{_duration(found.longest.seconds)} of virtual time (seed {found.longest.seed})."
        )


def _print_story(shown: Shown) -> None:
    """Tell, moment by moment, what happened with no more faults than it takes."""
    for entry in shown.shrunk.trace:
        if entry.who in TOLD or entry.what in TOLD_OF_NODES:
            words: Sequence[str] = (entry.who, entry.what, entry.detail)
            print_line(f"{entry.at:10.3f} s  {words[0]:7} {words[1]:14} {words[2]}")


def _duration(seconds: float) -> str:
    """Return a time in the two units that one would say.

    Example:
        >>> _duration(3_725.0)
        '1 h 2 min'
    """
    whole = round(seconds)
    for size, name, less, less_name in ((86400, "d", 3600, "h"), (3600, "h", 60, "min")):
        if whole >= size:
            return f"{whole // size} {name} {whole % size // less} {less_name}"
    return f"{whole // 60} min {whole % 60} s" if whole >= 60 else f"{seconds:.1f} s"
