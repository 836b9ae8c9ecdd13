"""What ``fsm-saga simulate`` says: as lines for people, as JSON, as a picture."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any, NamedTuple

from fsm_saga.cli.output import print_line
from fsm_saga.cli.words import counted, state_style
from fsm_saga.core.states import Outcome, StepStatus
from fsm_saga.drawing.extract_timeline import timeline_picture
from fsm_saga.drawing.picture import Picture
from fsm_saga.drawing.plain import plain_text
from fsm_saga.simulation.ends import (
    Asked,
    Ending,
    Played,
    asked_json,
    ending_json,
    fault_lines,
    program_of,
)
from fsm_saga.simulation.scene import Scene
from fsm_saga.simulation.sweep import Sweep

SHOWN_MAX = 10
END_COLUMNS = 26
FAULTS_DRAWN_MAX = 5
_TOLD = frozenset({"tools", "person", "faults", "oracle"})
_TOLD_OF_NODES = frozenset({"calls", "crashes", "pauses", "leads"})
_MEANINGS = {
    Outcome.COMMITTED: "everything is done",
    Outcome.NOTHING_HAPPENED: "nothing was done",
    Outcome.COMPENSATED: "everything that was done is undone",
    Outcome.AMENDED: "made good by calls that a person ordered",
    Outcome.PARTLY_COMPENSATED: "undone, but for what a person vouched for",
    Outcome.UNKNOWN: "still waits for a person, who did not come",
}


class Line(NamedTuple):
    """The command line, to print the one that runs a seed again."""

    plan: str
    specs: Sequence[str]
    is_assumed: bool

    def again(self, seed: int) -> str:
        """Return the command line that runs a seed again."""
        words = [self.plan, *(word for spec in self.specs for word in ("--tools", spec))]
        words += ["--assume-tools"] if self.is_assumed else []
        return shlex.join(["fsm-saga", "simulate", *map(plain_text, words), "--seed", str(seed)])


class Shown(NamedTuple):
    """What the report says beside the counts.

    Attributes:
        told: The worst run, or the one that was asked for.
        shrunk: The same end with the fewest faults.
        line: Runs a seed again.
        is_shrunk: Whether there was time to look for the fewest.
    """

    told: Ending
    shrunk: Played
    line: Line
    is_shrunk: bool


def shown_picture(scene: Scene, shown: Shown) -> Picture:
    """Return the run that is told, over time, with what it took."""
    drawn = timeline_picture(shown.shrunk.program, shown.shrunk.records)
    lines = fault_lines(scene, shown.shrunk)
    rest = len(lines) - FAULTS_DRAWN_MAX
    more = [f"- and {rest} more"] if rest > 0 else []
    what = ["What went wrong:", *(f"- {line}" for line in lines[:FAULTS_DRAWN_MAX]), *more]
    return Picture(
        title=f"{scene.saga_id}, simulated with seed {shown.told.seed}: {shown.told.end}",
        nodes=drawn.nodes,
        edges=drawn.edges,
        notes=(*(what if lines else ["Nothing went wrong."]), *drawn.notes),
        flow=drawn.flow,
    )


def shown_json(scene: Scene, found: Sweep | None, shown: Shown) -> dict[str, Any]:
    """Return everything as JSON."""
    told = ending_json(scene, shown.told) | {
        "faults": fault_lines(scene, shown.shrunk),
        "fault_names": list(shown.shrunk.faults),
        "again": shown.line.again(shown.told.seed),
    }
    if found is None:
        return {"saga_id": scene.saga_id, "run": told}
    longest, most = found.longest, found.most_attempts
    return {
        "saga_id": scene.saga_id,
        "seeds": found.seeds,
        "first": found.first,
        "is_whole": found.is_whole,
        "is_sound": found.is_sound,
        "ends": dict(found.ends.most_common()),
        "end_seeds": {end: found.examples[end].seed for end, _count in found.ends.most_common()},
        "worst": told,
        "left": dict(found.left.most_common()),
        "asked_runs": found.asked_runs,
        "asked": [
            asked_json(asked) | {"runs": count, "seed": found.asked_seeds[asked]}
            for asked, count in found.asked.most_common()
        ],
        "most_attempts": None if most is None else {"attempts": most.attempts, "seed": most.seed},
        "longest": None
        if longest is None
        else {"seconds": round(longest.seconds, 3), "seed": longest.seed},
        "faults": dict(found.faults.most_common()),
        "violations": [ending_json(scene, ending) for ending in found.broken],
    }


def print_sweep(scene: Scene, found: Sweep, shown: Shown) -> None:
    """Print what many seeds came to, and the worst of them."""
    _print_counts(scene, found)
    _print_told(scene, shown, head="Worst: ")
    _print_asked(scene, found)
    if found.most_attempts is not None and found.longest is not None:
        print_line(
            f"Longest: {found.most_attempts.attempts} calls (seed {found.most_attempts.seed}); "
            f"{duration(found.longest.seconds)} of virtual time (seed {found.longest.seed})."
        )


def print_run(scene: Scene, shown: Shown) -> None:
    """Tell one seed, moment by moment, with no more faults than it takes."""
    for entry in shown.shrunk.trace:
        if entry.who in _TOLD or entry.what in _TOLD_OF_NODES:
            print_line(f"{entry.at:10.3f} s  {entry.who:7} {entry.what:14} {entry.detail}")
    _print_told(scene, shown, head="End: ")
    for asked in shown.told.asked:
        print_line(f"  asked: {_question(asked, _tools(scene))}")
    for violation in shown.told.violations[:SHOWN_MAX]:
        print_line(f"  broken: {violation}")


def _print_counts(scene: Scene, found: Sweep) -> None:
    last = found.first + found.seeds - 1
    print_line(
        f"{scene.saga_id}: {counted(found.seeds, 'run')} under faults, seeds {found.first} to "
        f"{last}, on played tools; nothing of yours was called."
    )
    if found.is_sound:
        print_line("Every rule held in every run.")
    else:
        print_line(f"A rule was broken in {counted(len(found.broken), 'run')}:")
        for ending in found.broken[:SHOWN_MAX]:
            print_line(f"  seed {ending.seed}: {ending.violations[0]}")
    print_line("Ends, each with a seed that comes to it by few faults:")
    for end, count in found.ends.most_common():
        state, _, outcome = end.partition(" ")
        meaning = _MEANINGS[Outcome(outcome)] if outcome in set(Outcome) else "it did not end"
        print_line(
            f"  {count:6}  ",
            (f"{end:{END_COLUMNS}}", state_style(state)),
            f"  {meaning}  (seed {found.examples[end].seed})",
        )


def _print_told(scene: Scene, shown: Shown, *, head: str) -> None:
    told, lines = shown.told, fault_lines(scene, shown.shrunk)
    print_line(f"{head}{told.end} (seed {told.seed})")
    tools = _tools(scene)
    left = [f"step {step_id} ({tools[str(step_id)]})" for step_id in told.left]
    more = f", and {len(left) - SHOWN_MAX} more" if len(left) > SHOWN_MAX else ""
    print_line(f"  left in the world: {', '.join(left[:SHOWN_MAX]) or 'nothing'}{more}")
    if lines:
        all_faults = counted(len(told.faults), "fault")
        what = f"what it takes, of {all_faults}" if shown.is_shrunk else f"the {all_faults}"
        print_line(f"  {what} in that run:")
    for line in lines:
        print_line(f"    - {line}")
    print_line(f"  again: {shown.line.again(told.seed)}")


def _print_asked(scene: Scene, found: Sweep) -> None:
    approvals = [
        (asked, count)
        for asked, count in found.asked.most_common()
        if asked.status == StepStatus.AWAITING_APPROVAL
    ]
    others = [(asked, n) for asked, n in found.asked.most_common() if (asked, n) not in approvals]
    tools = _tools(scene)
    if approvals:
        print_line("Approvals that people were asked for:")
        for asked, count in approvals[:SHOWN_MAX]:
            print_line(f"  {count:6}  {_question(asked, tools)}")
    if not others:
        print_line("Nobody was asked anything." if not approvals else "No other help was needed.")
        return
    print_line(
        f"A person had to help in {found.asked_runs} of {counted(found.seeds, 'run')}. "
        "Questions, with the answers that they take:"
    )
    if len(others) > SHOWN_MAX:
        _print_grouped(found, others)
        return
    for asked, count in others:
        seed = found.asked_seeds[asked]
        print_line(f"  {count:6}  {_question(asked, tools)}  (seed {seed})")


def _print_grouped(found: Sweep, counts: Sequence[tuple[Asked, int]]) -> None:
    """Print questions of the same kind in one line, with the steps; --json has each."""
    groups: dict[tuple[str, tuple[str, ...]], list[tuple[Asked, int]]] = {}
    for asked, count in counts:
        groups.setdefault((asked.status, asked.choices), []).append((asked, count))
    for (status, choices), members in sorted(
        groups.items(), key=lambda group: -sum(count for _asked, count in group[1])
    ):
        names = [str(asked.step_id) for asked, _count in members]
        more = f" and {len(names) - SHOWN_MAX} more" if len(names) > SHOWN_MAX else ""
        seed = found.asked_seeds[members[0][0]]
        print_line(
            f"  {sum(count for _asked, count in members):6}  {status}: {', '.join(choices)}  "
            f"(steps {', '.join(names[:SHOWN_MAX])}{more}; seed {seed})"
        )


def _question(asked: Asked, tools: dict[str, str]) -> str:
    tool = tools[str(asked.step_id)]
    return f"step {asked.step_id} ({tool}) {asked.status}: {', '.join(asked.choices)}"


def _tools(scene: Scene) -> dict[str, str]:
    return {str(spec.step_id): spec.action.tool for spec in program_of(scene).steps}


def duration(seconds: float) -> str:
    """Return a time in the two units that one would say.

    Example:
        >>> duration(3_725.0)
        '1 h 2 min'
    """
    whole = round(seconds)
    for size, name, less, less_name in ((86400, "d", 3600, "h"), (3600, "h", 60, "min")):
        if whole >= size:
            return f"{whole // size} {name} {whole % size // less} {less_name}"
    return f"{whole // 60} min {whole % 60} s" if whole >= 60 else f"{seconds:.1f} s"
