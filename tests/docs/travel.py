"""What a traveller asks for, and what it costs: shared by the tests of the travel agency."""

from __future__ import annotations

FLIGHT = {"flight": "CA1234", "date": "2026-02-01", "traveller": "王小明"}
LAST_SEAT = {"flight": "MU5102", "date": "2026-02-01", "traveller": "王小明"}
HOTEL = {
    "hotel": "和平饭店",
    "check_in": "2026-02-01",
    "check_out": "2026-02-03",
    "traveller": "王小明",
}
TRANSFER = {"pickup_at": "2026-02-01T11:45", "drop_off": "南京东路20号", "traveller": "王小明"}
FLIGHT_CENTS, NIGHT_CENTS, TRANSFER_CENTS = 128_000, 145_000, 18_000
MONEY_CENTS = 2 * 800_000 + 5_000
