"""The words of texts."""

from __future__ import annotations

from nightrate.domain.words import all_words, telling_words


def test_words_are_small_and_without_punctuation() -> None:
    assert all_words("Who's Zürich? 東京 x_1") == ["who", "s", "zürich", "東京", "x_1"]


def test_words_that_every_text_has_tell_nothing() -> None:
    assert telling_words("Who won the Euro 2025?") == ["won", "euro", "2025"]
    assert telling_words("The Who") == []
