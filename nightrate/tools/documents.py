"""What people write documents in, read as text: plain text, Markdown, HTML, JSON and PDF."""

from __future__ import annotations

import io
import itertools
import re
from pathlib import PurePath
from typing import Final

from msgspec import Struct

from nightrate import tool_limits
from nightrate.errors import Fault
from nightrate.tools.markup import read_markup

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
        title, text = read_markup(data, charset)
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
