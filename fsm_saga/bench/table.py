"""The numbers as text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_TITLES = {
    "disk": "The disk",
    "bare": "Bare store: the same appends without an engine",
    "sqlite": "Engine on SQLite",
    "server": "Engine on the server's store, one coordinator",
    "coordinators": "Coordinators that share the store, together",
    "failover": "Two coordinators: at rest, and until one of them leads all",
    "memory": "Engine on memory://, which waits for no disk",
    "decide": "One decision",
    "compile": "From a plan's text to its program, by steps",
    "verify": "Exhaustive search of a plan's states",
    "resting": "Sagas that wait, in memory",
    "open": "Opening a store",
}


def render_table(results: Mapping[str, Any]) -> str:
    """Return what ``run_bench`` found, one measurement a line: median, least, greatest."""
    machine = results["machine"]
    lines = [f"{name.replace('_', ' ')}: {_plain(value)}" for name, value in machine.items()]
    for part, title in _TITLES.items():
        if part not in results:
            continue
        rows = list(_rows(results[part], ""))
        width = max(len(name) for name, _ in rows)
        lines += ["", title]
        lines += [f"  {name:<{width}}  {_spread(found)}" for name, found in rows]
    return "\n".join(lines)


def _rows(part: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the measurements below a part, each with its path in words."""
    for name, found in part.items():
        path = f"{prefix} {name}".strip()
        if "median" in found:
            yield path, found
        else:
            yield from _rows(found, path)


def _spread(found: Mapping[str, Any]) -> str:
    median, least, most = (_number(found[name]) for name in ("median", "min", "max"))
    return f"{median:>10}  ({least} .. {most})"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _plain(value: object) -> str:
    if isinstance(value, list | tuple):
        return " ".join(map(str, value))
    return "unknown" if value is None else str(value)
