"""Taking obvious secrets out of what is about to be stored or shown.

This is a net for accidents, not a vault: it knows the forms that secrets commonly have and
nothing else. Two degrees of care are kept apart. In a tool's **output** only what cannot be
anything else is replaced, because later steps refer to it and an id must never change. In an
**error text**, which nobody refers to, a ``token=...`` is replaced as well.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

REDACTED = "[redacted]"

# Names under which a JSON object holds a secret, in lower case without hyphens and underscores.
# Bare "token", "key" and "secret" are missing on purpose, ids are called that, too; and so is
# "authorization", which is what a bank calls a card payment: there the value itself decides.
_SECRET_NAMES = frozenset(
    {
        "accesstoken",
        "apikey",
        "awssecretaccesskey",
        "clientsecret",
        "passphrase",
        "passwd",
        "password",
        "privatekey",
        "refreshtoken",
        "secretaccesskey",
        "setcookie",
        "xapikey",
    }
)
_NAME_CHARS_MAX = 40


class _Rule(NamedTuple):
    """A pattern, what stands in for a match, and lower-case texts of which a match has one."""

    pattern: re.Pattern[str]
    replacement: str
    needles: tuple[str, ...]


def _rule(pattern: str, *needles: str, keep: bool = False, flags: int = 0) -> _Rule:
    replacement = rf"\g<keep>{REDACTED}" if keep else REDACTED
    return _Rule(re.compile(pattern, flags), replacement, needles)


_SURE = (
    # A text that was cut short ends inside the block: the rest of it is the key all the same.
    _rule(
        r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----"
        r".*?(?:-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----|\Z)",
        "private key",
        flags=re.DOTALL,
    ),
    _rule(
        r"(?P<keep>\b(?:basic|negotiate)\s+)(?:[A-Za-z0-9+/]{4}){3,}[A-Za-z0-9+/]{0,3}={1,2}",
        "basic",
        "negotiate",
        keep=True,
        flags=re.IGNORECASE,
    ),
    # What follows must look like a token, so that "bearer shares" and its kind stay.
    _rule(
        r"(?P<keep>\bbearer\s+)(?=[^\s]*[\d._~+/-][^\s]|[^\s]{16})[A-Za-z0-9._~+/-]{6,}=*",
        "bearer",
        keep=True,
        flags=re.IGNORECASE,
    ),
    _rule(
        r"(?P<keep>(?<![A-Za-z])(?:password|passwd|passphrase|pwd|(?:aws_)?secret_access_key)"
        r"[\"']?\s*(?:=\s*|:\s*(?=[\"'])|:\s*(?=\S*[^\sA-Za-z,.;])))(?:\"[^\"]*\"|'[^']*'|[^\s\"'&,;]+)",
        "pass",
        "pwd",
        "secret_access_key",
        keep=True,
        flags=re.IGNORECASE,
    ),
    _rule(r"(?<![A-Za-z0-9])(?:AKIA|ASIA)[0-9A-Z]{16}(?![A-Za-z0-9])", "akia", "asia"),
    _rule(
        r"(?<![A-Za-z0-9])sk-(?:[A-Za-z0-9]{1,12}-){0,3}[A-Za-z0-9_]{16,}[A-Za-z0-9_-]*",
        "sk-",
    ),
    _rule(r"(?<![A-Za-z0-9])[sr]k_(?:live|test)_[A-Za-z0-9]{10,}", "k_live_", "k_test_"),
    _rule(r"\b(?:gh[pousr]_[A-Za-z0-9]{30,}|github_pat_\w{30,})", "gh", "github_pat_"),
    _rule(r"\bxox[abeoprs]-[A-Za-z0-9-]{10,}", "xox"),
    _rule(r"(?<![A-Za-z0-9])AIza[0-9A-Za-z_-]{35}", "aiza"),
    _rule(r"\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]*", "eyj"),
    _rule(r"(?P<keep>://)[^\s/:@]+:[^\s/@]+(?=@)", "://", keep=True),
)
_LIKELY = (
    _rule(
        r"(?P<keep>\bauthorization[\"']?\s*[:=]\s*[\"']?)"
        r"(?:(?:basic|bearer|digest|token|negotiate)\s+)?[^\s\"',;]+",
        "authorization",
        keep=True,
        flags=re.IGNORECASE,
    ),
    *_SURE,
    _rule(
        r"(?P<keep>(?<![A-Za-z])(?:(?:access|refresh|auth|id|session)[_-]?token|token"
        r"|(?:client[_-]?)?secret|(?:x[_-]?)?api[_-]?key|access[_-]?key|private[_-]?key)"
        r"[\"']?\s*(?:=\s*|:\s*(?=[\"'])))(?:\"[^\"]*\"|'[^']*'|[^\s\"'&,;]+)",
        "token",
        "secret",
        "key",
        keep=True,
        flags=re.IGNORECASE,
    ),
)

# A value whose JSON has none of these is not walked at all; nearly every output is such. One
# pattern over lower-case bytes was measured to be several times faster than twenty `in`.
_SUSPICION = re.compile(
    rb"pass|pwd|key|token|secret|cookie|bearer|basic|negotiate|akia|asia|sk-|k_(?:live|test)_"
    rb"|gh[pousr]_|github_pat_|xox|aiza|eyj|://"
)


def redact_text(text: str) -> str:
    """Return an error text without the secrets that can be recognised in it.

    Example:
        >>> redact_text("401 for token=abc123 of Bearer 3f7.a90.c11")
        '401 for token=[redacted] of Bearer [redacted]'
        >>> redact_text("flight CA1234 is full")
        'flight CA1234 is full'
    """
    return _apply(_LIKELY, text)


def redact_json(value: Any) -> Any:
    """Return a JSON value in which what certainly is a secret reads ``[redacted]``.

    A text is redacted where it stands, and as a whole where its name says ``password`` or the
    like. Other values, ordinary ids among them, stay as they are; nothing is changed in place.

    Example:
        >>> redact_json({"order_id": "FL-17", "password": "hunter2"})
        {'order_id': 'FL-17', 'password': '[redacted]'}
    """
    if isinstance(value, str):
        return _apply(_SURE, value)
    if isinstance(value, Mapping):
        return {
            name: _hidden(item) if _names_secret(name) else redact_json(item)
            for name, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [redact_json(item) for item in value]
    return value


def may_hold_secret(serialised: bytes) -> bool:
    """Return whether :func:`redact_json` could change the value of which this is the JSON."""
    return _SUSPICION.search(serialised.lower()) is not None


def _apply(rules: tuple[_Rule, ...], text: str) -> str:
    lowered = text.lower()
    for rule in rules:
        if any(needle in lowered for needle in rule.needles):
            text = rule.pattern.sub(rule.replacement, text)
    return text


def _hidden(value: Any) -> Any:
    if isinstance(value, str):
        return REDACTED if value else value
    if isinstance(value, list | tuple):
        return [_hidden(item) for item in value]
    return redact_json(value)


def _names_secret(name: Any) -> bool:
    if not isinstance(name, str) or len(name) > _NAME_CHARS_MAX:
        return False
    return name.lower().replace("-", "").replace("_", "") in _SECRET_NAMES
