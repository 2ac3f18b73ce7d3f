"""Documents of the operator, which searches may find."""

from __future__ import annotations

from msgspec import Struct

from nightrate.clock import Instant


class Document(Struct, frozen=True, gc=False):
    """A text with its address and its title. What has the same address is the same document."""

    uri: str
    title: str
    text: str


class Indexed(Struct, frozen=True, gc=False):
    """A document in the index, with the number of its excerpts."""

    uri: str
    title: str
    text_bytes: int
    excerpts: int
    added_at: Instant
