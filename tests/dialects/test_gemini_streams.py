"""Streamed answers on the wire: the documents, and what stands around them."""

from __future__ import annotations

import json

import pytest

from nightrate.dialects.gemini import StreamWriter, framing_of
from nightrate.domain.generation import Candidate, Failure, FinishReason, Reply, Usage
from nightrate.errors import BadRequest, Code

REPLY = Reply((Candidate("yes no", FinishReason.LENGTH),), Usage(3, 2), "m-1")
DEAD = Failure(Code.UNAVAILABLE, "It died.\u2028 Say 漢字.")


def piece(text: str) -> bytes:
    return (
        b'{"candidates":[{"content":{"parts":[{"text":"'
        + text.encode()
        + b'"}],"role":"model"},"index":0}],"responseId":"r"}'
    )


END = (
    b'{"candidates":[{"content":{"parts":[{"text":""}],"role":"model"},'
    b'"finishReason":"MAX_TOKENS","index":0}],'
    b'"usageMetadata":{"promptTokenCount":3,"candidatesTokenCount":2,"totalTokenCount":5,'
    b'"promptTokensDetails":[{"modality":"TEXT","tokenCount":3}],'
    b'"candidatesTokensDetails":[{"modality":"TEXT","tokenCount":2}]},'
    b'"modelVersion":"m-1","responseId":"r"}'
)


def test_events_are_lines_of_data_with_a_blank_line_after_each() -> None:
    writer = StreamWriter(framing_of("sse"), "r")
    assert writer.write("yes") == b"data: " + piece("yes") + b"\n\n"
    assert writer.write(" no") == b"data: " + piece(" no") + b"\n\n"
    assert writer.write(REPLY) == b"data: " + END + b"\n\n"


@pytest.mark.parametrize("alt", ["", "json"])
def test_without_events_the_stream_is_one_array(alt: str) -> None:
    writer = StreamWriter(framing_of(alt), "r")
    whole = [writer.write("yes"), writer.write(" no"), writer.write(REPLY)]
    assert whole == [
        b"[" + piece("yes") + b"\n",
        b"," + piece(" no") + b"\n",
        b"," + END + b"\n]\n",
    ]


def test_answers_that_were_not_sent_piece_by_piece_come_whole_with_the_end() -> None:
    two = Reply((*REPLY.candidates, Candidate("also")), Usage(3, 4), "m-1")
    (document,) = json.loads(StreamWriter(framing_of("json"), "r").write(two))
    candidates = document["candidates"]
    assert [one["content"]["parts"][0]["text"] for one in candidates] == ["yes no", "also"]
    assert [one["index"] for one in candidates] == [0, 1]


def test_a_reply_without_text_is_a_stream_of_one_document() -> None:
    writer = StreamWriter(framing_of(""), "r")
    silent = Reply((Candidate("", FinishReason.LENGTH),), REPLY.usage, "m-1")
    assert json.loads(writer.write(silent)) == [json.loads(END)]


@pytest.mark.parametrize("alt", ["sse", "json"])
def test_a_stream_that_breaks_off_ends_with_an_error(alt: str) -> None:
    writer = StreamWriter(framing_of(alt), "r")
    written = writer.write("yes") + writer.write(DEAD)
    if alt == "sse":
        written = b"[%s]" % b",".join(
            event.removeprefix(b"data: ") for event in written.rstrip().split(b"\n\n")
        )
    (_, error) = json.loads(written)
    assert error == {"error": {"code": 503, "message": DEAD.message, "status": "UNAVAILABLE"}}


def test_no_document_has_a_character_that_a_client_may_cut_lines_at() -> None:
    writer = StreamWriter(framing_of("sse"), "r")
    for written in (writer.write("a\u2028b\x85c\rd\ne\x1ff"), writer.write(DEAD)):
        assert written.isascii()
        assert len(written.decode().splitlines()) == 2
    event = json.loads(StreamWriter(framing_of("sse"), "r").write("漢😀\u2028")[len("data: ") :])
    assert event["candidates"][0]["content"]["parts"] == [{"text": "漢😀\u2028"}]


def test_another_form_is_refused() -> None:
    with pytest.raises(BadRequest, match="alt=sse") as refused:
        framing_of("media")
    assert refused.value.field == "alt"
