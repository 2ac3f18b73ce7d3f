"""What an answer rests on: searches, the sources that they found, and which words rest on which."""

from __future__ import annotations

from msgspec import Struct


class SearchWish(Struct, frozen=True, gc=False):
    """The answer may rest on a search; ``field`` is the path of the wish, for refusals."""

    field: str


class Source(Struct, frozen=True, gc=False):
    """Something that a search found; ``text`` is what a model is shown of it."""

    uri: str
    title: str
    text: str


class Support(Struct, frozen=True, gc=False):
    """A piece of an answer's text, in bytes of UTF-8, and the sources that it rests on.

    ``confidences`` says how surely, for each of them, from 0 to 1.
    """

    start_byte: int
    end_byte: int
    text: str
    sources: tuple[int, ...]
    confidences: tuple[float, ...]


class Grounding(Struct, frozen=True, gc=False):
    """The searches that were made for an answer, and what came of them."""

    queries: tuple[str, ...]
    sources: tuple[Source, ...] = ()
