"""What played tools return for a given plan: values that fit their schemas and the references."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fsm_saga.core.contract import ToolFacts
from fsm_saga.plan.model import Plan
from fsm_saga.plan.references import Use, collect
from fsm_saga.simulation.tools import Outputs

DEPTH_MAX = 8
_TEXTS = {
    "date": "2026-01-01",
    "date-time": "2026-01-01T00:00:00Z",
    "time": "00:00:00Z",
    "duration": "PT1S",
    "email": "somebody@example.org",
    "uri": "https://example.org/",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "ipv4": "192.0.2.1",
}

Schema = Mapping[str, Any] | bool


class PlanOutputs(Outputs):
    """An output for each step of a plan.

    Args:
        plan: The plan.
        catalogue: What its tools declare.
    """

    def __init__(self, plan: Plan, catalogue: Mapping[str, ToolFacts]) -> None:
        self._wholes = examples_of(plan, catalogue)
        self._is_declared = [
            step.tool in catalogue and catalogue[step.tool].output_schema is not None
            for step in plan.steps
        ]

    def whole(self, saga_id: str, step: int) -> Any:
        """Return what the action of a step returns."""
        return self._wholes[step] if step < len(self._wholes) else {}

    def poor(self, saga_id: str, step: int) -> Any:
        """Return an output without anything in it, unless the tool's schema rules that out."""
        if step < len(self._wholes) and self._is_declared[step]:
            return self._wholes[step]
        return {}

    def read(self, saga_id: str, step: int) -> Any:
        """Return what a step that only reads returns."""
        return self.whole(saga_id, step)


def examples_of(plan: Plan, catalogue: Mapping[str, ToolFacts]) -> list[Any]:
    """Return for each step an output that its tool's schema and all references to it fit."""
    found: list[Any] = []
    for step in plan.steps:
        facts = catalogue.get(step.tool)
        schema = None if facts is None else facts.output_schema
        name = str(step.step_id)
        found.append(None if schema is None else example(schema, name=name))
    uses = collect(plan)
    for use in uses.all:
        source = uses.source(use)
        if source is not None:
            wanted = _wanted(plan, catalogue, use)
            leaf = str(use.names.path[-1]) if use.names.path else "output"
            name = f"{leaf}-{plan.steps[source].step_id}"
            value = example(wanted[0], name=name, root=wanted[1])
            found[source] = _with(found[source], use.names.path, value)
    return [{} if output is None else output for output in found]


def _wanted(
    plan: Plan, catalogue: Mapping[str, ToolFacts], use: Use
) -> tuple[Schema, Mapping[str, Any]]:
    """Return the schema of the parameter that a reference stands for, and the schema around it."""
    step = plan.steps[use.step]
    tool = step.tool if use.place == "params" else getattr(step.rollback, "tool", "")
    facts = catalogue.get(tool)
    if facts is None:
        return {}, {}
    root = facts.params_schema
    schema: Schema = root
    for key in use.path:
        schema = _resolved(schema, root)
        if isinstance(schema, bool):
            break
        inner = schema.get("properties", {}).get(key) if isinstance(key, str) else None
        schema = inner if inner is not None else schema.get("items", {})
    return schema, root


def _with(value: Any, path: Sequence[str], leaf: Any) -> Any:
    """Return the value with something at the end of the path, what is there already is kept."""
    if not path:
        return leaf if value is None else value
    key, rest = path[0], path[1:]
    if isinstance(value, list) or (value is None and key.isdigit()):
        items = list(value or [])
        index = int(key) if key.isdigit() else 0
        items += [items[-1] if items else None] * (index + 1 - len(items))
        items[index] = _with(items[index], rest, leaf)
        return items
    inner = dict(value) if isinstance(value, Mapping) else {}
    inner[key] = _with(inner.get(key), rest, leaf)
    return inner


def example(
    schema: Schema, *, name: str, root: Mapping[str, Any] | None = None, depth: int = 0
) -> Any:
    """Return a value that fits a JSON Schema, as far as a short look tells.

    Args:
        schema: The schema.
        name: What a text in it says.
        root: Where its references lead; the schema itself if not given.
        depth: How deep it lies.

    Example:
        >>> example({"type": "object", "properties": {"id": {"type": "integer"}}}, name="x")
        {'id': 1}
    """
    if root is None:
        root = schema if isinstance(schema, Mapping) else {}
    schema = _resolved(schema, root)
    if isinstance(schema, bool) or depth > DEPTH_MAX:
        return name
    for word in ("const", "default"):
        if word in schema:
            return schema[word]
    for word in ("enum", "examples"):
        if schema.get(word):
            return schema[word][0]
    for word in ("anyOf", "oneOf", "allOf"):
        if schema.get(word):
            branches = [b for b in schema[word] if not _is_null(b)] or schema[word]
            return example(branches[0], name=name, root=root, depth=depth + 1)
    return _of_type(schema, name, root, depth)


def _of_type(schema: Mapping[str, Any], name: str, root: Mapping[str, Any], depth: int) -> Any:
    kind = schema.get("type", "object" if "properties" in schema else None)
    if isinstance(kind, list):
        kind = next((each for each in kind if each != "null"), "null")
    match kind:
        case "object":
            return {
                key: example(inner, name=f"{key}-{name}", root=root, depth=depth + 1)
                for key, inner in schema.get("properties", {}).items()
            }
        case "array":
            items = schema.get("prefixItems") or [schema.get("items", {})] * max(
                1, min(schema.get("minItems", 1), 8)
            )
            return [example(inner, name=name, root=root, depth=depth + 1) for inner in items]
        case "integer" | "number":
            return _number(schema)
        case "boolean":
            return True
        case "null":
            return None
        case _:
            text = _TEXTS.get(schema.get("format", ""), name)
            text = text.ljust(schema.get("minLength", 0), "-")
            return text[: schema.get("maxLength", len(text))]


def _number(schema: Mapping[str, Any]) -> Any:
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is None and "exclusiveMinimum" in schema:
        low = schema["exclusiveMinimum"] + 1
    if low is not None:
        return max(low, 1) if high is None or high >= 1 else low
    return 1 if high is None else min(high, 1)


def _resolved(schema: Schema, root: Mapping[str, Any]) -> Schema:
    for _hop in range(DEPTH_MAX):
        if isinstance(schema, bool) or "$ref" not in schema:
            return schema
        found: Any = root
        for part in str(schema["$ref"]).removeprefix("#").split("/")[1:]:
            found = found.get(part) if isinstance(found, Mapping) else None
        schema = found if isinstance(found, Mapping | bool) else {}
    return {}


def _is_null(schema: Schema) -> bool:
    return isinstance(schema, Mapping) and schema.get("type") == "null"
