"""``python -m tests.crashpoints [SECONDS]``: all single faults, then pairs for so long."""

from __future__ import annotations

import sys
import time

from tests.crashpoints.running import all_cases, try_all


def main() -> int:
    """Try, say what came of it, and return 1 if something did not hold."""
    started = time.monotonic()
    tally = try_all(all_cases(), pairs_s=float(sys.argv[1]) if len(sys.argv) > 1 else 10.0)
    sys.stdout.write(f"{tally}\n{time.monotonic() - started:.0f} s\n")
    sys.stdout.write("".join(f"{wrong}\n" for wrong in tally.wrong))
    return 1 if tally.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
