"""Which dialect reads and writes the rows of a batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from msgspec import Struct

from nightrate.dialects.gemini_lines import parse_embedding_line, parse_line
from nightrate.dialects.gemini_results import render_line
from nightrate.dialects.row import Echo, ParsedLine
from nightrate.domain.batch import BatchForm, Dialect, Kind, Method
from nightrate.domain.generation import Outcome


class _Hand(Struct, frozen=True):
    """The reading and the writing of one kind of row."""

    parse: Callable[[bytes | None, int, BatchForm, str], ParsedLine]
    render: Callable[[Echo, Outcome, BatchForm, str], bytes]


_HANDS: Final = {
    (Dialect.GEMINI, Method.GENERATE): _Hand(parse_line, render_line),
    (Dialect.GEMINI, Method.EMBED): _Hand(parse_embedding_line, render_line),
}


def parse_row(line: bytes | None, number: int, kind: Kind, model: str) -> ParsedLine:
    """Read one row; whatever is wrong with it becomes its failure.

    Args:
        line: the JSON text; None for a line beyond `limits.LINE_BYTES_MAX`.
        number: the number in messages, from 1.
        kind: how the rows of the batch are written.
        model: the model of the batch, without ``models/``.
    """
    return _HANDS[kind.dialect, kind.method].parse(line, number, kind.form, model)


def render_row(echo: Echo, outcome: Outcome, kind: Kind, response_id: str) -> bytes:
    """Write the answer to one row: ASCII, compact, without a line end.

    Args:
        echo: what the client wants back.
        outcome: how the request ended.
        kind: how the rows of the batch are written.
        response_id: an opaque id, used when there is a reply.
    """
    return _HANDS[kind.dialect, kind.method].render(echo, outcome, kind.form, response_id)
