"""From a function's signature to a JSON Schema, and from JSON params to its arguments.

A planner writes JSON, so params are judged as JSON is: ``"2026-02-01"`` is a date, ``"5"`` is
not a number. What the schema says and what is refused here are the same.
"""

from __future__ import annotations

import inspect
import json
import types
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Never, NoReturn, Union, get_args, get_origin, get_type_hints

import orjson
import typing_extensions
from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from pydantic.json_schema import GenerateJsonSchema

from fsm_saga.errors import ToolsError
from fsm_saga.tools.context import CallContext
from fsm_saga.tools.output import BadOutputError, json_output
from fsm_saga.tools.wording import error_line, validation_line

_Schema = dict[str, Any]

_VARIADIC = {
    inspect.Parameter.VAR_POSITIONAL: "takes *{name}: name each parameter, or take one list",
    inspect.Parameter.VAR_KEYWORD: "takes **{name}: name each parameter, or take one dictionary",
    inspect.Parameter.POSITIONAL_ONLY: "takes {name!r} by position only: remove the '/'",
}


class ParamsRefusedError(ValueError):
    """Params do not fit a tool; the message says where and why, without the values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """How a tool's params and its return value look in JSON.

    Attributes:
        params_schema: A JSON Schema of type object without additional properties.
        output_schema: Of what it returns, or None where it does not declare that.
        context_name: The parameter that receives the :class:`CallContext`, or None.
    """

    params_schema: Mapping[str, Any]
    output_schema: Mapping[str, Any] | None
    context_name: str | None
    params: TypeAdapter[dict[str, Any]]
    returns: TypeAdapter[Any] | None

    def arguments(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return fresh keyword arguments for the params; nothing is shared with ``params``.

        Raises:
            ParamsRefusedError: If one is missing, not declared or of another type.
        """
        try:
            text = json_bytes(params)
        except (TypeError, ValueError):
            raise ParamsRefusedError("they are not plain JSON") from None
        try:
            return self.params.validate_json(text, strict=True)
        except ValidationError as error:
            if _has_whole_floats_only(error):
                return self.params.validate_json(text)
            raise ParamsRefusedError(validation_line(error, may_quote=True)) from None


def json_bytes(params: object) -> bytes:
    """Return a JSON value as text, also one with whole numbers beyond 64 bits."""
    try:
        return orjson.dumps(params, default=_plain)
    except orjson.JSONEncodeError:
        return json.dumps(params, default=_plain, allow_nan=False).encode()


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is not JSON")


def _has_whole_floats_only(error: ValidationError) -> bool:
    """True when all that is wrong is a 5.0 for an integer, which JSON Schema takes for one."""
    return all(
        problem["type"] == "int_type"
        and isinstance(problem["input"], float)
        and problem["input"].is_integer()
        for problem in error.errors(include_url=False, include_context=False)
    )


def read_signature(
    function: Callable[..., Any], name: str, local_names: Mapping[str, Any] | None = None
) -> Signature:
    """Return how the function is called with JSON.

    Args:
        function: What the tool runs.
        name: The tool's name, for messages.
        local_names: Names that annotations may use beside those of the function's module.

    Raises:
        ToolsError: If the function cannot be called with JSON; a ``__cause__`` that is a
            ``NameError`` says that an annotation names what does not exist (yet).
    """
    hints = _hints(function, name, local_names)
    fields: dict[str, Any] = {}
    defaults: dict[str, Any] = {}
    context_names = []
    for parameter in _parameters(function, name):
        hint = hints.get(parameter.name, Any)
        if _is_context(hint):
            context_names.append(parameter.name)
            continue
        _check_parameter(name, parameter, hint)
        if parameter.default is not inspect.Parameter.empty:
            defaults[parameter.name] = parameter.default
            hint = typing_extensions.NotRequired[hint]
        fields[parameter.name] = hint
    if len(context_names) > 1:
        raise _refused(name, f"{' and '.join(context_names)} both receive the CallContext")
    params, params_schema = _params(name, fields)
    _show_defaults(params_schema["properties"], defaults)
    returns, output_schema = _returns(name, hints.get("return"))
    return Signature(
        params_schema=params_schema,
        output_schema=output_schema,
        context_name=context_names[0] if context_names else None,
        params=params,
        returns=returns,
    )


def _refused(name: str, why: str) -> ToolsError:
    return ToolsError(f"Tool {name!r} was refused: {why}. It was not registered.")


def _hints(
    function: Callable[..., Any], name: str, local_names: Mapping[str, Any] | None
) -> dict[str, Any]:
    while isinstance(function, partial):
        function = function.func
    if not inspect.isroutine(function):
        function = type(function).__call__
    try:
        return get_type_hints(function, localns=local_names, include_extras=True)
    except NameError as error:
        raise _refused(
            name,
            f"its annotations use {error.name or str(error)!r}, which cannot be found when it is "
            "called: import or define it at the top of the module, not under TYPE_CHECKING",
        ) from error
    except Exception as error:  # boundary: annotations are the user's own code
        raise _refused(name, f"its annotations cannot be read: {error_line(error)}") from error


def _parameters(function: Callable[..., Any], name: str) -> Iterable[inspect.Parameter]:
    try:
        return inspect.signature(function).parameters.values()
    except (TypeError, ValueError) as error:
        raise _refused(name, f"its parameters cannot be read: {error_line(error)}") from error


def _check_parameter(name: str, parameter: inspect.Parameter, hint: Any) -> None:
    if parameter.kind in _VARIADIC:
        raise _refused(name, f"it {_VARIADIC[parameter.kind].format(name=parameter.name)}")
    if parameter.name in ("self", "cls") and hint is Any:
        raise _refused(
            name,
            f"it takes {parameter.name!r}, so it is a method: make the tool of the bound method, "
            "as in tool(name='book')(service.book)",
        )
    if isinstance(parameter.default, FieldInfo):
        raise _refused(
            name,
            f"the default of {parameter.name!r} is a Field: write "
            f"{parameter.name}: Annotated[..., Field(...)] = default",
        )
    if _mentions_context(hint):
        raise _refused(
            name,
            f"{parameter.name!r} holds a CallContext inside another type: annotate one parameter "
            "as CallContext itself",
        )


def _is_context(hint: Any) -> bool:
    if get_origin(hint) is Annotated:
        return _is_context(get_args(hint)[0])
    if get_origin(hint) in (Union, types.UnionType):
        rest = [member for member in get_args(hint) if member is not types.NoneType]
        return len(rest) == 1 and _is_context(rest[0])
    return hint is CallContext


def _mentions_context(hint: Any) -> bool:
    return hint is CallContext or any(_mentions_context(part) for part in get_args(hint))


class _PlainSchema(GenerateJsonSchema):
    """A schema without the titles that only repeat a field's name: models read it, at a price."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def _params(name: str, fields: dict[str, Any]) -> tuple[TypeAdapter[dict[str, Any]], _Schema]:
    try:
        return _params_of(fields)
    except Exception as error:  # boundary: pydantic runs hooks of the user's types
        where = f"parameter {_culprit(fields)!r}"
        raise _no_form(name, where, error) from error


def _params_of(fields: dict[str, Any]) -> tuple[TypeAdapter[dict[str, Any]], _Schema]:
    # A dictionary type has no attributes, so parameters may be called `json`, `copy` or `_x`;
    # a parameter left out stays out, and the function's own default applies.
    make: Any = typing_extensions.TypedDict
    typed_dict = make("Params", fields)
    typed_dict.__pydantic_config__ = ConfigDict(extra="forbid")
    adapter: TypeAdapter[dict[str, Any]] = TypeAdapter(typed_dict)
    schema = adapter.json_schema(schema_generator=_PlainSchema)
    schema.pop("title", None)
    schema.setdefault("properties", {})
    return adapter, schema


def _culprit(fields: dict[str, Any]) -> str:
    for field, hint in fields.items():
        try:
            _params_of({field: hint})
        except Exception:  # noqa: BLE001  # boundary: the same hooks, one by one
            return field
    return ", ".join(fields)


def _returns(name: str, hint: Any) -> tuple[TypeAdapter[Any] | None, _Schema | None]:
    if get_origin(hint) in (Awaitable, Coroutine):
        hint = get_args(hint)[-1]
    if hint in (None, types.NoneType, Any, object, NoReturn, Never):
        return None, None
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(hint)
        schema = adapter.json_schema(mode="serialization", schema_generator=_PlainSchema)
    except Exception as error:  # boundary: pydantic runs hooks of the user's types
        raise _no_form(name, "its return type", error) from error
    return adapter, schema


def _no_form(name: str, where: str, error: Exception) -> ToolsError:
    # What pydantic advises is about its own settings, which are of no use here.
    reason = error_line(error)
    for advice in (" Set `arbitrary_types", " If you want to", " For further information"):
        reason = reason.split(advice, 1)[0]
    why = f"{where} has no form in JSON ({reason.rstrip('.')}): use plain values, a pydantic model"
    return _refused(name, f"{why} or a dataclass")


def _show_defaults(properties: dict[str, Any], defaults: Mapping[str, Any]) -> None:
    for name in defaults.keys() & properties.keys():
        with suppress(BadOutputError):
            properties[name]["default"] = json_output(defaults[name])
