"""Whether what several clients saw of one thing at a time could have happened in some order.

A history is linearizable if each operation can be given one moment between its call and its return
such that a sequential model, taking them in that order, gives the answers that were seen. An
operation whose outcome nobody knows has no return: its moment may be any time later, or never.

The search is the one of Wing and Gong, which tries every operation that may come next, with Lowe's
memory of what was tried: the set of operations taken and the state they led to. Operations on
different keys do not touch each other, so each key is searched by itself, which is what keeps it
quick (Herlihy and Wing: a history is linearizable if it is for each object).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Generic, NamedTuple, TypeVar

NEVER = float("inf")
STEPS_MAX = 1_000_000

StateT = TypeVar("StateT", bound=Hashable)


class Operation(NamedTuple):
    """One operation of one client.

    Attributes:
        key: What it is about.
        what: What was asked and, if it is known, what was answered; the model understands it.
        called_at: When it was called, on any clock that all clients share.
        returned_at: When it returned; ``NEVER`` for an unknown outcome.
        client: Who, for messages.
    """

    key: str
    what: Hashable
    called_at: float
    returned_at: float = NEVER
    client: str = ""


class Model(NamedTuple, Generic[StateT]):
    """What one thing does when operations come one after the other.

    Attributes:
        start: The state in the beginning.
        next: Returns the state after an operation, or None if the answer that it had is impossible
            in this state. For an operation of unknown outcome, the state if it had its effect.
    """

    start: StateT
    next: Callable[[StateT, Hashable], StateT | None]


class Impossible(NamedTuple):
    """Why a history is not linearizable.

    Attributes:
        key: The thing it is about.
        reached: The longest order that could be found.
        stuck: What could have come next and did not fit.
    """

    key: str
    reached: Sequence[Operation]
    stuck: Sequence[Operation]

    def __str__(self) -> str:
        order = "\n".join(f"  {operation}" for operation in self.reached[-10:])
        stuck = "\n".join(f"  {operation}" for operation in self.stuck)
        return f"{self.key}: after\n{order}\nnone of these could come next:\n{stuck}"


class TooManyStepsError(Exception):
    """The search was given up: the history was neither accepted nor refused."""


def find_impossible(
    history: Iterable[Operation], model: Model[StateT], *, steps_max: int = STEPS_MAX
) -> Impossible | None:
    """Return why the history is not linearizable, or None if it is.

    Raises:
        TooManyStepsError: If that could not be told within ``steps_max`` steps for one key.
        ValueError: If an operation returned before it was called.
    """
    by_key: defaultdict[str, list[Operation]] = defaultdict(list)
    for operation in history:
        if operation.returned_at < operation.called_at:
            raise ValueError(f"{operation} returned before it was called")
        by_key[operation.key].append(operation)
    for key, operations in by_key.items():
        operations.sort(key=lambda operation: operation.called_at)
        found = _Search(key, operations, model).run(steps_max)
        if found is not None:
            return found
    return None


class _Search(Generic[StateT]):
    """The search for an order of the operations on one key, sorted by when they were called."""

    def __init__(self, key: str, operations: list[Operation], model: Model[StateT]) -> None:
        self._key = key
        self._operations = operations
        self._model = model
        # What nobody knows the outcome of may be left out of the order for ever.
        self._wanted = sum(1 << n for n, o in enumerate(operations) if o.returned_at != NEVER)

    def run(self, steps_max: int) -> Impossible | None:
        """Return None once an order is found, else why there is none."""
        order: list[int] = []
        taken, state = 0, self._model.start
        tried: set[tuple[int, StateT]] = {(taken, state)}
        # For each operation in the order: what else could have come in its place, and the state.
        ways: list[tuple[list[int], StateT]] = [(self._candidates(taken), state)]
        longest: list[int] = []
        steps = 0
        while taken & self._wanted != self._wanted:
            steps += 1
            if steps > steps_max:
                raise TooManyStepsError(f"{self._key}: {len(self._operations)} operations")
            candidates, state = ways[-1]
            if not candidates:
                ways.pop()
                if not ways:
                    return self._impossible(longest)
                taken &= ~(1 << order.pop())
                continue
            number = candidates.pop()
            after = self._model.next(state, self._operations[number].what)
            chosen = taken | 1 << number
            if after is None or (chosen, after) in tried:
                continue
            tried.add((chosen, after))
            order.append(number)
            taken = chosen
            ways.append((self._candidates(taken), after))
            if len(order) > len(longest):
                longest = order.copy()
        return None

    def _candidates(self, taken: int) -> list[int]:
        """Return what may come next: all that was called before anything left has returned."""
        found: list[int] = []
        returned_at = NEVER
        for number, operation in enumerate(self._operations):
            if taken >> number & 1:
                continue
            if operation.called_at > returned_at:
                break
            found.append(number)
            returned_at = min(returned_at, operation.returned_at)
        found.reverse()  # the last is tried first
        return found

    def _impossible(self, order: list[int]) -> Impossible:
        taken = sum(1 << number for number in order)
        return Impossible(
            self._key,
            [self._operations[number] for number in order],
            [self._operations[number] for number in self._candidates(taken)],
        )
