"""Sagas that another process runs: what is asked of it, its answer, and the saga as it goes on.

Whoever leads the store finds the request there, checks it with its own tools and answers. Here the
store is only read. If nobody leads any more, this process may take the leader's place.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fsm_saga.cli.failures import RefusedElsewhereError, StoreFailedError
from fsm_saga.cli.options import typed
from fsm_saga.cli.output import note
from fsm_saga.cli.progress import Progress
from fsm_saga.coordinator.driver import is_at_rest
from fsm_saga.coordinator.reading import read_saga
from fsm_saga.core.records import Record, SagaSubmitted
from fsm_saga.core.saga import Saga
from fsm_saga.drawing.plain import plain_text
from fsm_saga.errors import (
    PlanError,
    Problem,
    StoreError,
    StoreLockedError,
    StoreUnavailableError,
    UnknownSagaError,
)
from fsm_saga.ports import ClusterStore, Command, Store
from fsm_saga.service.view import SagaView, view_of
from fsm_saga.stores.opening import open_cluster
from fsm_saga.stores.sharding import shard_of

LOOK_S = 0.1
ROSTER_LOOK_S = 0.5
TAKE_OVER_S = 1.5
"""How long nobody may lead before this process does: others that stand by come first."""
HINT_S = 5.0
GIVE_UP_S = 30.0
"""How long an answer is waited for, and a store that does not answer."""

MAKING_S = 2.0
"""How long a store may be in the making by the process that leads it."""

Drive = Callable[[], Awaitable[SagaView]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is wanted of the store's leader: a saga that comes to its rest.

    Attributes:
        store: The URL of the store.
        command: What is left in the store.
        plan_hash: The plan that the saga is made of; None where only the leader can tell.
        specs: The tools that were given to this process.
    """

    store: str
    command: Command
    plan_hash: str | None
    specs: tuple[str, ...]


async def driven_or_followed(
    drive: Drive | None,
    ask: Callable[[], Awaitable[Request]],
    progress: Progress,
    *,
    stopped: StoppedText,
) -> SagaView:
    """Return the saga at rest, run by this process if it can be the store's writer.

    Args:
        drive: Runs it here; raises ``StoreLockedError`` while another process leads. None if this
            process cannot run it.
        ask: Returns what is asked of the other process.
        progress: Shows the saga's changes.
        stopped: Is told what is true once another process runs the saga.

    Raises:
        PlanError: The other process refused the plan.
        RefusedElsewhereError: It refused otherwise.
        StoreFailedError: Nobody answers, or the store does not.
    """
    following: Following | None = None
    text = stopped.text
    while True:
        if drive is not None:
            stopped.text = text
            try:
                return await drive()
            except StoreLockedError:
                pass
        following = following or Following(await ask(), progress, can_drive=drive is not None)
        stopped.text = f"Interrupted. {following.left_text()}"
        async with open_cluster(following.request.store) as cluster:
            view = await following.until_rest(cluster)
        if view is not None:
            return view


class Following:
    """A request on its way, and its saga as of the last look."""

    def __init__(self, request: Request, progress: Progress, *, can_drive: bool) -> None:
        """Begin; nothing is asked yet."""
        self.request = request
        self._progress = progress
        self._can_drive = can_drive
        self._saga_id = request.command.saga_id
        self._shown_url = ""
        self._number: int | None = None
        self._is_accepted = False
        self._saga: Saga | None = None
        self._asked_at = 0.0
        self._unled_since: float | None = None
        self._roster_at = 0.0
        self._has_hinted = False

    async def until_rest(self, cluster: ClusterStore) -> SagaView | None:
        """Return the saga once it rests, or None when this process ought to lead."""
        self._shown_url = cluster.url
        silent_since: float | None = None
        while True:
            try:
                if await self._look(cluster):
                    return None if self._saga is None else view_of(self._saga)
                if await self._ought_to_lead(cluster):
                    return None
                silent_since = None
            except StoreError as error:
                silent_since = silent_since or time.monotonic()
                is_lasting = not isinstance(error, StoreUnavailableError)
                if time.monotonic() - silent_since > (MAKING_S if is_lasting else GIVE_UP_S):
                    if self._number is None:
                        raise
                    raise StoreFailedError(error.code, self._failed_text(error)) from error
            await asyncio.sleep(LOOK_S)

    async def _look(self, cluster: ClusterStore) -> bool:
        """Ask, take in the answer, take in the saga; return whether the saga rests."""
        reader = cluster.reader
        if self._number is None:
            # A saga of this very plan that rests already needs nobody.
            if await self._take_in(reader, is_first=True):
                return True
            self._number = await reader.post_command(self.request.command)
            self._asked_at = time.monotonic()
            await self._tell_where(cluster)
        if not self._is_accepted:
            answer = await reader.command_answer(self._number)
            if answer is None:
                self._check_patience()
                return False
            check_accepted(answer)
            self._is_accepted = True
            self._saga_id = str(answer.get("saga_id") or self._saga_id)
        return await self._take_in(reader, is_first=False)

    async def _take_in(self, reader: Store, *, is_first: bool) -> bool:
        """Show what is new of the saga; return whether it rests."""
        known = 0 if self._saga is None else self._saga.position
        head = await reader.head(self._saga_id)
        if head is None or head.position == known:
            return self._saga is not None and is_at_rest(self._saga)
        journal = await reader.load(self._saga_id)
        if journal is None:
            raise UnknownSagaError(f"The store has no saga {self._saga_id!r}.")
        if is_first and not self._is_of_this_plan(journal):
            return False
        saga = read_saga(journal)[0]
        if is_first:
            self._progress.show(saga, ())
        else:
            self._progress.show(saga, journal[known:])
        self._saga = saga
        return is_at_rest(saga)

    def _is_of_this_plan(self, journal: Sequence[Record]) -> bool:
        first = journal[0] if journal else None
        return isinstance(first, SagaSubmitted) and first.plan_hash == self.request.plan_hash

    async def _tell_where(self, cluster: ClusterStore) -> None:
        if not self.request.specs:
            return
        roster = await cluster.roster()
        leader = roster.leaders.get(shard_of(self._saga_id, cluster.shards))
        member = None if leader is None else roster.members.get(leader.member_id)
        where = "another process" if member is None else member.name
        note(f"{plain_text(where)} runs the sagas of this store: its tools count, not --tools.")

    async def _ought_to_lead(self, cluster: ClusterStore) -> bool:
        """Return whether nobody has led for some time, and this process can."""
        now = time.monotonic()
        if now - self._roster_at < ROSTER_LOOK_S:
            return False
        self._roster_at = now
        roster = await cluster.roster()
        is_served = any(member.is_ready for member in roster.members.values())
        if is_served or shard_of(self._saga_id, cluster.shards) in roster.leaders:
            self._unled_since = None
            return False
        self._unled_since = self._unled_since or now
        if now - self._unled_since < TAKE_OVER_S:
            return False
        if not self._can_drive:
            self._hint("Nobody leads this store any more.")
            if self._is_accepted and now - self._unled_since > GIVE_UP_S:
                raise StoreFailedError(
                    "no-leader",
                    f"Nobody has led store {self._shown_url!r} for {GIVE_UP_S:g} s. "
                    + self.left_text(),
                )
        return self._can_drive

    def _check_patience(self) -> None:
        waited_s = time.monotonic() - self._asked_at
        if waited_s > HINT_S:
            self._hint(f"Nobody has answered for {HINT_S:g} s.")
        if waited_s > GIVE_UP_S:
            raise StoreFailedError(
                "not-answered",
                f"Nobody who leads store {self._shown_url!r} has answered for {GIVE_UP_S:g} s. "
                + self.left_text(),
            )

    def _hint(self, said: str) -> None:
        if not self._has_hinted:
            self._has_hinted = True
            look = typed("cluster", store=self.request.store)
            serve = typed("serve", "--tools", "MODULE_OR_FILE", store=self.request.store)
            note(f"{said} `{look}` tells who is there; `{serve}` serves the store.")

    def left_text(self) -> str:
        """Return what is true if this process no longer waits."""
        watch = typed("watch", self._saga_id, store=self.request.store)
        return (
            "What was asked for is left to whoever leads the store: it goes on there, or begins "
            f"later; `{watch}` follows it. To ask for the same again does nothing twice."
        )

    def _failed_text(self, error: StoreError) -> str:
        return f"The store failed: {error.message} {self.left_text()}"


class StoppedText:
    """What is true after an interruption: it depends on who runs the saga by then."""

    def __init__(self, text: str) -> None:
        """Begin with what is true as long as this process runs it."""
        self.text = text

    def __call__(self) -> str:
        """Return it."""
        return self.text


def check_accepted(answer: Mapping[str, Any]) -> None:
    """Return if the process that leads has accepted what was asked of it.

    Raises:
        PlanError: It refused a plan, with all its problems.
        RefusedElsewhereError: It refused otherwise.
    """
    if answer.get("ok"):
        return
    problems = answer.get("problems")
    if isinstance(problems, list) and problems:
        raise PlanError(_problem(each) for each in problems)
    code, message = answer.get("code", "command-refused"), answer.get("message", "")
    raise RefusedElsewhereError(str(code), str(message))


def _problem(said: Mapping[str, Any]) -> Problem:
    names = ("code", "pointer", "message", "hint")
    return Problem(**{name: str(said.get(name, "")) for name in names})


async def is_led(url: str) -> bool:
    """Return whether some process leads the store, or is there to do so; False if there is none.

    Raises:
        StoreError: The store cannot be looked at.
    """
    try:
        async with open_cluster(url, may_create=False) as cluster:
            roster = await cluster.roster()
    except StoreError as error:
        if error.facts.get("is_missing"):
            return False
        raise
    return bool(roster.leaders) or any(member.is_ready for member in roster.members.values())
