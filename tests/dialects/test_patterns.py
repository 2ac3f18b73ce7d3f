"""Patterns of texts: what they mean, by another library's judgement, and what is refused."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightrate import limits
from nightrate.dialects.patterns import Unreadable, read_pattern

PATTERNS = (
    "",
    "abc",
    "^abc$",
    "a|bc|",
    "^a$|^b$",
    "(a|b)*c",
    "(?:ab?){2,3}",
    "(?<name>a+)(?P<other>b)",
    "a{2}b{0,1}c{1,}d??e+?",
    "[a-c]+",
    "[^a-c]",
    "[a\\-c-]{2}",
    "[\\d.,]+\\s?",
    "\\w+@\\w+\\.b",
    "\\D\\W\\S",
    "a.c",
    "\\x61\\u0062\\u{63}",
    "\\[\\]\\(\\)\\{\\}\\.\\*\\+\\?\\^\\$\\|\\\\\\/",
    "[\\^\\]\\\\]",
    "((a{2}){2}|b){1,2}",
    "(a*)*b",
    "é|中+|🙂",
    '"[^"\\\\]*"',
    "[\\s\\S]",
    "^\\+?[1-9]\\d{1,14}$",
    "^[A-Z]{2}-\\d{4}$",
)
TEXTS = st.text(alphabet=' abcde1-.,@[]^$"\\\n+éA中🙂', max_size=9)


def of_python(pattern: str) -> re.Pattern[str]:
    """Say a pattern to Python, which writes some things otherwise."""
    said = pattern.replace("\\u{63}", "c").replace("(?<name>", "(?P<name>").replace("[^]", "[^\\]")
    # Its point leaves out one line terminator; that of ECMAScript leaves out four.
    said = said.replace("a.c", "a[^\\n\\r\u2028\u2029]c")
    return re.compile(said, re.ASCII)


@given(pattern=st.sampled_from(PATTERNS), text=TEXTS)
def test_a_text_is_one_of_the_pattern_by_anothers_judgement_too(pattern: str, text: str) -> None:
    read, other = read_pattern(pattern), of_python(pattern)
    assert read.matches(text) is (other.fullmatch(text) is not None)


@given(pattern=st.sampled_from(PATTERNS), data=st.data())
def test_what_another_makes_of_the_pattern_is_one_of_it(pattern: str, data: st.DataObject) -> None:
    # Where a line ends is another matter to Python: its dot stands for these.
    letters = st.characters(exclude_characters="\r\u2028\u2029", codec="utf-8")
    text = data.draw(st.from_regex(of_python(pattern), fullmatch=True, alphabet=letters))
    read = read_pattern(pattern)
    assert read.matches(text)
    shortest, longest = read.lengths()
    assert shortest <= len(text)
    assert longest is None or len(text) <= longest


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_pattern_is_written_so_that_others_understand_it(pattern: str) -> None:
    read = read_pattern(pattern)
    written = re.compile(read.regex())
    plainest = read.plainest()
    assert read.matches(plainest)
    assert len(plainest) == read.lengths()[0]
    assert written.fullmatch(plainest)
    assert read_pattern(read.regex()) == read_pattern(read_pattern(read.regex()).regex())


@given(pattern=st.sampled_from(PATTERNS), text=TEXTS)
def test_the_written_pattern_means_the_same(pattern: str, text: str) -> None:
    read = read_pattern(pattern)
    assert (re.fullmatch(read.regex(), text) is not None) is read.matches(text)


def test_a_pattern_that_takes_others_for_ever_takes_no_time() -> None:
    read = read_pattern("(a+)+b")
    assert not read.matches("a" * 5_000)
    assert read.matches("a" * 5_000 + "b")


@pytest.mark.parametrize(
    ("pattern", "lengths"),
    [
        ("", (0, 0)),
        ("a{0}", (0, 0)),
        ("(a*){0}", (0, 0)),
        ("(a{0})*", (0, 0)),
        ("a|bcd", (1, 3)),
        ("a|b*", (0, None)),
        ("ab{2,3}", (3, 4)),
        ("ab+", (2, None)),
        ("(a{2}){3}", (6, 6)),
    ],
)
def test_how_short_and_how_long_its_texts_are(pattern: str, lengths: tuple[int, int]) -> None:
    assert read_pattern(pattern).lengths() == lengths


@given(
    pattern=st.sampled_from(PATTERNS), bounds=st.tuples(*[st.integers(0, 9)] * 2), data=st.data()
)
def test_bounds_are_moved_into_counts_and_no_text_within_them_is_lost(
    pattern: str, bounds: tuple[int, int], data: st.DataObject
) -> None:
    read = read_pattern(pattern)
    least, most = sorted(bounds)
    narrow = read.within(least, most)
    text = data.draw(TEXTS | st.from_regex(of_python(pattern), fullmatch=True))
    if least <= len(text) <= most:
        assert narrow.matches(text) is read.matches(text)
    if read.matches(text):
        assert read.uncounted().matches(text)
    else:
        assert not narrow.matches(text)


@pytest.mark.parametrize(
    ("pattern", "bounds", "narrow", "lengths"),
    [
        ("[a-z]+", (3, 10), "[a-z]{3,10}", (3, 10)),
        ("[a-z]+", (2, None), "[a-z]{2,}", (2, None)),
        ("(ab)+", (3, 7), "(ab){2,3}", (4, 6)),
        ("x[a-z]*y", (4, 5), "x[a-z]{2,3}y", (4, 5)),
        ("a|bcd", (2, 9), "bcd", (3, 3)),
        ("\\+?[0-9]+", (0, 15), "\\+?[0-9]{1,15}", (1, 16)),
        ("(a{0})*", (0, 3), "", (0, 0)),
        ("(aaa)+", (4, 5), "(aaa)+", (3, None)),
        ("a", (0, 0), "a", (1, 1)),
    ],
)
def test_what_counts_can_say_of_bounds_they_say(
    pattern: str,
    bounds: tuple[int, int | None],
    narrow: str,
    lengths: tuple[int, int | None],
) -> None:
    found = read_pattern(pattern).within(*bounds)
    assert found.lengths() == lengths
    assert found.regex() == read_pattern(narrow).regex()


@pytest.mark.parametrize(
    ("pattern", "least", "text"),
    [
        ("[a-c]+", 3, "aaa"),
        ("(ab)*", 3, "abab"),
        ("a|bcd|ef", 2, "ef"),
        ("a|bcd|ef", 9, "bcd"),
        ("x?y*z", 4, "xyyz"),
        ("(a|bb){2}", 4, "bbbb"),
        ("(a*)*", 2, "aa"),
        ("a{0}", 2, ""),
    ],
)
def test_a_plain_text_is_as_long_as_is_wanted(pattern: str, least: int, text: str) -> None:
    assert read_pattern(pattern).plainest(least) == text


def test_characters_beside_those_that_are_none_are_written_right() -> None:
    read = read_pattern("[^\\ue000-\\ue005]")
    assert read.regex() == "^[^\\ue000-\\ue005]$"
    assert read_pattern(read.regex()) == read
    assert read_pattern("[\\ud7f0-\\ue005]") == read_pattern("[\\ud7f0-\\ud7ff\\ue000-\\ue005]")


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("(?=a)b", "looks ahead or behind"),
        ("(?i)a", "looks ahead or behind"),
        ("(a)\\1", "\\1"),
        ("\\bword\\b", "\\b"),
        ("\\p{L}", "\\p"),
        ("a$b", "`$` in its middle"),
        ("(a$)", "`$` in its middle"),
        ("a^b", "`^` where a character belongs"),
        ("*a", "`*` where a character belongs"),
        ("a**", "repeats a repetition"),
        ("a{3,2}", "at least more often"),
        ("a{", "`{` where a character belongs"),
        ("(a", "does not close a group"),
        ("a)", "closes a group"),
        ("[a", "does not close `[`"),
        ("[a-", "does not close `[`"),
        ("[z-a]", "ends before it begins"),
        ("[]", "of none"),
        ("[[a]", "`[` in a class"),
        ("\\", "not served"),
        ("\\ud800", "that there is not"),
        ("\\u{110000}", "that there is not"),
        ("(" * 40 + "a" + ")" * 40, "nested more than"),
        ("a" * (limits.PATTERN_CHARACTERS_MAX + 1), "has more than 1000 characters"),
        ("(a{100}){200}", "counts more than 10,000"),
    ],
)
def test_what_is_no_pattern_or_not_served_is_told(pattern: str, why: str) -> None:
    with pytest.raises(Unreadable) as refused:
        read_pattern(pattern)
    assert why in str(refused.value)
