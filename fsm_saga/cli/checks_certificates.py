"""What ``doctor`` says of certificates: which tools are proven, refuted or unknown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from fsm_saga.cli.checks import Finding, Level
from fsm_saga.cli.options import load_all, read_certificates
from fsm_saga.core.contract import Standing
from fsm_saga.errors import FsmSagaError
from fsm_saga.tools.certificates import FOLDER, Certificate, Certificates
from fsm_saga.tools.registry import Registry

_CERTIFY = "fsm-saga certify"
_FINGERPRINT_CHARS = 12


def certificate_findings(folder: Path | None, specs: Sequence[str]) -> list[Finding]:
    """Return what is known of each tool.

    Args:
        folder: Where the certificates are; None for the usual place.
        specs: Where the tools of today are, against which the certificates are held.
    """
    try:
        known = read_certificates(folder)
    except FsmSagaError as error:
        advice = "Remove what is no certificate, or name another folder."
        return [Finding(name="certificate", level=Level.FAIL, message=error.message, advice=advice)]
    if known is None:
        if not specs:
            return []
        message = f"none in {FOLDER}: what the tools declare is believed"
        advice = f"Try the tools out: {_CERTIFY} TOOL."
        return [Finding(name="certificate", level=Level.OK, message=message, advice=advice)]
    try:
        registry = Registry(load_all(specs), certificates=known)
    except FsmSagaError:  # that the tools cannot be used is said elsewhere
        registry = Registry()
    return [*_of_certificates(known, registry), *_of_unknown(known, registry)]


def _of_certificates(known: Certificates, registry: Registry) -> Iterator[Finding]:
    for certificate in known:
        facts = registry.catalogue.get(certificate.tool)
        standing = certificate.standing if facts is None else facts.standing
        is_good = standing in (Standing.CERTIFIED, Standing.PARTLY)
        compared = "" if facts is not None else "; not held against the tool of today"
        yield Finding(
            name="certificate",
            level=Level.OK if is_good else Level.WARN,
            message=f"{certificate.tool}: {_words(certificate, standing)}; {_when(certificate)}"
            f"{compared}",
            advice=_advice(certificate, standing),
        )


def _of_unknown(known: Certificates, registry: Registry) -> Iterator[Finding]:
    """Yield the tools without a certificate that others' undo or check does not cover."""
    certified = [tool for tool in registry if tool.name in known]
    covered = {certificate.undo for certificate in known} | {tool.undo for tool in certified}
    covered |= {tool.contract.check for tool in certified}
    for name in registry.catalogue:
        if name not in known and name not in covered:
            yield Finding(
                name="certificate",
                level=Level.OK,
                message=f"{name}: unknown, declared only",
                advice=f"Try it out: {_CERTIFY} {name}.",
            )


def _words(certificate: Certificate, standing: Standing) -> str:
    match standing:
        case Standing.REFUTED:
            return f"refuted: {', '.join(certificate.broken)}"
        case Standing.OUTDATED:
            return "changed since it was certified, so declared only"
        case Standing.PARTLY:
            return (
                f"proven in part: {', '.join(certificate.proven) or 'nothing'}; "
                f"could not be told: {', '.join(certificate.untried)}"
            )
        case _:
            return f"proven: {', '.join(certificate.proven) or 'it declares nothing'}"


def _when(certificate: Certificate) -> str:
    return (
        f"found {certificate.certified_at:%Y-%m-%d %H:%M} UTC by fsm_saga {certificate.version} "
        f"for {certificate.fingerprint[:_FINGERPRINT_CHARS]}"
    )


def _advice(certificate: Certificate, standing: Standing) -> str:
    match standing:
        case Standing.REFUTED:
            return (
                "Plans that use it are refused. Mend it or let it declare less, then "
                f"{_CERTIFY} {certificate.tool}."
            )
        case Standing.OUTDATED:
            return f"Certify it again: {_CERTIFY} {certificate.tool}."
        case _:
            return ""
