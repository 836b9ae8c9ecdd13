"""The list of bad input is true: whatever it names is there, and every chapter is on it."""

from __future__ import annotations

import json

import pytest

from tests.corpus.__main__ import main
from tests.corpus.holders import exists, missing_holders
from tests.corpus.kinds import KINDS


def test_every_case_and_test_on_the_list_exists() -> None:
    assert list(missing_holders()) == []


def test_a_case_or_a_test_that_is_not_there_is_missed() -> None:
    assert exists("A-empty")
    assert exists("A-trailing-*")
    assert not exists("A-trailing-nothing")
    assert not exists("tests/corpus/test_kinds.py::test_nothing")
    assert not exists("tests/corpus/nowhere.py::test_nothing")


def test_the_list_has_every_number_once_and_every_chapter() -> None:
    numbers = [kind.number for kind in KINDS]
    assert len(set(numbers)) == len(numbers)
    assert {number[0] for number in numbers} == set("ABCDEFGHL")
    wanted = {str(odd) for odd in range(1, 127, 2)}
    assert wanted == {number[1:] for number in numbers if number[1:].isdecimal()} & wanted


def test_the_list_is_printed_as_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    assert main() == 0
    document = json.loads(capsys.readouterr().out)
    assert document["held"] + document["waiting"] == document["kinds"] == len(KINDS)
