"""The travel agency of the examples keeps, as a real process, every promise that it makes."""

from __future__ import annotations

import http.client
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from examples.travel.process import Agency, open_agency
from tests.docs.travel import (
    FLIGHT,
    FLIGHT_CENTS,
    HOTEL,
    LAST_SEAT,
    MONEY_CENTS,
    NIGHT_CENTS,
    TRANSFER,
    TRANSFER_CENTS,
)


@pytest.fixture
def agency(tmp_path: Path) -> Iterator[Agency]:
    with open_agency(tmp_path) as running:
        yield running


def money(agency: Agency) -> dict[str, int]:
    accounts: dict[str, int] = agency.ledger()["accounts_cents"]
    assert sum(accounts.values()) == MONEY_CENTS, "money was made or lost"
    return accounts


def free(agency: Agency, kind: str, day: str = "2026-02-01") -> dict[str, int]:
    """Return what is free on ``day``, by code."""
    stock = agency.ledger()["free"][kind]
    return {key.removesuffix(f" {day}"): count for key, count in stock.items() if key.endswith(day)}


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    """Run ``calls`` in threads that start together, and return what they returned."""
    barrier = threading.Barrier(len(calls))

    def wait_and_call(call: Callable[[], Any]) -> Any:
        barrier.wait(10)
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(wait_and_call, calls))


# What a call does.


def test_a_booked_flight_takes_a_seat_and_money(agency: Agency) -> None:
    status, order = agency.post("/flights/book", req_id="a", **FLIGHT)

    assert status == 200
    assert order == {
        "order_id": "FL-1001",
        "price_cents": FLIGHT_CENTS,
        "lands_at": "2026-02-01T11:45",
    }
    assert free(agency, "flights")["CA1234"] == 2
    assert money(agency)["王小明"] == 800_000 - FLIGHT_CENTS
    assert money(agency)["airline"] == FLIGHT_CENTS


def test_a_hotel_order_takes_a_room_on_every_night_but_the_last_day(agency: Agency) -> None:
    status, order = agency.post("/hotels/book", req_id="a", **HOTEL)

    assert (status, order["price_cents"]) == (200, 2 * NIGHT_CENTS)
    assert order["address"] == "上海市黄浦区南京东路20号"
    nights = [free(agency, "hotels", f"2026-02-0{day}")["和平饭店"] for day in (1, 2, 3)]
    assert nights == [1, 1, 2]


def test_a_transfer_takes_a_car(agency: Agency) -> None:
    status, order = agency.post("/transfers/book", req_id="a", **TRANSFER)

    assert (status, order["price_cents"]) == (200, TRANSFER_CENTS)
    assert free(agency, "transfers") == {"airport car": 1}


@pytest.mark.parametrize(
    ("kind", "params"), [("flights", FLIGHT), ("hotels", HOTEL), ("transfers", TRANSFER)]
)
def test_a_cancelled_order_gives_everything_back_once(
    agency: Agency, kind: str, params: dict[str, str]
) -> None:
    before = agency.ledger()
    _, order = agency.post(f"/{kind}/book", req_id="do", **params)

    status, reply = agency.post(
        f"/{kind}/cancel", req_id="undo", order_id=order["order_id"], undoes="do"
    )
    again = agency.post(f"/{kind}/cancel", req_id="undo-2", order_id=order["order_id"], undoes="do")

    assert (status, reply["refunded_cents"]) == (200, order["price_cents"])
    assert again == (200, {"order_id": order["order_id"], "refunded_cents": 0})
    after = agency.ledger()
    assert [o["state"] for o in after.pop("orders")] == ["cancelled"]
    assert before.pop("orders") == []
    assert after == before


def test_a_hotel_that_is_full_on_the_second_night_takes_nothing_for_the_first(
    agency: Agency,
) -> None:
    second_night = HOTEL | {"check_in": "2026-02-02"}
    for key in ("a", "b"):
        assert agency.post("/hotels/book", req_id=key, **second_night)[0] == 200
    before = agency.ledger()

    status, reply = agency.post("/hotels/book", req_id="c", **HOTEL)

    assert (status, reply) == (409, {"error": "no room free: 和平饭店 on 2026-02-02"})
    assert agency.ledger() == before


# Repeated calls.


def test_a_repeated_call_gets_the_first_answer_and_books_once(agency: Agency) -> None:
    answers = [agency.post("/flights/book", req_id="a", **FLIGHT) for _ in range(3)]

    assert answers[0][0] == 200
    assert answers[1] == answers[2] == answers[0]
    assert free(agency, "flights")["CA1234"] == 2
    assert [(c["req_id"], c["arrivals"]) for c in agency.calls()] == [("a", 3)]


def test_the_order_of_the_fields_makes_no_other_call(agency: Agency) -> None:
    agency.post("/flights/book", req_id="a", **FLIGHT)

    status, _ = agency.post("/flights/book", req_id="a", **dict(reversed(FLIGHT.items())))

    assert status == 200
    assert len(agency.ledger()["orders"]) == 1


def test_a_refusal_stays_a_refusal_though_a_seat_became_free(agency: Agency) -> None:
    agency.post("/flights/book", req_id="first", **LAST_SEAT)
    refused = agency.post("/flights/book", req_id="second", **LAST_SEAT)
    agency.post("/flights/cancel", req_id="undo", undoes="first")
    assert free(agency, "flights")["MU5102"] == 1

    assert refused[0] == 409
    assert agency.post("/flights/book", req_id="second", **LAST_SEAT) == refused
    assert agency.post("/flights/book", req_id="third", **LAST_SEAT)[0] == 200


@pytest.mark.parametrize("first_is_refused", [False, True])
def test_the_same_key_with_other_parameters_is_refused(
    agency: Agency, first_is_refused: bool
) -> None:
    first = FLIGHT | {"flight": "XX1"} if first_is_refused else FLIGHT
    answer = agency.post("/flights/book", req_id="a", **first)
    before = agency.ledger()

    status, reply = agency.post("/flights/book", req_id="a", **FLIGHT | {"date": "2026-02-02"})

    assert status == 422
    assert "other parameters" in reply["error"]
    assert agency.ledger() == before
    assert agency.post("/flights/book", req_id="a", **first) == answer


def test_the_same_key_at_another_endpoint_is_refused(agency: Agency) -> None:
    agency.post("/flights/cancel", req_id="a", order_id="X")

    status, _ = agency.post("/hotels/cancel", req_id="a", order_id="X")

    assert status == 422


def test_a_repeated_cancellation_refunds_once(agency: Agency) -> None:
    agency.post("/flights/book", req_id="do", **FLIGHT)

    answers = [agency.post("/flights/cancel", req_id="undo", undoes="do") for _ in range(3)]

    assert answers == [(200, {"order_id": "FL-1001", "refunded_cents": FLIGHT_CENTS})] * 3
    assert money(agency)["王小明"] == 800_000


# Fenced cancellation.


def test_a_booking_that_comes_after_its_cancellation_is_refused_for_ever(agency: Agency) -> None:
    before = agency.ledger()

    status, reply = agency.post("/flights/cancel", req_id="undo", undoes="late")
    late = [agency.post("/flights/book", req_id="late", **FLIGHT) for _ in range(3)]

    assert (status, reply) == (200, {"order_id": None, "refunded_cents": 0})
    assert late[0][0] == 410
    assert "cancelled before it arrived" in late[0][1]["error"]
    assert late == [late[0]] * 3
    assert agency.ledger() == before
    assert [c["tombstone"] for c in agency.calls()] == [True, False]


def test_a_late_copy_of_a_booking_that_was_undone_is_refused(agency: Agency) -> None:
    agency.post("/flights/book", req_id="do", **FLIGHT)
    agency.post("/flights/cancel", req_id="undo", undoes="do")

    status, reply = agency.post("/flights/book", req_id="do", **FLIGHT)

    assert status == 410
    assert reply == {"error": "order FL-1001 was cancelled", "order_id": "FL-1001"}
    assert free(agency, "flights")["CA1234"] == 3


def test_cancelling_a_booking_that_was_refused_has_no_effect(agency: Agency) -> None:
    agency.post("/flights/book", req_id="do", **FLIGHT | {"flight": "XX1"})
    before = agency.ledger()

    status, reply = agency.post("/flights/cancel", req_id="undo", undoes="do")

    assert (status, reply) == (200, {"order_id": None, "refunded_cents": 0})
    assert agency.ledger() == before


def test_one_tombstone_serves_two_cancellations(agency: Agency) -> None:
    assert agency.post("/hotels/cancel", req_id="undo-1", undoes="late")[0] == 200
    assert agency.post("/hotels/cancel", req_id="undo-2", undoes="late")[0] == 200

    assert agency.post("/hotels/book", req_id="late", **HOTEL)[0] == 410


@pytest.mark.parametrize("undoes", ["hotel", "undo-of-another"])
def test_only_a_booking_of_the_same_kind_can_be_undone(agency: Agency, undoes: str) -> None:
    agency.post("/hotels/book", req_id="hotel", **HOTEL)
    agency.post("/flights/cancel", req_id="undo-of-another", undoes="x")
    before = agency.ledger()

    status, reply = agency.post("/flights/cancel", req_id="undo", undoes=undoes)

    assert status == 409
    assert "was a call of" in reply["error"]
    assert agency.ledger() == before


def test_an_order_that_another_request_made_is_not_cancelled(agency: Agency) -> None:
    _, mine = agency.post("/flights/book", req_id="mine", **FLIGHT)
    _, other = agency.post("/flights/book", req_id="other", **FLIGHT | {"traveller": "Li Na"})

    status, _ = agency.post(
        "/flights/cancel", req_id="undo", undoes="mine", order_id=other["order_id"]
    )

    assert status == 409
    assert [o["state"] for o in agency.ledger()["orders"]] == ["booked", "booked"]
    assert mine["order_id"] != other["order_id"]


# Calls that arrive together.


def test_the_last_room_goes_to_one_of_two_guests(agency: Agency) -> None:
    agency.post("/hotels/book", req_id="earlier", **HOTEL)

    answers = at_once(
        lambda: agency.post("/hotels/book", req_id="a", **HOTEL),
        lambda: agency.post("/hotels/book", req_id="b", **HOTEL | {"traveller": "Li Na"}),
    )

    assert sorted(status for status, _ in answers) == [200, 409]
    assert free(agency, "hotels") == {"和平饭店": 0}
    assert money(agency)["hotel"] == 2 * 2 * NIGHT_CENTS


def test_copies_that_arrive_together_book_once(agency: Agency) -> None:
    copies = [lambda: agency.post("/flights/book", req_id="a", **FLIGHT)] * 8

    answers = at_once(*copies)

    assert answers == [answers[0]] * 8
    assert answers[0][0] == 200
    assert free(agency, "flights")["CA1234"] == 2
    assert [c["arrivals"] for c in agency.calls()] == [8]


def test_a_booking_and_its_cancellation_that_race_end_with_nothing_taken(agency: Agency) -> None:
    first_seen: Counter[int] = Counter()
    for n in range(20):
        booked, cancelled = at_once(
            partial(agency.post, "/flights/book", req_id=f"do-{n}", **FLIGHT),
            partial(agency.post, "/flights/cancel", req_id=f"undo-{n}", undoes=f"do-{n}"),
        )
        first_seen[booked[0]] += 1
        assert cancelled[0] == 200
        assert cancelled[1]["refunded_cents"] == (FLIGHT_CENTS if booked[0] == 200 else 0)

    assert set(first_seen) <= {200, 410}
    assert free(agency, "flights")["CA1234"] == 3
    assert money(agency)["王小明"] == 800_000


# Crashes.


def test_a_killed_service_remembers_every_answer_that_it_gave(tmp_path: Path) -> None:
    with open_agency(tmp_path) as agency:
        booked = agency.post("/flights/book", req_id="booked", **FLIGHT)
        refused = agency.post("/flights/book", req_id="refused", **FLIGHT | {"flight": "XX1"})
        agency.post("/hotels/book", req_id="undone", **HOTEL)
        agency.post("/hotels/cancel", req_id="undo", undoes="undone")
        agency.post("/transfers/cancel", req_id="undo-early", undoes="late")
        before = agency.ledger()
        agency.process.kill()
        agency.process.wait(10)

    with open_agency(tmp_path, hotel_rooms=99) as agency:
        assert agency.ledger() == before
        assert agency.post("/flights/book", req_id="booked", **FLIGHT) == booked
        assert (
            agency.post("/flights/book", req_id="refused", **FLIGHT | {"flight": "XX1"}) == refused
        )
        assert agency.post("/hotels/book", req_id="undone", **HOTEL)[0] == 410
        assert agency.post("/transfers/book", req_id="late", **TRANSFER)[0] == 410
        assert agency.ledger() == before


def test_calls_cut_off_by_a_kill_are_done_and_remembered_or_neither(tmp_path: Path) -> None:
    """Kill the service under load; then repeat every call, answered or not."""
    answered: dict[str, tuple[int, dict[str, Any]]] = {}
    keys = [f"k-{n}" for n in range(40)]

    with open_agency(tmp_path) as agency:

        def book(key: str) -> None:
            # Each call takes back its own seat, so that no call is refused for want of one.
            for path, req_id, params in (
                ("/transfers/book", key, TRANSFER),
                ("/transfers/cancel", f"undo-{key}", {"undoes": key}),
            ):
                try:
                    answered[req_id] = agency.post(path, req_id=req_id, **params)
                except (OSError, http.client.HTTPException):
                    return
                if len(answered) == 25:
                    agency.process.kill()

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(book, keys))
        assert agency.process.wait(10) == -9
    assert 25 <= len(answered) < 2 * len(keys)

    with sqlite3.connect(tmp_path / "books.db") as books:
        (held,) = books.execute("SELECT count(*) FROM orders WHERE state = 'booked'").fetchone()
        (remembered,) = books.execute(
            "SELECT count(*) FROM calls WHERE path = '/transfers/book' AND status = 200"
        ).fetchone()
        (made,) = books.execute("SELECT count(*) FROM orders").fetchone()
    books.close()
    assert remembered == made

    with open_agency(tmp_path) as agency:
        assert free(agency, "transfers") == {"airport car": 2 - held}
        for req_id, answer in answered.items():
            if req_id.startswith("undo-"):
                key = req_id.removeprefix("undo-")
                assert agency.post("/transfers/cancel", req_id=req_id, undoes=key) == answer
        for key in keys:
            assert agency.post("/transfers/cancel", req_id=f"undo-{key}", undoes=key)[0] == 200
        assert free(agency, "transfers") == {"airport car": 2}
        assert money(agency)["王小明"] == 800_000
