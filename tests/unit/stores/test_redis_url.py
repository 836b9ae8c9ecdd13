"""What a ``redis://`` URL may say, and that its password is never repeated."""

from __future__ import annotations

from pathlib import Path

import pytest

from fsm_saga.errors import StoreError
from fsm_saga.stores.redis_url import PASSWORD_VARIABLE, parse_redis_url


def test_a_plain_url_has_the_usual_port_database_and_prefix() -> None:
    asked = parse_redis_url("redis://cache.example")
    assert (asked.host, asked.port, asked.db) == ("cache.example", 6379, 0)
    assert (asked.prefix, asked.user, asked.password) == ("fsm-saga:", None, None)
    assert not asked.is_tls
    assert not asked.is_relaxed
    assert asked.shown == "redis://cache.example:6379/0"


def test_user_and_password_are_unquoted_and_the_password_is_not_shown() -> None:
    asked = parse_redis_url("redis://an%40n:p%2Fw%40@[::1]:7000/3?durability=relaxed")
    assert (asked.user, asked.password) == ("an@n", "p/w@")
    assert (asked.host, asked.port, asked.db, asked.is_relaxed) == ("::1", 7000, 3, True)
    assert asked.shown == "redis://an@n@[::1]:7000/3?durability=relaxed"
    assert "p/w" not in asked.shown


def test_the_password_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PASSWORD_VARIABLE, "secret")
    assert parse_redis_url("redis://ann@cache").password == "secret"
    assert parse_redis_url("redis://ann:other@cache").password == "other"
    assert parse_redis_url("redis://ann:@cache").password == ""


def test_certificates_are_files_that_exist(tmp_path: Path) -> None:
    for name in ("ca", "cert", "key"):
        (tmp_path / name).touch()
    files = "&".join(f"{name}={tmp_path / name}" for name in ("ca", "cert", "key"))
    asked = parse_redis_url(f"rediss://cache?{files}")
    assert asked.is_tls
    assert (asked.ca, asked.cert, asked.key) == (
        tmp_path / "ca",
        tmp_path / "cert",
        tmp_path / "key",
    )


@pytest.mark.parametrize(
    ("rest", "why"),
    [
        ("", "cannot be read"),
        ("host:port", "cannot be read"),
        ("host:99999", "cannot be read"),
        ("host/zero", "cannot be read"),
        ("host/-1", "cannot be read"),
        ("host#here", "cannot be read"),
        ("[::1", "cannot be read"),
        ("host?what", "cannot be read"),
        ("host?shards=3", "'shards' is no option"),
        ("host?prefix=", "a prefix"),
        ("host?durability=none", "not 'none'"),
        ("host?ca=/none", "are for rediss://"),
    ],
)
def test_what_cannot_be_used_is_refused(rest: str, why: str) -> None:
    with pytest.raises(StoreError, match="was not opened") as caught:
        parse_redis_url(f"redis://:secret@{rest}")
    assert why in caught.value.message
    assert "secret" not in caught.value.message


def test_a_certificate_alone_or_a_file_that_is_missing_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cert").touch()
    with pytest.raises(StoreError, match="go together"):
        parse_redis_url(f"rediss://cache?cert={tmp_path / 'cert'}")
    with pytest.raises(StoreError, match="there is no file"):
        parse_redis_url(f"rediss://cache?ca={tmp_path / 'none'}")
