from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fsm_saga.drawing.plain import ELLIPSIS, display_width, plain_text, shorten, wrap
from tests.unit.drawing.attacks import ATTACKS

anything = st.text(
    st.one_of(
        st.characters(),
        st.sampled_from('\x1b[]0;m\x07\x9b\x9c\u202e\u2066\u200b\u0301\ud800\n\\"<&预'),
    ),
    max_size=60,
)


@pytest.mark.parametrize(("written", "seen"), ATTACKS.values(), ids=ATTACKS.keys())
def test_foreign_text_shows_as_what_can_be_seen_of_it(written: str, seen: str) -> None:
    assert plain_text(written) == seen


@given(anything)
def test_whatever_comes_in_one_harmless_line_comes_out(text: str) -> None:
    plain = plain_text(text)
    assert not {unicodedata.category(char) for char in plain} & {"Cc", "Cs", "Zl", "Zp"}
    assert not set(plain) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
    assert plain.encode().decode() == plain
    assert plain == plain.strip()
    assert plain_text(plain) == plain


def test_a_terminal_sequence_that_never_ends_is_gone_to_the_end() -> None:
    assert plain_text("a\x1b]0;title") == "a"
    assert plain_text("a\x1b") == "a"
    assert plain_text("a\x1b[") == "a"


@pytest.mark.parametrize(
    ("text", "width"),
    [("abc", 3), ("预订", 4), ("e\u0301", 1), ("ＡＢ", 4), ("a\u200db", 2), ("", 0)],
)
def test_width_is_counted_in_columns(text: str, width: int) -> None:
    assert display_width(text) == width


@pytest.mark.parametrize(
    ("text", "columns", "short"),
    [
        ("book the flight", 15, "book the flight"),
        ("book the flight", 9, "book…ight"),
        ("step number 1", 8, "step…r 1"),
        ("预订北京的酒店", 9, "预订…酒店"),
        ("x" * 1000, 11, "xxxxx…xxxxx"),
        ("abc", 1, "a…c"),
    ],
)
def test_long_text_is_cut_in_its_middle(text: str, columns: int, short: str) -> None:
    assert shorten(text, columns) == short


def test_a_mark_is_not_left_without_its_letter() -> None:
    assert shorten("aaaaaaaaaab\u0301cc", 6) == f"aaa{ELLIPSIS}cc"


@given(anything, st.integers(min_value=5, max_value=40))
def test_cut_text_fits(text: str, columns: int) -> None:
    assert display_width(shorten(text, columns)) <= columns


@given(anything, st.integers(min_value=5, max_value=40), st.integers(min_value=1, max_value=3))
def test_wrapped_text_fits_its_lines(text: str, columns: int, line_max: int) -> None:
    lines = wrap(text, columns, line_max=line_max)
    assert 1 <= len(lines) <= line_max
    assert all(display_width(line) <= columns for line in lines)


def test_words_are_wrapped_whole_and_a_long_word_is_broken() -> None:
    assert wrap("apologise to the guests", 12, line_max=2) == ("apologise to", "the guests")
    assert wrap("a" * 20, 12, line_max=2) == ("a" * 12, "a" * 8)
    assert wrap("one", 12, line_max=1) == ("one",)
    assert wrap("aa " * 20, 8, line_max=2)[1].count(ELLIPSIS) == 1
