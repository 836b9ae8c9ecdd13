"""The truth table as a page for readers; made from what the searches came to, never by hand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from tests.truthtable.model import Verdict
from tests.truthtable.rows import HONEST, ROWS, Row

PAGE = Path(__file__).resolve().parents[2] / "docs" / "truth-table.md"

_INTRODUCTION = """\
# The late action after its undo

<!-- Made by `python -m tests.truthtable`; a test compares it with what the searches come to. -->

A call times out, its step is undone, and then the call arrives after all. What an engine may do
in doubt hangs on what the tool promises. Each row of the first table is one rule of an engine with
one kind of tool, searched to the last state: at most two sends of each call, one more copy of each
by the network, delays without bound, losses, and a coordinator that is replaced at any point while
it still sends what it had in hand.

The engine is the one that runs: `fsm_saga.core.decide.decide`, on a program that the compiler made
of what the tool declares. Rows with a wrong rule have that rule planted into it. *Listed* is the
number of events that an independent model of the same table needed; where ours needs another
number, the reason is below. A line of a trace that tells of two events counts as two.
"""
_HONEST = """
## The same tools, told of truthfully

What the compiler chooses when a tool of an unsafe row declares what it really does. A call that
the network copies by itself, without any second send, is kept from acting twice by the tool or by
nobody; that is the one thing that stays unsafe, and `fsm-saga verify` lists it as an assumption.
Here, as in the driver, each call that is made hears one answer or none; above, answers also come
late and again, to a later attempt of the same call.
"""
_TRACES = """
## The shortest way of each unsafe row
"""


@lru_cache(maxsize=1)
def verdicts() -> tuple[tuple[tuple[Row, Verdict], ...], ...]:
    """Return the rows of both tables with what each search came to; searched once."""
    return tuple(tuple((row, row.search()) for row in rows) for rows in (ROWS, HONEST))


def render_page() -> str:
    """Return the whole page."""
    listed, honest = verdicts()
    lines = [_INTRODUCTION, *_table(listed), "", *_reasons(listed), _HONEST]
    lines += [*_honest_table(honest), _TRACES, *_traces([*listed, *honest])]
    return "\n".join(lines).rstrip() + "\n"


def document() -> dict[str, Any]:
    """Return what the searches came to, as numbers."""
    listed, honest = verdicts()
    both = [*listed, *honest]
    return {
        "rows": len(both),
        "safe": sum(verdict.is_safe for _row, verdict in both),
        "unsafe": sum(not verdict.is_safe for _row, verdict in both),
        "not_as_listed": [row.name for row, verdict in both if verdict.is_safe is not row.is_safe],
        "states": sum(verdict.states for _row, verdict in both),
        "states_of_safe_rows": sum(verdict.states for _row, verdict in both if verdict.is_safe),
        "longest_shortest_trace": max(verdict.events for _row, verdict in both),
        "listed": [_numbers(row, verdict) for row, verdict in listed],
        "told_truthfully": [_numbers(row, verdict) for row, verdict in honest],
    }


def _numbers(row: Row, verdict: Verdict) -> dict[str, Any]:
    return {
        "row": row.name,
        "engine": row.engine,
        "tool": row.tool,
        "planted": row.wrong_rule or None,
        "exit": row.program().steps[0].exit.value,
        "verdict": "safe" if verdict.is_safe else "unsafe",
        "states": verdict.states,
        "events": None if verdict.is_safe else verdict.events,
        "broken": None if verdict.is_safe else verdict.broken,
    }


def _table(found: Sequence[tuple[Row, Verdict]]) -> Iterator[str]:
    yield "| row | in doubt the engine | the tool | planted | exit | verdict | events | listed |"
    yield "|---|---|---|---|---|---|---|---|"
    for row, verdict in found:
        exit_ = row.program().steps[0].exit.value
        cells = (
            row.name,
            row.engine,
            row.tool,
            row.wrong_rule or "nothing",
            f"`{exit_}`",
            _words(verdict),
            str(verdict.events or ""),
            str(row.events_listed or ""),
        )
        yield f"| {' | '.join(cells)} |"


def _honest_table(found: Sequence[tuple[Row, Verdict]]) -> Iterator[str]:
    yield "| for | the engine | the tool | declared | exit | verdict |"
    yield "|---|---|---|---|---|---|"
    for row, verdict in found:
        exit_ = row.program().steps[0].exit.value
        declared = f"`{row.promises}`" if row.promises else "nothing"
        cells = (row.name, row.engine, row.tool, declared, f"`{exit_}`", _words(verdict))
        yield f"| {' | '.join(cells)} |"


def _words(verdict: Verdict) -> str:
    if verdict.is_safe:
        return f"safe in all {verdict.states:,} states"
    return f"**unsafe**: {verdict.broken}"


def _reasons(found: Sequence[tuple[Row, Verdict]]) -> Iterator[str]:
    for row, verdict in found:
        if row.why:
            yield f"- {row.name}: {verdict.events} instead of {row.events_listed}: {row.why}."


def _traces(found: Sequence[tuple[Row, Verdict]]) -> Iterator[str]:
    for row, verdict in found:
        if not verdict.is_safe:
            yield f"**{row.name}**: {row.engine}; the tool {row.tool}.\n"
            yield from (f"{at}. {words}" for at, words in enumerate(verdict.trace, start=1))
            yield f"\nNow {verdict.broken}.\n"
