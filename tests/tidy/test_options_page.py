"""The page about options says what the table says."""

from __future__ import annotations

from tests.tidy.options_page import BEGIN, PAGE, printed


def test_the_page_about_options_is_printed_from_the_table() -> None:
    words, begin, _ = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    assert begin
    assert PAGE.read_text(encoding="utf-8") == words + printed(), (
        "print it again: python -m tests.tidy.options_page"
    )
