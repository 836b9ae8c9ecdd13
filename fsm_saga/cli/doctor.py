"""``fsm-saga doctor``: what is there, what is missing, and what to do about it."""

from __future__ import annotations

from typing import Annotated

import typer

from fsm_saga.cli.checks import Finding, Level, machine_findings, store_findings, tools_finding
from fsm_saga.cli.checks_certificates import certificate_findings
from fsm_saga.cli.checks_contents import contents_findings
from fsm_saga.cli.checks_etcd import etcd_findings, is_in_etcd
from fsm_saga.cli.checks_redis import is_in_redis, redis_findings
from fsm_saga.cli.commands import command
from fsm_saga.cli.options import (
    STORE,
    AsJson,
    CertificateFolder,
    StoreUrl,
    ToolSpecs,
    tool_specs,
)
from fsm_saga.cli.output import print_json, print_line
from fsm_saga.cli.running import run_async
from fsm_saga.drawing.plain import plain_text

_STYLES = {Level.OK: "green", Level.WARN: "bold yellow", Level.FAIL: "bold red"}


@command(
    "doctor",
    examples="""
        fsm-saga doctor
        fsm-saga doctor --tools examples/parallel/tools.py --json
        fsm-saga doctor --thorough
    """,
)
def doctor(
    tools: ToolSpecs = None,
    store: StoreUrl = STORE,
    certificates: CertificateFolder = None,
    thorough: Annotated[
        bool, typer.Option("--thorough", help="Look at all the store holds, however long it takes.")
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Check what fsm-saga needs on this machine, the store with all it holds, and certificates.

    Of a large store the newest sagas are looked at, for ten seconds; nothing is changed in it.

    Exit codes: 0 if nothing fails, though something may be worth a warning; 1 otherwise.
    """
    specs = tool_specs(tools)
    findings = [
        *machine_findings(),
        *run_async(_findings_of_store(store)),
        *run_async(contents_findings(store, is_thorough=thorough)),
        *([tools_finding(specs)] if specs else []),
        *certificate_findings(certificates, specs),
    ]
    is_well = not any(finding.level is Level.FAIL for finding in findings)
    if as_json:
        print_json({"is_well": is_well, "findings": [each.as_json() for each in findings]})
    else:
        for finding in findings:
            _print(finding)
    return 0 if is_well else 1


async def _findings_of_store(url: str) -> list[Finding]:
    if is_in_etcd(url):
        return await etcd_findings(url)
    if is_in_redis(url):
        return await redis_findings(url)
    return list(await store_findings(url))


def _print(finding: Finding) -> None:
    level = (f"{finding.level:<4}", _STYLES[finding.level])
    print_line(level, f"  {finding.name:<20} ", plain_text(finding.message))
    if finding.advice:
        print_line(" " * 27, plain_text(finding.advice))
