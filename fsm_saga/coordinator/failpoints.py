"""Named places at which a test may have this process killed or stopped.

``FSM_SAGA_FAILPOINT=name:nth:kill`` in the environment kills the process, as ``kill -9`` does,
when it comes to the place of that name for the nth time; ``name:nth:stop`` stops it there, as
``kill -STOP`` does, until somebody lets it go on. Without it nothing is armed, and each place
costs a look at one module variable.
"""

from __future__ import annotations

import os
import signal

from fsm_saga.errors import CommandError

VARIABLE = "FSM_SAGA_FAILPOINT"
FAILPOINTS = ("before_append", "after_append", "before_effects", "before_call", "after_call")
"""In the order in which one decision comes to them:

``before_append``   decided, nothing written
``after_append``    written and durable, nobody knows
``before_effects``  the driver knows; no call was made, nobody was told
``before_call``     the call is about to be made
``after_call``      the call has ended, its outcome is not written
"""

_SIGNALS = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}

is_armed = False
_armed_name = ""
_passes_left = 0
_signal = signal.SIGKILL


def arm(order: str) -> None:
    """Do as ``order`` says, ``name:nth:kill`` or ``:stop``, from now on; an empty one disarms.

    Raises:
        CommandError: If the order is not understood; what was armed before stays armed.
    """
    global is_armed, _armed_name, _passes_left, _signal  # one process, one order
    if not order:
        is_armed = False
        return
    name, _, rest = order.partition(":")
    nth, _, action = rest.partition(":")
    if name not in FAILPOINTS or action not in _SIGNALS or not nth.isdecimal() or int(nth) < 1:
        raise CommandError(
            f"{VARIABLE}={order!r} was refused: it has the form name:nth:kill or name:nth:stop, "
            f"with nth from 1 and one of the names {', '.join(FAILPOINTS)}. Nothing was started."
        )
    is_armed, _armed_name, _passes_left, _signal = True, name, int(nth), _SIGNALS[action]


def failpoint(name: str) -> None:
    """Kill or stop the process if this place is the armed one and its time has come.

    Callers look at ``is_armed`` first, which keeps an unarmed place free of charge.
    """
    global _passes_left  # counts down to the one signal
    if name == _armed_name:
        _passes_left -= 1
        if _passes_left == 0:
            os.kill(os.getpid(), _signal)


arm(os.environ.get(VARIABLE, ""))
