"""Which SQLite may write a store."""

from __future__ import annotations

import apsw
import pytest

from fsm_saga.errors import StoreError
from fsm_saga.stores.sqlite_schema import check_library, sqlite_library


@pytest.mark.parametrize(
    ("version", "is_safe"),
    [
        ("3.6.23", True),
        ("3.7.0", False),
        ("3.40.1", False),
        ("3.44.5", False),
        ("3.44.6", True),
        ("3.45.0", False),
        ("3.50.6", False),
        ("3.50.7", True),
        ("3.51.0", False),
        ("3.51.2", False),
        ("3.51.3", True),
        ("3.54.1", True),
        ("4.0.0", True),
    ],
)
def test_the_versions_with_the_wal_reset_race_are_known(version: str, is_safe: bool) -> None:
    library = sqlite_library(version)
    assert library.is_safe is is_safe
    assert library.sqlite_version == version
    assert ("free of" in library.remark) is is_safe


def test_the_sqlite_of_this_process_is_the_one_of_apsw_and_is_safe() -> None:
    library = sqlite_library()
    assert library.sqlite_version == apsw.sqlite_lib_version()
    assert library.is_safe
    check_library()


def test_a_sqlite_with_the_race_does_not_write(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apsw, "sqlite_lib_version", lambda: "3.46.1")
    with pytest.raises(StoreError, match=r"SQLite 3\.46\.1 has the WAL-reset race"):
        check_library()
