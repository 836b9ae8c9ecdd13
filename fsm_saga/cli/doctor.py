"""``fsm-saga doctor``: what is there, what is missing, and what to do about it."""

from __future__ import annotations

from fsm_saga.cli.checks import Finding, Level, machine_findings, store_findings, tools_finding
from fsm_saga.cli.commands import command
from fsm_saga.cli.options import STORE, AsJson, StoreUrl, ToolSpecs, tool_specs
from fsm_saga.cli.output import print_json, print_line
from fsm_saga.cli.running import run_async
from fsm_saga.drawing.plain import plain_text

_STYLES = {Level.OK: "green", Level.WARN: "bold yellow", Level.FAIL: "bold red"}


@command(
    "doctor",
    examples="""
        fsm-saga doctor
        fsm-saga doctor --tools examples/parallel/tools.py --json
    """,
)
def doctor(tools: ToolSpecs = None, store: StoreUrl = STORE, as_json: AsJson = False) -> int:
    """Check what fsm-saga needs on this machine, and the store.

    Exit codes: 0 if nothing fails, though something may be worth a warning; 1 otherwise.
    """
    specs = tool_specs(tools)
    findings = [*machine_findings(), *run_async(store_findings(store))]
    if specs:
        findings.append(tools_finding(specs))
    is_well = not any(finding.level is Level.FAIL for finding in findings)
    if as_json:
        print_json({"is_well": is_well, "findings": [each.as_json() for each in findings]})
    else:
        for finding in findings:
            _print(finding)
    return 0 if is_well else 1


def _print(finding: Finding) -> None:
    level = (f"{finding.level:<4}", _STYLES[finding.level])
    print_line(level, f"  {finding.name:<20} ", plain_text(finding.message))
    if finding.advice:
        print_line(" " * 27, plain_text(finding.advice))
