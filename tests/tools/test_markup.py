"""Pages of the web, read as text: what they say, and little of what stands beside it."""

from __future__ import annotations

import itertools
import sys

import pytest

from nightrate import tool_limits
from nightrate.tools import markup
from nightrate.tools.documents import HTML, extract
from nightrate.tools.markup import read_markup
from tests.tools.web_pages import (
    ARTICLE,
    BANNER,
    MENU,
    PREFORMATTED,
    WEB_FORMS,
    WEB_PAGES,
    WebPage,
)


@pytest.mark.parametrize("name", WEB_PAGES)
def test_what_a_page_says_is_read_in_order(name: str) -> None:
    page = WEB_PAGES[name]
    text = extract(page.html.encode(), HTML).text
    places = [text.find(words) for words in page.says]
    assert -1 not in places, dict(zip(page.says, places, strict=True))
    assert all(before < after for before, after in itertools.pairwise(places))


@pytest.mark.parametrize("name", WEB_PAGES)
def test_what_stands_beside_it_is_left_out(name: str) -> None:
    page = WEB_PAGES[name]
    text = extract(page.html.encode(), HTML).text
    assert [words for words in page.beside if words in text] == []


@pytest.mark.parametrize("name", WEB_PAGES)
def test_a_page_whose_main_part_is_not_told_is_read_whole(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(markup, "_main_part", lambda _: "")
    page = WEB_PAGES[name]
    _, text = read_markup(page.html.encode(), None)
    assert [words for words in page.says if words not in text] == []


def test_the_main_part_is_no_small_share_of_a_page(monkeypatch: pytest.MonkeyPatch) -> None:
    found = "The main part. " * 20
    monkeypatch.setattr(markup, "_main_part", lambda _: found)
    short, long = "word " * 200, "word " * 300
    assert read_markup(f"<p>{short}</p>".encode(), None)[1] == found
    assert read_markup(f"<p>{long}</p>".encode(), None)[1] == long.strip()


@pytest.mark.parametrize("page", [ARTICLE, PREFORMATTED])
def test_the_main_part_of_very_long_and_very_short_pages_is_not_looked_for(
    page: WebPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: str) -> str:
        raise AssertionError("nobody looks for its main part")

    monkeypatch.setattr(tool_limits, "MAIN_PART_CHARACTERS_MAX", len(ARTICLE.html) - 1)
    monkeypatch.setattr(markup, "_main_part", refuse)
    assert page.says[-1] in read_markup(page.html.encode(), None)[1]


def test_a_page_within_a_form_is_read_without_what_one_fills_in() -> None:
    page = b"""<form><p>It is open.</p><select><option>Aarau</option></select><textarea>Write
here</textarea><button>Send</button></form>"""
    assert read_markup(page, None)[1] == "It is open."


def test_the_title_comes_with_it() -> None:
    assert read_markup(WEB_FORMS.html.encode(), None)[0] == "Opening hours"
    assert read_markup(b"no title", None)[0] == ""


def test_lines_of_code_stay_lines_and_those_of_the_source_do_not() -> None:
    prose = "<p>one\n two</p>" + "<p>It goes on\nand on for a while.</p>" * 20
    _, text = read_markup(f"{PREFORMATTED.html}{prose}".encode(), None)
    assert "Network Working Group\nRequest for Comments: 9999\n" in text
    assert "one two" in text
    assert "It goes on and on for a while." in text


@pytest.mark.parametrize("bad", ["\0", "\x01", "&#0;", "\ufffe"])
def test_characters_that_mean_nothing_hide_nothing(bad: str) -> None:
    page = ARTICLE.html.replace("The old bridge", f"The {bad}old bridge")
    text = extract(page.encode(), HTML).text
    assert [words for words in ARTICLE.says if words not in text] == []


def test_a_damaged_page_is_read_all_the_same() -> None:
    for cut in range(0, len(ARTICLE.html), 97):
        for harm in ("<div>", "</article>", "<!--", "<", "&#", "<table><tr>"):
            read_markup(f"{ARTICLE.html[:cut]}{harm}{ARTICLE.html[cut:]}".encode(), None)


def test_deep_pages_are_read() -> None:
    depth = 2 * sys.getrecursionlimit()
    words = "They stand far within. " * 20
    assert words.strip() in read_markup(f"{'<div>' * depth}<p>{words}</p>".encode(), None)[1]


def test_nothing_is_logged_of_a_page_that_a_parser_wonders_about(
    caplog: pytest.LogCaptureFixture,
) -> None:
    for page in (b"https://secret.example/", b"<!-- secret -->", f"{BANNER}{MENU}".encode()):
        read_markup(page, None)
    assert caplog.text == ""


def test_what_stands_behind_the_end_of_a_page_is_read_too() -> None:
    assert read_markup(b"<html><body><p>one</p></body></html><p>two</p>", None)[1] == "one\ntwo"
