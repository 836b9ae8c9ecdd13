"""Bugs of those that the engine relies on: a store that does not compare, tools that forget."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from fsm_saga.core.effects import CallTool
from fsm_saga.errors import FsmSagaError
from fsm_saga.ports import Append, CallOutcome, OutcomeKind
from fsm_saga.simulation import storage as storage_module
from fsm_saga.simulation import tools as tools_module
from fsm_saga.simulation.node import Node
from fsm_saga.simulation.storage import Journal, Storage
from fsm_saga.simulation.tools import Memory, Remembered, ToolWorld
from fsm_saga.stores.codec import CODEC
from tests.simulation.zoo.bug import bugs

Patch = pytest.MonkeyPatch
_REAL_REFUSAL = storage_module.refusal_of


def _no_leader(patch: Patch) -> None:
    def refusal(
        storage: Storage, epoch: int, append: Append, journal: Journal | None
    ) -> FsmSagaError | None:
        leader = 0 if storage.lease is None else storage.lease.epoch
        patched = _REAL_REFUSAL(storage, leader or epoch, append, journal)
        return None if patched is not None and patched.code == "fenced" else patched

    patch.setattr(storage_module, "refusal_of", refusal)


def _no_position(patch: Patch) -> None:
    patch.setattr(storage_module, "stands_at", lambda append, journal: True)


def _neither(patch: Patch) -> None:
    patch.setattr(storage_module, "refusal_of", lambda *_any: None)


def _lease_without_expiry(patch: Patch) -> None:
    patch.setattr(Storage, "_expire", lambda self, epoch: None)


def _one_epoch(patch: Patch) -> None:
    real = Storage.take_lease

    def take(self: Storage, holder: Any) -> int | None:  # a process
        if self.lease is None:
            self.epoch = 0
        return real(self, holder)

    patch.setattr(Storage, "take_lease", take)


def _lies_about_the_disk(patch: Patch) -> None:
    """What was acknowledged last is gone after a crash: an fsync that does nothing."""
    real = Node.crash

    def crash(self: Node, why: str, **rest: Any) -> None:  # as the real one
        for journal in self.storage.journals.values():
            if len(journal.entries) > 1 and not journal.head.is_final:
                position, _body = journal.entries.pop()
                journal.length = position
        real(self, why, **rest)

    patch.setattr(Node, "crash", crash)


def _half_an_append(patch: Patch) -> None:
    real = CODEC.encode

    class Half:
        encode = staticmethod(lambda records: real(records[:1]))
        decode = CODEC.decode

    patch.setattr(storage_module, "CODEC", Half)


def _damage_goes_unseen(patch: Patch) -> None:
    real = Storage.load

    def load(self: Storage, saga_id: str) -> Any:  # as the real one
        journal = self.journals.get(saga_id)
        if journal is not None and journal.is_corrupt:
            journal.entries = journal.entries[:1]
        return real(self, saga_id)

    patch.setattr(Storage, "load", load)


# The tools.

_REAL_DO = ToolWorld._do


def _no_tombstone(patch: Patch) -> None:
    """The undo of a call that has not come succeeds, and leaves no trace (row D)."""
    real = ToolWorld._take_back

    def take_back(self: ToolWorld, request: CallTool, saga_id: str) -> None:
        real(self, request, saga_id)
        action = self.memory(request.undoes or "")
        if action.memory is Memory.FENCED:
            action.memory = Memory.NOTHING

    patch.setattr(ToolWorld, "_take_back", take_back)


def _tombstone_for_one(patch: Patch) -> None:
    """The tombstone goes with the first late copy that it refused (row H)."""

    def do(
        self: ToolWorld,
        request: CallTool,
        saga_id: str,
        contract: Any,
        found: Remembered,
    ) -> CallOutcome:
        if found.memory is Memory.FENCED:
            found.memory = Memory.NOTHING
            return CallOutcome(OutcomeKind.REJECTED, error="fenced")
        return _REAL_DO(self, request, saga_id, contract, found)

    patch.setattr(ToolWorld, "_do", do)


def _undo_forgets(patch: Patch) -> None:
    """The undo deletes what was remembered of the action (row F)."""
    real = ToolWorld._take_back

    def take_back(self: ToolWorld, request: CallTool, saga_id: str) -> None:
        real(self, request, saga_id)
        action = self.memory(request.undoes or "")
        if action.memory is Memory.DONE:
            action.memory, action.answer = Memory.NOTHING, None

    patch.setattr(ToolWorld, "_take_back", take_back)


def _no_dedupe(patch: Patch) -> None:
    def do(
        self: ToolWorld,
        request: CallTool,
        saga_id: str,
        contract: Any,
        found: Remembered,
    ) -> CallOutcome:
        if found.memory is Memory.DONE:
            found.memory = Memory.NOTHING
        return _REAL_DO(self, request, saga_id, contract, found)

    patch.setattr(ToolWorld, "_do", do)


def _no_sticky_refusals(patch: Patch) -> None:
    def refuse(self: ToolWorld, contract: Any, found: Remembered) -> CallOutcome:
        return CallOutcome(OutcomeKind.REJECTED, error="no")

    patch.setattr(ToolWorld, "_refuse", refuse)


def _retention_too_short(patch: Patch) -> None:
    patch.setattr(tools_module, "FORGETS_AFTER_S", -17.0)


def _deadline_not_kept(patch: Patch) -> None:
    def do(
        self: ToolWorld,
        request: CallTool,
        saga_id: str,
        contract: Any,
        found: Remembered,
    ) -> CallOutcome:
        return _REAL_DO(self, replace(request, not_after=None), saga_id, contract, found)

    patch.setattr(ToolWorld, "_do", do)


def _check_does_not_fence(patch: Patch) -> None:
    real = ToolWorld._check

    def check(self: ToolWorld, request: CallTool, saga_id: str) -> CallOutcome:
        answer = real(self, request, saga_id)
        action = self.memory(request.undoes or "")
        if action.memory is Memory.FENCED:
            action.memory = Memory.NOTHING
        return answer

    patch.setattr(ToolWorld, "_check", check)


IN_STORE = bugs(
    "store",
    {
        "no leader comparison": ("L1", _no_leader),
        "no position comparison": ("L1", _no_position),
        "no comparison at all": ("L1", _neither),
        "one epoch for all leaders": ("L1 L2", _one_epoch),
        "lease never expires": ("V1 V3", _lease_without_expiry),
        "acknowledged and lost in a crash": ("S1 W2 L1", _lies_about_the_disk),
        "half an append": ("W6 W2 TOTAL", _half_an_append),
        "damage goes unseen": ("W5 L1 W6", _damage_goes_unseen),
    },
)
IN_TOOLS = bugs(
    "tools",
    {
        "tombstone dropped": ("U1", _no_tombstone),
        "tombstone for one late copy only": ("U1", _tombstone_for_one),
        "undo drops the dedupe record": ("U1 X1", _undo_forgets),
        "no dedupe": ("X1", _no_dedupe),
        "refusals not sticky": ("U1 C3", _no_sticky_refusals),
        "retention too short": ("X1 U1", _retention_too_short),
        "deadline not kept": ("U1 C3", _deadline_not_kept),
        "check does not fence": ("U1", _check_does_not_fence),
    },
)
