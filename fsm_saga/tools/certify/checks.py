"""The checks: each makes a few calls that a crash or a slow network could make, and judges.

A check returns what it found: True if the promise was kept, False with what was seen instead,
None where nothing follows. It knows nothing of what the tool declares; ``certifying.py`` holds
the one against the other.

The effects of a tool are seen by its probe. Without one, answers have to do: if two calls with
the same params but ids of their own are answered differently, then an answer that comes again
belongs to the first call.
"""

from __future__ import annotations

import asyncio
import datetime
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from pydantic import ValidationError

from fsm_saga.ports import OutcomeKind
from fsm_saga.tools.certify.report import Promise
from fsm_saga.tools.certify.trial import Answered, CannotTellError, Trial
from fsm_saga.tools.check import CheckAnswer

COPIES = 3
ROUNDS = 3
LATE_S = 60.0
EARLY_S = 3600.0

GIVE_PROBE = "every call is answered alike, so a second effect would not show: give --probe"
NO_PROBE = "by its answers; no probe counted the effects"


class Found(NamedTuple):
    """What a check saw."""

    is_kept: bool | None
    why: str


@dataclass(slots=True, kw_only=True)
class Witness:
    """What the first calls showed, and the checks lean on.

    Attributes:
        unit: By how much the probe counts one effect; None without a probe.
        answers_differ: Whether two calls of their own get two answers.
    """

    unit: int | None
    answers_differ: bool


Check = Callable[[Trial, Witness], Awaitable[Found]]


class Listed(NamedTuple):
    """A check with its name, the promise it is about, and what should hold."""

    name: str
    promise: Promise
    title: str
    check: Check


async def watch_repeat(trial: Trial, seen: Witness) -> Found:
    """One call, sent three times."""
    label, before = trial.new(), await trial.effects()
    answers = [await trial.do(label, attempt=attempt) for attempt in range(1, COPIES + 1)]
    return _one_effect(answers, before, await trial.effects(), seen)


async def watch_together(trial: Trial, seen: Witness) -> Found:
    """Copies of one call that arrive at the same moment."""
    found = Found(None, "")
    for _ in range(ROUNDS):
        label, before = trial.new(), await trial.effects()
        together = [trial.do(label, note="at once with the others") for _ in range(COPIES)]
        answers = await asyncio.gather(*together)
        found = _one_effect(answers, before, await trial.effects(), seen)
        if found.is_kept is False:
            return found
    return found


def _one_effect(
    answers: Sequence[Answered], before: int | None, after: int | None, seen: Witness
) -> Found:
    if all(answered.is_refused for answered in answers):
        raise CannotTellError(f"a call with the sample params was {answers[0].said}")
    for answered in answers:
        if answered.is_refused:
            return Found(False, f"a copy was {answered.said}, though the call was done")
        if not answered.is_accepted:
            return Found(None, f"a copy stayed {answered.said}")
    outputs = [answered.output for answered in answers]
    if any(output != outputs[0] for output in outputs):
        return Found(False, "the copies got different answers")
    return _counted(before, after, 1, seen, "one effect, one answer")


def _counted(before: int | None, after: int | None, wanted: int, seen: Witness, good: str) -> Found:
    """Judge by the probe, else by what the answers have shown."""
    if before is None or after is None or seen.unit is None:
        return (
            Found(True, f"{good}, {NO_PROBE}") if seen.answers_differ else Found(None, GIVE_PROBE)
        )
    made = (after - before) / seen.unit
    if made == wanted:
        return Found(True, good)
    return Found(False, f"the probe counts {made:+g} effects where {wanted:+d} should be")


async def watch_other_params(trial: Trial, seen: Witness) -> Found:
    """The same id with other params."""
    other = trial.samples.other_params
    if other is None:
        other = _varied(trial.samples.params)
    if other is None or dict(other) == dict(trial.samples.params):
        raise CannotTellError("there are no other params to try: give --other-params")
    label, before = trial.new(), await trial.effects()
    await _done(trial, label)
    again = await trial.do(label, other, attempt=2, note="other params")
    after = await trial.effects()
    if again.is_accepted:
        return Found(False, "the same req_id with other params was accepted")
    if not again.is_refused:
        return Found(None, f"the call with other params stayed {again.said}")
    fresh = await trial.do(trial.new(), other, note="other params, an id of their own")
    if not fresh.is_accepted:
        raise CannotTellError(
            f"the other params that were tried are {fresh.said} anyway: give --other-params"
        )
    if before is not None and after is not None and seen.unit is not None:
        return _counted(before, after, 1, seen, "refused, without an effect")
    return Found(True, "refused")


def _varied(params: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the params with one value changed, of a kind that is likely to be accepted."""
    for name, value in params.items():
        if type(value) is int:
            return {**params, name: value + 1}
    for name, value in params.items():
        if isinstance(value, str):
            return {**params, name: f"{value} 2"}
    return None


async def watch_undo(trial: Trial, seen: Witness) -> Found:
    """A call and its undo."""
    label, before = trial.new(), await trial.effects()
    done = await _done(trial, label)
    undone = await trial.take_back(trial.new("u"), undoes=label, output=done.output)
    if not undone.is_accepted:
        return Found(False if undone.is_refused else None, f"the undo was {undone.said}")
    if before is None:
        return Found(None, "the undo succeeds, but only a probe can see what it did: give --probe")
    return _counted(before, await trial.effects(), 0, seen, "nothing is left")


async def watch_undo_twice(trial: Trial, seen: Witness) -> Found:
    """An undo that comes again, and another undo of the same call."""
    label, before = trial.new(), await trial.effects()
    done = await _done(trial, label)
    undo = trial.new("u")
    answers = [
        await trial.take_back(undo, undoes=label, output=done.output, attempt=attempt)
        for attempt in (1, 2)
    ]
    if not answers[0].is_accepted:
        raise CannotTellError(f"the first undo was {answers[0].said}")
    if not answers[1].is_accepted:
        return Found(False if answers[1].is_refused else None, f"its copy was {answers[1].said}")
    if answers[0].output != answers[1].output:
        return Found(False, "the copy got a different answer")
    await trial.take_back(trial.new("u"), undoes=label, output=done.output)
    if before is None:
        return Found(
            None, "the answers agree, but only a probe can see what was done: give --probe"
        )
    return _counted(before, await trial.effects(), 0, seen, "undone once")


async def watch_late_copy(trial: Trial, seen: Witness) -> Found:
    """Copies of a call that arrive after its undo."""
    label, before = trial.new(), await trial.effects()
    done = await _done(trial, label)
    undone = await trial.take_back(trial.new("u"), undoes=label, output=done.output)
    if not undone.is_accepted:
        raise CannotTellError(f"the undo was {undone.said}")
    copies = [await trial.do(label, attempt=attempt, note="after its undo") for attempt in (2, 3)]
    after = await trial.effects()
    if all(copy.is_refused for copy in copies):
        await _see_accepted(trial)
    if before is not None and after is not None:
        return _counted(before, after, 0, seen, "the late copies have no effect")
    if all(copy.is_refused for copy in copies):
        return Found(True, "the late copies are refused")
    if any(copy.is_accepted and copy.output != done.output for copy in copies):
        return Found(False, "a late copy was accepted and got an answer of its own")
    if all(copy.is_refused or copy.is_accepted for copy in copies) and seen.answers_differ:
        return Found(True, f"the late copies get the first answer, {NO_PROBE}")
    return Found(None, GIVE_PROBE)


async def watch_undo_first(trial: Trial, seen: Witness) -> Found:
    """The undo of a call that has not come yet, then the call."""
    label, before = trial.new(), await trial.effects()
    undone = await trial.take_back(trial.new("u"), undoes=label, is_done=False)
    if not undone.is_accepted:
        return Found(
            False if undone.is_refused else None, f"the undo of a call to come was {undone.said}"
        )
    return await _all_refused(trial, seen, label, before, "after its undo")


async def watch_status(trial: Trial, _seen: Witness) -> Found:
    """What the check tool says of a call that was done, undone, and never made."""
    label = trial.new()
    done = await _done(trial, label)
    answer = await _status(trial, label)
    if answer.status != "done":
        return Found(False, f"a call that was done is {answer.status!r}")
    has_output = answer.output is not None and done.outcome.kind is OutcomeKind.OK
    if has_output and answer.output != done.output:
        return Found(False, "the output that it tells is not the one that the call had")
    if trial.undo is not None:
        undone = await trial.take_back(trial.new("u"), undoes=label, output=done.output)
        if undone.is_accepted and (await _status(trial, label)).status == "done":
            return Found(False, "a call that was undone is 'done'")
    unknown = await _status(trial, trial.new())
    if unknown.status != "absent":
        return Found(False, f"a call that was never made is {unknown.status!r}")
    return Found(True, "it tells the truth")


async def watch_status_fences(trial: Trial, seen: Witness) -> Found:
    """A call that the check tool has called absent, arriving after that."""
    label, before = trial.new(), await trial.effects()
    answer = await _status(trial, label)
    if answer.status != "absent":
        return Found(False, f"a call that was never made is {answer.status!r}")
    return await _all_refused(trial, seen, label, before, "after it was called absent")


async def watch_refusal(trial: Trial, seen: Witness) -> Found:
    """A refused call again, with the same params and with good ones."""
    bad = trial.samples.bad_params
    if bad is None:
        raise CannotTellError("no params are known that the tool refuses: give --bad-params")
    label, before = trial.new(), await trial.effects()
    first = await trial.do(label, bad, note="bad params")
    if first.is_accepted:
        raise CannotTellError("the bad params were accepted: give others with --bad-params")
    if not first.is_refused or not first.outcome.was_sent:
        raise CannotTellError(f"the bad params never led to a refusal of the tool: {first.said}")
    for attempt in (2, 3):
        again = await trial.do(label, bad, attempt=attempt, note="bad params")
        if not again.is_refused:
            return Found(
                False if again.is_accepted else None, f"a refused call came again: {again.said}"
            )
    good = await trial.do(label, attempt=4, note="good params under the refused id")
    if good.is_accepted:
        return Found(
            False, "the refusal is not remembered: with good params the refused id was accepted"
        )
    after = await trial.effects()
    await _see_accepted(trial)
    if before is not None:
        return _counted(before, after, 0, seen, "refused for good")
    return Found(True, "refused for good")


async def watch_deadline(trial: Trial, seen: Witness) -> Found:
    """A call whose time is over, and one whose time is not."""
    if not trial.facts.wants_context:
        return Found(False, "the tool takes no CallContext, so it cannot know the time")
    label, before = trial.new(), await trial.effects()
    late = await trial.do(label, not_after=time.time() - LATE_S, note="a minute too late")
    if not late.is_refused:
        return Found(False if late.is_accepted else None, f"a call after its time was {late.said}")
    found = Found(True, "refused after its time")
    if before is not None:
        found = _counted(before, await trial.effects(), 0, seen, found.why)
    early = await trial.do(trial.new(), not_after=time.time() + EARLY_S, note="in time")
    if early.is_refused:
        await _see_accepted(trial)
        return Found(False, f"a call in time was {early.said}")
    return found


async def watch_reading(trial: Trial, _seen: Witness) -> Found:
    """A tool that should change nothing."""
    before = await trial.effects()
    for _ in range(2):
        await _done(trial, trial.new())
    after = await trial.effects()
    if before is None:
        return Found(None, "only a probe can see that nothing changed: give --probe")
    return Found(before == after, f"the probe counts {before} before and {after} after two calls")


async def watch_output(trial: Trial, _seen: Witness) -> Found:
    """What all the calls before this one returned."""
    if trial.saw_bad_output:
        return Found(False, f"not of its declared type: {trial.saw_bad_output}")
    return Found(True, "every output was of its declared type")


async def watch_retention(trial: Trial, _seen: Witness) -> Found:
    """Nothing: only time could show it."""
    kept_s = trial.facts.contract.retention_s
    how_long = "for ever" if kept_s is None else f"for {datetime.timedelta(seconds=kept_s)}"
    return Found(None, f"declared to remember {how_long}, which only time could show")


async def _all_refused(
    trial: Trial, seen: Witness, label: str, before: int | None, note: str
) -> Found:
    """Send a call that must not happen any more, more than once, and see that it does not."""
    for attempt in range(1, COPIES + 1):
        late = await trial.do(label, attempt=attempt, note=note)
        if late.is_accepted:
            which = "the late call" if attempt == 1 else f"copy {attempt} of the late call"
            return Found(False, f"{which} was accepted")
        if not late.is_refused:
            return Found(None, f"the late call stayed {late.said}")
    after = await trial.effects()
    await _see_accepted(trial)
    if before is None:
        return Found(True, "every late copy is refused")
    return _counted(before, after, 0, seen, "every late copy is refused")


async def _see_accepted(trial: Trial) -> None:
    """Make a call of its own: only where that is accepted does a refusal show anything."""
    control = await trial.do(trial.new(), note="an id of its own, to compare")
    if not control.is_accepted:
        raise CannotTellError(f"a call of its own was {control.said}, so refusals show nothing")


async def _done(trial: Trial, label: str) -> Answered:
    answered = await trial.do(label)
    if not answered.is_accepted:
        raise CannotTellError(f"a call with the sample params was {answered.said}")
    return answered


async def _status(trial: Trial, label: str) -> CheckAnswer:
    answered = await trial.ask(label)
    if not answered.is_accepted:
        raise CannotTellError(f"the check was {answered.said}")
    try:
        return CheckAnswer.model_validate(answered.output)
    except ValidationError as error:
        raise CannotTellError("the check did not return a CheckAnswer") from error


EFFECT_CHECKS = (
    Listed("repeat", Promise.DEDUPE, "A repeated call gets the first answer", watch_repeat),
    Listed("together", Promise.DEDUPE, "Copies at the same moment are one", watch_together),
    Listed("other-params", Promise.DEDUPE, "Other params are refused", watch_other_params),
    Listed("refusal", Promise.STICKY, "A refusal stays one", watch_refusal),
)
UNDO_CHECKS = (
    Listed("undo", Promise.UNDO, "The undo takes the effect back", watch_undo),
    Listed("undo-twice", Promise.UNDO, "A repeated undo undoes once", watch_undo_twice),
    Listed("late-copy", Promise.DEDUPE, "What was undone does not come back", watch_late_copy),
)
FENCE_CHECKS = (Listed("undo-first", Promise.FENCED, "An undo may come first", watch_undo_first),)
STATUS_CHECKS = (
    Listed("status", Promise.CHECK, "The check tells the truth", watch_status),
    Listed("status-fences", Promise.CHECK_FENCES, "Absent stays absent", watch_status_fences),
)
TIME_CHECKS = (
    Listed("deadline", Promise.DEADLINE, "A call after its time is refused", watch_deadline),
    Listed("retention", Promise.RETENTION, "Calls are remembered", watch_retention),
)
READING_CHECKS = (Listed("reading", Promise.READ_ONLY, "Nothing changes", watch_reading),)
OUTPUT_CHECKS = (
    Listed("output", Promise.OUTPUT, "Outputs are of the declared type", watch_output),
)
