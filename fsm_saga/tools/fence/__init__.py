"""The fence: what the author of a tool puts around its effect, so that the tool keeps its word.

Here belongs what runs inside a tool, next to the tool's own data; the engine itself never looks
into a fence table. Read ``passage.py`` first: the rules; then ``rows.py``: the one table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fsm_saga.errors import CallFencedError, CallRefusedError, ParamsChangedError
from fsm_saga.tools.fence.fence import Fence
from fsm_saga.tools.fence.passage import FencedCall

if TYPE_CHECKING:
    from fsm_saga.tools.fence.async_fence import AsyncFence

__all__ = [
    "AsyncFence",
    "CallFencedError",
    "CallRefusedError",
    "Fence",
    "FencedCall",
    "ParamsChangedError",
]


def __getattr__(name: str) -> Any:
    """Import ``AsyncFence`` when it is used: it needs the extra ``fence``."""
    if name != "AsyncFence":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from fsm_saga.tools.fence.async_fence import AsyncFence  # noqa: PLC0415  # the optional extra

    return AsyncFence
