"""A process that is in the middle of an order: done, not committed. Killed by its test.

Arguments: the SQLAlchemy URL of the shop, and the ``req_id``.
"""

from __future__ import annotations

import sys
import time

import sqlalchemy as sa

from fsm_saga.tools.fence import Fence
from tests.support.fence_shops import INSERT, ctx

LONG_S = 60.0


def main() -> None:
    """Order, say so, and wait for the end."""
    url, req_id = sys.argv[1:]
    with Fence(sa.create_engine(url)).do(ctx(req_id), {"item": "tea"}) as call:
        call.db.execute(sa.text(INSERT), {"item": "tea"})
        print("ordered", flush=True)  # noqa: T201  # what the test waits for
        time.sleep(LONG_S)
        call.answer = {"item": "tea"}


if __name__ == "__main__":
    main()
