"""Streamed answers: their documents, and the two ways of putting these one after the other."""

from __future__ import annotations

from typing import Final

from msgspec import Struct, json, structs

from nightrate.dialects.ascii import escaped
from nightrate.dialects.gemini_answer_shapes import (
    AnswerContent,
    PieceCandidate,
    PieceOfResponse,
    TextPart,
)
from nightrate.dialects.gemini_errors import render_failure
from nightrate.dialects.gemini_replies import response_of
from nightrate.domain.generation import Failure, Reply
from nightrate.errors import BadRequest


class Framing(Struct, frozen=True):
    """What stands around the documents of a stream."""

    content_type: str
    before_first: bytes
    before_next: bytes
    after_each: bytes
    after_last: bytes


EVENTS: Final = Framing("text/event-stream", b"data: ", b"data: ", b"\n\n", b"")
ARRAY: Final = Framing("application/json; charset=UTF-8", b"[", b",", b"\n", b"]\n")

_FRAMINGS: Final = {"sse": EVENTS, "json": ARRAY, "": ARRAY}


def framing_of(alt: str) -> Framing:
    """Choose by the query parameter ``alt``.

    Raises:
        BadRequest: it names a form that streams do not have.
    """
    try:
        return _FRAMINGS[alt]
    except KeyError:
        raise BadRequest("A stream is sent with alt=sse or alt=json.", field="alt") from None


class StreamWriter:
    """Writes the documents of one stream.

    Every document is ASCII on one line: clients that cut lines at U+2028 or U+0085 would break it.
    The text of the whole answer is spread over the pieces; the last document has an empty text, why
    the answer ended and what it used, or it is an error. Where there were no pieces, it has all.
    """

    def __init__(self, framing: Framing, response_id: str) -> None:
        self._framing = framing
        self._response_id = response_id
        self._before = framing.before_first
        self._begun = False
        """Whether a text has been sent."""

    def write(self, piece: str | Reply | Failure) -> bytes:
        """Write one piece, or the outcome that ends the stream."""
        if isinstance(piece, str):
            self._begun = True
            candidate = PieceCandidate(AnswerContent((TextPart(piece),)), 0)
            return self._framed(json.encode(PieceOfResponse((candidate,), self._response_id)))
        if isinstance(piece, Failure):
            content = json.format(render_failure(piece)[1], indent=-1)
        else:
            reply = _told(piece) if self._begun else piece
            content = json.encode(response_of(reply, self._response_id))
        return self._framed(content) + self._framing.after_last

    def _framed(self, content: bytes) -> bytes:
        before, self._before = self._before, self._framing.before_next
        return before + escaped(content) + self._framing.after_each


def _told(reply: Reply) -> Reply:
    """Leave out the texts, which have been sent."""
    ends = tuple(structs.replace(candidate, text="") for candidate in reply.candidates)
    return structs.replace(reply, candidates=ends)
