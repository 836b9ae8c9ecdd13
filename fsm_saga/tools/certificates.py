"""Certificates: what certifying a tool found, kept in a file and held against the tool of today.

A certificate is about one tool as it was: its declaration, its schemas and the file that its
code is in, and the same of its undo and its check. If any of that has changed, it is outdated
and proves nothing. What the code calls elsewhere is not looked at.
"""

from __future__ import annotations

import datetime
import hashlib
import inspect
import json
import os
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, ValidationError

from fsm_saga.core.contract import Standing, ToolContract, ToolFacts
from fsm_saga.errors import ToolsError
from fsm_saga.tools.python import Tool
from fsm_saga.tools.wording import validation_line

FORMAT = 1
FOLDER = Path(".fsm-saga", "certificates")
BYTES_MAX = 1_000_000
_FILE_CHARS_MAX = 120


class Certificate(BaseModel):
    """What was found about one tool on one day.

    Attributes:
        format: The version of this form.
        tool: Its name.
        undo: The tool that undid it.
        fingerprint: Of the tool, its undo and its check, as they were.
        contract: What it declared.
        proven: Declared promises that were kept in every check.
        broken: Declared promises that a check refuted.
        untried: Promises of which something could not be told.
        extra: Promises that it kept without declaring them.
        checks: Each check with its verdict, without the calls.
        certified_at: When, in UTC.
        version: The version of fsm_saga that found it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: int = FORMAT
    tool: str
    undo: str | None
    fingerprint: str
    contract: dict[str, Any]
    proven: tuple[str, ...]
    broken: tuple[str, ...]
    untried: tuple[str, ...]
    extra: tuple[str, ...]
    checks: tuple[dict[str, str], ...]
    certified_at: datetime.datetime
    version: str

    @property
    def standing(self) -> Standing:
        """What it says of the tool as it was."""
        if self.broken:
            return Standing.REFUTED
        return Standing.PARTLY if self.untried else Standing.CERTIFIED

    def write(self, folder: Path) -> Path:
        """Write it into the folder, whole or not at all, and return the file.

        Raises:
            OSError: If the folder cannot be written to.
        """
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / file_name(self.tool)
        draft = path.with_name(f"{path.name}.{os.getpid()}.new")
        draft.write_text(self.model_dump_json(indent=2) + "\n", encoding="utf-8")
        draft.replace(path)
        return path


def file_name(tool: str) -> str:
    """Return the name of a tool's certificate; nothing in a tool's name leads out of the folder.

    Example:
        >>> file_name("book_flight"), file_name("../mail")
        ('book_flight.json', '..%2Fmail.json')
    """
    name = quote(tool, safe="")
    if len(name) > _FILE_CHARS_MAX:
        name = f"{name[:_FILE_CHARS_MAX]}-{hashlib.sha256(tool.encode()).hexdigest()[:16]}"
    return f"{name}.json"


def fingerprint_of(
    name: str, tools: Mapping[str, Tool[..., Any]], *, undo: str | None = None
) -> str:
    """Return a digest of a tool, its undo and its check: declarations, schemas, source files.

    Args:
        name: The tool.
        tools: All tools, by name. One that is missing counts as missing.
        undo: The tool that undoes it, where it declares none.
    """
    tool = tools[name]
    undo = tool.undo if tool.undo is not None else undo
    parts = {
        "tool": _parts(tool),
        "undo": _parts(tools.get(undo)) if undo is not None else None,
        "check": _parts(tools.get(tool.contract.check)) if tool.contract.check else None,
    }
    text = json.dumps([FORMAT, parts], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _parts(tool: Tool[..., Any] | None) -> dict[str, Any] | None:
    if tool is None:
        return None
    facts = tool.facts
    return {
        "name": facts.name,
        "contract": contract_parts(facts.contract),
        "undo": facts.undo,
        "params": dict(facts.params_schema),
        "output": None if facts.output_schema is None else dict(facts.output_schema),
        "source": _source_digest(tool),
    }


def contract_parts(contract: ToolContract) -> dict[str, Any]:
    """Return every promise of a contract, by name."""
    return {name: getattr(contract, name) for name in ToolContract.__annotations__}


def _source_digest(tool: Tool[..., Any]) -> str:
    """Return a digest of the file that a tool's code is in; empty where there is none."""
    function: Any = tool.function
    while isinstance(function, partial):
        function = function.func
    function = inspect.unwrap(function)
    try:
        file = inspect.getsourcefile(function)
        body = b"" if file is None else Path(file).read_bytes()
    except (TypeError, OSError):
        return ""
    return hashlib.sha256(body).hexdigest()


class Certificates:
    """The certificates of a folder, by tool.

    Args:
        found: The certificates.
    """

    def __init__(self, found: Mapping[str, Certificate]) -> None:
        self._found = dict(found)

    @classmethod
    def read(cls, folder: str | os.PathLike[str]) -> Certificates:
        """Return every certificate of a folder.

        Raises:
            ToolsError: If there is no such folder, or a file in it is no certificate.
        """
        path = Path(folder)
        if not path.is_dir():
            raise ToolsError(
                f"Certificates were not read from {str(folder)!r}: it is no folder. Nothing was "
                "started; `fsm-saga certify` writes them."
            )
        found = [_read(file) for file in sorted(path.glob("*.json"))]
        return cls({certificate.tool: certificate for certificate in found})

    def __contains__(self, tool: object) -> bool:
        return tool in self._found

    def __iter__(self) -> Iterator[Certificate]:
        return iter(self._found.values())

    def get(self, tool: str) -> Certificate | None:
        """Return a tool's certificate, outdated or not."""
        return self._found.get(tool)

    def judged(self, facts: ToolFacts, tools: Mapping[str, Tool[..., Any]]) -> ToolFacts:
        """Return a tool's facts with what its certificate says of them."""
        certificate = self._found.get(facts.name)
        if certificate is None:
            return facts
        standing = certificate.standing
        if certificate.fingerprint != fingerprint_of(facts.name, tools, undo=certificate.undo):
            standing = Standing.OUTDATED
        refuted = certificate.broken if standing is Standing.REFUTED else ()
        known = {name: getattr(facts, name) for name in ToolFacts.__annotations__}
        return ToolFacts(**known | {"standing": standing, "refuted": refuted})


def _read(file: Path) -> Certificate:
    try:
        with file.open("rb") as opened:
            text = opened.read(BYTES_MAX + 1)
        if len(text) > BYTES_MAX:
            raise _bad(file, f"it is longer than {BYTES_MAX} bytes")
        certificate = Certificate.model_validate_json(text)
    except ValidationError as error:
        raise _bad(file, validation_line(error, may_quote=False)) from error
    except OSError as error:
        raise _bad(file, error.strerror or str(error)) from error
    if certificate.format != FORMAT:
        raise _bad(file, f"its format is {certificate.format}, and {FORMAT} is known here")
    return certificate


def _bad(file: Path, why: str) -> ToolsError:
    return ToolsError(
        f"Certificate {str(file)!r} was not read: {why}. Nothing was started; remove it, or "
        "certify the tool again."
    )
