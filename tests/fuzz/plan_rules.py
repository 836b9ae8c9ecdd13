"""A second, naive opinion on an accepted plan, worked out from its JSON and nothing else.

It shares no code with the checks: plain dictionaries, one walk per question. Whatever it finds
in a plan that was accepted is a hole in them.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Any

from fsm_saga.core.contract import ToolFacts
from fsm_saga.core.limits import LIMITS
from tests.fuzz.words import PLAN_FIELDS

_REFERENCE = re.compile(r"\$(output|input)\.([^.]+)(?:\..+)?\Z", re.DOTALL)
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_IN_NAMES = re.compile(_CONTROL.pattern[:-1] + "\t\n\r]")


def faults(
    plan: Mapping[str, Any], tools: Mapping[str, ToolFacts], allowed: frozenset[str] | None
) -> Iterator[str]:
    """Yield what is wrong with a plan, its canonical JSON as Python values."""
    steps = plan["steps"]
    if not 1 <= len(steps) <= LIMITS.step_max:
        yield f"{len(steps)} steps"
    yield from _unknown_fields(plan)
    yield from _bad_texts(plan)
    names = [_key(step["step_id"]) for step in steps]
    if len(set(names)) != len(names):
        yield f"ids are not unique: {names}"
    for name in _tools_of(steps):
        if name not in tools or (allowed is not None and name not in allowed):
            yield f"tool {name!r} is unknown or not allowed"
    graph = _graph(steps, names)
    if graph is None:
        yield "a dependency names no step"
        return
    try:
        tuple(TopologicalSorter(graph).static_order())
    except CycleError as error:
        yield f"a circle: {error.args[1]}"
        return
    yield from _bad_references(plan, names, graph)
    yield from _no_way_back(steps, names, graph, tools)


def _key(step_id: Any) -> str:
    return unicodedata.normalize("NFC", str(step_id))


def _tools_of(steps: list[dict[str, Any]]) -> Iterator[str]:
    for step in steps:
        yield step["tool"]
        if "tool" in step.get("rollback", {}):
            yield step["rollback"]["tool"]


def _unknown_fields(plan: Mapping[str, Any]) -> Iterator[str]:
    parts = [plan, *plan["steps"]]
    parts += [
        step[name] for step in plan["steps"] for name in ("rollback", "retry") if name in step
    ]
    for part in parts:
        unknown = set(part) - set(PLAN_FIELDS)
        if unknown:
            yield f"fields {sorted(unknown)}"


def _bad_texts(plan: Mapping[str, Any]) -> Iterator[str]:
    if _CONTROL.search(plan.get("goal", "")):
        yield "a control character in the goal"
    for step in plan["steps"]:
        for text in (str(step["step_id"]), step["tool"], step.get("name", "")):
            if _IN_NAMES.search(text):
                yield f"a control character in {text!r}"
    if "/" in plan["task_id"] or "\\" in plan["task_id"] or not plan["task_id"].strip():
        yield f"task_id {plan['task_id']!r}"


def _waits_for(steps: list[dict[str, Any]], index: int) -> list[Any]:
    if "depends_on" in steps[index]:
        return list(steps[index]["depends_on"])
    return [steps[index - 1]["step_id"]] if index else []


def _graph(steps: list[dict[str, Any]], names: list[str]) -> dict[str, set[str]] | None:
    """Return for each step those that it waits for, references included."""
    graph: dict[str, set[str]] = {}
    for index, step in enumerate(steps):
        needs = set()
        for written in _waits_for(steps, index):
            name = _step_named(written, names)
            if name is None:
                return None
            needs.add(name)
        for kind, target, place in _references(step):
            found = _step_named(target, names) if kind == "output" else None
            if found is not None and (place == "params" or found != names[index]):
                needs.add(found)
        graph[names[index]] = needs
    return graph


def _step_named(written: Any, names: list[str]) -> str | None:
    name = _key(written)
    bare = name.removeprefix("step_")
    return next((each for each in (name, bare, f"step_{bare}") if each in names), None)


def _references(step: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield namespace, name and place of each text that begins like a reference."""
    for place, value in (("params", step), ("rollback", step.get("rollback", {}))):
        for text in _texts(value.get("params", {})):
            if text.startswith(("$output", "$input")):
                match = _REFERENCE.match(text)
                yield (match[1], match[2], place) if match else ("malformed", text, place)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)


def _before(graph: dict[str, set[str]], name: str) -> set[str]:
    found: set[str] = set()
    queue = list(graph[name])
    while queue:
        each = queue.pop()
        if each not in found:
            found.add(each)
            queue += graph[each]
    return found


def _bad_references(
    plan: Mapping[str, Any], names: list[str], graph: dict[str, set[str]]
) -> Iterator[str]:
    for step, name in zip(plan["steps"], names, strict=True):
        before: set[str] | None = None
        for kind, target, place in _references(step):
            if kind == "input":
                if target not in plan.get("inputs", {}):
                    yield f"input {target!r} is not there"
                continue
            found = _step_named(target, names) if kind == "output" else None
            if found is None:
                yield f"{kind} reference to {target!r}"
                continue
            if found == name and place == "rollback":
                continue
            before = _before(graph, name) if before is None else before
            if found not in before:
                yield f"step {name!r} uses {target!r}, which is not certainly before it"


def _no_way_back(
    steps: list[dict[str, Any]],
    names: list[str],
    graph: dict[str, set[str]],
    tools: Mapping[str, ToolFacts],
) -> Iterator[str]:
    """Yield steps that cannot be undone although something that may fail can come after them."""
    by_name = dict(zip(names, steps, strict=True))
    pivots = {name for name in names if _is_irrevocable(by_name[name], tools)}
    sure = {name for name in names if by_name[name].get("kind") == "retriable"}
    if len(pivots - sure) > 1:
        yield f"two points of no return: {sorted(pivots - sure)}"
    for pivot in pivots:
        past = _before(graph, pivot)
        for name in names:
            is_safe = name in past or name in sure or name in pivots
            if not is_safe and not _reads_only(by_name[name], tools):
                yield f"step {name!r} may fail after {pivot!r}, which cannot be undone"


def _reads_only(step: dict[str, Any], tools: Mapping[str, ToolFacts]) -> bool:
    declared = tools[step["tool"]].contract.read_only and "kind" not in step
    return bool(declared or step.get("kind") == "read_only")


def _is_irrevocable(step: dict[str, Any], tools: Mapping[str, ToolFacts]) -> bool:
    if _reads_only(step, tools):
        return False
    if step.get("kind") == "pivot":
        return True
    return "rollback" not in step and tools[step["tool"]].undo is None
