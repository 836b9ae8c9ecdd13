"""What was made lately and may be asked for again."""

from __future__ import annotations

import contextlib
import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

KeyT = TypeVar("KeyT", bound=Hashable)
ValueT = TypeVar("ValueT")


class Kept(Generic[KeyT, ValueT]):
    """The values that were asked for last, by key; it never holds more than so many.

    Threads may share it. Two that miss the same key both make the value, and the later one stays.

    Example:
        >>> kept: Kept[str, int] = Kept(2)
        >>> for key, value in (("a", 1), ("b", 2), ("c", 3)):
        ...     kept.put(key, value)
        >>> kept.get("a"), kept.get("b"), len(kept)
        (None, 2, 2)
    """

    def __init__(self, count_max: int) -> None:
        self._count_max = count_max
        self._values: OrderedDict[KeyT, ValueT] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: KeyT) -> ValueT | None:
        """Return the value of the key, or None if it was forgotten or never known."""
        with self._lock:
            value = self._values.get(key)
            if value is not None:
                with contextlib.suppress(KeyError):  # it may be dropped at any moment
                    self._values.move_to_end(key)
            return value

    def put(self, key: KeyT, value: ValueT) -> None:
        """Keep the value, and forget the one that was not asked for longest."""
        with self._lock:
            self._values[key] = value
            if len(self._values) > self._count_max:
                self._values.popitem(last=False)

    def drop(self, key: KeyT, _why: object = None) -> None:
        """Forget the key, if it is known.

        It may be called when an object dies, in the midst of any other call, so it does not lock.

        Args:
            key: The key.
            _why: Ignored: the reference that died.
        """
        self._values.pop(key, None)

    def __len__(self) -> int:
        return len(self._values)
