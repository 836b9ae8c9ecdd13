"""``python -m fsm_saga.simulation``."""

from __future__ import annotations

import sys

from fsm_saga.simulation.command import main

sys.exit(main())
