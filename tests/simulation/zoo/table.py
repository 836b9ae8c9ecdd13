"""The table of the zoo: written by the command, read by the test that looks whether it is true."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from tests.simulation.zoo.all_bugs import ZOO, bug_named
from tests.simulation.zoo.hunting import Hunt, hunt

TABLE = Path(__file__).resolve().parents[3] / "docs" / "simulation-zoo.md"

_HEAD = """# What the simulation catches

Each of these bugs was planted, one at a time, in the engine, the store, the tools or the nodes of
a cluster, and seeds were run from 0 on until a check that is there for it noticed. Those of nodes
were looked for in runs of a cluster (`--cluster`), which have seeds of their own. `after` counts
the seeds to that one; `share` says of the seeds that were looked at in how many anything was
noticed at all, and `checks` by what, most often first. Written by
`python -m tests.simulation.zoo --write`; a test holds it against the code.

| where | bug | caught by | after | share | checks |
|---|---|---|---:|---:|---|
"""


class Row(NamedTuple):
    """One bug of the table."""

    where: str
    name: str
    code: str
    after: int | None
    share: str
    checks: str

    @staticmethod
    def of(found: Hunt) -> Row:
        """Return the row of a hunt."""
        share = 100.0 * found.failed / found.seeds
        checks = " ".join(code for code, _ in found.caught.most_common(5))
        return Row(
            where=bug_named(found.name).where,
            name=found.name,
            code=found.first_code or "nothing",
            after=None if found.first_seed is None else found.first_seed + 1,
            share=f"{share:.1f} %" if share < 10 else f"{share:.0f} %",
            checks=checks,
        )


def hunt_named(task: tuple[str, int, int]) -> Hunt:
    """Hunt the bug of a name, for so many seeds at most, and so many at least."""
    name, seeds, sample = task
    return hunt(bug_named(name), seed_max=seeds, sample=sample)


def write_table(rows: Iterable[Row]) -> None:
    """Write the table."""
    lines = [
        f"| {row.where} | {row.name} | {row.code} | {row.after or 'never'} | {row.share} "
        f"| {row.checks} |\n"
        for row in rows
    ]
    TABLE.write_text(_HEAD + "".join(lines), encoding="utf-8")


def read_rows() -> list[Row]:
    """Return the rows as they are written."""
    if not TABLE.exists():
        return []
    names = {bug.name for bug in ZOO}
    rows = []
    for line in TABLE.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 6 and cells[1] in names:
            where, name, code, after, share, checks = cells
            number = None if after == "never" else int(after)
            rows.append(Row(where, name, code, number, share, checks))
    return rows
