"""What a test is given: its plan, its tools, its people, and ``run``."""

from __future__ import annotations

import asyncio
import difflib
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import orjson

from fsm_saga.core.contract import ToolFacts
from fsm_saga.core.states import StepStatus
from fsm_saga.drawing.extract_timeline import timeline_picture
from fsm_saga.drawing.render import write_picture
from fsm_saga.errors import CommandError, ToolsError
from fsm_saga.plan.assumed import AssumedTools
from fsm_saga.plan.lint import read_plan
from fsm_saga.plan.model import Plan
from fsm_saga.simulation.ends import fault_lines, scene_of, with_fewest_faults
from fsm_saga.simulation.plans import AMENDS
from fsm_saga.simulation.sweep import Sweep, sweep
from fsm_saga.testing.blame import told_at_the_test
from fsm_saga.testing.cast import AGENT, AgentCast, AgentFunction, Cast, PlanCast
from fsm_saga.testing.end import End
from fsm_saga.testing.fakes import FakeTool, Scripts
from fsm_saga.testing.people import SOMEBODY, Decision, Person
from fsm_saga.testing.playing import Playing
from fsm_saga.testing.replay import Replays, replay
from fsm_saga.tools.loading import load_tools
from fsm_saga.tools.output import BadOutputError, json_output
from fsm_saga.tools.python import Tool
from fsm_saga.tools.registry import Registry

T = TypeVar("T")

Tools = str | Path | ModuleType | Tool[..., Any] | Iterable[Any] | None

EXTRA_S = 3600.0
SEEDS = 200
BROKEN_SHOWN_MAX = 5


class SagaTest:
    """A test of one plan. Say the plan, then what goes wrong and who says what, then ``run``.

    Args:
        folder: Where relative paths are looked for first.
    """

    def __init__(self, folder: str | Path = ".") -> None:
        self._folder = Path(folder)
        self._cast: Cast | None = None
        self._real: Mapping[str, Tool[..., Any]] = {}
        self._fakes: dict[tuple[str, str | None], FakeTool] = {}
        self._decisions: list[Decision] = []
        self._playing: Playing | None = None

    @told_at_the_test
    def plan(
        self,
        plan: str | Path | Mapping[str, Any] | Plan,
        *,
        tools: Tools = None,
        inputs: Mapping[str, Any] | None = None,
    ) -> SagaTest:
        """Say which plan is tested, and what is real about its tools: their declarations.

        Args:
            plan: A file, a plan as JSON, or a ``Plan``.
            tools: A ``.py`` file, a module, its name, or functions made by ``@tool``. Their
                schemas and contracts are kept, they are never called. None takes every tool
                that the plan names as there, and undeclared.
            inputs: Used over the plan's own, name by name.

        Raises:
            PlanError: With everything that is wrong with the plan.
            ToolsError: If the tools cannot be used.
        """
        registry = None if tools is None else Registry(self._loaded(tools))
        catalogue: Mapping[str, ToolFacts] = (
            AssumedTools() if registry is None else registry.catalogue
        )
        checked, _graph = read_plan(self._text(plan), catalogue)
        self._real = {} if registry is None else registry.known
        return self._play(PlanCast(scene=scene_of(checked, catalogue), inputs=inputs))

    @told_at_the_test
    def agent(self, agent: AgentFunction, *, tools: Tools, saga_id: str = AGENT) -> SagaTest:
        """Say which agent is tested: a coroutine function that is given a growing saga.

        It is run inside ``async with engine.saga(saga_id)``, and again from its beginning when
        its process was killed. Its steps are named by their number: 1 is its first call. What it
        raises is in ``end.error``; it may not ask for the time or for chance.

        Args:
            agent: ``async def book(saga): await saga.call(...)``.
            tools: As for ``plan``.
            saga_id: What the saga is called.

        Raises:
            ToolsError: If the tools cannot be used.
        """
        registry = Registry(self._loaded(tools))
        self._real = registry.known
        return self._play(AgentCast(saga_id=saga_id, function=agent, catalogue=registry.catalogue))

    @told_at_the_test
    def tool(self, name: str, *, step: int | str | None = None) -> FakeTool:
        """Return the played tool of this name, to say what happens to its calls.

        Args:
            name: As the plan calls it; undo tools and checks too.
            step: Only for the calls of this step.

        Raises:
            CommandError: If the plan has no such tool or step.
        """
        cast = self._known()
        if name not in cast.catalogue:
            known = sorted(cast.catalogue.keys() - {AMENDS})
            raise CommandError(_no("tool", name, known, near=known))
        if step is not None:
            self._steps(step)
        key = (name, None if step is None else str(step))
        return self._fakes.setdefault(key, FakeTool(name, self._output_check(name)))

    @told_at_the_test
    def cancel(
        self,
        *,
        after: int | str | None = None,
        during: int | str | None = None,
        at_s: float | None = None,
        by: str = SOMEBODY,
    ) -> SagaTest:
        """Cancel the saga: once a step has succeeded, while it is in flight, or at a time.

        Args:
            after: A step, by its step_id, its name or its tool.
            during: The same.
            at_s: Virtual seconds since the start.
            by: Who.

        Raises:
            CommandError: If it does not say exactly one of these.
        """
        if sum(each is not None for each in (after, during, at_s)) != 1:
            raise CommandError("cancel() says exactly one of after, during and at_s.")
        place = after if after is not None else during
        when = StepStatus.SUCCEEDED if after is not None else StepStatus.RUNNING
        return self._decide(
            Decision(
                kind="cancel",
                steps=frozenset() if place is None else self._steps(place),
                when=when,
                at_s=at_s,
                by=by,
            )
        )

    @told_at_the_test
    def approve(self, step: int | str, *, by: str = SOMEBODY, after_s: float = 0.0) -> SagaTest:
        """Let a step run that waits for approval, so long after it began to wait."""
        return self._approval("approve", step, by, after_s)

    @told_at_the_test
    def deny(self, step: int | str, *, by: str = SOMEBODY, after_s: float = 0.0) -> SagaTest:
        """Deny a step that waits for approval. An approval that nobody gives expires."""
        return self._approval("reject", step, by, after_s)

    @told_at_the_test
    def person(self, step: int | str, *, by: str = SOMEBODY, after_s: float = 0.0) -> Person:
        """Return who answers for a step once the saga needs a person."""
        steps = self._steps(step)

        def add(kind: str, value: Any) -> None:
            self._decide(Decision(kind=kind, steps=steps, by=by, after_s=after_s, value=value))

        return Person(add)

    @told_at_the_test
    def run(self) -> End:
        """Run the plan as it was said, and return how it ends. Each run begins anew.

        Raises:
            AssertionError: If a rule of the engine was broken.
        """
        self._playing = self._one_run()
        return _alone(self._playing.run)

    @told_at_the_test
    def survives_crashes(self) -> End:
        """Run it, and again with the coordinator killed at each call, and return the first end.

        At each call it is killed twice: before the call has left, and after the tool acted and
        before anybody heard of it. All these runs must end alike, in outcome and in what is left.
        A script with ``times`` counts a call that is sent again once, and does the same to it.

        Raises:
            AssertionError: If one ends otherwise, with its story.
        """
        self._playing = self._one_run(is_by_attempt=True)
        first = _alone(self._playing.run)
        for number, call in enumerate(first.calls):
            for is_before in (True, False):
                playing = self._one_run(crash_at=(number, is_before), is_by_attempt=True)
                end = _alone(playing.run)
                if _same_for_the_world(first) != _same_for_the_world(end):
                    when = "before it left" if is_before else "once the tool had acted"
                    raise AssertionError(
                        f"Without a crash it ends {first}; killed at call {number + 1} "
                        f"({call.direction} {call.tool}) {when}, it ends {end}:\n"
                        + "\n".join(end.story())
                    )
        return first

    def _one_run(
        self, *, crash_at: tuple[int, bool] | None = None, is_by_attempt: bool = False
    ) -> Playing:
        cast = self._known()
        later_s = sum(
            (1 if each.times is None else each.times) * each.seconds
            for fake in self._fakes.values()
            for each in fake.script
        )
        waits_s = sum(decision.after_s + (decision.at_s or 0.0) for decision in self._decisions)
        return Playing(
            cast,
            Scripts(self._fakes, is_by_attempt=is_by_attempt),
            self._real,
            decisions=list(self._decisions),
            extra_s=EXTRA_S + later_s + waits_s,
            crash_at=crash_at,
        )

    @told_at_the_test
    def simulate(self, seeds: int = SEEDS, *, first: int = 0, jobs: int = 1) -> Sweep:
        """Run the plan under random faults, once for each seed, and return how it ended.

        What was said of tools and people does not count here. ``.ends`` has how often it came to
        each end, ``.worst`` the worst of them, ``.asked`` what people were asked.

        Args:
            seeds: How many runs.
            first: The first seed.
            jobs: Over how many processes they are spread; what is found is the same.

        Raises:
            CommandError: If ``seeds`` or ``jobs`` is below 1, or ``first`` below 0, or if it is an
                agent that is tested: its calls are not known before.
            AssertionError: If in some run a rule was broken; with the faults that it takes.
        """
        cast = self._known()
        if not isinstance(cast, PlanCast):
            raise CommandError(
                "simulate() was not run: it makes up faults for the calls of a plan, and which "
                "calls an agent makes is not known before. survives_crashes() kills it at each of "
                "its calls, and saga.tool(...) names other faults."
            )
        scene = cast.scene
        if min(seeds, jobs, first + 1) < 1:
            raise CommandError(
                f"simulate(seeds={seeds}, first={first}, jobs={jobs}) was not run: seeds and jobs "
                "are at least 1, first at least 0."
            )
        found = _alone(lambda: sweep(scene, first=first, count=seeds, jobs=jobs))
        if not found.is_sound:
            lines = [f"{len(found.broken)} of {seeds} runs broke a rule of the engine, a bug:"]
            shown = found.broken[:BROKEN_SHOWN_MAX]
            lines += [f"seed {ending.seed}: {ending.violations[0]}" for ending in shown]
            shrunk = _alone(lambda: with_fewest_faults(scene, found.broken[0]))
            lines += [f"  {line}" for line in fault_lines(scene, shrunk)]
            raise AssertionError("\n".join(lines))
        return found

    @told_at_the_test
    def replays(self, store: str | Path, *, tools: Tools = None) -> Replays:
        """Read every saga of a store again with today's code, and hold it against today's tools.

        Take a copy of the store that production writes: what is under way there must be able to
        go on after the next deployment. Nothing is written and no tool is called.

        Args:
            store: A file of SQLite, or the URL of a store.
            tools: As for ``plan``; None only reads.

        Raises:
            AssertionError: If a journal cannot be read or is read otherwise than it was written,
                or an unfinished saga needs a tool that is gone, wants other parameters or
                promises less than when it was submitted.
            StoreError: If the store cannot be opened.
        """
        catalogue = None if tools is None else Registry(self._loaded(tools)).catalogue
        url = str(store)
        if "://" not in url:
            url = f"sqlite:///{self._path(store).resolve()}"
        found = _alone(lambda: asyncio.run(replay(url, catalogue)))
        if found.problems:
            raise AssertionError(
                f"{found.unfinished} unfinished of {found.sagas} stored sagas cannot all go on:\n"
                f"{found.text()}"
            )
        return found

    @told_at_the_test
    def picture(self, path: str | Path) -> None:
        """Draw the last run over time, as ``.svg``, ``.png``, ``.dot`` or ``.txt``.

        Raises:
            CommandError: If nothing was run.
        """
        if self._playing is None:
            raise CommandError("There is nothing to draw: call run() first.")
        records = self._playing.records
        write_picture(timeline_picture(self._playing.program, records), Path(path))

    # What is behind it.

    def _play(self, cast: Cast) -> SagaTest:
        self._cast = cast
        self._fakes.clear()
        self._decisions.clear()
        return self

    def _known(self) -> Cast:
        if self._cast is None:
            raise CommandError("No plan was given: call saga.plan(...) first.")
        return self._cast

    def _decide(self, decision: Decision) -> SagaTest:
        self._decisions.append(decision)
        return self

    def _approval(self, kind: str, step: int | str, by: str, after_s: float) -> SagaTest:
        return self._decide(
            Decision(
                kind=kind,
                steps=self._steps(step),
                when=StepStatus.AWAITING_APPROVAL,
                by=by,
                after_s=after_s,
            )
        )

    def _steps(self, step: int | str) -> frozenset[int]:
        """Return the steps that are meant: by step_id first, then by name, then by tool."""
        cast, wanted = self._known(), str(step)
        if not isinstance(cast, PlanCast):
            if wanted.isdecimal() and int(wanted) > 0:
                return frozenset({int(wanted) - 1})
            raise CommandError(
                f"There is no step {wanted!r}: the steps of an agent are named by their number, "
                "and 1 is its first call."
            )
        steps = cast.scene.sketch.plan.steps
        for names in (
            [str(each.step_id) for each in steps],
            [each.name or "" for each in steps],
            [each.tool for each in steps],
        ):
            found = frozenset(i for i, name in enumerate(names) if name == wanted)
            if found:
                return found
        known = [f"{s.step_id} ({s.tool})" for s in steps]
        raise CommandError(_no("step", wanted, known, near=[s.tool for s in steps]))

    def _text(self, plan: str | Path | Mapping[str, Any] | Plan) -> bytes:
        if isinstance(plan, Plan):
            return plan.canonical_json()
        if isinstance(plan, Mapping):
            return orjson.dumps(dict(plan))
        path = self._path(plan)
        try:
            return path.read_bytes()
        except OSError as error:
            raise CommandError(
                f"Plan {str(plan)!r} was not read: {error.strerror}. A path is relative to "
                f"{str(self._folder)!r}, or to where pytest runs."
            ) from error

    def _path(self, path: str | Path) -> Path:
        beside = self._folder / path
        return beside if beside.exists() else Path(path)

    def _loaded(self, tools: Any) -> list[Tool[..., Any] | ModuleType]:
        if isinstance(tools, str | Path):
            path = self._path(tools)
            return [*load_tools(str(path if path.exists() else tools))]
        if isinstance(tools, Tool | ModuleType):
            return [tools]
        given: Sequence[Any] = list(tools)
        return [each for some in given for each in self._loaded_one(some)]

    def _loaded_one(self, given: Any) -> list[Any]:
        return self._loaded(given) if isinstance(given, str | Path) else [given]

    def _output_check(self, name: str) -> Callable[[Any], Any]:
        tool = self._real.get(name)

        def check(output: Any) -> Any:
            declared = None if tool is None else tool.signature.returns
            try:
                return json_output(output, declared=declared)
            except BadOutputError as error:
                raise ToolsError(
                    f"The played {name!r} cannot return this, since the real one could not: "
                    f"{error}. Say answers_badly() if that is what you mean."
                ) from error

        return check


def _same_for_the_world(end: End) -> tuple[str, list[str], list[str]]:
    """Return what may not hang on when a process dies; branches may change places."""
    return str(end), sorted(end.done), sorted(end.left)


def _no(what: str, name: str, known: Sequence[str], *, near: Sequence[str]) -> str:
    found = difflib.get_close_matches(name, near, n=1)
    hint = f" Did you mean {found[0]!r}?" if found else ""
    return f"The plan has no {what} {name!r}: it has {', '.join(known)}.{hint}"


def _alone(work: Callable[[], T]) -> T:
    """Return what ``work`` returns; where a loop runs already, it is done in a thread of its own.

    A test that is a coroutine has a loop under it, and two loops cannot run in one thread.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return work()
    found: list[T] = []
    failed: list[BaseException] = []

    def target() -> None:
        try:
            found.append(work())
        except BaseException as error:  # noqa: BLE001  # boundary: raised below
            failed.append(error)

    thread = threading.Thread(target=target, name="saga-test")
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return found[0]
