"""Tools: what a step calls, what each declares of itself, and how a call ends.

Here belongs whatever makes a call and judges its end, and nothing that decides what follows
from it. Read ``runner.py`` first, then ``classify.py``, which says what an exception means, and
``output.py``, which says what may be stored.
"""

from __future__ import annotations

from fsm_saga.tools.check import CheckAnswer
from fsm_saga.tools.context import CallContext
from fsm_saga.tools.loading import load_tools
from fsm_saga.tools.python import Tool, tool
from fsm_saga.tools.registry import Registry
from fsm_saga.tools.runner import PythonRunner

__all__ = [
    "CallContext",
    "CheckAnswer",
    "PythonRunner",
    "Registry",
    "Tool",
    "load_tools",
    "tool",
]
