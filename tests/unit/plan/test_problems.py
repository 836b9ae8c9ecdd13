from __future__ import annotations

import pytest

from fsm_saga.core.limits import Limits
from fsm_saga.errors import Problem
from fsm_saga.plan.problems import (
    NEAR_LOOKUP_MAX,
    NEAR_NAME_MAX,
    SEGMENT_CHARS_MAX,
    SHOWN_CHARS_MAX,
    Near,
    Problems,
    listed,
    pointer,
    printable,
    shown,
)


def problem(code: str = "c", at: str = "/a") -> Problem:
    return Problem(code=code, pointer=at, message="Why.", hint="What.")


def test_a_pointer_escapes_its_segments_and_keeps_the_terminal_safe() -> None:
    assert pointer() == ""
    assert pointer("steps", 0, "a/b~c") == "/steps/0/a~1b~0c"
    assert pointer("\x1b[2J", "\ud800", "\u202e") == "/\ufffd[2J/\ufffd/\ufffd"
    assert len(pointer("k" * 5000)) < 300


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        (False, "false"),
        (7, "7"),
        (1.5, "1.5"),
        (1e300, "1e+300"),
        (10**5000, "a number beyond 64 bits"),
        ("a", "'a'"),
        ("\x1b", r"'\x1b'"),
        ({"a": 1}, "an object"),
        ([1], "a list"),
        ((1,), "a list"),
        ({1}, "a value of type set"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_value_is_shown_as_a_short_printable_text(value: object, text: str) -> None:
    assert shown(value) == text


def test_a_long_text_is_cut() -> None:
    assert len(shown("a" * 5000)) < 100


def test_names_are_listed_up_to_a_number() -> None:
    assert listed([]) == ""
    assert listed(["a", 1]) == "'a', 1"
    assert listed(range(10), at_most=2) == "0, 1 and 8 more"


def test_what_cannot_be_printed_is_replaced() -> None:
    assert printable("é ok") == "é ok"
    assert printable("a\nb\u202e") == "a\ufffdb\ufffd"


@pytest.mark.parametrize("wrong", ["bookFlight", "book-flight", "BOOK_FLIGHT", "book_flite"])
def test_a_near_name_is_suggested_whatever_its_case_and_separators(wrong: str) -> None:
    hint = Near().hint(wrong, ["pay", "book_flight"], otherwise="no")
    assert hint == "Did you mean 'book_flight'?"


def test_a_far_name_gets_the_other_hint() -> None:
    assert Near().hint("teleport", ["pay", "book"], otherwise="There are two.") == "There are two."
    assert Near().hint("b" * 500, ["b" * 500], otherwise="no") == "no"


def test_only_so_many_suggestions_are_looked_up() -> None:
    near = Near()
    hints = [near.hint("aa", ["aaa"], otherwise="no") for _ in range(NEAR_LOOKUP_MAX + 1)]
    assert hints.count("no") == 1
    assert hints[-1] == "no"


def test_of_problems_beyond_the_limit_a_last_one_says_that_they_exist() -> None:
    problems = Problems(Limits(problem_max=2))
    assert not problems
    for number in range(5):
        assert problems.is_full is (number >= 2)
        problems.add("c", ("a", number), "Why.", "What.")
    assert [each.pointer for each in problems] == ["/a/0", "/a/1", ""]
    assert problems.as_tuple()[-1].code == "more-problems"
    assert problems


def test_more_problems_are_said_to_exist_once_whoever_had_more() -> None:
    few, many = Problems(Limits(problem_max=1)), Problems()
    few.extend([problem("a"), problem("b")])
    many.extend(few)
    many.add("c", "/c", "Why.", "What.")
    assert [each.code for each in many] == ["a", "c", "more-problems"]


def test_messages_are_made_safe_to_print() -> None:
    problems = Problems()
    problems.add("c", "", "a\x1b[2J.", "b\u202e.")
    assert problems.as_tuple()[0].message == "a\ufffd[2J."
    assert problems.as_tuple()[0].hint == "b\ufffd."


def test_a_later_look_is_silent_where_an_earlier_one_found_the_place_bad() -> None:
    problems = Problems()
    problems.extend([problem("first", "/a")])
    problems.extend([problem("second", "/a")])
    problems.extend_elsewhere([problem("third", "/a"), problem("fourth", "/b"), problem("5", "/b")])
    assert [each.code for each in problems] == ["first", "second", "fourth", "5"]


@pytest.mark.parametrize(
    ("count", "end"), [(8, "'7'"), (9, "'7' and 1 more"), (11, "'7' and 3 more")]
)
def test_eight_names_are_listed_and_the_others_counted(count: int, end: str) -> None:
    assert listed(str(number) for number in range(count)).endswith(f"'6', {end}")


def test_no_more_names_are_compared_than_are_worth_the_time() -> None:
    others = [f"zzz{number}" for number in range(NEAR_NAME_MAX)]
    assert Near().hint("book", [*others[:-1], "bok"], otherwise="no") == "Did you mean 'bok'?"
    assert Near().hint("book", [*others, "bok"], otherwise="no") == "no"
    longest = "b" * SHOWN_CHARS_MAX
    assert Near().hint(longest, ["b" * 79], otherwise="no") == f"Did you mean {'b' * 79!r}?"
    assert Near().hint(longest + "b", ["b" * 79], otherwise="no") == "no"


def test_three_names_at_most_are_suggested() -> None:
    names = ["book", "books", "booka", "bookb"]
    hint = Near().hint("book", names, otherwise="no")
    assert hint.count(" or ") == 2


@pytest.mark.parametrize("wrong", ["a----b", "a____b", "-A_B-", "a-_-_-b"])
def test_separators_make_no_name_another_one(wrong: str) -> None:
    assert Near().hint(wrong, ["ab"], otherwise="no") == "Did you mean 'ab'?"
    assert Near().hint("ab", [wrong], otherwise="no") == f"Did you mean {wrong!r}?"


def test_a_long_key_is_cut_and_a_number_is_not() -> None:
    longest = "k" * SEGMENT_CHARS_MAX
    assert pointer(longest) == f"/{longest}"
    assert pointer(longest + "k") == f"/{longest}..."
    assert pointer(0, 17) == "/0/17"


def test_what_is_shown_of_a_value_is_cut_beyond_a_bound() -> None:
    assert shown(2**64 - 1) == "18446744073709551615"
    assert shown(2**64) == "a number beyond 64 bits"
    longest = "k" * SHOWN_CHARS_MAX
    assert shown(longest) == repr(longest)
    assert shown(longest + "k") == repr(longest + "...")
