"""Starts processes that are to be killed, fast: it has imported everything and only forks.

Spoken to by lines of JSON, see ``tests.support.killing``. One thread, no loop, no open store: so a
fork is a whole process with nothing half done in it.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import traceback

from fsm_saga.coordinator import failpoints
from fsm_saga.machine.compile import compile_plan
from fsm_saga.stores import redis_cluster  # noqa: F401  # or each child would import it again
from tests.support import kill_disk, kill_target


def main() -> None:
    """Serve until the input ends."""
    for name in kill_target.PLANS:
        for plan in kill_target.sagas_of(name):
            compile_plan(plan, {"contracts": {}, "rollbacks": {}})
    gc.freeze()  # a child that collects would copy every page that it looks at
    for line in sys.stdin:
        order = json.loads(line)
        answer = _wait(order["wait"]) if "wait" in order else _start(order)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def _start(order: dict[str, str]) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        name, _, nth = order["failpoint"].partition(":")
        if name == "disk":
            kill_disk.arm(int(nth))
        else:
            failpoints.arm(order["failpoint"])
        kill_target.run(order["directory"], order["plan"])
    except BaseException:  # noqa: BLE001  # nothing may return into the server's loop
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def _wait(pid: int) -> int:
    """Return how a process ended: 0, the code of its failure, or minus the signal."""
    _pid, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    main()
