"""`python -m fsm_saga` is the command line, for a shell whose PATH lacks `fsm-saga`."""

from __future__ import annotations

import sys

from fsm_saga.cli.app import main

if __name__ == "__main__":
    sys.exit(main())
