"""What ``doctor`` looks at. A check returns a finding and changes nothing."""

from __future__ import annotations

import enum
import os
import platform
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import apsw

from fsm_saga.cli.options import load_all, store_is_missing
from fsm_saga.cli.words import counted
from fsm_saga.drawing.render import available_renderers, cjk_font_available
from fsm_saga.errors import FsmSagaError, StoreError, StoreLockedError
from fsm_saga.stores.opening import open_store, sqlite_path
from fsm_saga.stores.sqlite_schema import sqlite_library
from fsm_saga.tools.registry import Registry

PYTHON_MIN = (3, 11)
# Flattening reads the structure of these classes, so each minor version is looked at first.
STATEMACHINE = (3, 2)
FREE_BYTES_WARN = 1 << 30
FREE_BYTES_MIN = 64 << 20


class Level(enum.StrEnum):
    """How a finding is to be taken."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of ``doctor``. ``advice`` says what to do about it; empty where nothing is."""

    name: str
    level: Level
    message: str
    advice: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return the finding as JSON."""
        return {
            "name": self.name,
            "level": str(self.level),
            "message": self.message,
            "advice": self.advice,
        }


def machine_findings() -> Iterator[Finding]:
    """Yield what holds for this machine, whatever the store."""
    yield _python()
    yield _sqlite()
    yield _statemachine()
    yield _graphviz()
    yield _font()
    yield _encoding()


def _python() -> Finding:
    version = platform.python_version()
    if sys.version_info >= PYTHON_MIN:
        return Finding(name="python", level=Level.OK, message=f"{version} at {sys.executable}")
    advice = f"Install Python {'.'.join(map(str, PYTHON_MIN))} or newer."
    return Finding(name="python", level=Level.FAIL, message=version, advice=advice)


def _sqlite() -> Finding:
    library = sqlite_library()
    return Finding(
        name="sqlite",
        level=Level.OK if library.is_safe else Level.FAIL,
        message=f"{library.sqlite_version} (apsw {library.apsw_version})",
        advice="" if library.is_safe else f"It {library.remark}.",
    )


def _statemachine() -> Finding:
    version = metadata.version("python-statemachine")
    is_known = tuple(int(part) for part in version.split(".")[:2]) == STATEMACHINE
    return Finding(
        name="python-statemachine",
        level=Level.OK if is_known else Level.FAIL,
        message=version,
        advice="" if is_known else "Install a version that fsm-saga names in its dependencies.",
    )


def _graphviz() -> Finding:
    for renderer in available_renderers():
        return Finding(name="graphviz", level=Level.OK, message=renderer.name)
    return Finding(
        name="graphviz",
        level=Level.WARN,
        message="not found: no SVG and no PNG can be drawn; dot, mermaid and text can",
        advice="Install Graphviz, or 'pip install pygraphviz'.",
    )


def _font() -> Finding:
    if cjk_font_available():
        return Finding(name="chinese font", level=Level.OK, message="found")
    return Finding(
        name="chinese font",
        level=Level.WARN,
        message="not found: Chinese in a PNG would be boxes; SVG is not affected",
        advice="Install one (Debian: apt-get install fonts-wqy-microhei).",
    )


def _encoding() -> Finding:
    encoding = getattr(sys.__stdout__, "encoding", None) or "unknown"
    if encoding.lower().replace("-", "") == "utf8":
        return Finding(name="terminal", level=Level.OK, message=encoding)
    return Finding(
        name="terminal",
        level=Level.WARN,
        message=f"{encoding}: what it cannot show appears as ?",
        advice="Set PYTHONUTF8=1, or a UTF-8 locale.",
    )


def tools_finding(specs: Sequence[str]) -> Finding:
    """Return whether the tools that were named can be used."""
    try:
        registry = Registry(load_all(specs))
        registry.check_complete()
    except FsmSagaError as error:
        return Finding(
            name="tools", level=Level.FAIL, message=error.message, advice="Correct the tools."
        )
    return Finding(name="tools", level=Level.OK, message=counted(len(registry), "tool"))


async def store_findings(url: str) -> list[Finding]:
    """Return what holds for the store: place, readability, writer, durability, space."""
    if url.startswith("memory://"):
        message = "memory: nothing outlives the process"
        return [Finding(name="store", level=Level.WARN, message=message)]
    try:
        path = _path_of(url)
    except StoreError as error:
        advice = "Give --store or FSM_SAGA_STORE a URL that can be used."
        return [Finding(name="store", level=Level.FAIL, message=error.message, advice=advice)]
    findings = [_missing(path)] if store_is_missing(url) else await _existing(url, path)
    return [*findings, _space(path)]


def _path_of(url: str) -> Path:
    return Path(sqlite_path(url)).absolute()


def _missing(path: Path) -> Finding:
    if os.access(path.parent, os.W_OK | os.X_OK):
        return Finding(
            name="store", level=Level.OK, message=f"{path} is not there yet and can be made"
        )
    return Finding(
        name="store",
        level=Level.FAIL,
        message=f"{path} is not there and cannot be made",
        advice=f"Make the directory {path.parent} and let this user write it.",
    )


async def _existing(url: str, path: Path) -> list[Finding]:
    try:
        async with open_store(url, mode="read") as store:
            unfinished = await store.heads(only_unfinished=True)
            waiting = await store.pending_commands()
    except StoreError as error:
        advice = "Remove the cause, or name another store."
        return [Finding(name="store", level=Level.FAIL, message=error.message, advice=advice)]
    said = f"{path}: {counted(len(unfinished), 'unfinished saga')}"
    findings = [Finding(name="store", level=Level.OK, message=said)]
    if waiting:
        findings.append(
            Finding(
                name="decisions",
                level=Level.WARN,
                message=f"{counted(len(waiting), 'decision')} not carried out yet",
                advice="Run `fsm-saga resume` with the tools of these sagas.",
            )
        )
    return [*findings, await _writer(url), _durability(path)]


async def _writer(url: str) -> Finding:
    try:
        async with open_store(url, mode="write"):
            return Finding(name="writer", level=Level.OK, message="none; this process could write")
    except StoreLockedError as error:
        who = f"process {error.facts.get('pid')} on {error.facts.get('host')}"
        return Finding(
            name="writer",
            level=Level.OK,
            message=f"{who} is the writer; decisions reach it through the store",
        )
    except StoreError as error:
        advice = "Sagas can be looked at, but not run, until it can be written."
        return Finding(name="writer", level=Level.FAIL, message=error.message, advice=advice)


def _durability(path: Path) -> Finding:
    try:
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
        try:
            mode = connection.pragma("journal_mode")
        finally:
            connection.close()
    except apsw.Error as error:
        return Finding(name="durability", level=Level.WARN, message=f"not known: {error}")
    if mode == "wal":
        return Finding(
            name="durability",
            level=Level.OK,
            message="write-ahead log; the writer sets synchronous=FULL and reads it back",
        )
    return Finding(
        name="durability",
        level=Level.FAIL,
        message=f"journal_mode is {mode}, not wal",
        advice="Let no other program change the store; the next writer turns it back.",
    )


def _space(path: Path) -> Finding:
    place = next(parent for parent in path.parents if parent.exists())
    free = shutil.disk_usage(place).free
    level = Level.OK
    if free < FREE_BYTES_WARN:
        level = Level.FAIL if free < FREE_BYTES_MIN else Level.WARN
    return Finding(
        name="disk",
        level=level,
        message=f"{free / (1 << 30):.1f} GiB free at {place}",
        advice="" if level is Level.OK else "Free some space, or collect old sagas: fsm-saga gc.",
    )
