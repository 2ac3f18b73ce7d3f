"""Which dialect reads and writes the rows of a batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from msgspec import Struct

from nightrate.clock import Instant
from nightrate.dialects.gemini_lines import parse_embedding_line, parse_line, placed
from nightrate.dialects.gemini_plain import SOUND
from nightrate.dialects.gemini_plain_passages import SOUND_PASSAGES
from nightrate.dialects.gemini_results import render_line
from nightrate.dialects.openai_lines import (
    EMPTY_FILE,
    parse_chat_line,
    parse_passages_line,
    repeated_id,
    unlisted_faults,
)
from nightrate.dialects.openai_results import render_openai_line, render_unasked_line
from nightrate.dialects.row import Echo, OutcomeOfRow, ParsedLine
from nightrate.domain.batch import BatchForm, Dialect, InputFault, Kind, Method
from nightrate.domain.generation import Failure


def _as_it_is(failure: Failure, _line: object, _number: int, _form: BatchForm) -> Failure:
    return failure  # The path has a member of its own there.


class Hand(Struct, frozen=True):
    """The reading and the writing of one kind of row."""

    parse: Callable[[bytes | None, int, BatchForm, str], ParsedLine]
    """See `parse_row`."""
    render: Callable[[Echo, OutcomeOfRow, BatchForm, str, Instant], bytes]
    """Writes the answer to one row: ASCII, compact, without a line end. Takes what the client wants
    back, how the request ended, the form, an opaque id for a reply, and the time, for dialects that
    tell when they answered."""
    render_unasked: Callable[[Echo, Failure, BatchForm, str], bytes]
    """Writes of a row that was never asked why it was not, likewise."""
    placed: Callable[[Failure, bytes | None, int, BatchForm], Failure] = _as_it_is
    """Says of a failure that names a field and showed later than at reading which row it is of."""
    tells_time: bool = False
    """Whether answers tell when they were written."""


_HANDS: Final = {
    (Dialect.GEMINI, Method.GENERATE): Hand(parse_line, render_line, render_line, placed),
    (Dialect.GEMINI, Method.EMBED): Hand(parse_embedding_line, render_line, render_line, placed),
    (Dialect.OPENAI, Method.GENERATE): Hand(
        parse_chat_line, render_openai_line, render_unasked_line, tells_time=True
    ),
    (Dialect.OPENAI, Method.EMBED): Hand(
        parse_passages_line, render_openai_line, render_unasked_line, tells_time=True
    ),
}


def hand_of(kind: Kind) -> Hand:
    """Give the reading and the writing of a kind of row, for those who meet many of them."""
    return _HANDS[kind.dialect, kind.method]


def parse_row(line: bytes | None, number: int, kind: Kind, model: str) -> ParsedLine:
    """Read one row; whatever is wrong with it becomes its failure.

    Args:
        line: the JSON text; None for a line beyond `limits.LINE_BYTES_MAX`.
        number: the number in messages, from 1.
        kind: how the rows of the batch are written.
        model: the model of the batch, without ``models/``.
    """
    return _HANDS[kind.dialect, kind.method].parse(line, number, kind.form, model)


def sound_reader(kind: Kind) -> Callable[[bytes], object]:
    """Give the quickest way to tell that a row is sound, without a look at what it asks.

    Returns:
        a function that takes a row only if `parse_row` makes a prompt of it, with any model. It
        raises ValueError or RecursionError for every other row, and for some that are sound too.
    """
    if kind.dialect is not Dialect.GEMINI:
        return _doubtful
    return SOUND[kind.form] if kind.method is Method.GENERATE else SOUND_PASSAGES[kind.form]


def _doubtful(_row: bytes) -> object:
    raise ValueError


def repeated_key(line: int, first_line: int, kind: Kind) -> InputFault:
    """Tell of a line whose key another line has, in a dialect where keys must differ."""
    assert kind.unique_keys, "elsewhere nobody looks for that"
    return repeated_id(line, first_line)


def more_faults(count: int, kind: Kind) -> InputFault:
    """Tell how many faults of an input are not listed."""
    assert kind.unique_keys, "elsewhere the failure of the batch says it"
    return unlisted_faults(count)


def no_row(kind: Kind) -> InputFault:
    """Tell that an input has no line, in a dialect that tells the faults of inputs one by one."""
    assert kind.unique_keys, "elsewhere the failure of the batch says it"
    return EMPTY_FILE


def render_unasked(echo: Echo, why: Failure, kind: Kind, response_id: str) -> bytes:
    """Write of a row that was never asked why it was not."""
    return _HANDS[kind.dialect, kind.method].render_unasked(echo, why, kind.form, response_id)
