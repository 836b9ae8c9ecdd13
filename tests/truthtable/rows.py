"""The rows of the truth table: an engine's rule, a tool's habits, and what must come of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fsm_saga.core import events as e
from fsm_saga.core.decide import Decision, decide
from fsm_saga.core.program import Program
from fsm_saga.core.saga import Saga
from fsm_saga.core.states import Direction, DoubtExit
from fsm_saga.machine.compile import compile_plan, declare
from fsm_saga.machine.explore import Decide
from fsm_saga.machine.verify import bounded
from tests.modelcheck.zoo import with_exit
from tests.support.plans import catalogue_of, plan_of
from tests.truthtable.model import Model, Verdict
from tests.truthtable.tools import Habits

FULL = Habits(fences_undo=True)


def compiled(promises: str, attempts: int) -> Program:
    """Return the program of one step whose tool declares these promises."""
    plan = plan_of("truth", f"1 act / take_back ; retry={attempts}*1..1")
    catalogue = catalogue_of(f"act {promises}", [plan])
    return bounded(compile_plan(plan, declare(plan, catalogue)))


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row.

    Attributes:
        name: The letter that it has in the literature of this project.
        engine: What the engine does in doubt, in words.
        tool: What the tool does, in words.
        habits: What the tool does.
        promises: What the engine is told of the tool, in the notation of ``tests.support.plans``.
        attempts: How often the action is tried.
        is_safe: What must come of it.
        events_listed: For an unsafe row, the length that an independent model gave.
        why: Why ours is of another length.
        wrong_rule: How the engine is spoilt, in words; empty for the real one.
        decide: The engine.
        forced_exit: An exit that the compiler would not have chosen.
        has_new_key_per_send: The engine sends the action under a new key each time.
        has_copies: The network copies requests.
        has_stale_answers: An answer is heard late and again, also by the next attempt.
    """

    name: str
    engine: str
    tool: str
    habits: Habits
    promises: str
    attempts: int = 1
    is_safe: bool
    events_listed: int | None = None
    why: str = ""
    wrong_rule: str = ""
    decide: Decide = decide
    forced_exit: DoubtExit | None = None
    has_new_key_per_send: bool = False
    has_copies: bool = True
    has_stale_answers: bool = True

    def program(self) -> Program:
        """Return what the engine runs."""
        program = compiled(self.promises, self.attempts)
        return program if self.forced_exit is None else with_exit(program, self.forced_exit)

    def search(self) -> Verdict:
        """Return what the search of this row comes to."""
        return Model(
            program=self.program(),
            habits=self.habits,
            decide=self.decide,
            has_new_key_per_send=self.has_new_key_per_send,
            has_copies=self.has_copies,
            has_stale_answers=self.has_stale_answers,
        ).search()


# --- engines that are wrong ----------------------------------------------------------------------


def _on_input(change: Callable[[e.Event], e.Event]) -> Decide:
    def decider(saga: Saga, event: e.Event) -> Decision:
        return decide(saga, change(event))

    return decider


def _time_out_is_a_refusal(event: e.Event) -> e.Event:
    if isinstance(event, e.CallUnknown) and event.direction is Direction.DO:
        return e.CallRejected(
            at=event.at,
            step=event.step,
            direction=event.direction,
            req_id=event.req_id,
            error="no answer",
            jitter=0.0,
        )
    return event


def _absent_is_a_refusal(event: e.Event) -> e.Event:
    if isinstance(event, e.CallSucceeded) and event.output == {"status": "absent"}:
        return e.CallSucceeded(
            at=event.at,
            step=event.step,
            direction=event.direction,
            req_id=event.req_id,
            output={"status": "refused"},
        )
    return event


ONE_APPEND = "the time-out and the intent of the undo are one append, so one event"

ROWS = (
    Row(
        name="A",
        engine="treats a time-out as a failure",
        tool="keeps everything",
        habits=FULL,
        promises="fenced",
        is_safe=False,
        events_listed=5,
        why="the time-out and the end are one append, so one event",
        wrong_rule="CallUnknown becomes CallRejected",
        decide=_on_input(_time_out_is_a_refusal),
    ),
    Row(
        name="B",
        engine="resolves by sending again, then undoes",
        tool="does not dedupe, and was said to",
        habits=Habits(dedupes=False),
        promises="",
        attempts=2,
        is_safe=False,
        events_listed=5,
    ),
    Row(
        name="C",
        engine="sends again under a new key",
        tool="keeps everything",
        habits=FULL,
        promises="fenced",
        attempts=2,
        is_safe=False,
        events_listed=6,
        wrong_rule="a key per send",
        has_new_key_per_send=True,
    ),
    Row(
        name="D",
        engine="undoes at once",
        tool="takes an undo without its action, and leaves no tombstone",
        habits=Habits(),
        promises="",
        is_safe=False,
        events_listed=8,
        why=ONE_APPEND,
        wrong_rule="exit `compensate_now` where the compiler chose `resend`",
        forced_exit=DoubtExit.COMPENSATE_NOW,
    ),
    Row(
        name="E",
        engine="undoes at once",
        tool="leaves a tombstone, keeps its records",
        habits=FULL,
        promises="fenced",
        is_safe=True,
    ),
    Row(
        name="F",
        engine="undoes at once",
        tool="leaves a tombstone, but its undo deletes the record of the action",
        habits=Habits(fences_undo=True, undo_forgets=True),
        promises="fenced",
        is_safe=False,
        events_listed=9,
        why=ONE_APPEND,
    ),
    Row(
        name="G",
        engine="undoes at once",
        tool="drops its records while a copy can still arrive",
        habits=Habits(fences_undo=True, collects=True),
        promises="fenced",
        is_safe=False,
        events_listed=7,
        why="a copy by the network is enough, no answer has to come first",
    ),
    Row(
        name="H",
        engine="undoes at once",
        tool="deletes the tombstone when a late copy has met it",
        habits=Habits(fences_undo=True, fences_once=True),
        promises="fenced",
        is_safe=False,
        events_listed=10,
        why=ONE_APPEND,
    ),
    Row(
        name="I",
        engine="sends again under the same key, then undoes",
        tool="leaves no tombstone",
        habits=Habits(),
        promises="",
        attempts=2,
        is_safe=False,
        events_listed=12,
        why="a cancellation ends the repeats; and " + ONE_APPEND,
        wrong_rule="exit `compensate_now` where the compiler chose `resend`",
        forced_exit=DoubtExit.COMPENSATE_NOW,
    ),
    Row(
        name="J",
        engine="sends again under the same key, then asks a person",
        tool="remembers its refusals, leaves no tombstone",
        habits=Habits(),
        promises="",
        attempts=2,
        is_safe=True,
    ),
    Row(
        name="K",
        engine="trusts any refusal",
        tool="forgets refusals, leaves no tombstone",
        habits=Habits(keeps_refusals=False),
        promises="",
        is_safe=False,
        events_listed=6,
        wrong_rule="told that refusals are remembered",
    ),
    Row(
        name="L",
        engine="trusts any refusal",
        tool="forgets refusals, leaves a tombstone",
        habits=Habits(keeps_refusals=False, fences_undo=True),
        promises="fenced",
        is_safe=False,
        events_listed=6,
        wrong_rule="told that refusals are remembered",
    ),
    Row(
        name="M",
        engine="undoes even after a refusal",
        tool="forgets refusals, leaves a tombstone",
        habits=Habits(keeps_refusals=False, fences_undo=True),
        promises="fenced forgets-refusals",
        is_safe=True,
    ),
    Row(
        name="M2",
        engine="trusts a refusal after a single send",
        tool="forgets refusals, leaves no tombstone",
        habits=Habits(keeps_refusals=False),
        promises="forgets-refusals",
        is_safe=False,
        events_listed=6,
    ),
    Row(
        name="N",
        engine='asks, and takes "absent" for a failure',
        tool="keeps everything",
        habits=Habits(fences_undo=True, answers_checks=True),
        promises="check=look",
        is_safe=False,
        events_listed=7,
        wrong_rule='"absent" becomes "refused"',
        decide=_on_input(_absent_is_a_refusal),
    ),
    Row(
        name="O",
        engine="asks",
        tool='leaves a tombstone when it says "absent"',
        habits=Habits(answers_checks=True, check_fences=True),
        promises="check=look fencing-check",
        is_safe=True,
    ),
    Row(
        name="Q",
        engine="waits until the time of the call is over, then undoes",
        tool="refuses what comes late, leaves no tombstone",
        habits=Habits(has_deadline=True),
        promises="deadline",
        is_safe=True,
    ),
    Row(
        name="R",
        engine="as in J",
        tool="its undo deletes the record of the action",
        habits=Habits(undo_forgets=True),
        promises="",
        attempts=2,
        is_safe=False,
        events_listed=9,
    ),
    Row(
        name="U",
        engine="sends again under the same key, then undoes",
        tool="leaves a tombstone, keeps its records",
        habits=FULL,
        promises="fenced",
        attempts=2,
        is_safe=True,
    ),
)

# The same tools again, told of truthfully to the engine as it is: what the compiler chooses then.
HONEST = (
    Row(
        has_stale_answers=False,
        name="B, F, R",
        engine="asks a person, never sends again",
        tool="does not always know a key again",
        habits=Habits(dedupes=False, undo_forgets=True),
        promises="no-dedupe",
        attempts=2,
        is_safe=True,
        has_copies=False,
    ),
    Row(
        has_stale_answers=False,
        name="B, F, R",
        engine="the same",
        tool="the same, and the network copies calls",
        habits=Habits(dedupes=False, undo_forgets=True),
        promises="no-dedupe",
        attempts=2,
        is_safe=False,
    ),
    Row(
        has_stale_answers=False,
        name="D, H, I",
        engine="sends again under the same key, then asks a person",
        tool="leaves no tombstone that lasts",
        habits=Habits(fences_undo=True, fences_once=True),
        promises="",
        attempts=2,
        is_safe=True,
    ),
    Row(
        has_stale_answers=False,
        name="G",
        engine="undoes at once, within the retention; after it asks a person",
        tool="drops its records when no copy can be on its way any more",
        habits=Habits(fences_undo=True, collects_late=True),
        promises="fenced retention=60",
        attempts=2,
        is_safe=True,
    ),
    Row(
        has_stale_answers=False,
        name="K, M2",
        engine="trusts a refusal after a single send, else asks a person",
        tool="forgets refusals, leaves no tombstone",
        habits=Habits(keeps_refusals=False),
        promises="forgets-refusals",
        attempts=2,
        is_safe=True,
        has_copies=False,
    ),
    Row(
        has_stale_answers=False,
        name="K, M2",
        engine="the same",
        tool="the same, and the network copies calls",
        habits=Habits(keeps_refusals=False),
        promises="forgets-refusals",
        attempts=2,
        is_safe=False,
    ),
    Row(
        has_stale_answers=False,
        name="L",
        engine="undoes even after a refusal",
        tool="forgets refusals, leaves a tombstone",
        habits=Habits(keeps_refusals=False, fences_undo=True),
        promises="fenced forgets-refusals",
        attempts=2,
        is_safe=True,
    ),
    Row(
        has_stale_answers=False,
        name="N",
        engine='asks; after "absent" asks a person',
        tool="answers checks, leaves no tombstone",
        habits=Habits(answers_checks=True),
        promises="check=look",
        attempts=2,
        is_safe=True,
    ),
)
BY_NAME = {row.name: row for row in ROWS}
