"""The pages about options and schemas say what the table says."""

from __future__ import annotations

from tests.tidy.options_page import (
    BEGIN,
    PAGE,
    SCHEMAS_BEGIN,
    SCHEMAS_END,
    SCHEMAS_PAGE,
    printed,
    with_schemas,
)


def test_the_page_about_options_is_printed_from_the_table() -> None:
    words, begin, _ = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    assert begin
    assert PAGE.read_text(encoding="utf-8") == words + printed(), (
        "print it again: python -m tests.tidy.options_page"
    )


def test_the_keywords_of_schemas_are_printed_from_the_table() -> None:
    page = SCHEMAS_PAGE.read_text(encoding="utf-8")
    assert page.count(SCHEMAS_BEGIN) == page.count(SCHEMAS_END) == 1
    assert page == with_schemas(page), "print it again: python -m tests.tidy.options_page"
