"""A long run in parts: the sum of their documents is the document of the whole run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tests.fuzz.tally import Tally


def sum_of(documents: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return one document for several runs of different cases.

    Raises:
        ValueError: If they have different seeds.
    """
    if len({document["seed"] for document in documents}) != 1:
        raise ValueError("Runs with different seeds do not add up.")
    names = dict.fromkeys(name for document in documents for name in document["targets"])
    return {
        **documents[0],
        "cases": sum(document["cases"] for document in documents),
        "seconds": round(sum(document["seconds"] for document in documents), 1),
        "failed_cases": sum(document["failed_cases"] for document in documents),
        "targets": {
            name: _sum_of_target([document["targets"][name] for document in documents])
            for name in names
        },
    }


def _sum_of_target(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    tally = Tally()
    for part in parts:
        tally.add(Tally.of_json(part))
    cases, seconds = sum(part["cases"] for part in parts), sum(part["seconds"] for part in parts)
    return {
        **parts[0],
        "cases": cases,
        "seconds": round(seconds, 1),
        "cases_per_s": round(cases / seconds, 1) if seconds else None,
        "failed_cases": sum(part["failed_cases"] for part in parts),
        "failures": [failure for part in parts for failure in part["failures"]],
        **tally.as_json(),
    }
