"""A shop that keeps its word, and shops that each break it in one way."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from typing import Any

from fsm_saga.tools import CallContext, CheckAnswer, PythonRunner, Registry, Tool, tool

FLAWS = (
    "no dedupe",
    "no tombstone",
    "tombstone for one copy",
    "undo forgets the call",
    "refusals are forgotten",
    "params are not compared",
    "two at once",
    "undo acts twice",
    "undo does nothing",
    "absent does not fence",
    "status lies",
    "deadline is ignored",
    "deadline is always over",
    "output of another type",
    "copies are refused",
    "new answer each time",
)
HOLD_S = 0.005


class Shop:
    """Orders in memory. ``flaws`` says which promises it breaks.

    The fence is written out by hand here: what certifies must not rest on what is certified.
    """

    def __init__(self, flaws: Iterable[str] = ()) -> None:
        self.flaws = frozenset(flaws)
        assert self.flaws <= set(FLAWS)
        self.lock = threading.Lock()
        self.orders: list[str] = []
        self.calls: dict[str, tuple[str, dict[str, Any], Any]] = {}
        self.number = 0

    def order(self, req_id: str, item: str, count: int, *, not_after: float | None) -> Any:
        params = {"item": item, "count": count}
        with self.lock:
            known = self.calls.get(req_id)
            if known is not None and "no dedupe" not in self.flaws:
                return self._again(req_id, known, params)
            if "two at once" not in self.flaws:
                return self._first(req_id, params, not_after)
        time.sleep(HOLD_S)  # looked, let go, and acts on what it saw
        return self._first(req_id, params, not_after)

    def _again(self, req_id: str, known: tuple[str, Any, Any], params: dict[str, Any]) -> Any:
        state, first_params, answer = known
        if state in ("fenced", "undone"):
            if "tombstone for one copy" in self.flaws:
                del self.calls[req_id]
            raise ValueError("this order was cancelled")
        if params != first_params and "params are not compared" not in self.flaws:
            raise ValueError("this req_id came with other params")
        if state == "refused":
            raise ValueError(answer)
        if "copies are refused" in self.flaws:
            raise ValueError("this order was made already")
        if "new answer each time" in self.flaws:
            self.number += 1
            return {"order": self.number}
        return answer

    def _first(self, req_id: str, params: dict[str, Any], not_after: float | None) -> Any:
        is_late = not_after is not None and time.time() > not_after
        is_timed = not_after is not None and "deadline is always over" in self.flaws
        if (is_late and "deadline is ignored" not in self.flaws) or is_timed:
            return self._refuse(req_id, params, "too late")
        if params["count"] > 100:
            return self._refuse(req_id, params, "so much is never there")
        self.number += 1
        self.orders.append(req_id)
        answer: Any = {"order": self.number}
        if "output of another type" in self.flaws:
            answer = {"order": f"number {self.number}"}
        self.calls[req_id] = ("done", params, answer)
        return answer

    def _refuse(self, req_id: str, params: dict[str, Any], why: str) -> Any:
        if "refusals are forgotten" not in self.flaws:
            self.calls[req_id] = ("refused", params, why)
        raise ValueError(why)

    def cancel(self, req_id: str, undoes: str) -> dict[str, bool]:
        with self.lock:
            known = self.calls.get(undoes)
            if known is None:
                if "no tombstone" not in self.flaws:
                    self.calls[undoes] = ("fenced", {}, None)
                return {"cancelled": True}
            if "undo does nothing" in self.flaws:
                return {"cancelled": True}
            if undoes in self.orders:
                self.orders.remove(undoes)
            elif "undo acts twice" in self.flaws:
                self.orders.pop()
            if known[0] == "done":
                self.calls[undoes] = ("undone", known[1], known[2])
            if "undo forgets the call" in self.flaws:
                del self.calls[undoes]
            return {"cancelled": True}

    def status(self, req_id: str) -> CheckAnswer:
        with self.lock:
            state, _params, answer = self.calls.get(req_id, ("absent", None, None))
            if state == "done":
                return CheckAnswer(status="done", output=answer)
            if state == "refused":
                return CheckAnswer(status="refused")
            if "status lies" in self.flaws:
                return CheckAnswer(status="done")
            if state == "absent" and "absent does not fence" not in self.flaws:
                self.calls[req_id] = ("fenced", {}, None)
            return CheckAnswer(status="absent")


def tools_of(shop: Shop, **declared: Any) -> list[Tool[..., Any]]:
    """Return the shop's tools, which declare everything unless told otherwise."""
    promises: dict[str, Any] = {
        "undo": "cancel",
        "check": "status",
        "check_fences": True,
        "fenced_compensation": True,
        "deadline": True,
    } | declared

    @tool(**promises)
    def order(item: str, count: int, ctx: CallContext) -> dict[str, int]:
        answer: dict[str, int] = shop.order(ctx.req_id, item, count, not_after=ctx.not_after)
        return answer

    @tool
    def cancel(ctx: CallContext) -> dict[str, bool]:
        assert ctx.undoes is not None
        return shop.cancel(ctx.req_id, ctx.undoes)

    @tool(read_only=True)
    def status(ctx: CallContext) -> CheckAnswer:
        assert ctx.undoes is not None
        return shop.status(ctx.undoes)

    @tool(read_only=True)
    def count_orders() -> int:
        return len(shop.orders)

    return [order, cancel, status, count_orders]


def runner_of(shop: Shop, **declared: Any) -> PythonRunner:
    """Return what runs the shop's tools."""
    return PythonRunner(Registry(tools_of(shop, **declared)))
