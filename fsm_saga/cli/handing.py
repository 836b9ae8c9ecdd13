"""Plans that are handed to a store: to whoever leads it, or to whoever will.

Nothing is followed here. What counts is that the plan is a saga, or that it is known why not.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from fsm_saga.cli.elsewhere import GIVE_UP_S, LOOK_S, MAKING_S, check_accepted
from fsm_saga.cli.failures import RefusedElsewhereError, StoreFailedError
from fsm_saga.coordinator.clock import SystemClock
from fsm_saga.errors import CommandError, PlanError, StoreError, StoreUnavailableError
from fsm_saga.plan.model import Plan
from fsm_saga.ports import ClusterStore, Store
from fsm_saga.service.preparing import Preparer
from fsm_saga.service.submitting import check_same, deposit, submission

AT_ONCE = 64
"""How many plans are on their way at a time: enough to share commits, few enough to wait for."""

AGAIN = "To submit the same plan again does nothing twice."


@dataclass(frozen=True, slots=True, kw_only=True)
class Handed:
    """What became of one plan.

    Attributes:
        path: Where it was read from.
        plan: The plan; None if it is none.
        is_new: False if the saga was there already.
        error: Why it is no saga, or why that is not known; else None.
    """

    path: str
    plan: Plan | None = None
    is_new: bool = True
    error: Exception | None = None

    @property
    def saga_id(self) -> str | None:
        """The id of its saga."""
        return None if self.plan is None else self.plan.task_id

    @property
    def is_unknown(self) -> bool:
        """True if it may have become a saga, or may still become one."""
        return isinstance(self.error, StoreFailedError)


async def hand_to_leader(cluster: ClusterStore, plans: Sequence[Handed]) -> list[Handed]:
    """Leave the plans for who leads the store, and return what was answered for each."""

    async def hand(plan: Plan) -> bool:
        return await _Waiting(cluster, plan).until_answered()

    return await _all(plans, hand)


async def hand_to_store(store: Store, preparer: Preparer, plans: Sequence[Handed]) -> list[Handed]:
    """Make the plans sagas of a store that this process leads, and run none of them."""
    clock = SystemClock()

    async def hand(plan: Plan) -> bool:
        try:
            return await deposit(store, clock, preparer.prepare(plan))
        except StoreError as error:
            raise _failed(error) from error

    return await _all(plans, hand)


async def _all(plans: Sequence[Handed], hand: Callable[[Plan], Awaitable[bool]]) -> list[Handed]:
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(given: Handed) -> Handed:
        if given.plan is None:
            return given
        async with gate:
            try:
                return replace(given, is_new=await hand(given.plan))
            except (PlanError, CommandError, RefusedElsewhereError, StoreFailedError) as error:
                return replace(given, error=error)

    return await asyncio.gather(*(one(given) for given in plans))


class _Waiting:
    """One plan on its way to who leads the store."""

    def __init__(self, cluster: ClusterStore, plan: Plan) -> None:
        self._cluster = cluster
        self._plan = plan
        self._number: int | None = None
        self._asked_at = 0.0

    async def until_answered(self) -> bool:
        """Return whether the saga is a new one.

        Raises:
            PlanError: The plan was refused.
            CommandError: The task_id belongs to another plan.
            RefusedElsewhereError: It was refused otherwise.
            StoreFailedError: Nobody answers, or the store does not.
        """
        silent_since: float | None = None
        while True:
            try:
                is_new = await self._look()
                silent_since = None
            except StoreError as error:
                is_new = None
                silent_since = silent_since or time.monotonic()
                is_lasting = not isinstance(error, StoreUnavailableError)
                if time.monotonic() - silent_since > (MAKING_S if is_lasting else GIVE_UP_S):
                    raise _failed(error) from error
            if is_new is not None:
                return is_new
            await asyncio.sleep(LOOK_S)

    async def _look(self) -> bool | None:
        """Ask, or take in the answer; None as long as there is none."""
        reader = self._cluster.reader
        if self._number is None:
            if await reader.head(self._plan.task_id) is not None:
                await check_same(reader, self._plan.task_id, self._plan.content_hash())
                return False
            self._number = await reader.post_command(submission(self._plan))
            self._asked_at = time.monotonic()
        answer = await reader.command_answer(self._number)
        if answer is not None:
            check_accepted(answer)
            return True
        if time.monotonic() - self._asked_at > GIVE_UP_S:
            raise StoreFailedError(
                "not-answered",
                f"Nobody who leads store {self._cluster.url!r} has answered for {GIVE_UP_S:g} s. "
                f"The plan is left there: whoever leads next checks and runs it. {AGAIN}",
            )
        return None


def _failed(error: StoreError) -> StoreFailedError:
    return StoreFailedError(
        error.code,
        f"The store failed: {error.message} The plan may have reached it or not. {AGAIN}",
    )
