"""``fsm-saga simulate``: a plan under faults, on played tools, hundreds of times in seconds."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Annotated, Any, NamedTuple

import typer

from fsm_saga.cli.commands import command
from fsm_saga.cli.options import AsJson, PlanFile, ToolSpecs, tool_specs
from fsm_saga.cli.output import note, print_json, print_line
from fsm_saga.cli.planning import plan_of_file
from fsm_saga.cli.running import InterruptedBySignal
from fsm_saga.cli.simulated_text import (
    Line,
    Shown,
    duration,
    print_run,
    print_sweep,
    shown_json,
    shown_picture,
)
from fsm_saga.cli.words import counted
from fsm_saga.drawing.render import check_picture_path, write_picture
from fsm_saga.errors import CommandError, PlanError
from fsm_saga.simulation.ends import scene_of, with_fewest_faults
from fsm_saga.simulation.scene import Scene
from fsm_saga.simulation.sweep import Sweep, sweep
from fsm_saga.simulation.workers import WorkerDiedError, core_count

SEEDS = 200
EXIT_BROKEN = 1
SHOWN_AFTER_S = 0.5
SHOWN_EVERY_S = 0.1
JOBS_MAX = 512

Jobs = Annotated[
    int | None,
    typer.Option(
        "--jobs",
        metavar="N",
        min=1,
        max=JOBS_MAX,
        help="Over how many processes the runs are spread; all cores without it. What is found "
        "does not hang on it.",
    ),
]


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
    jobs: Jobs = None,
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
    approvals denied. No tool of yours is called. How often an end is counted says nothing of how
    likely it is with you: faults are made frequent on purpose, in some runs all of them.

    Exit codes: 0 every rule held in every run, 1 one was broken (with the seed), 2 the plan is
    refused or a worker process was killed, 130 after Ctrl-C, with what was found by then.
    """
    specs = tool_specs(tools)
    try:
        checked, catalogue = plan_of_file(plan, specs, is_assumed=is_assumed)
    except PlanError:
        if not (specs or is_assumed or as_json):
            note("No tools were given: add --tools MODULE_OR_FILE, or --assume-tools.")
        raise
    if picture is not None:
        check_picture_path(picture)
    scene, line = scene_of(checked, catalogue), Line(plan, specs, is_assumed)
    if seed is not None:
        first, seeds = seed, 1
    asked = Asked(first, seeds, jobs or core_count(), picture, is_alone=seed is not None)
    return _simulated(scene, line, asked, as_json=as_json)


class Asked(NamedTuple):
    """What is to be run: seeds, over how many processes, and whether it is one to be told."""

    first: int
    seeds: int
    jobs: int
    picture: str | None
    is_alone: bool


def _simulated(scene: Scene, line: Line, asked: Asked, *, as_json: bool) -> int:
    """Run it, say what came of it, and return the exit code."""
    with _Interruption.heard() as stop:
        found = _sweep(scene, asked, stop)
        if found.worst is None:
            raise InterruptedBySignal(stop.number, "Interrupted before the first run ended.")
        shrunk = with_fewest_faults(scene, found.worst, should_stop=stop.is_asked)
        shown = Shown(found.worst, shrunk, line, is_shrunk=found.is_whole)
        _show(scene, None if asked.is_alone else found, shown, asked.picture, as_json=as_json)
    if not found.is_whole:
        note(f"Interrupted: this is what {counted(found.seeds, 'run')} of {asked.seeds} came to.")
        return 128 + stop.number
    return 0 if found.is_sound else EXIT_BROKEN


def _sweep(scene: Scene, asked: Asked, stop: _Interruption) -> Sweep:
    progress = _Progress(asked.seeds)
    try:
        return sweep(
            scene,
            first=asked.first,
            count=asked.seeds,
            jobs=asked.jobs,
            on_run=progress.show,
            should_stop=stop.is_asked,
        )
    except WorkerDiedError as error:
        raise CommandError(_died_text(error)) from error
    finally:
        progress.clear()


def _show(
    scene: Scene, found: Sweep | None, shown: Shown, picture: str | None, *, as_json: bool
) -> None:
    if not as_json:
        if found is None:
            print_run(scene, shown)
        else:
            print_sweep(scene, found, shown)
    if picture is not None:
        write_picture(shown_picture(scene, shown), picture)
    if as_json:
        print_json(shown_json(scene, found, shown))
    elif picture is not None:
        print_line(f"Drawn: {picture}")


def _died_text(error: WorkerDiedError) -> str:
    seeds: Any = error.item
    code = error.exit_code
    how = f"was killed by signal {-code}" if code is not None and code < 0 else f"ended with {code}"
    where = f"--first {seeds[0]} --seeds {len(seeds)} --jobs 1"
    return (
        f"The simulation was not finished: a worker process {how} during the seeds {seeds[0]} to "
        f"{seeds[-1]}; the system may have been out of memory. No tool was called; try fewer "
        f"--jobs, or `{where}` to see whether it is these seeds."
    )


class _Interruption:
    """Whether Ctrl-C or SIGTERM came; the first asks for a report, the second ends at once."""

    def __init__(self) -> None:
        self.number = 0

    def is_asked(self) -> bool:
        """Return whether somebody has had enough."""
        return self.number != 0

    def __call__(self, number: int, _frame: FrameType | None) -> None:
        """Note the signal."""
        if self.number:
            signal.signal(number, signal.SIG_IGN)
            raise InterruptedBySignal(number, "Interrupted. No tool was called.")
        self.number = number

    @classmethod
    @contextmanager
    def heard(cls) -> Iterator[_Interruption]:
        """Give what hears the signals meanwhile."""
        stop = cls()
        if threading.current_thread() is not threading.main_thread():
            yield stop
            return
        before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield stop
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


class _Progress:
    """One line on a terminal that says how far it is; nothing where stderr is a file."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._started = time.monotonic()
        self._next = self._started + SHOWN_AFTER_S
        self._is_shown = False
        self._is_wanted = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"

    def show(self, found: Sweep) -> None:
        """Say how far it is, ten times a second."""
        now = time.monotonic()
        if not self._is_wanted or now < self._next:
            return
        self._next, self._is_shown = now + SHOWN_EVERY_S, True
        left_s = (now - self._started) / found.seeds * (self._count - found.seeds)
        broken = f", {len(found.broken)} broken" if found.broken else ""
        told = f"{found.seeds} of {self._count} runs{broken}, about {duration(left_s)} left"
        sys.stderr.write(f"\r\x1b[K{told}")
        sys.stderr.flush()

    def clear(self) -> None:
        """Take the line away again."""
        if self._is_shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
