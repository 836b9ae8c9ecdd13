"""What goes wrong: each fault with its name, its rate, and a switch.

A fault has a kind and a place, ``reply-lost@s0.2.do#1``: the second send of the action of saga s0's
third step, done by the tool, and nobody hears of it. Whether it happens is drawn for that name
alone. A run may be told which faults may happen, and draws the same for those.

Rates differ from seed to seed, and in each seed some kinds do not happen at all, since faults that
always come together hide each other.
"""

from __future__ import annotations

from collections.abc import Mapping

from fsm_saga.simulation.chance import Chance

RATES: Mapping[str, float] = {
    # The network between a coordinator and a tool.
    "request-lost": 0.25,
    "reply-lost": 0.20,
    "slow": 0.15,
    "very-slow": 0.08,
    "duplicate": 0.40,
    "late-reply": 0.70,  # of replies that come after the time-out
    "held-for-undo": 0.25,  # an action's copy that arrives only after its undo was acknowledged
    "other-answer": 0.30,  # of second replies: it contradicts the first one
    "held-for-deadline": 0.25,  # a copy that arrives close to the call's own deadline
    # What a tool makes of a call.
    "refuses": 0.12,
    "refuses-first": 0.10,
    "unknown": 0.08,
    "unknown-done": 0.08,
    "bad-output": 0.05,
    "poor-output": 0.05,
    "never-answers": 0.04,
    "undo-refuses": 0.10,
    "undo-refuses-first": 0.10,
    "undo-unknown": 0.10,
    "check-garbled": 0.15,
    "check-bare": 0.10,
    "not-sent": 0.03,
    # The store.
    "store-lost": 0.05,
    "store-reply-lost": 0.08,
    "store-slow": 0.15,
    "store-late": 0.04,  # executed after the caller gave up
    "store-conflict": 0.03,
    "store-closed": 0.03,  # nothing is written for a while
    "watch-reset": 0.20,
    "corrupt": 0.02,
    # The coordinators.
    "crash-before": 0.02,
    "crash-sent": 0.02,
    "crash-after": 0.02,
    "crash-asleep": 0.01,
    "pause": 0.03,
    "crash-loop": 0.04,
    "cut-store": 0.05,
    "cut-tools": 0.05,
    "lease-lost": 0.10,
    "stays-dead": 0.10,
    "outage": 0.06,
    "clock-skew": 0.50,
    "clock-jump": 0.10,
    # The members of a cluster.
    "store-twice": 0.05,  # a request is carried out a second time, somewhat later
    "cut-requests": 0.10,
    "cut-replies": 0.10,
    "leaves": 0.30,
    "joins-late": 0.25,
    "member-lost": 0.20,
    "leader-lost": 0.25,
    "engine-fails": 0.25,
    "stubborn": 0.90,  # of calls that are cancelled: the tool goes on for a while
    # People, who are faults to a saga that would have gone its way.
    "cancel": 0.20,
    "denied": 0.15,
    "silence": 0.15,
    "comes-late": 0.20,
    "stale-answer": 0.20,
    "wrong-answer": 0.15,
    "doubled": 0.15,
    "amend": 0.10,
    "by-post": 0.30,
    "ignored": 0.15,
    "another-saga": 0.35,
    "third-saga": 0.15,
}
"""How likely each kind is where it can happen at all, at its most."""

OFF_SHARE = 0.3
CALM_SHARE = 0.06
ALWAYS_ON = frozenset({"another-saga", "third-saga", "by-post"})


class Faults:
    """Says whether a fault happens, and remembers which did.

    Args:
        chance: The seed's numbers.
        only: The faults that may happen; None allows all.
        without: Kinds that do not happen at all.
    """

    def __init__(
        self,
        chance: Chance,
        only: frozenset[str] | None = None,
        without: frozenset[str] = frozenset(),
    ) -> None:
        self.happened: dict[str, float] = {}
        self.is_over = False
        self._only = only
        self._rates = _rates_of(chance) | dict.fromkeys(without, 0.0)

    def rate(self, kind: str) -> float:
        """Return how likely this kind is in this run."""
        return 0.0 if self.is_over else self._rates[kind]

    def happens(self, kind: str, place: str, number: float, *, at: float) -> bool:
        """Return whether the fault happens here; ``number`` was drawn for this place."""
        if self.is_over or number >= self._rates[kind]:
            return False
        name = f"{kind}@{place}"
        if self._only is not None and name not in self._only:
            return False
        self.happened[name] = at
        return True

    def end(self) -> None:
        """Heal the world: from now on nothing new goes wrong."""
        self.is_over = True


def _rates_of(chance: Chance) -> dict[str, float]:
    is_calm = chance.draw("calm")[0] < CALM_SHARE
    rates = {}
    for kind, most in RATES.items():
        # By name, so that a new kind of fault leaves the others' rates as they were.
        off, share, *_rest = chance.draw(f"rate.{kind}")
        if kind in ALWAYS_ON:
            rates[kind] = most
        else:
            is_off = off < OFF_SHARE or is_calm
            rates[kind] = 0.0 if is_off else most * (0.15 + 0.85 * share)
    return rates
