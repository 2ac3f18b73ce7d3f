"""What commands and a running server tell each other about the index, and what commands print."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from msgspec import Struct, json

from nightrate.clock import rfc3339
from nightrate.dialects.administration import decoded
from nightrate.domain.document import Document, Indexed

T = TypeVar("T")


class IndexedDocument(Struct, frozen=True, rename="camel"):
    """A document in the index."""

    uri: str
    title: str
    text_bytes: int
    excerpts: int
    added: str


class IndexedDocuments(Struct, frozen=True):
    """A page of them."""

    documents: list[IndexedDocument]


class Put(Struct, frozen=True):
    """What became of a document: how many excerpts it has."""

    excerpts: int


class PutOrder(Struct, frozen=True, forbid_unknown_fields=True):
    """The body that adds a document."""

    uri: str
    title: str
    text: str


class PageOrder(Struct, frozen=True, forbid_unknown_fields=True):
    """The body that asks for a page of documents, those behind an address."""

    after: str


class Removal(Struct, frozen=True, forbid_unknown_fields=True):
    """The body that removes a document."""

    uri: str


def document_of(indexed: Indexed) -> IndexedDocument:
    """Describe a document."""
    added = rfc3339(indexed.added_at)
    return IndexedDocument(indexed.uri, indexed.title, indexed.text_bytes, indexed.excerpts, added)


def render_indexed(indexed: Indexed) -> bytes:
    """Write a document."""
    return json.encode(document_of(indexed))


def render_page(page: Iterable[Indexed]) -> bytes:
    """Write a page of documents."""
    return json.encode(IndexedDocuments([document_of(indexed) for indexed in page]))


def render_put(count: int) -> bytes:
    """Write how many excerpts a document has."""
    return json.encode(Put(count))


def write_put(document: Document) -> bytes:
    """Write the body that adds a document."""
    return json.encode(PutOrder(document.uri, document.title, document.text))


def parse_put(body: bytes) -> Document:
    """Read the body that adds a document.

    Raises:
        BadRequest: it is not that.
    """
    order = decoded(body, PutOrder)
    return Document(order.uri, order.title, order.text)


def write_page(after: str) -> bytes:
    """Write the body that asks for a page."""
    return json.encode(PageOrder(after))


def parse_page(body: bytes) -> str:
    """Read the body that asks for a page: the address before it.

    Raises:
        BadRequest: it is not that.
    """
    return decoded(body, PageOrder).after


def write_removal(uri: str) -> bytes:
    """Write the body that removes a document."""
    return json.encode(Removal(uri))


def parse_removal(body: bytes) -> str:
    """Read the body that removes a document: its address.

    Raises:
        BadRequest: it is not that.
    """
    return decoded(body, Removal).uri
