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
    return re.compile(said, re.ASCII)


@given(pattern=st.sampled_from(PATTERNS), text=TEXTS)
def test_a_text_is_one_of_the_pattern_by_anothers_judgement_too(pattern: str, text: str) -> None:
    read, other = read_pattern(pattern), of_python(pattern)
    assert read.matches(text) is (other.fullmatch(text) is not None)


@given(pattern=st.sampled_from(PATTERNS), data=st.data())
def test_what_another_makes_of_the_pattern_is_one_of_it(pattern: str, data: st.DataObject) -> None:
    text = data.draw(st.from_regex(of_python(pattern), fullmatch=True))
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
