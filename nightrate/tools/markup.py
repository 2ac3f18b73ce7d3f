"""HTML, read as text: the main part of a page, or all of it where that is hard to tell.

What is beside the main part (menus, banners, lists of other pages) would be shown to a model and
found by searches in its place. Telling the two apart is a matter of experience with a great many
sites, which is a library's. Nothing that a page says may be lost by it, though: when the library
finds nothing or far too little, the page is read as it stands.
"""

from __future__ import annotations

import logging
import re
import warnings
from typing import TYPE_CHECKING, Final

from nightrate import tool_limits

if TYPE_CHECKING:
    from bs4 import BeautifulSoup, Tag

_MAIN_SHARE_MIN: Final = 0.25
_MAIN_CHARACTERS_MIN: Final = 250
"""What has less of the text of a page, or less text at all, is not taken for its main part: below
that the library itself gives up and puts together whatever it finds."""

_NO_CONTENT: Final = (
    *("title", "script", "style", "noscript", "template", "svg", "iframe"),
    # Of a form only what one fills in: a page may stand in one as a whole.
    *("button", "select", "textarea", "datalist"),
)
_BESIDE_CONTENT: Final = ("nav", "aside", "footer")
_BLOCKS: Final = {
    *("address", "article", "blockquote", "br", "dd", "div", "dl", "dt", "figcaption", "figure"),
    *("form", "h1", "h2", "h3", "h4", "h5", "h6", "header", "hr", "li", "main", "ol", "p", "pre"),
    *("section", "table", "td", "th", "tr", "ul"),
}
_SPACE: Final = re.compile(r"[ \t\r\n\f]+")
_PRE: Final = re.compile(r"(</?pre\b)", re.IGNORECASE)
_BREAK: Final = "\x1e"
"""Stands for the end of a line while a page is read; white space of its source does not count."""


def read_markup(data: bytes, charset: str | None) -> tuple[str, str]:
    """Read a page.

    Args:
        data: its bytes.
        charset: how its text is encoded, where somebody says so.

    Returns:
        its title, and what it says; both may be empty.
    """
    from bs4.dammit import UnicodeDammit

    markup = UnicodeDammit(data, [charset] if charset else [], is_html=True).unicode_markup or ""
    markup = markup.replace("\0", "")  # which ends a text for one parser, and not for another
    page = _parsed(markup)
    title = page.title.get_text() if page.title else ""
    whole = _whole(page)
    if len(whole) < _MAIN_CHARACTERS_MIN or len(markup) > tool_limits.MAIN_PART_CHARACTERS_MAX:
        return title, whole
    main = _main_part(markup)
    enough = max(_MAIN_CHARACTERS_MIN, _MAIN_SHARE_MIN * len(whole))
    return title, main if len(main) >= enough else whole


def _parsed(markup: str) -> BeautifulSoup:
    from bs4 import BeautifulSoup

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it wonders whether pages are addresses, or XML
        return BeautifulSoup(markup, "html.parser")


def _main_part(markup: str) -> str:
    """Find the main part of a page; nothing where there is none to be told."""
    import trafilatura

    logging.getLogger("trafilatura").setLevel(logging.CRITICAL)  # it would quote the page
    return trafilatura.extract(_with_broken_lines_joined(markup), favor_recall=True) or ""


def _with_broken_lines_joined(markup: str) -> str:
    """Join the lines of a page's source, which mean nothing but in code; the library keeps them."""
    pieces, as_it_stands = _PRE.split(markup), False
    for number, piece in enumerate(pieces):
        if number % 2:
            as_it_stands = piece[1] != "/"
        elif not as_it_stands:
            pieces[number] = _SPACE.sub(" ", piece)
    return "".join(pieces)


def _whole(page: BeautifulSoup) -> str:
    """Give what a page says, but for what stands beside its content where it says so itself."""
    for tag in page(_NO_CONTENT):
        tag.decompose()
    if any(not tag.find_parent(_BESIDE_CONTENT) for tag in page(("p", "h1", "h2", "li", "td"))):
        for tag in page(_BESIDE_CONTENT):
            tag.decompose()
    lines = (" ".join(line.split()) for line in _in_order(page).split(_BREAK))
    return "\n".join(line for line in lines if line)


def _in_order(page: BeautifulSoup) -> str:
    """Give the text of a page, with a sign wherever a block or a line of code begins or ends."""
    from bs4.element import NavigableString, Tag

    pieces: list[str] = []
    inside: Tag | None = None
    for element in page.descendants:
        if isinstance(element, Tag):
            if element.name in _BLOCKS:
                pieces.append(_BREAK)
        elif type(element) is NavigableString:  # comments and the like are other kinds
            block = element.parent
            while block is not None and block is not page and block.name not in _BLOCKS:
                block = block.parent
            if block is not inside:
                pieces.append(_BREAK)
                inside = block
            as_it_stands = block is not None and block.name == "pre"
            pieces.append(element.replace("\n", _BREAK) if as_it_stands else element)
    return "".join(pieces)
