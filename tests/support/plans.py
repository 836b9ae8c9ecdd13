"""Plans and tools in a notation that fits on a line, for stories and for unit tests.

A plan has one step on each line, its way back after the slash, its options after the semicolon::

    1 book_flight day=Mon / cancel_flight id=$output.step_1.id
    2 pay sum=100 / refund id=$output.step_2.id ; retry=3*1..8 after=1
    3 tell who=Ann / "say that we are sorry" ; kind=retriable
    deadline 60
    input who="Ann"

A value is JSON if it can be read as such, else a text; it has no spaces outside quotes. Options:
``after=1,2`` (``after=-`` for a root), ``kind=``, ``retry=attempts*delay..longest``, ``timeout=``,
``deadline=``, ``approval=yes`` or seconds, ``undo-retry=``, ``undo-timeout=``.

A tool is a name and what it promises::

    pay fenced check=ask_pay
    look read_only
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from fsm_saga.core.contract import ToolContract, ToolFacts
from fsm_saga.plan.model import Plan

_TOKEN = re.compile(r'(?P<name>[\w-]+)=(?P<value>"(?:[^"\\]|\\.)*"|\S+)')
_RETRY = re.compile(r"(\d+)(?:\*(\d+(?:\.\d+)?)(?:\.\.(\d+(?:\.\d+)?))?)?")

_PROMISES: Mapping[str, tuple[str, bool]] = {
    "fenced": ("fenced_compensation", True),
    "no-dedupe": ("dedupe", False),
    "forgets-refusals": ("sticky_failures", False),
    "fencing-check": ("check_fences", True),
    "deadline": ("deadline", True),
    "read_only": ("read_only", True),
}


def plan_of(task_id: str, text: str) -> Plan:
    """Return the plan that the lines of ``text`` describe."""
    body: dict[str, Any] = {"task_id": task_id, **steps_of(text)}
    return Plan.of(body)


def steps_of(text: str) -> dict[str, Any]:
    """Return ``steps`` and the plan's own fields, as a planner would write them."""
    body: dict[str, Any] = {"steps": []}
    for line in _lines(text):
        word, _, rest = line.partition(" ")
        if word == "deadline":
            body["deadline_s"] = float(rest)
        elif word == "input":
            body.setdefault("inputs", {}).update(pairs_of(rest))
        elif word == "goal":
            body["goal"] = rest
        else:
            body["steps"].append(_step(line))
    return body


def catalogue_of(text: str = "", plans: Iterable[Plan] = ()) -> dict[str, ToolFacts]:
    """Return the tools that the lines of ``text`` declare, and those that the plans name."""
    found = {facts.name: facts for facts in map(_tool, _lines(text))}
    names = [facts.contract.check for facts in found.values()]
    names += [facts.undo for facts in found.values()]
    for plan in plans:
        for step in plan.steps:
            names.append(step.tool)
            names.append(getattr(step.rollback, "tool", None))
    for name in names:
        if name is not None and name not in found:
            found[name] = _tool(name)
    return found


def value_of(text: str) -> Any:
    """Return a value as JSON, or the text itself."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.strip().splitlines() if line.strip()]


def pairs_of(text: str) -> dict[str, Any]:
    """Return every ``name=value`` in a text."""
    return {match["name"]: value_of(match["value"]) for match in _TOKEN.finditer(text)}


def _step(line: str) -> dict[str, Any]:
    call, _, options = line.partition(" ; ")
    action, _, rollback = call.partition(" / ")
    step_id, tool, *rest = action.split(None, 2)
    step: dict[str, Any] = {
        "step_id": value_of(step_id),
        "tool": tool,
        "params": pairs_of(" ".join(rest)),
    }
    if rollback.startswith('"'):
        step["rollback"] = {"semantic": json.loads(rollback)}
    elif rollback:
        tool, *rest = rollback.split(None, 1)
        step["rollback"] = {"tool": tool, "params": pairs_of(" ".join(rest))}
    for match in _TOKEN.finditer(options):
        _set_option(step, match["name"], match["value"])
    return step


def _set_option(step: dict[str, Any], name: str, value: str) -> None:
    match name:
        case "after":
            step["depends_on"] = (
                [] if value == "-" else [value_of(each) for each in value.split(",")]
            )
        case "kind":
            step["kind"] = value
        case "name":
            step["name"] = value_of(value)
        case "timeout" | "deadline":
            step[f"{name}_s"] = float(value)
        case "approval":
            step["approval"] = True if value == "yes" else {"expires_s": float(value)}
        case "retry":
            step["retry"] = _retry(value)
        case "undo-retry":
            step["rollback"]["retry"] = _retry(value)
        case "undo-timeout":
            step["rollback"]["timeout_s"] = float(value)
        case _:
            raise ValueError(f"no option {name!r}")


def _retry(text: str) -> dict[str, Any]:
    match = _RETRY.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not attempts*delay..longest")
    attempts, delay_s, longest_s = match.groups()
    retry: dict[str, Any] = {"attempts": int(attempts)}
    if delay_s is not None:
        retry["delay_s"] = float(delay_s)
    if longest_s is not None:
        retry["delay_s_max"] = float(longest_s)
    return retry


def _tool(line: str) -> ToolFacts:
    name, *words = line.split()
    promises: dict[str, Any] = {}
    undo = None
    schema: dict[str, Any] = {"type": "object"}
    output: dict[str, Any] | None = None
    for word in words:
        key, _, value = word.partition("=")
        if word in _PROMISES:
            promise, kept = _PROMISES[word]
            promises[promise] = kept
        elif key == "check":
            promises["check"] = value
        elif key == "retention":
            promises["retention_s"] = float(value)
        elif key == "undo":
            undo = value
        elif key == "params":
            names = value.split(",")
            schema = {"type": "object", "properties": {n: {} for n in names}, "required": names}
        elif key == "returns":
            names = value.split(",")
            output = {"type": "object", "properties": {n: {} for n in names}, "required": names}
        else:
            raise ValueError(f"tool {name!r} cannot promise {word!r}")
    return ToolFacts(
        name=name,
        params_schema=schema,
        output_schema=output,
        contract=ToolContract(**promises),
        undo=undo,
    )
