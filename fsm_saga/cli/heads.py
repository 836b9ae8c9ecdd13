"""Heads of sagas: what is known of each without reading its journal."""

from __future__ import annotations

from typing import Any

from fsm_saga.ports import Head


def head_as_json(head: Head) -> dict[str, Any]:
    """Return what ``list --json`` prints of a saga; ``show --json`` says the same and more."""
    return {
        "saga_id": head.saga_id,
        "state": head.state,
        "outcome": head.outcome,
        "goal": head.goal,
        "position": head.position,
        "created_at": head.created_at,
        "updated_at": head.updated_at,
        "waits_for": head.waits_for,
    }
