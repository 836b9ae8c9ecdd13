"""An agent that decides as it goes: ``python -m examples.growing.agent``.

No plan is written beforehand. Each call becomes a step of the saga at the moment the agent makes
it, and what the agent learns from one call decides the next. The first trip becomes too dear
half-way: the agent raises, and everything booked until then is undone before the exception comes
out of the ``async with``. The second trip, with a hostel, is kept.
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from fsm_saga import CallContext, Engine, Tool, tool

BUDGET = 2_000
FARES = {"CA1234": 1_280, "MU5102": 990, "HO1256": 1_410}
NIGHTLY = {"grand hotel": 700, "hostel": 210}


class OverBudgetError(Exception):
    """The agent found out that the trip costs more than it may."""


class RefusedError(Exception):
    """There is no money or no such thing; nothing was booked."""


class Offers(BaseModel):
    """Fares by flight."""

    fares: dict[str, int]


class Booking(BaseModel):
    """What was bought, and for how much."""

    order_id: str
    price: int


class Refund(BaseModel):
    """What came back."""

    refunded: int


@dataclass(slots=True)
class Purse:
    """The world of this example: an amount of money, and the answer given to each request."""

    money: int = 5_000
    orders: dict[str, int] = field(default_factory=dict)
    answers: dict[str, Booking | Refund] = field(default_factory=dict)

    def buy(self, what: str, price: int, *, req_id: str) -> Booking:
        """Pay once for each ``req_id``; a repeated request gets the first answer."""
        if req_id not in self.answers:
            if price > self.money:
                raise RefusedError(f"{what} costs {price}, and there are only {self.money} left")
            order = Booking(order_id=f"{what}-{len(self.answers) + 1}", price=price)
            self.money -= price
            self.orders[order.order_id] = price
            self.answers[req_id] = order
        answer = self.answers[req_id]
        if not isinstance(answer, Booking):
            raise RefusedError(f"{req_id!r} was no purchase")
        return answer

    def give_back(self, order_id: str, *, req_id: str) -> Refund:
        """Refund once for each order."""
        if req_id not in self.answers:
            refunded = self.orders.pop(order_id, 0)
            self.money += refunded
            self.answers[req_id] = Refund(refunded=refunded)
        answer = self.answers[req_id]
        if not isinstance(answer, Refund):
            raise RefusedError(f"{req_id!r} was no refund")
        return answer


PURSE = Purse()


@tool(read_only=True)
async def find_flights(date: str) -> Offers:
    """List the flights of a day and what they cost."""
    return Offers(fares=FARES if date.startswith("2026") else {})


@tool(undo="cancel_flight")
async def book_flight(flight: str, date: str, ctx: CallContext) -> Booking:
    """Buy a seat."""
    if flight not in FARES or not date.startswith("2026"):
        raise RefusedError(f"{flight} does not fly on {date}")
    return PURSE.buy(flight, FARES[flight], req_id=ctx.req_id)


@tool
async def cancel_flight(order_id: str, ctx: CallContext) -> Refund:
    """Give a seat back."""
    return PURSE.give_back(order_id, req_id=ctx.req_id)


@tool(undo="cancel_stay")
async def book_stay(house: str, nights: int, ctx: CallContext) -> Booking:
    """Buy some nights in a house."""
    if house not in NIGHTLY:
        raise RefusedError(f"there is no {house}")
    return PURSE.buy(house, NIGHTLY[house] * nights, req_id=ctx.req_id)


@tool
async def cancel_stay(order_id: str, ctx: CallContext) -> Refund:
    """Give the nights back."""
    return PURSE.give_back(order_id, req_id=ctx.req_id)


TOOLS: list[Tool[..., Any]] = [find_flights, book_flight, cancel_flight, book_stay, cancel_stay]


async def travel(engine: Engine, *, saga_id: str, house: str) -> int:
    """Book a trip with two nights in ``house``, and return what it costs.

    Raises:
        OverBudgetError: If it came out too dear; what had been booked is undone.
    """
    async with engine.saga(saga_id) as trip:
        offers = await trip.call(find_flights, date="2026-02-01")
        cheapest = min(offers.fares, key=offers.fares.__getitem__)
        flight = await trip.call(book_flight, flight=cheapest, date="2026-02-01")
        print(f"  booked {flight.order_id} for {flight.price}, the cheapest of {len(offers.fares)}")
        stay = await trip.call(book_stay, house=house, nights=2)
        print(f"  booked {stay.order_id} for {stay.price}; {PURSE.money} left")
        total: int = flight.price + stay.price
        if total > BUDGET:
            raise OverBudgetError(f"{total} is more than the {BUDGET} that this trip may cost")
        return total


async def main() -> int:
    """Try a dear trip, then a modest one; return 0 if the money is right after each."""
    async with Engine.open("memory://", tools=TOOLS) as engine:
        start = PURSE.money
        print(f"A trip with a grand hotel ({PURSE.money} in the purse)")
        try:
            await travel(engine, saga_id="trip-7", house="grand hotel")
        except OverBudgetError as error:
            print(f"  the agent gave up: {error}")
        print(f"  undone: {PURSE.money} in the purse again, orders {PURSE.orders}")
        if PURSE.money != start or PURSE.orders:
            print(f"  but {start} and no order were expected", file=sys.stderr)
            return 1

        print("A trip with a hostel")
        total = await travel(engine, saga_id="trip-8", house="hostel")
        print(f"  kept: the trip costs {total}, {PURSE.money} in the purse, orders {PURSE.orders}")
        if PURSE.money != start - total or sum(PURSE.orders.values()) != total:
            print(f"  but {start - total} was expected in the purse", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
