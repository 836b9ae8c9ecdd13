"""An age as it is typed: a number and a unit."""

from __future__ import annotations

import re

import typer

_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_AGE = re.compile(r"(\d{1,9})([smhdw])")

FORM = "90s, 15m, 12h, 30d, 8w"
"""Examples, for help texts."""


def age_s(text: str, *, option: str) -> int:
    """Return the seconds of an age; ``option`` is where it was typed.

    Raises:
        BadParameter: It is none.

    Example:
        >>> age_s("12h", option="--older-than")
        43200
    """
    found = _AGE.fullmatch(text.strip())
    if found is None:
        raise typer.BadParameter(
            f"{text!r} is no age; write a number and one of s, m, h, d, w, as in 30d.",
            param_hint=f"'{option}'",
        )
    return int(found[1]) * _SECONDS[found[2]]
