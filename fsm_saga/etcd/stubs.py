"""Writes ``messages.pyi``, the types of ``messages.py``, from the table in ``schema.py``."""

from __future__ import annotations

import sys
from pathlib import Path

from fsm_saga.etcd.schema import Field, enums, messages

_HEADER = '''"""The types of messages.py, written by `python -m fsm_saga.etcd.stubs`."""

# ruff: noqa: N802, N803, N815  # the names are etcd's

from collections.abc import Iterable
from typing import Final

from google.protobuf.internal.containers import (
    RepeatedCompositeFieldContainer,
    RepeatedScalarFieldContainer,
)
from google.protobuf.message import Message
'''

_PYTHON_TYPES = {
    "bool": "bool",
    "bytes": "bytes",
    "int64": "int",
    "string": "str",
    "uint32": "int",
    "uint64": "int",
}


def render_stubs() -> str:
    """Return the text of ``messages.pyi``, as ruff would format it."""
    return "\n".join([_HEADER, *(_class(*item) for item in messages().items())])


def _class(name: str, fields: tuple[Field, ...]) -> str:
    enum_names = {enum.name for enum in enums()}
    lines = [f"class {name}(Message):"]
    for enum in enums():
        if enum.name.startswith(f"{name}."):
            lines += [f"    {value}: Final = {number}" for value, number in enum.values.items()]
    arguments = []
    for field in fields:
        is_message = field.type not in _PYTHON_TYPES and field.type not in enum_names
        plain = field.type if is_message else _PYTHON_TYPES.get(field.type, "int")
        if field.is_repeated:
            container = f"Repeated{'Composite' if is_message else 'Scalar'}FieldContainer"
            lines += _property(field.name, f"{container}[{plain}]")
            arguments.append(f"        {field.name}: Iterable[{plain}] = ...,")
        elif is_message:
            lines += _property(field.name, plain)
            arguments.append(f"        {field.name}: {plain} | None = ...,")
        else:
            lines.append(f"    {field.name}: {plain}")
            arguments.append(f"        {field.name}: {plain} = ...,")
    if arguments:
        lines += [
            "    def __init__(",
            "        self,",
            "        *,",
            *arguments,
            "    ) -> None: ...",
        ]
    else:
        lines.append("    def __init__(self) -> None: ...")
    return "\n".join(lines) + "\n"


def _property(name: str, type_name: str) -> list[str]:
    return ["    @property", f"    def {name}(self) -> {type_name}: ..."]


if __name__ == "__main__":
    target = Path(__file__).with_name("messages.pyi")
    target.write_text(render_stubs(), encoding="utf-8")
    sys.stdout.write(f"{target.name} is written.\n")
