"""docs/evidence.md, rendered from the results: nothing on it is typed by hand."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from tests.evidence.figure import Figure, shown_rows, table_rows
from tests.evidence.unmodelled import engine_limits, evidence_limits

INTRODUCTION = """\
# Evidence

What is known about fsm_saga because it was tried, with the command that tries it again. This page
is made by `python -m tests.evidence` from `docs/evidence.json`; a test holds the two together. A
number without its machine says little, so each figure has its own. What none of them models stands
[at the end](#what-is-not-modelled)."""


def render_page(figures: Sequence[Figure], results: Mapping[str, Any]) -> str:
    """Return the page."""
    parts = [INTRODUCTION, "\n".join(_contents(figures, results))]
    parts += ["\n".join(_figure(figure, results.get(figure.name))) for figure in figures]
    parts.append("\n".join(_unmodelled(figures)))
    return "\n\n".join(parts) + "\n"


def _contents(figures: Sequence[Figure], results: Mapping[str, Any]) -> Iterator[str]:
    rows = [["figure", "first number", "command", "made"]]
    for figure in figures:
        result = results.get(figure.name)
        first, made = "-", "not yet"
        if result is not None:
            words, value = next(shown_rows(figure, result["document"]), ("", "-"))
            first, made = f"{value} {words}", result["at"]
        rows.append(
            [f"[{figure.title}](#{_anchor(figure.title)})", first, f"`{figure.command}`", made]
        )
    yield from _table(rows)


def _anchor(title: str) -> str:
    kept = "".join(char for char in title.lower() if char.isalnum() or char in " -")
    return kept.replace(" ", "-")


def _figure(figure: Figure, result: Mapping[str, Any] | None) -> Iterator[str]:
    yield f"## {figure.title}"
    yield ""
    yield figure.shows
    yield ""
    yield f"    {figure.command}"
    yield ""
    if result is None:
        yield "Not run yet."
        return
    if result["exit_code"]:
        yield f"**The command failed with exit code {result['exit_code']}.**"
        yield ""
    document = result["document"]
    rows = list(shown_rows(figure, document))
    if rows:
        yield from _table([["what", "number"], *(list(row) for row in rows)])
        yield ""
    for table in figure.tables:
        yield from _table(table_rows(table, document))
        yield ""
    yield _made(result)
    if figure.leaves_out:
        yield ""
        yield "Not in it: " + " ".join(figure.leaves_out)


def _table(rows: Iterable[Sequence[str]]) -> Iterator[str]:
    for number, row in enumerate(rows):
        yield f"| {' | '.join(row)} |"
        if number == 0:
            yield f"|{'---|' * len(row)}"


def _made(result: Mapping[str, Any]) -> str:
    facts = result["machine"]
    commit = str(facts.get("commit") or "unknown")[:12]
    changed = ", with changes on top" if result["has_changes"] else ""
    load = facts.get("load_average") or ["?"]
    return (
        f"Made on {result['at']} in {duration(result['seconds'])}, at commit {commit}{changed}; "
        f"{facts.get('cores')} cores, load {load[0]} before, {facts.get('system')}, "
        f"Python {facts.get('python')}, SQLite {facts.get('sqlite')}."
    )


def duration(seconds: float) -> str:
    """Return a duration in words.

    Example:
        >>> duration(0.4), duration(75), duration(7300)
        ('less than a second', '75 s', '122 min')
    """
    if seconds < 1:
        return "less than a second"
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def _unmodelled(figures: Sequence[Figure]) -> Iterator[str]:
    yield "## What is not modelled"
    yield ""
    yield (
        "Which of the faults that this project set out to survive are tried, by what, and which "
        "are not: [faults.md](faults.md), row by row."
    )
    yield ""
    yield "What the engine does not promise, as `DESIGN.md` has it:"
    yield ""
    yield from (f"- {limit}" for limit in engine_limits())
    yield ""
    yield "What the figures above leave out, all of them:"
    yield ""
    yield from (f"- {limit}" for limit in evidence_limits())
    yield ""
    yield "And each on its own:"
    yield ""
    for figure in figures:
        yield from (f"- {figure.title}: {limit}" for limit in figure.leaves_out)
