"""A context that one task enters and another one leaves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from fsm_saga.stores.held import Held


class Door:
    """A context that notes in which task it is entered and left."""

    def __init__(self, *, stuck: bool = False, fails: str = "") -> None:
        self.entered_by: asyncio.Task[None] | None = None
        self.left_by: asyncio.Task[None] | None = None
        self.on_the_way = asyncio.Event()
        self._stuck = stuck
        self._fails = fails

    def has_left(self) -> bool:
        return self.left_by is not None

    @asynccontextmanager
    async def open(self) -> AsyncIterator[str]:
        self.entered_by = asyncio.current_task()
        try:
            self.on_the_way.set()
            if self._stuck:
                await asyncio.Event().wait()
            if self._fails == "entering":
                raise OSError("no way in")
            yield "inside"
        finally:
            self.left_by = asyncio.current_task()
        if self._fails == "leaving":
            raise OSError("no way out")


async def test_it_stays_open_until_it_is_closed_and_is_left_by_the_task_that_entered() -> None:
    door = Door()
    value, held = await Held.open(door.open(), name="the door")
    assert value == "inside"
    assert door.entered_by is not None
    assert door.entered_by is not asyncio.current_task()
    assert door.entered_by.get_name() == "the door"
    await asyncio.sleep(0)
    assert not door.has_left()
    await asyncio.create_task(held.close())
    assert door.left_by is door.entered_by
    assert door.entered_by.done()
    await held.close()  # a second time does nothing


async def test_what_goes_wrong_on_the_way_in_is_told_to_who_opens() -> None:
    door = Door(fails="entering")
    with pytest.raises(OSError, match="no way in"):
        await Held.open(door.open(), name="the door")
    assert door.entered_by is not None
    await asyncio.gather(door.entered_by)  # its task ended without another word


async def test_what_goes_wrong_on_the_way_out_is_told_to_who_closes() -> None:
    _value, held = await Held.open(Door(fails="leaving").open(), name="the door")
    with pytest.raises(OSError, match="no way out"):
        await held.close()


async def test_who_gives_up_opening_leaves_nothing_open() -> None:
    door = Door(stuck=True)
    opening = asyncio.create_task(Held.open(door.open(), name="the door"))
    await door.on_the_way.wait()
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    assert door.entered_by is not None
    assert door.left_by is door.entered_by
    assert door.entered_by.cancelled()


async def test_a_task_that_is_ended_from_outside_is_no_error_of_who_closes() -> None:
    door = Door()
    _value, held = await Held.open(door.open(), name="the door")
    assert door.entered_by is not None
    door.entered_by.cancel()
    await held.close()
    assert door.left_by is door.entered_by
