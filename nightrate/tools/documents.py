"""What people write documents in, read as text: plain text, Markdown, HTML, JSON and PDF."""

from __future__ import annotations

import io
import itertools
import re
import warnings
from pathlib import PurePath
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from nightrate import tool_limits
from nightrate.errors import Fault

if TYPE_CHECKING:
    from bs4 import Tag

HTML: Final = "text/html"
PDF: Final = "application/pdf"
PLAIN: Final = "text/plain"
MARKDOWN: Final = "text/markdown"

_BY_SUFFIX: Final = {
    ".txt": PLAIN,
    ".text": PLAIN,
    ".rst": PLAIN,
    ".md": MARKDOWN,
    ".markdown": MARKDOWN,
    ".html": HTML,
    ".htm": HTML,
    ".xhtml": HTML,
    ".json": "application/json",
    ".pdf": PDF,
}
_MARKUP = {HTML, "application/xhtml+xml"}
_TEXTS = {PLAIN, MARKDOWN, "application/json", "text/x-markdown", "text/csv"}

SUFFIXES: Final = tuple(sorted(_BY_SUFFIX))
"""The ends of names that are known."""

_HEADING = re.compile(r"^#{1,6}[ \t]+(.+?)[ \t]*#*$", re.MULTILINE)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")

_NO_CONTENT = (
    "title",
    "script",
    "style",
    "noscript",
    "template",
    "svg",
    "iframe",
    "form",
    "button",
)
_BESIDE_CONTENT = ("nav", "aside", "footer")
_BLOCKS = {
    *("address", "article", "blockquote", "br", "dd", "div", "dl", "dt", "figcaption", "figure"),
    *("h1", "h2", "h3", "h4", "h5", "h6", "header", "hr", "li", "main", "ol", "p", "pre"),
    *("section", "table", "td", "th", "tr", "ul"),
}
_BREAK = "\x1e"
"""Stands for the end of a line while a page is read; white space of its source does not count."""


class Unreadable(Fault):
    """The document cannot be read as text; the message says why."""


class Extracted(Struct, frozen=True, gc=False):
    """What a document says; the title is empty where it has none."""

    title: str
    text: str


def kind_of(name: str) -> str | None:
    """Tell what a file is, by its name; None when it is nothing that can be read."""
    return _BY_SUFFIX.get(PurePath(name).suffix.lower())


def is_readable(mime_type: str) -> bool:
    """Tell whether documents of a type can be read."""
    return mime_type in _MARKUP or mime_type in _TEXTS or mime_type == PDF


def extract(data: bytes, mime_type: str, charset: str | None = None) -> Extracted:
    """Read a document.

    Args:
        data: its bytes.
        mime_type: one of those that `is_readable` knows.
        charset: how its text is encoded, where somebody says so.

    Raises:
        Unreadable: it is not what its type says, has no text, or is over a bound.
    """
    if mime_type == PDF:
        title, text = _pdf(data)
    elif mime_type in _MARKUP:
        title, text = _html(data, charset)
    else:
        text = _decoded(data, charset)
        heading = _HEADING.search(text) if mime_type == MARKDOWN else None
        title = heading[1] if heading else ""
    text = _clean(text.replace("\r\n", "\n").replace("\r", "\n"))
    if not text:
        raise Unreadable("it has no text")
    if len(text.encode()) > tool_limits.DOCUMENT_TEXT_BYTES_MAX:
        most = tool_limits.DOCUMENT_TEXT_BYTES_MAX
        raise Unreadable(f"its text is longer than {most} bytes; split it")
    title = " ".join(_clean(title).split())
    return Extracted(title[: tool_limits.DOCUMENT_TITLE_CHARACTERS_MAX], text)


def _clean(text: str) -> str:
    """Leave out what is no text: control characters, and halves of characters that PDFs hold."""
    return _CONTROL.sub("", text).encode("utf-8", "replace").decode().strip()


def _decoded(data: bytes, charset: str | None) -> str:
    try:
        return data.decode(charset or "utf-8-sig")
    except LookupError:
        raise Unreadable("its encoding is not known") from None
    except UnicodeDecodeError as error:
        message = f"it is no {charset or 'UTF-8'} text (byte {error.start})"
        raise Unreadable(message) from error


def _html(data: bytes, charset: str | None) -> tuple[str, str]:
    """Read a page: its main part where it says which that is, without what stands beside it."""
    from bs4 import BeautifulSoup

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it wonders whether pages are addresses, or XML
        page = BeautifulSoup(data, "html.parser", from_encoding=charset)
    title = page.title.get_text() if page.title else ""
    for tag in page(_NO_CONTENT):
        tag.decompose()
    body = page.find("main") or page.find("article") or page.body or page
    if any(not tag.find_parent(_BESIDE_CONTENT) for tag in body(("p", "h1", "h2", "li", "td"))):
        for tag in body(_BESIDE_CONTENT):
            tag.decompose()
    lines = (" ".join(line.split()) for line in _in_order(body).split(_BREAK))
    return title, "\n".join(line for line in lines if line)


def _in_order(body: Tag) -> str:
    """Give the text of a page, with a sign wherever a block begins or ends."""
    from bs4.element import NavigableString, Tag

    pieces: list[str] = []
    inside: Tag | None = None
    for element in body.descendants:
        if isinstance(element, Tag):
            if element.name in _BLOCKS:
                pieces.append(_BREAK)
        elif type(element) is NavigableString:  # comments and the like are other kinds
            block = element.parent
            while block is not None and block is not body and block.name not in _BLOCKS:
                block = block.parent
            if block is not inside:
                pieces.append(_BREAK)
                inside = block
            pieces.append(element)
    return "".join(pieces)


def _pdf(data: bytes) -> tuple[str, str]:
    """Read a PDF; what its parser trips over is the file's fault, whatever it raises."""
    import logging

    import pypdf

    logging.getLogger("pypdf").setLevel(logging.CRITICAL)  # it would quote the file
    title, texts = "", list[str]()
    try:
        reader = pypdf.PdfReader(io.BytesIO(data))
        if not reader.is_encrypted or reader.decrypt(""):
            pages = itertools.islice(reader.pages, tool_limits.DOCUMENT_PAGES_MAX + 1)
            texts = [page.extract_text().strip() for page in pages]
            title = str(reader.metadata.title or "") if reader.metadata else ""
    except Exception as error:
        raise Unreadable(f"it is no PDF that can be read ({type(error).__name__})") from error
    if reader.is_encrypted and not texts:
        raise Unreadable("it is locked with a password")
    if len(texts) > tool_limits.DOCUMENT_PAGES_MAX:
        raise Unreadable(f"it has more than {tool_limits.DOCUMENT_PAGES_MAX} pages; split it")
    return title, "\n\n".join(texts)
