"""What a figure is: a command that prints one JSON document, and what of it is shown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

CELL_CHARS_MAX = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A part of the document that is shown as a table.

    Attributes:
        at: The way to a list of objects, or to an object of objects, whose keys then are the
            first column. Empty stands for the whole document.
        columns: The heading of each column, and the way to its value within a row.
        key: The heading of the keys' column.
    """

    at: str
    columns: Mapping[str, str]
    key: str = "name"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One thing that is known because it was tried.

    Attributes:
        name: Its key in docs/evidence.json and the word to run it by.
        title: The heading on the page.
        command: As typed in a checkout. It prints one JSON object on stdout, and nothing else.
        shows: What the numbers say, in a sentence or two.
        leaves_out: What this figure does not model, each a sentence.
        rows: Words for a number, and the way to it, such as ``targets.plans.cases``. Empty shows
            every number and text at the top of the document.
        tables: Parts of the document that are shown as tables.
    """

    name: str
    title: str
    command: str
    shows: str
    leaves_out: tuple[str, ...] = ()
    rows: Mapping[str, str] = field(default_factory=dict)
    tables: tuple[Table, ...] = ()


def value_at(document: Any, way: str) -> Any:
    """Return what stands at a way in a document, or None.

    Example:
        >>> value_at({"a": [{"b": 1}]}, "a.0.b")
        1
    """
    for part in way.split(".") if way else ():
        if isinstance(document, Mapping):
            document = document.get(part)
        elif isinstance(document, list) and part.isdecimal() and int(part) < len(document):
            document = document[int(part)]
        else:
            return None
    return document


def shown_rows(figure: Figure, document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield words and value of each single number of a figure."""
    if figure.rows:
        for words, way in figure.rows.items():
            yield words, cell(value_at(document, way))
        return
    for key, value in document.items():
        if not isinstance(value, dict | list):
            yield key.replace("_", " "), cell(value)


def table_rows(table: Table, document: Mapping[str, Any]) -> Iterator[list[str]]:
    """Yield the rows of a table, the headings first."""
    found = value_at(document, table.at)
    keyed = isinstance(found, Mapping)
    yield [table.key, *table.columns] if keyed else list(table.columns)
    rows = found.items() if isinstance(found, Mapping) else ((None, row) for row in found or ())
    for key, row in rows:
        cells = [cell(value_at(row, way)) for way in table.columns.values()]
        yield [cell(key), *cells] if keyed else cells


def cell(value: Any) -> str:
    """Return a value as the text of one cell of a table in Markdown."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    if isinstance(value, list):
        return ", ".join(map(cell, value)) or "-"
    text = " ".join(str(value).encode("utf-8", "replace").decode().split())
    if len(text) > CELL_CHARS_MAX:
        text = text[: CELL_CHARS_MAX - 1] + "…"
    return text.replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")
