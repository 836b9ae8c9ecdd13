"""Writes ``docs/truth-table.md`` again: ``python -m tests.truthtable``, from the root."""

from __future__ import annotations

from tests.truthtable.page import PAGE, render_page


def main() -> None:
    """Search every row and write what came of it."""
    PAGE.write_text(render_page(), encoding="utf-8")


if __name__ == "__main__":
    main()
