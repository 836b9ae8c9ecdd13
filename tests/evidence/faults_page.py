"""docs/faults.md: the faults row by row, with what tries each and what is missing."""

from __future__ import annotations

from pathlib import Path

from tests.evidence.faults import Fault
from tests.evidence.faults_anywhere import SIMULATED
from tests.evidence.faults_real import REAL

SORTS = {
    "simulation": "simulated",
    "sometimes": "must happen",
    "chaos": "done to a cluster",
}
PAGE = Path(__file__).resolve().parents[2] / "docs" / "faults.md"


def render_faults() -> str:
    """Return the page."""
    rows = [*SIMULATED, *REAL]
    counts = {
        word: sum(row.verdict == word for row in rows) for word in ("yes", "in part", "**no**")
    }
    lines = [
        _INTRODUCTION,
        f"Of {len(rows)} rows {counts['yes']} are tried, {counts['in part']} in part, and "
        f"{counts['**no**']} not at all.",
        *_table("In any world: what the simulation and the searches are about", SIMULATED),
        *_table("With real processes, disks and networks", REAL),
    ]
    return "\n".join(lines) + "\n"


_INTRODUCTION = """\
# Faults, row by row

The faults that this project set out to survive before it had a line of code, and what tries each
of them today. *In part* and *no* say what is missing; what no figure models at all is listed at
the end of [evidence.md](evidence.md#what-is-not-modelled). This page is made by
`python -m tests.evidence --render` from `tests/evidence/faults_*.py`, and a test looks whether each
test, kind of fault and moment that it names is there.

*Simulated* names a kind of fault of [the simulation](simulation.md), *must happen* a moment without
which a large run of it fails, and *done to a cluster* what `tests/chaos` does to coordinators, etcd
and a shop that are real processes.
"""


def _table(title: str, rows: tuple[Fault, ...]) -> list[str]:
    lines = [
        "",
        f"## {title}",
        "",
        "| no. | fault | tried | by | missing |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        cells = (
            str(row.number),
            row.what,
            row.verdict,
            _by(row.holders) or "-",
            row.missing or "-",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _by(holders: tuple[str, ...]) -> str:
    """Return the holders in words, those of one sort together."""
    parts = []
    for sort, words in SORTS.items():
        found = [h.removeprefix(f"{sort}:") for h in holders if h.startswith(f"{sort}:")]
        if found:
            parts.append(f"*{words}:* " + ", ".join(found).replace("_", " "))
    for holder in holders:
        if "::" in holder:
            file, _colons, test = holder.partition("::")
            link = f"[{file.removeprefix('tests/').removesuffix('.py')}](../{file})"
            parts.append(f"{link}: {test.removeprefix('test_').replace('_', ' ')}")
    return "<br>".join(parts)
