"""Stored sagas held against today's code and tools: what is under way must be able to go on.

A saga may wait for days, and meanwhile a new version of the tools is deployed. What was frozen at
submission stays, but the calls are made by the tools of that day: one that is gone, that wants
other parameters or that promises less than it did strands every saga that still needs it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from fsm_saga.coordinator.reading import JournalReader, read_saga
from fsm_saga.core.contract import ToolContract, ToolFacts
from fsm_saga.core.saga import Saga
from fsm_saga.core.states import Phase, StepStatus
from fsm_saga.errors import FsmSagaError, Problem
from fsm_saga.plan.lint import lint
from fsm_saga.stores.opening import open_store

TOLD_MAX = 20
_BEHIND = frozenset({StepStatus.SUCCEEDED, StepStatus.COMPENSATED, StepStatus.SKIPPED})
_PROMISES = ("dedupe", "sticky_failures", "fenced_compensation", "check_fences", "deadline")


@dataclass(slots=True, kw_only=True)
class Replays:
    """What a store came to when it was read again.

    Attributes:
        sagas: How many journals were read.
        unfinished: How many of them are of sagas that are still to go on.
        problems: What stands in the way, one line each.
    """

    sagas: int = 0
    unfinished: int = 0
    problems: list[str]

    def text(self) -> str:
        """Return the problems as one text."""
        lines = self.problems[:TOLD_MAX]
        more = len(self.problems) - len(lines)
        return "\n".join([*lines, f"... and {more} more"] if more > 0 else lines)


async def replay(url: str, catalogue: Mapping[str, ToolFacts] | None) -> Replays:
    """Read every saga of a store again, and say what today's tools would make of it.

    Args:
        url: Of the store; it is only read.
        catalogue: What today's tools declare; None holds nothing against tools.

    Raises:
        StoreError: If the store cannot be opened.
    """
    found = Replays(problems=[])
    async with open_store(url, mode="read") as store:
        for head in await store.heads():
            found.sagas += 1
            try:
                saga, reader = read_saga(await store.load(head.saga_id) or ())
            except FsmSagaError as error:
                found.problems.append(f"{head.saga_id}: {error}")
                continue
            told = f"{head.state} {head.outcome}"
            if str(saga.state) != head.state or (saga.outcome or None) != head.outcome:
                now = f"{saga.state} {saga.outcome}"
                found.problems.append(f"{head.saga_id}: it was {told} and is now read as {now}")
            if not saga.state.is_final:
                found.unfinished += 1
                if catalogue is not None:
                    told = f"{head.saga_id} ({saga.state})"
                    found.problems += [
                        f"{told}: {why}" for why in _obstacles(saga, reader, catalogue)
                    ]
    return found


def _obstacles(
    saga: Saga, reader: JournalReader, catalogue: Mapping[str, ToolFacts]
) -> Iterator[str]:
    """Yield why an unfinished saga could not go on with these tools."""
    if reader.plan is None:
        return
    for problem in lint(reader.plan, catalogue, is_open=saga.program.is_open):
        if _matters(saga, problem):
            yield f"{problem.pointer}: {problem.message} [{problem.code}]"
    for index, undo in reader.declared.get("rollbacks", {}).items():
        status = saga.steps[int(index)].status
        if undo["tool"] not in catalogue and status is not StepStatus.COMPENSATED:
            yield f"/steps/{index}: its undo, tool {undo['tool']!r}, is not there"
    for name, stored in reader.declared.get("contracts", {}).items():
        facts = catalogue.get(name)
        if facts is None:
            continue  # told by the rules above, where it matters
        for promise in _broken(ToolContract(**stored), facts.contract):
            yield f"tool {name!r} promised {promise} when it was submitted, and does not now"


def _matters(saga: Saga, problem: Problem) -> bool:
    """Return whether what is wrong with a plan is about a call that may still be made."""
    parts = problem.pointer.split("/")
    if len(parts) < 3 or parts[1] != "steps" or not parts[2].isdecimal():
        return True
    status = saga.steps[int(parts[2])].status
    if len(parts) > 3 and parts[3] == "rollback":
        return status is not StepStatus.COMPENSATED
    return status not in _BEHIND and saga.state.phase is not Phase.COMPENSATING


def _broken(then: ToolContract, now: ToolContract) -> Iterator[str]:
    for promise in _PROMISES:
        if getattr(then, promise) and not getattr(now, promise):
            yield promise
    if then.check is not None and now.check != then.check:
        yield f"check={then.check!r}"
    if now.retention_s is not None and (
        then.retention_s is None or now.retention_s < then.retention_s
    ):
        kept = "for ever" if then.retention_s is None else f"{then.retention_s:g} s"
        yield f"to remember calls {kept}"
