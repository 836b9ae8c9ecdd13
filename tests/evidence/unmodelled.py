"""What no figure shows: what DESIGN.md does not promise, and what our ways of testing leave out."""

from __future__ import annotations

import re
from pathlib import Path

DESIGN = Path(__file__).resolve().parents[2] / "DESIGN.md"
_SECTION = re.compile(r"^## 10\. Failure model.*?\n(.*?)(?=^## )", re.DOTALL | re.MULTILINE)
_BULLET = re.compile(r"^- (.*?)(?=^- |^\s*\Z|^$)", re.DOTALL | re.MULTILINE)

_EVIDENCE_LIMITS = (
    "Malice inside the process: a tool is code that we run, and it can do what the process can.",
    "Someone who writes to the store's file: checksums find damage, not forgery.",
    "A machine that computes wrongly: memory or a processor that lies.",
    "A disk that says that it wrote and did not: a power cut with one is a control that must fail.",
    "Tools that do not keep what they declare; trying them can only catch some of that.",
    "More than one machine: in the simulation leases are played; where coordinators and etcd are "
    "real processes, they share one machine, one clock and one loopback.",
    "Redis as the store of a cluster: its servers are killed, paused and made to forget by tests "
    "that count nothing here.",
    "Clocks that run at different rates or stand still: ours differ by a skew, and jump.",
    "Garbage on the wire between a tool and what it talks to: that is the tool's to judge.",
    "Another version of the engine before or after: there is one so far.",
    "Three faults at chosen places together: singles and pairs are all tried, more are drawn.",
    "Memory, open files or processor time that run out, beyond full disks and hung threads.",
    "Windows and macOS: everything here ran on Linux.",
    "Other versions of Python and SQLite than those named beside each figure.",
    "Plans that are sound and unwise: no check knows what is good for the planner's user.",
    "Years of operation: the longest run here takes hours.",
)


def engine_limits() -> tuple[str, ...]:
    """Return the promises that section 10 of DESIGN.md says are not made, each on one line.

    Raises:
        ValueError: If the section is not there.
    """
    section = _SECTION.search(DESIGN.read_text(encoding="utf-8"))
    found = _BULLET.findall(section[1]) if section else []
    if not found:
        raise ValueError("DESIGN.md has no list in its section 10.")
    return tuple(" ".join(each.split()) for each in found)


def evidence_limits() -> tuple[str, ...]:
    """Return what all figures leave out."""
    return _EVIDENCE_LIMITS
