"""Texts cut into excerpts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightrate.tools.excerpts import excerpts


def cut(text: str, bytes_max: int) -> list[str]:
    return [excerpt.text for excerpt in excerpts(text, bytes_max)]


@pytest.mark.parametrize(
    ("text", "bytes_max", "pieces"),
    [
        ("", 9, []),
        (" \n ", 9, []),
        ("short", 9, ["short"]),
        ("first one.\n\nsecond. third", 18, ["first one.", "second. third"]),
        ("first one\nsecond. third", 18, ["first one", "second. third"]),
        ("This is one. That is two.", 20, ["This is one.", "That is two."]),
        ("many words here and there", 16, ["many words here", "and there"]),
        ("x" * 20, 8, ["x" * 8, "x" * 8, "x" * 4]),
        ("東京" * 3, 8, ["東京", "東京", "東京"]),
        ("東京です。大阪です。京都です。", 20, ["東京です。", "大阪です。", "京都です。"]),
    ],
)
def test_a_text_is_cut_where_a_reader_would(text: str, bytes_max: int, pieces: list[str]) -> None:
    assert cut(text, bytes_max) == pieces


@given(st.text(alphabet=st.sampled_from("aé東😀 .\n"), max_size=200), st.integers(4, 40))
def test_the_excerpts_are_the_whole_text_and_say_where_they_lie(text: str, bytes_max: int) -> None:
    data = text.encode()
    found = list(excerpts(text, bytes_max))
    assert "".join("".join(one.text.split()) for one in found) == "".join(text.split())
    assert all(data[one.start_byte : one.end_byte] == one.text.encode() for one in found)
    assert all(0 < one.end_byte - one.start_byte <= bytes_max for one in found)
