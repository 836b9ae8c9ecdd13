"""``python -m tests.corpus``: the list of bad input as one JSON document."""

from __future__ import annotations

import json
import sys

from tests.corpus.holders import missing_holders
from tests.corpus.kinds import KINDS
from tests.corpus.test_json_texts import TEXTS
from tests.corpus.test_plan_corpus import CASES


def main() -> int:
    """Print the list; return 1 if something on it names a case or a test that does not exist."""
    missing = list(missing_holders())
    waiting = sum(bool(kind.waits) for kind in KINDS)
    document = {
        "kinds": len(KINDS),
        "held": len(KINDS) - waiting,
        "waiting": waiting,
        "plans": len(CASES),
        "json_texts": len(TEXTS),
        "missing": missing,
        "list": [
            {"number": kind.number, "what": kind.what, "held_by": kind.held_by} for kind in KINDS
        ],
    }
    sys.stdout.write(json.dumps(document, indent=1) + "\n")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
