"""One renewal for all whose token was refused."""

from __future__ import annotations

import asyncio

import pytest

from fsm_saga.etcd.auth import Tokens
from fsm_saga.etcd.errors import EtcdUnavailableError, UnauthenticatedError


class Door:
    """Gives tokens, or refuses."""

    def __init__(self, *, refuses: bool = False) -> None:
        self.asked = 0
        self.refuses = refuses
        self.opened = asyncio.Event()
        self.opened.set()

    async def __call__(self) -> str:
        self.asked += 1
        await self.opened.wait()
        if self.refuses:
            raise UnauthenticatedError("wrong password", user="u")
        return f"token-{self.asked}"


async def test_the_first_call_fetches_the_token_and_the_others_use_it() -> None:
    door = Door()
    tokens = Tokens(door)
    found = await asyncio.gather(*(tokens.metadata() for _ in range(10)))
    assert set(found) == {(("token", "token-1"),)}
    assert door.asked == 1


async def test_calls_that_find_their_token_refused_share_one_renewal() -> None:
    door = Door()
    tokens = Tokens(door)
    old = await tokens.metadata()
    door.opened.clear()
    renewing = [asyncio.create_task(tokens.renew(old)) for _ in range(10)]
    await asyncio.sleep(0)
    door.opened.set()
    await asyncio.gather(*renewing)
    assert door.asked == 2
    assert await tokens.metadata() == (("token", "token-2"),)


async def test_a_call_that_comes_late_with_an_old_token_renews_nothing() -> None:
    door = Door()
    tokens = Tokens(door)
    old = await tokens.metadata()
    await tokens.renew(old)
    await tokens.renew(old)
    assert door.asked == 2


async def test_a_refused_password_is_told_to_all_who_waited_and_asked_once() -> None:
    door = Door()
    tokens = Tokens(door)
    old = await tokens.metadata()
    door.refuses = True
    door.opened.clear()
    renewing = [asyncio.create_task(tokens.renew(old)) for _ in range(5)]
    await asyncio.sleep(0)
    door.opened.set()
    results = await asyncio.gather(*renewing, return_exceptions=True)
    assert [type(result) for result in results] == [UnauthenticatedError] * 5
    assert len({id(result) for result in results}) == 5
    assert door.asked == 2
    door.refuses = False
    await tokens.renew(old)
    assert door.asked == 3


async def test_a_renewal_that_was_cancelled_is_made_by_the_next() -> None:
    door = Door()
    tokens = Tokens(door)
    old = await tokens.metadata()
    door.opened.clear()
    first, second = (asyncio.create_task(tokens.renew(old)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    door.opened.set()
    await asyncio.gather(first, return_exceptions=True)
    await second
    assert await tokens.metadata() == (("token", "token-3"),)


async def test_without_a_user_nothing_is_fetched() -> None:
    tokens = Tokens(None)
    assert await tokens.metadata() == ()
    assert not tokens.is_renewable
    await tokens.renew(())


async def test_where_etcd_asks_for_no_token_none_is_sent() -> None:
    async def none_needed() -> str:
        return ""

    tokens = Tokens(none_needed)
    assert await tokens.metadata() == ()


async def test_an_endpoint_that_does_not_answer_is_no_refused_password() -> None:
    async def away() -> str:
        raise EtcdUnavailableError("away")

    with pytest.raises(EtcdUnavailableError):
        await Tokens(away).metadata()
