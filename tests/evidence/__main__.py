"""``python -m tests.evidence``: make figures again and write docs/evidence.md from the results.

``--all --but mutants bench`` makes all but some; ``--from FILE`` takes results over from the
docs/evidence.json of another checkout of the same project on this machine.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from fsm_saga.bench.machine_facts import machine_facts
from tests.evidence.faults_page import PAGE as FAULTS_PAGE
from tests.evidence.faults_page import render_faults
from tests.evidence.figure import Figure
from tests.evidence.figures import FIGURES, figure_named
from tests.evidence.page import duration, render_page
from tests.evidence.results import (
    PAGE,
    NoDocumentError,
    load_results,
    result_of,
    run_figure,
    write_results,
)


def main(arguments: list[str] | None = None) -> int:
    """Make what was asked for; return 1 if a command failed, 2 for a name that is none."""
    asked = _parser().parse_args(arguments)
    code = 0
    try:
        names = _names(asked)
        if not asked.taken_from:
            code = _make(names)
        results = load_results()
        if asked.taken_from:
            others = load_results(asked.taken_from)
            results |= {name: others[name] for name in names or others}
        if asked.take:
            name, file, seconds = asked.take
            printed = Path(file).read_text(encoding="utf-8")
            facts = machine_facts()
            made = result_of(_named(name), printed, seconds=float(seconds), machine=facts)
            if asked.commit:
                made |= {"machine": facts | {"commit": asked.commit}, "has_changes": False}
            results[name] = made
    except (KeyError, NoDocumentError) as error:
        _say(f"{error.args[0]}\n")
        return 2
    known = {figure.name for figure in FIGURES}
    results = {name: result for name, result in results.items() if name in known}
    write_results(results)
    PAGE.write_text(render_page(FIGURES, results), encoding="utf-8")
    FAULTS_PAGE.write_text(render_faults(), encoding="utf-8")
    if not (names or asked.take or asked.taken_from or asked.render):
        for figure in FIGURES:
            made = results.get(figure.name, {}).get("at", "not yet")
            sys.stdout.write(f"{figure.name:<16} {made:<12} {figure.command}\n")
    return code


def _make(names: list[str]) -> int:
    """Make figures; return 1 if a command failed, 2 if one printed no document."""
    code = 0
    for name in names:
        try:
            made = run_figure(_named(name))
        except NoDocumentError as error:
            _say(f"{name}: {error}\n")
            code = 2
            continue
        code = max(code, int(made["exit_code"] != 0))
        # A figure may take an hour: it is not lost to the next one, and what another process has
        # written in the meantime is not lost to it.
        write_results({**load_results(), name: made})
        _say(f"{name}: {duration(made['seconds'])}\n")
    return code


def _names(asked: argparse.Namespace) -> list[str]:
    """Return the names of the figures that were asked for."""
    names = [figure.name for figure in FIGURES] if asked.all else asked.names
    left_out = [_named(name).name for name in asked.but]
    return [_named(name).name for name in names if name not in left_out]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.evidence", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="Figures to make again.")
    parser.add_argument("--all", action="store_true", help="Make all of them again: hours.")
    parser.add_argument("--but", nargs="+", default=[], metavar="NAME", help="Leave these out.")
    parser.add_argument(
        "--from",
        dest="taken_from",
        type=Path,
        metavar="FILE",
        help="Run nothing: take the results, or those of the names, from another evidence.json.",
    )
    parser.add_argument("--render", action="store_true", help="Only write the pages.")
    parser.add_argument(
        "--take",
        nargs=3,
        metavar=("NAME", "FILE", "SECONDS"),
        help="Take what a figure's command printed on this machine before.",
    )
    parser.add_argument(
        "--commit", metavar="HASH", help="With --take: the commit, unchanged, that it was made of."
    )
    return parser


def _named(name: str) -> Figure:
    figure = figure_named(name)
    if figure is None:
        names = ", ".join(figure.name for figure in FIGURES)
        raise KeyError(f"There is no figure {name!r}; there are {names}.")
    return figure


def _say(text: str) -> None:
    sys.stderr.write(text)


if __name__ == "__main__":
    sys.exit(main())
