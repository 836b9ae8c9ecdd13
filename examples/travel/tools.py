"""The travel agency's tools: what a planner may ask for, and how each is undone.

The agency (``service.py``) keeps three promises, and each tool declares them: a repeated
``req_id`` has no second effect (``dedupe``), a refusal stays one (``sticky_failures``), and what
was cancelled cannot arrive later (``fenced_compensation``). ``TRAVEL_URL`` says where it listens.

A refusal of the agency (4xx) is raised as it is, and means: no effect. Whatever leaves the
effect open (5xx, a lost connection, an answer that cannot be read) is raised as
``OutcomeUnknown`` or stays the ``TimeoutError`` or ``ConnectionError`` that it was.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import os
from typing import Any, TypeVar
from urllib.parse import urlsplit

from pydantic import BaseModel, ValidationError

from fsm_saga import CallContext, OutcomeUnknown, tool

AGENCY_URL = urlsplit(os.environ.get("TRAVEL_URL", "http://127.0.0.1:8421"))
CALL_TIMEOUT_S = 10.0
REPLY_BYTES_MAX = 65_536
# Busy or too early: the agency has not decided, so the same call is worth another try.
UNDECIDED_STATUSES = frozenset({408, 425, 429})

Reply = TypeVar("Reply", bound=BaseModel)


class FlightOrder(BaseModel):
    """A seat that was bought."""

    order_id: str
    price_cents: int
    lands_at: str


class HotelOrder(BaseModel):
    """A room that was bought for some nights."""

    order_id: str
    price_cents: int
    address: str


class TransferOrder(BaseModel):
    """A car that waits for the traveller."""

    order_id: str
    price_cents: int


class Cancellation(BaseModel):
    """What was cancelled; no ``order_id`` where there was nothing to cancel."""

    order_id: str | None
    refunded_cents: int


class RefusedByAgencyError(Exception):
    """The agency refused for good; nothing was booked or cancelled."""


@tool(undo="cancel_flight", dedupe=True, sticky_failures=True, fenced_compensation=True)
def book_flight(flight: str, date: str, traveller: str, ctx: CallContext) -> FlightOrder:
    """Buy one seat on a flight, for a day like 2026-02-01."""
    params = {"flight": flight, "date": date, "traveller": traveller}
    return _call("/flights/book", params, ctx, FlightOrder)


@tool(dedupe=True, sticky_failures=True)
def cancel_flight(order_id: str, ctx: CallContext) -> Cancellation:
    """Cancel a flight order: the seat is free again, the money goes back."""
    return _cancel("/flights/cancel", order_id, ctx)


@tool(undo="cancel_hotel", dedupe=True, sticky_failures=True, fenced_compensation=True)
def book_hotel(
    hotel: str, check_in: str, check_out: str, traveller: str, ctx: CallContext
) -> HotelOrder:
    """Buy a room for every night from check_in until the day before check_out."""
    params = {
        "hotel": hotel,
        "check_in": check_in,
        "check_out": check_out,
        "traveller": traveller,
    }
    return _call("/hotels/book", params, ctx, HotelOrder)


@tool(dedupe=True, sticky_failures=True)
def cancel_hotel(order_id: str, ctx: CallContext) -> Cancellation:
    """Cancel a hotel order: the room is free again, the money goes back."""
    return _cancel("/hotels/cancel", order_id, ctx)


@tool(undo="cancel_transfer", dedupe=True, sticky_failures=True, fenced_compensation=True)
async def book_transfer(
    pickup_at: str, drop_off: str, traveller: str, ctx: CallContext
) -> TransferOrder:
    """Order a car from the airport: pickup_at is when the flight lands, drop_off an address."""
    params = {"pickup_at": pickup_at, "drop_off": drop_off, "traveller": traveller}
    return await asyncio.to_thread(_call, "/transfers/book", params, ctx, TransferOrder)


@tool(dedupe=True, sticky_failures=True)
async def cancel_transfer(order_id: str, ctx: CallContext) -> Cancellation:
    """Cancel a car: it is free again, the money goes back."""
    return await asyncio.to_thread(_cancel, "/transfers/cancel", order_id, ctx)


def _cancel(path: str, order_id: str, ctx: CallContext) -> Cancellation:
    params = {"order_id": order_id}
    if ctx.undoes is not None:
        params["undoes"] = ctx.undoes
    return _call(path, params, ctx, Cancellation)


def _call(path: str, params: dict[str, str], ctx: CallContext, reply: type[Reply]) -> Reply:
    status, raw = _exchange(path, params, req_id=ctx.req_id)
    if 400 <= status < 500 and status not in UNDECIDED_STATUSES:
        raise RefusedByAgencyError(_reason(raw, status))
    if status != 200:
        raise OutcomeUnknown(f"the agency answered {path} with status {status}")
    try:
        return reply.model_validate_json(raw)
    except ValidationError as error:
        raise OutcomeUnknown(f"the agency's answer to {path} cannot be read") from error


def _exchange(path: str, params: dict[str, str], *, req_id: str) -> tuple[int, bytes]:
    # http.client takes no proxy from the environment and follows no redirect.
    connection = http.client.HTTPConnection(
        AGENCY_URL.hostname or "127.0.0.1", AGENCY_URL.port, timeout=CALL_TIMEOUT_S
    )
    body = json.dumps(params, ensure_ascii=False).encode()
    headers = {"Content-Type": "application/json", "Idempotency-Key": req_id}
    try:
        connection.request("POST", path, body=body, headers=headers)
        response = connection.getresponse()
        return response.status, response.read(REPLY_BYTES_MAX)
    except (TimeoutError, ConnectionError):
        raise
    except (OSError, http.client.HTTPException) as error:
        raise OutcomeUnknown(f"the agency's answer to {path} was lost: {error}") from error
    finally:
        connection.close()


def _reason(raw: bytes, status: int) -> str:
    try:
        body: Any = json.loads(raw)
    except ValueError:
        body = None
    reason = body.get("error") if isinstance(body, dict) else None
    return reason if isinstance(reason, str) else f"the agency refused with status {status}"
