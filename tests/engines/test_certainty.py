"""What is told of an unfinished answer is never taken back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightrate.engines.certainty import certain, cut

LETTERS = st.text("ab \ufffd", max_size=12)
STOPS = st.lists(st.text("ab ", min_size=1, max_size=4), max_size=3)


@pytest.mark.parametrize(
    ("text", "stops", "told"),
    [
        ("hello", [], "hello"),
        ("hello ", [], "hello"),
        ("hel\ufffd\ufffd", [], "hel"),
        ("a\ufffdb", [], "a\ufffdb"),
        ("one EN", ["END"], "one"),
        ("one ENE", ["END"], "one EN"),
        ("one END two", ["END"], "one"),
        ("aab", ["abab", "b"], "a"),
        ("xaba", ["abab", "ba!"], "x"),
        ("", ["END"], ""),
    ],
)
def test_what_may_still_change_is_held_back(text: str, stops: list[str], told: str) -> None:
    assert certain(text, stops) == told


@given(LETTERS, STOPS)
def test_a_growing_answer_only_grows_and_ends_as_the_finished_one(
    text: str, stops: list[str]
) -> None:
    finished, _ = cut(text, stops)
    told = [certain(text[:size], stops) for size in range(len(text) + 1)]
    for earlier, later in zip(told, [*told[1:], finished], strict=True):
        assert later.startswith(earlier)


def test_a_text_is_cut_at_its_first_stop() -> None:
    assert cut("a b c", ["c", "b"]) == ("a ", True)
    assert cut("a b c", ["d"]) == ("a b c", False)
