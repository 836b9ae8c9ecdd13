"""Certifying: whether a tool keeps what it declares, found out by calling it for real.

Here belongs what calls a tool to judge it, and what is written down of that; nothing here takes
part in a saga. Read ``checks.py`` first: what is tried; then ``certificate.py``: what remains.
"""

from __future__ import annotations

from fsm_saga.tools.certify.certifying import certificate_of, certify_tool
from fsm_saga.tools.certify.report import CallMade, CheckResult, Promise, Report, Verdict
from fsm_saga.tools.certify.trial import Samples

__all__ = [
    "CallMade",
    "CheckResult",
    "Promise",
    "Report",
    "Samples",
    "Verdict",
    "certificate_of",
    "certify_tool",
]
