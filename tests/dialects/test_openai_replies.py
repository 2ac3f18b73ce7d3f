"""Chat completions, whole and in chunks, as OpenAI's own client reads them."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from msgspec import structs
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from nightrate.dialects.openai import ChatStream, render_completion
from nightrate.domain.generation import Candidate, Failure, FinishReason, Reply, Usage
from nightrate.domain.guidance import Withheld
from nightrate.errors import Code

NOW = 1_700_000_000_999_999
REPLY = Reply((Candidate("Hello", FinishReason.LENGTH),), Usage(5, 2, 3, 1), "echo-1")
USAGE = {
    "prompt_tokens": 5,
    "completion_tokens": 2,
    "total_tokens": 7,
    "prompt_tokens_details": {"cached_tokens": 3},
    "completion_tokens_details": {"reasoning_tokens": 1},
}


def events(content: bytes) -> list[Any]:
    """Read the chunks of a stream, which ends with its closing word."""
    assert content.isascii()
    assert content.endswith(b"\n\n")
    lines = content.decode().removesuffix("\n\n").split("\n\n")
    assert all(line.startswith("data: ") for line in lines)
    return [json.loads(line[6:]) if line != "data: [DONE]" else "done" for line in lines]


def test_a_reply_is_a_completion() -> None:
    found = json.loads(render_completion(REPLY, "r1", NOW))
    assert found == {
        "id": "chatcmpl-r1",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": "echo-1",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hello", "refusal": None},
                "finish_reason": "length",
                "logprobs": None,
            }
        ],
        "usage": USAGE,
        "system_fingerprint": None,
    }
    assert ChatCompletion.model_validate(found).choices[0].message.content == "Hello"


def test_a_stream_tells_the_role_the_texts_and_the_end() -> None:
    stream = ChatStream("gemini-x", "r1", NOW, usage=False)
    found = events(stream.write("Hel") + stream.write("l\u00f6\u2028") + stream.write(REPLY))
    *chunks, done = found
    assert done == "done"
    deltas = [
        (chunk["choices"][0]["delta"], chunk["choices"][0]["finish_reason"]) for chunk in chunks
    ]
    assert deltas == [
        ({"role": "assistant", "content": ""}, None),
        ({"content": "Hel"}, None),
        ({"content": "l\u00f6\u2028"}, None),
        ({}, "length"),
    ]
    assert [chunk["model"] for chunk in chunks] == ["gemini-x"] * 3 + ["echo-1"]
    assert all("usage" not in chunk and chunk["id"] == "chatcmpl-r1" for chunk in chunks)
    assert all(ChatCompletionChunk.model_validate(chunk) for chunk in chunks)


def test_a_stream_ends_with_what_it_used_where_that_was_asked() -> None:
    stream = ChatStream("gemini-x", "r1", NOW, usage=True)
    *chunks, last, done = events(stream.write("Hello") + stream.write(REPLY))
    assert [chunk["usage"] for chunk in chunks] == [None] * 3
    assert (last["choices"], last["usage"], done) == ([], USAGE, "done")
    assert ChatCompletionChunk.model_validate(last).usage is not None


def test_an_answer_without_any_text_still_has_its_role_and_end() -> None:
    silent = structs.replace(REPLY, candidates=(Candidate("", FinishReason.LENGTH),))
    first, last, done = events(ChatStream("m", "r1", NOW, usage=False).write(silent))
    assert first["choices"][0]["delta"]["role"] == "assistant"
    assert (last["choices"][0]["finish_reason"], done) == ("length", "done")


def test_an_answer_that_a_filter_ended_says_so() -> None:
    candidate = Candidate("", FinishReason.WITHHELD, withheld=Withheld.SAFETY)
    for blocked in (None, Withheld.SAFETY):
        reply = Reply((candidate,), Usage(5, 0), "echo-1", blocked=blocked)
        whole = ChatCompletion.model_validate_json(render_completion(reply, "r", NOW))
        assert [choice.finish_reason for choice in whole.choices] == ["content_filter"]
        chunks = events(ChatStream("m", "r", NOW, usage=False).write(reply))
        ends = [chunk["choices"][0]["finish_reason"] for chunk in chunks[:-1]]
        assert ends == [None, "content_filter"]


def test_a_stream_that_breaks_off_says_why_and_is_not_closed() -> None:
    stream = ChatStream("m", "r1", NOW, usage=False)
    stream.write("Hel")
    found = stream.write(Failure(Code.UNAVAILABLE, "It went down."))
    assert b"[DONE]" not in found
    (event,) = events(found)
    assert msgspec.convert(event["error"], dict) == {
        "message": "It went down.",
        "type": "server_error",
        "param": None,
        "code": "unavailable",
        "status": "UNAVAILABLE",
    }
