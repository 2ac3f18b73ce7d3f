"""What an answer rests on: searches, the sources that they found, and which words rest on which."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct


class LookupWish(Struct, frozen=True, gc=False):
    """The answer may rest on what is looked up: by a search, in the pages that the user names.

    Each is the path of its wish, for refusals; None where it is not wanted.
    """

    search: str | None = None
    pages: str | None = None


class Source(Struct, frozen=True, gc=False):
    """Something that a search found; ``text`` is what a model is shown of it."""

    uri: str
    title: str
    text: str


class PageStatus(StrEnum):
    """What became of a page that the user named."""

    SUCCESS = "success"
    ERROR = "error"
    """It is not there, may not be fetched by programs, or cannot be read."""
    PAYWALL = "paywall"
    UNSAFE = "unsafe"
    """The server does not connect there."""


class Page(Struct, frozen=True, gc=False):
    """A page that the user named."""

    uri: str
    status: PageStatus


class Support(Struct, frozen=True, gc=False):
    """A piece of an answer's text, in bytes of UTF-8, and the sources that it rests on.

    ``confidences`` says how surely, for each of them, from 0 to 1.
    """

    start_byte: int
    end_byte: int
    text: str
    sources: tuple[int, ...]
    confidences: tuple[float, ...]


class Citation(Struct, frozen=True, gc=False):
    """A piece of an answer's text, in bytes of UTF-8, that repeats a source as it stands there.

    What is not known of the source is empty.
    """

    start_byte: int
    end_byte: int
    uri: str = ""
    title: str = ""
    license: str = ""


class Grounding(Struct, frozen=True, gc=False):
    """The searches that were made for an answer, the pages that were read, what came of them.

    The first sources are the pages that came; those of the searches follow.
    """

    queries: tuple[str, ...] = ()
    sources: tuple[Source, ...] = ()
    pages: tuple[Page, ...] = ()
