"""Writes ``docs/truth-table.md`` again: ``python -m tests.truthtable``, from the root.

With ``--json`` it prints what the searches came to instead, and writes nothing.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from tests.truthtable.page import PAGE, document, render_page


def main(arguments: Sequence[str] | None = None) -> int:
    """Search every row; return 1 if one is not as safe as it is listed."""
    asked = sys.argv[1:] if arguments is None else arguments
    found = document()
    if "--json" in asked:
        sys.stdout.write(json.dumps(found, indent=1) + "\n")
    else:
        PAGE.write_text(render_page(), encoding="utf-8")
    return 1 if found["not_as_listed"] else 0


if __name__ == "__main__":
    sys.exit(main())
