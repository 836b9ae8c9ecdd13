from __future__ import annotations

import json
import re
from typing import Any

import pytest

from fsm_saga.tools import redact
from fsm_saga.tools.redact import REDACTED, may_hold_secret, redact_json, redact_text

PRIVATE_KEY = "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\nIBAAK\n-----END RSA PRIVATE KEY-----"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w5N"

CERTAIN = [
    ("Authorization: Bearer abc.def.ghi", "abc.def.ghi"),
    ("header 'Authorization: Basic dXNlcjpwYXNzd29yZA=='", "dXNlcjpwYXNzd29yZA"),
    ("bearer 0123456789abcdef0123", "0123456789abcdef0123"),
    ("Bearer secret-token", "secret-token"),
    ("key AKIAIOSFODNN7EXAMPLE", "AKIAIOSFODNN7EXAMPLE"),
    ("key ASIAIOSFODNN7EXAMPLE", "ASIAIOSFODNN7EXAMPLE"),
    ("aws_secret_access_key=wJalrXUtnFEMI/K7MDENG", "wJalrXUtnFEMI"),
    (f"see {PRIVATE_KEY} here", "MIIEow"),
    ("-----BEGIN OPENSSH PRIVATE KEY-----\ncut off", "cut off"),
    ("password=hunter2", "hunter2"),
    ("db_password=hunter2&x=1", "hunter2"),
    ("'password': 'two words'", "two words"),
    ("password: hunter2", "hunter2"),
    ("sk-proj-abcdefghij0123456789ABCDEF", "abcdefghij0123456789"),
    ("sk-ant-api03-abcdefghij0123456789ABCDEF", "abcdefghij0123456789"),
    ("sk_live_abcdefghij0123456789", "abcdefghij"),
    ("ghp_" + "a1" * 18, "a1a1"),
    ("github_pat_" + "a1" * 20, "a1a1"),
    ("xoxb-1234567890-abcdef", "1234567890"),
    ("AIza" + "b2" * 17 + "c", "b2b2"),
    (f"jwt {JWT}", "eyJhbGciOiJIUzI1NiJ9"),
    ("postgres://app:hunter2@db/trips", "hunter2"),
]
ORDINARY = [
    "FL-17",
    "req_8f3c2a10",
    "550e8400-e29b-41d4-a716-446655440000",
    "sk-electronic-components-ltd",
    "ASIA-PACIFIC-2026",
    "Bearer of bad news",
    "bearer shares sold",
    "Basic membership refused",
    "password: Field required",
    "passengers=3",
    "https://example.com/orders/17?ref=CA1234",
    "token ring",
    "monkey=banana",
    "酒店已满",
    "",
]


@pytest.mark.parametrize(("text", "secret"), CERTAIN)
def test_a_secret_of_a_known_form_is_taken_out_of_errors_and_outputs(
    text: str, secret: str
) -> None:
    assert secret in text
    assert secret not in redact_text(text)
    assert secret not in redact_json([{"note": text}])[0]["note"]
    assert REDACTED in redact_text(text)


@pytest.mark.parametrize("text", ORDINARY)
def test_an_ordinary_text_stays_as_it_is(text: str) -> None:
    assert redact_text(text) == text
    assert redact_json(text) == text


@pytest.mark.parametrize(
    "text", ["token=abc123", "api_key=abc", "client_secret: 'abc'", "x-api-key=abc&y=1"]
)
def test_what_may_be_a_secret_goes_from_an_error_but_stays_in_an_output(text: str) -> None:
    # A link to a checkout carries a token that the next step needs.
    assert "abc" not in redact_text(text)
    assert redact_json(text) == text


@pytest.mark.parametrize(
    "name",
    ["password", "Password", "api_key", "X-Api-Key", "access_token", "clientSecret", "Set-Cookie"],
)
def test_a_text_under_a_secret_name_is_hidden_as_a_whole(name: str) -> None:
    value = {name: "abc", "all": [{name: ["abc", ""]}]}
    assert redact_json(value) == {name: REDACTED, "all": [{name: [REDACTED, ""]}]}


@pytest.mark.parametrize(
    "value",
    [
        {"authorization": "AUTH-8472", "token": "tok_17", "key": "K-1", "secret": "santa"},
        {"password": 3, "api_key": None, "access_token": {"id": "T-1"}},
        {"n" * 50: "abc", "order_id": "FL-17", "n": [1, 2.5, True, None]},
    ],
)
def test_ids_and_values_that_are_no_text_never_change(value: Any) -> None:
    assert redact_json(value) == value


def test_redaction_makes_a_new_value_and_leaves_the_old_one() -> None:
    value = {"a": [{"password": "x"}]}
    redact_json(value)
    assert value == {"a": [{"password": "x"}]}


@pytest.mark.parametrize(("text", "_secret"), CERTAIN)
def test_the_quick_look_never_misses_what_the_walk_would_change(text: str, _secret: str) -> None:
    assert may_hold_secret(json.dumps({"x": text}).encode())


def test_the_quick_look_sees_every_secret_name() -> None:
    for name in ("passphrase", "passwd", "privateKey", "set-cookie", "refresh_token", "apikey"):
        assert may_hold_secret(json.dumps({name: "abc"}).encode())
    assert not may_hold_secret(b'{"order_id":"FL-17","lands_at":"11:45"}')


def test_a_name_is_secret_up_to_its_longest_and_only_if_it_is_a_text() -> None:
    longest, longer = "_" * 32 + "password", "_" * 33 + "password"
    assert redact_json({longest: "abc", longer: "abc"}) == {longest: REDACTED, longer: "abc"}
    assert redact_json({1: "abc", None: "abc"}) == {1: "abc", None: "abc"}


def test_a_rule_has_its_pattern_its_flags_and_what_stands_in() -> None:
    """The rules are made when the module is imported; here one is made anew."""
    rule = redact._rule(r"(?P<keep>k=).x", "k=", "q=", keep=True, flags=re.DOTALL)
    assert rule.needles == ("k=", "q=")
    assert rule.pattern == re.compile(r"(?P<keep>k=).x", re.DOTALL)
    assert rule.pattern.sub(rule.replacement, "a k=\nx b") == f"a k={REDACTED} b"
    rule = redact._rule("x.y")
    assert (rule.pattern, rule.replacement, rule.needles) == (re.compile("x.y"), REDACTED, ())
