"""What tools declare of their parameters and results, asked about a plan's literals.

A plan's parameters hold references where values will be, so a JSON Schema can only be held to
what is already there: a reference agrees with any schema, and so does whatever depends on its
value. Names are different: a missing or unknown parameter is certain, whatever the values are.

Schemas come from Python functions, from declaration files and from remote servers. They are
compiled once per tool, never fetch anything, and one that is broken is a problem, not a crash.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jsonschema_rs
from jsonschema_rs import ValidationErrorKind as Kind

from fsm_saga.core.contract import ToolFacts
from fsm_saga.plan.problems import Near, Path, listed, shown

# A mismatch that is certain although values below the place are still unknown.
_SURE_ABOVE_REFERENCES = frozenset(
    {
        "type",
        "required",
        "additionalProperties",
        "propertyNames",
        "minProperties",
        "maxProperties",
        "minItems",
        "maxItems",
        "falseSchema",
    }
)
# Keywords whose branch may or may not count, depending on values.
_CONDITIONAL = frozenset({"if", "then", "else", "anyOf", "oneOf", "not", "contains"})
# Beside properties, what may know of others. A `$ref` among them is one that is not followed.
_OPEN_BY = frozenset(
    {
        "$dynamicRef",
        "$ref",
        "allOf",
        "anyOf",
        "dependencies",
        "dependentSchemas",
        "if",
        "oneOf",
        "patternProperties",
    }
)
# In these drafts a `$ref` stands alone: what is written beside it does not count.
_LONE_REFERENCES = ("draft-04", "draft-06", "draft-07")
_REF_HOPS_MAX = 32
_SCHEMA_VISIT_MAX = 2000
_SCHEMA_DEPTH_MAX = 100
_CHECKER_MAX = 4096


@dataclass(frozen=True, slots=True)
class Mismatch:
    """Where and how parameters differ from a tool's schema."""

    code: str
    path: Path
    message: str
    hint: str


class _Same:
    """Facts compared by identity, so that a compiled schema is found without comparing schemas.

    It keeps the facts alive: an identity is never reused while it is a key.
    """

    __slots__ = ("facts",)

    def __init__(self, facts: ToolFacts) -> None:
        self.facts = facts

    def __hash__(self) -> int:
        return id(self.facts)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.facts is self.facts


@dataclass(frozen=True, slots=True, kw_only=True)
class _Checker:
    """A tool's parameter schema, compiled; ``names`` is None where any name may be used."""

    validator: jsonschema_rs.Validator | None
    broken: str | None
    names: tuple[str, ...] | None
    required: tuple[str, ...]


def params_mismatches(
    facts: ToolFacts, params: Mapping[str, Any], references: tuple[Path, ...], near: Near
) -> Iterator[Mismatch]:
    """Yield what is certainly wrong in the parameters of a call of this tool.

    Args:
        facts: The tool.
        params: The parameters as planned.
        references: Paths of the references in them, whose values are not known yet.
        near: Where suggestions come from.
    """
    checker = _checker(_Same(facts))
    if checker.broken is not None:
        yield Mismatch(
            "broken-tool-schema",
            (),
            f"The parameters of {shown(facts.name)} cannot be checked: {checker.broken}.",
            "The tool's declaration has to be mended; no other plan will help.",
        )
        return
    for name in checker.required:
        if name not in params:
            hint = f"Add {name!r}; the tool needs {listed(checker.required)}."
            message = f"The tool {shown(facts.name)} needs the parameter {shown(name)}."
            yield Mismatch("missing-param", (name,), message, hint)
    if checker.names is not None:
        for name in params:
            if name not in checker.names:
                yield _unknown_param(facts, name, checker.names, near)
    if checker.validator is not None and not checker.validator.is_valid(params):
        yield from _schema_mismatches(checker.validator, checker, params, references)


def _unknown_param(facts: ToolFacts, name: str, names: tuple[str, ...], near: Near) -> Mismatch:
    has = f"it has {listed(names)}" if names else "it has none"
    return Mismatch(
        "unknown-param",
        (name,),
        f"The tool {shown(facts.name)} has no parameter {shown(name)}.",
        near.hint(name, names, otherwise=f"Leave it out; {has}."),
    )


def _schema_mismatches(
    validator: jsonschema_rs.Validator,
    checker: _Checker,
    params: Mapping[str, Any],
    references: tuple[Path, ...],
) -> Iterator[Mismatch]:
    unknowns = _Unknowns(references)
    for error in validator.iter_errors(params):
        path = tuple(error.instance_path)
        if not path and _is_told_by_name(error, checker):
            continue
        # Not the place in the schema, which says nothing of the branch that a `$ref` stood in.
        if unknowns.may_mend(path, error.kind.name, error.evaluation_path):
            continue
        yield Mismatch(
            "param-mismatch",
            path,
            f"{error.message[:300].rstrip('.')}.",
            "Write a value that the tool's schema allows.",
        )


def _is_told_by_name(error: jsonschema_rs.ValidationError, checker: _Checker) -> bool:
    """Return whether each parameter that is missing, or one too many, was told by itself."""
    match error.kind:
        case Kind.Required(property=name):
            return name in checker.required
        case Kind.AdditionalProperties(unexpected=names):
            return checker.names is not None and set(names).isdisjoint(checker.names)
        case Kind.FalseSchema():  # what refuses every name, where none is listed
            return error.evaluation_path[-1:] == ["additionalProperties"] and checker.names == ()
        case _:
            return False


class _Unknowns:
    """The places of references: what is said of their values, or by them, is not certain."""

    def __init__(self, references: tuple[Path, ...]) -> None:
        self._at = frozenset(references)
        self._above = frozenset(each[:end] for each in references for end in range(len(each)))

    def may_mend(self, path: Path, keyword: str, way: list[str | int]) -> bool:
        """Return whether the values that references will have could set a mismatch right."""
        if path in self._at:
            return True
        if self._at and not _CONDITIONAL.isdisjoint(way[:-1]):
            return True
        return path in self._above and keyword not in _SURE_ABOVE_REFERENCES


@lru_cache(maxsize=_CHECKER_MAX)
def _checker(same: _Same) -> _Checker:
    if not same.facts.params_schema:
        return _Checker(validator=None, broken=None, names=None, required=())
    try:
        schema = _plain(same.facts.params_schema)
        validator = jsonschema_rs.validator_for(schema, offline=True)
    except (ValueError, RecursionError, jsonschema_rs.ReferencingError) as error:
        first = str(error).partition("\n")[0][:200].rstrip(".")
        return _Checker(validator=None, broken=first, names=None, required=())
    tops = _together(schema, schema)
    return _Checker(
        validator=validator, broken=None, names=_closed_names(tops), required=_required(tops)
    )


def _plain(value: Any) -> Any:
    """Return a schema made of plain dictionaries and lists, which is what the compiler takes."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _closed_names(tops: list[Mapping[str, Any]]) -> tuple[str, ...] | None:
    """Return the only names that parameters may have, or None where others are welcome.

    A schema that lists properties and says nothing of others is taken as closed: a parameter
    beyond the list is invented by the planner far more often than wanted by the tool.
    """
    listed_names: dict[str, None] = {}
    closed: list[Mapping[str, Any]] = []
    is_open, is_list = False, False
    for schema in tops:
        properties = schema.get("properties")
        names = properties if isinstance(properties, Mapping) else {}
        if schema.get("additionalProperties") is False:
            if "patternProperties" in schema:
                return None
            closed.append(names)
        else:
            is_open = is_open or _knows_of_others(schema)
        is_list = is_list or isinstance(properties, Mapping)
        listed_names.update(dict.fromkeys(names))
    if closed:  # each allows what it lists itself, whatever stands beside it
        return tuple(name for name in listed_names if all(name in names for names in closed))
    # What is needed may be given, even if nothing more is said of it.
    known = dict.fromkeys((*listed_names, *_required(tops)))
    return tuple(known) if is_list and not is_open else None


def _knows_of_others(schema: Mapping[str, Any]) -> bool:
    """Return whether a schema lets more be than it lists."""
    others = ("additionalProperties", "unevaluatedProperties")
    return any(schema.get(key, False) is not False for key in others) or any(
        key in schema for key in _OPEN_BY
    )


def _required(tops: list[Mapping[str, Any]]) -> tuple[str, ...]:
    lists = [schema.get("required") for schema in tops]
    return tuple(
        dict.fromkeys(name for each in lists if isinstance(each, list | tuple) for name in each)
    )


def required_params(facts: ToolFacts) -> tuple[str, ...]:
    """Return the names of the parameters that a call of this tool must have."""
    return _checker(_Same(facts)).required


def output_properties(facts: ToolFacts) -> frozenset[str] | None:
    """Return the names of the fields that a tool's output declares.

    None means that the output is a single value, or that nothing is known of it.
    """
    schema = facts.output_schema
    if schema is None:
        return None
    every = [each.get("properties") for each in _together(schema, schema)]
    found = [properties for properties in every if isinstance(properties, Mapping)]
    return frozenset().union(*found) if found else None


def output_is_single(facts: ToolFacts) -> bool:
    """Return whether a tool declares that its output is one plain value."""
    schema = facts.output_schema
    kinds = () if schema is None else [each.get("type") for each in _together(schema, schema)]
    return any(kind in ("string", "integer", "number", "boolean") for kind in kinds)


def lacks(facts: ToolFacts, path: tuple[str, ...]) -> str | None:
    """Return why a tool's output certainly has nothing at a path, or None if it may have."""
    return None if facts.output_schema is None or not path else _lacks(_Same(facts), path)


@lru_cache(maxsize=_CHECKER_MAX)
def _lacks(same: _Same, path: tuple[str, ...]) -> str | None:
    schema = same.facts.output_schema
    return None if schema is None else _Search(schema).lacks(schema, path)


class _Search:
    """Looks for a path in an output schema, for a bounded number of schemas.

    A schema whose branches lead back to itself would otherwise be searched for ever.
    """

    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root
        self._left = _SCHEMA_VISIT_MAX

    def lacks(self, schema: Any, path: tuple[str, ...], depth: int = 0) -> str | None:
        self._left -= 1
        if not path or not isinstance(schema, Mapping):
            return None
        if self._left < 0 or depth > _SCHEMA_DEPTH_MAX:
            return None
        reasons = (self._one_lacks(each, path, depth) for each in _together(schema, self._root))
        return next((reason for reason in reasons if reason is not None), None)

    def _one_lacks(
        self, schema: Mapping[str, Any], path: tuple[str, ...], depth: int
    ) -> str | None:
        for keyword in ("anyOf", "oneOf"):
            branches = schema.get(keyword)
            if isinstance(branches, list) and branches:
                reasons = [self.lacks(branch, path, depth + 1) for branch in branches]
                if all(reasons):
                    return reasons[0]
        types = schema.get("type")
        named = types if isinstance(types, list) else [types]
        kinds = {each for each in named if isinstance(each, str)}
        if not kinds:
            return None
        if not kinds & {"object", "array"}:
            kind = " or ".join(sorted(kinds))
            return f"it is of type {kind}, so it has no {shown(path[0])}"
        if kinds <= {"array", "null"}:
            return self._list_lacks(schema, path, depth + 1)
        return self._object_lacks(schema, path, depth + 1) if "array" not in kinds else None

    def _list_lacks(
        self, schema: Mapping[str, Any], path: tuple[str, ...], depth: int
    ) -> str | None:
        if not (path[0].isascii() and path[0].isdigit()):
            return f"it is a list, so {shown(path[0])} cannot be looked up in it"
        first = schema.get("prefixItems")
        index = int(path[0][:9])
        if isinstance(first, list) and index < len(first):
            return self.lacks(first[index], path[1:], depth)
        return self.lacks(schema.get("items", True), path[1:], depth)

    def _object_lacks(
        self, schema: Mapping[str, Any], path: tuple[str, ...], depth: int
    ) -> str | None:
        properties = schema.get("properties", {})
        if not isinstance(properties, Mapping) or "patternProperties" in schema:
            return None
        if path[0] in properties:
            return self.lacks(properties[path[0]], path[1:], depth)
        others = schema.get("additionalProperties", True)
        if others is False:
            return f"it has no {shown(path[0])}; it has {listed(properties) or 'nothing'}"
        return self.lacks(others, path[1:], depth)


def _together(schema: Mapping[str, Any], root: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the schemas that hold together: one, and what its local ``$ref`` leads to.

    One whose ``$ref`` leads nowhere keeps it; what it says is not known.
    """
    is_lone = str(root.get("$schema", "")).rpartition("/schema")[0].endswith(_LONE_REFERENCES)
    found: list[Mapping[str, Any]] = []
    for _ in range(_REF_HOPS_MAX):
        target = _target(schema.get("$ref"), root)
        if target is None:
            break
        if not is_lone:
            found.append({key: value for key, value in schema.items() if key != "$ref"})
        schema = target
    return [*found, schema]


def _target(ref: object, root: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the schema at a local ``$ref``, or None if there is none."""
    if not isinstance(ref, str) or not ref.startswith("#/"):
        return None
    target: Any = root
    for part in ref[2:].split("/"):
        if not isinstance(target, Mapping):
            return None
        target = target.get(part.replace("~1", "/").replace("~0", "~"))
    return target if isinstance(target, Mapping) else None
