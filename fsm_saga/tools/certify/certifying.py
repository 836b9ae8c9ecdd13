"""``certify_tool``: which checks a tool is put to, and what they mean for what it declares."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from fsm_saga.core.contract import ToolContract, ToolFacts
from fsm_saga.errors import CommandError
from fsm_saga.ports import ToolRunner
from fsm_saga.tools.certificates import Certificate, contract_parts, fingerprint_of
from fsm_saga.tools.certify import checks
from fsm_saga.tools.certify.checks import Found, Listed, Witness
from fsm_saga.tools.certify.report import CheckResult, Promise, Report, Verdict
from fsm_saga.tools.certify.trial import TIMEOUT_S, CannotTellError, Samples, Trial
from fsm_saga.tools.python import Tool


async def certify_tool(
    runner: ToolRunner,
    name: str,
    samples: Samples,
    *,
    timeout_s: float = TIMEOUT_S,
    listener: Callable[[CheckResult], None] | None = None,
) -> Report:
    """Return what a tool keeps of what it declares, found out by calling it for real.

    It is called some forty times, at a time and over again, as crashes and slow networks
    make an engine call it. What can be undone is undone after each check; the rest stays, so call
    this where it does no harm.

    Args:
        runner: What makes the calls; its catalogue has the tool, its undo, its check, the probe.
        name: The tool.
        samples: What to call it with.
        timeout_s: How long to wait for each answer.
        listener: Is given each result as soon as there is one.

    Raises:
        CommandError: If a tool is missing, or the sample params lead nowhere.
    """
    facts = runner.catalogue.get(name)
    if facts is None:
        known = ", ".join(map(repr, runner.catalogue)) or "none"
        raise CommandError(
            f"{name!r} was not certified: it is no registered tool. Nothing was called; the tools "
            f"are {known}."
        )
    trial = Trial(runner, facts, samples, timeout_s=timeout_s)
    seen = await _first_calls(trial)
    results = []
    for listed in _checks_of(trial):
        await trial.tidy()
        trial.taken_calls()
        try:
            found = await listed.check(trial, seen)
        except CannotTellError as error:
            found = Found(None, str(error))
        result = CheckResult(
            name=listed.name,
            promise=listed.promise,
            title=listed.title,
            verdict=_verdict(found, _is_declared(listed.promise, facts)),
            why=found.why,
            calls=trial.taken_calls(),
        )
        results.append(result)
        if listener is not None:
            listener(result)
    await trial.tidy()
    return Report(tool=name, contract=facts.contract, results=tuple(results))


def certificate_of(
    report: Report,
    tools: Mapping[str, Tool[..., Any]],
    *,
    undo: str | None,
    at: datetime.datetime,
    version: str,
) -> Certificate:
    """Return what a report leaves for those who compile plans.

    Args:
        report: What was found.
        tools: The tools that were there, by name.
        undo: The undo that was tried, where the tool declares none.
        at: When.
        version: Of fsm_saga.
    """
    return Certificate(
        tool=report.tool,
        undo=undo,
        fingerprint=fingerprint_of(report.tool, tools, undo=undo),
        contract=contract_parts(report.contract),
        proven=report.proven,
        broken=report.broken,
        untried=report.untried,
        extra=report.extra,
        checks=tuple(
            {"name": each.name, "promise": each.promise, "verdict": each.verdict, "why": each.why}
            for each in report.results
        ),
        certified_at=at,
        version=version,
    )


async def _first_calls(trial: Trial) -> Witness:
    """Make two calls of their own: do the samples work, does the probe see them?"""
    try:
        before = await trial.effects()
        answers = [await trial.do(trial.new()) for _ in range(2)]
        after = await trial.effects()
    except CannotTellError as error:
        raise _useless(trial, str(error)) from error
    for answered in answers:
        if not answered.is_accepted:
            raise _useless(trial, f"a call with the sample params was {answered.said}")
    unit = None
    if before is not None and after is not None and not trial.facts.contract.read_only:
        unit = (after - before) // 2
        if unit == 0 or after - before != 2 * unit:
            raise _useless(
                trial,
                f"the probe {trial.samples.probe!r} counts {before} before and {after} after two "
                "calls, so it does not count what they do",
            )
    return Witness(unit=unit, answers_differ=answers[0].output != answers[1].output)


def _useless(trial: Trial, why: str) -> CommandError:
    return CommandError(
        f"{trial.facts.name!r} was not certified: {why}. Correct the samples; what was called "
        "until then has happened."
    )


def _checks_of(trial: Trial) -> Iterator[Listed]:
    contract = trial.facts.contract
    if contract.read_only:
        yield from checks.READING_CHECKS
        yield from checks.OUTPUT_CHECKS
        return
    yield from checks.EFFECT_CHECKS
    if trial.undo is not None:
        yield from checks.UNDO_CHECKS
    if trial.undo is not None or contract.fenced_compensation:
        yield from checks.FENCE_CHECKS
    if contract.check is not None:
        yield from checks.STATUS_CHECKS
    yield from checks.TIME_CHECKS
    yield from checks.OUTPUT_CHECKS


def _is_declared(promise: Promise, facts: ToolFacts) -> bool:
    contract: ToolContract = facts.contract
    match promise:
        case Promise.UNDO:
            return True
        case Promise.OUTPUT:
            return facts.output_schema is not None
        case Promise.CHECK:
            return contract.check is not None
        case Promise.RETENTION:
            return True
        case _:
            return bool(getattr(contract, promise.value))


def _verdict(found: Found, is_declared: bool) -> Verdict:
    if found.is_kept is None:
        return Verdict.CANNOT_TELL
    if is_declared:
        return Verdict.KEPT if found.is_kept else Verdict.BROKEN
    return Verdict.EXTRA if found.is_kept else Verdict.NOT_DECLARED
