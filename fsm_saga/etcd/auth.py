"""The token that stands for user and password, and its renewal.

Checking a password costs etcd a tenth of a second on purpose, and a token expires for all calls at
once. So whoever finds the token refused renews it, and the others wait for that one renewal.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from fsm_saga.etcd.errors import EtcdError

Metadata = tuple[tuple[str, str], ...]


class Tokens:
    """The token in use; ``authenticate`` fetches one, or "" where etcd asks for none."""

    def __init__(self, authenticate: Callable[[], Awaitable[str]] | None) -> None:
        self._authenticate = authenticate
        self._lock = asyncio.Lock()
        self._token: str | None = None if authenticate is not None else ""
        self._renewals = 0
        self._failure: EtcdError | None = None

    @property
    def is_renewable(self) -> bool:
        """True when there is a user to renew it for."""
        return self._authenticate is not None

    async def metadata(self) -> Metadata:
        """Return what a call carries; the first call of all fetches the token."""
        if self._token is None:
            await self.renew(())
        return (("token", self._token),) if self._token else ()

    async def renew(self, refused: Metadata) -> None:
        """Have a newer token than the refused one, fetched by this call or by another.

        Raises:
            UnauthenticatedError: The user or the password is not accepted.
            EtcdUnavailableError: No endpoint answered.
        """
        if self._authenticate is None:
            return
        seen = self._renewals
        async with self._lock:
            if self._renewals != seen:
                if self._failure is not None:
                    raise type(self._failure)(self._failure.message, **self._failure.facts)
                return
            if self._token is not None and refused != self._metadata_of(self._token):
                return  # renewed before this call could say so
            # Counted at its end, as those who came meanwhile waited for this one; and not when it
            # is cancelled, as then the next of them makes it.
            try:
                self._token = await self._authenticate()
            except EtcdError as error:
                self._failure = error
                self._renewals += 1
                raise
            self._failure = None
            self._renewals += 1

    @staticmethod
    def _metadata_of(token: str) -> Metadata:
        return (("token", token),) if token else ()
