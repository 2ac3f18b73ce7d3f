"""What commands and a server tell each other about the index."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from nightrate.dialects import documents
from nightrate.domain.document import Document, Indexed
from nightrate.errors import BadRequest

INDEXED = Indexed("file:///a", "A", 7, 2, 1_769_083_200_000_000)
SHOWN = {
    "uri": "file:///a",
    "title": "A",
    "textBytes": 7,
    "excerpts": 2,
    "added": "2026-01-22T12:00:00Z",
}


def test_what_is_asked_arrives() -> None:
    document = Document("file:///a", "A", "Zürich\n")
    assert documents.parse_put(documents.write_put(document)) == document
    assert documents.parse_page(documents.write_page("file:///a")) == "file:///a"
    assert documents.parse_removal(documents.write_removal("file:///a")) == "file:///a"


def test_what_is_answered_can_be_read() -> None:
    assert msgspec.json.decode(documents.render_put(3)) == {"excerpts": 3}
    assert msgspec.json.decode(documents.render_indexed(INDEXED)) == SHOWN
    assert msgspec.json.decode(documents.render_page([INDEXED])) == {"documents": [SHOWN]}


@pytest.mark.parametrize(
    "parse", [documents.parse_put, documents.parse_page, documents.parse_removal]
)
@pytest.mark.parametrize(
    "body", [b"", b"{}", b"\xff", b'{"uri":1}', b'{"after":"","more":1}', b'{"uri":"\\ud800"}']
)
def test_anything_else_is_refused(parse: Callable[[bytes], Any], body: bytes) -> None:
    with pytest.raises(BadRequest, match="The body cannot be read"):
        parse(body)
