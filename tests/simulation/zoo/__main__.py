"""``python -m tests.simulation.zoo``: hunt every bug, and write the table of what caught it."""

from __future__ import annotations

import argparse
import multiprocessing
import sys

from tests.simulation.zoo.all_bugs import ZOO
from tests.simulation.zoo.table import TABLE, Row, hunt_named, read_rows, write_table


def main() -> int:
    """Hunt what the arguments name, or all; return 1 if a bug was not caught."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.zoo", description=__doc__)
    parser.add_argument("bugs", nargs="*", help="parts of names; none stands for all")
    parser.add_argument("--seeds", type=int, default=6_000, help="when to give up on a bug")
    parser.add_argument("--sample", type=int, default=100, help="seeds for the rates")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--write", action="store_true", help=f"write {TABLE.name}")
    asked = parser.parse_args()
    names = [b.name for b in ZOO if not asked.bugs or any(part in b.name for part in asked.bugs)]
    tasks = [(name, asked.seeds, asked.sample) for name in names]
    rows = {} if len(names) == len(ZOO) else {row.name: row for row in read_rows()}
    lost = 0
    with multiprocessing.get_context("fork").Pool(asked.jobs) as pool:
        for found in pool.imap(hunt_named, tasks):
            row = Row.of(found)
            rows[row.name] = row
            lost += found.first_seed is None
            sys.stdout.write(f"{row}\n")
            sys.stdout.flush()
            if asked.write:
                write_table([rows[bug.name] for bug in ZOO if bug.name in rows])
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
