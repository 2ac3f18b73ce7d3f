"""How likely tokens were, on OpenAI's wire: asked for, told, and read from other servers."""

from __future__ import annotations

import json
import math
from typing import Any

import msgspec
import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from nightrate import limits
from nightrate.dialects.openai import ChatStream, parse_chat, render_completion
from nightrate.dialects.openai_answers import Stream, read_reply
from nightrate.dialects.openai_asks import Customs, render_prompt
from nightrate.domain.generation import (
    Candidate,
    LogprobsWish,
    Message,
    Prompt,
    Reply,
    Token,
    Usage,
)
from nightrate.errors import BadRequest, Code, RequestFailed

TOKENS = (
    Token("Hi", -0.5, 7, (Token("Hi", -0.5, 7), Token("Ho", -1.25, 8))),
    Token("\ufffd", -math.inf),
)
REPLY = Reply((Candidate("Hi\ufffd", tokens=TOKENS),), Usage(1, 2), "echo")
WIRE: dict[str, Any] = {
    "content": [
        {
            "token": "Hi",
            "logprob": -0.5,
            "bytes": [72, 105],
            "top_logprobs": [
                {"token": "Hi", "logprob": -0.5, "bytes": [72, 105]},
                {"token": "Ho", "logprob": -1.25, "bytes": [72, 111]},
            ],
        },
        {"token": "\ufffd", "logprob": -9999.0, "bytes": None, "top_logprobs": []},
    ],
    "refusal": None,
}
READ = (
    Token("Hi", -0.5, None, (Token("Hi", -0.5), Token("Ho", -1.25))),
    Token("\ufffd", -9999.0),
)
ASK = {"model": "m", "messages": [{"role": "user", "content": "x"}]}
LIKELY = Prompt(messages=(Message("user", "x"),), logprobs=LogprobsWish(2, "top_logprobs"))


def parsed(**members: Any) -> Prompt:
    return parse_chat(msgspec.json.encode({**ASK, **members})).prompt


def answer(likely: Any, text: str = "Hi\ufffd") -> bytes:
    said = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": said, "finish_reason": "stop", "logprobs": likely}
    return msgspec.json.encode({"choices": [choice]})


def test_what_is_asked_for_becomes_a_wish_under_its_path() -> None:
    assert parsed(logprobs=True).logprobs == LogprobsWish(0, "logprobs")
    assert parsed(logprobs=True, top_logprobs=3).logprobs == LogprobsWish(3, "top_logprobs")
    assert parsed(logprobs=False, top_logprobs=0).logprobs is None


@pytest.mark.parametrize(
    ("members", "path"),
    [
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"logprobs": True, "top_logprobs": limits.LOGPROBS_MAX + 1}, "top_logprobs"),
        ({"logprobs": True, "top_logprobs": -1}, "top_logprobs"),
        (
            {
                "logprobs": True,
                "tools": [{"type": "function", "function": {"name": "f"}}],
            },
            "logprobs",
        ),
    ],
)
def test_what_makes_no_sense_is_refused_by_its_path(members: dict[str, Any], path: str) -> None:
    with pytest.raises(BadRequest) as refused:
        parsed(**members)
    assert refused.value.field == path


def test_a_completion_tells_them_as_the_client_reads_them() -> None:
    found = json.loads(render_completion(REPLY, "r", 0))
    assert found["choices"][0]["logprobs"] == WIRE
    read = ChatCompletion.model_validate(found).choices[0].logprobs
    assert read is not None
    assert [token.token for token in read.content or ()] == ["Hi", "\ufffd"]


def test_a_stream_tells_them_with_its_end() -> None:
    stream = ChatStream("m", "r", 0, usage=False)
    content = stream.write("Hi\ufffd") + stream.write(REPLY)
    chunks = [json.loads(line[6:]) for line in content.decode().split("\n\n")[:-2]]
    told = [chunk["choices"][0]["logprobs"] for chunk in chunks]
    assert told == [None, None, WIRE]
    assert all(ChatCompletionChunk.model_validate(chunk) for chunk in chunks)


def test_another_server_is_asked_for_them() -> None:
    def asked(others: int | None) -> dict[str, Any]:
        wish = None if others is None else LogprobsWish(others, "x")
        prompt = msgspec.structs.replace(LIKELY, logprobs=wish)
        found: dict[str, Any] = json.loads(render_prompt(prompt, "m", Customs(), streamed=False))
        return {name: value for name, value in found.items() if "logprobs" in name}

    assert asked(2) == {"logprobs": True, "top_logprobs": 2}
    assert asked(0) == {"logprobs": True}
    assert asked(None) == {}


def test_what_another_server_tells_is_read() -> None:
    assert read_reply(answer(WIRE), LIKELY, "m").candidates[0].tokens == READ
    unasked = Prompt(messages=LIKELY.messages)
    assert read_reply(answer(WIRE), unasked, "m").candidates[0].tokens == ()


@pytest.mark.parametrize("likely", [None, {"content": None}, {"content": []}])
def test_a_server_that_passes_the_wish_over_is_found_out(likely: Any) -> None:
    with pytest.raises(RequestFailed, match="how likely") as failed:
        read_reply(answer(likely), LIKELY, "m")
    assert failed.value.code is Code.INTERNAL
    assert read_reply(answer(likely, ""), LIKELY, "m").candidates[0].tokens == ()


def test_what_another_server_streams_is_put_together(monkeypatch: pytest.MonkeyPatch) -> None:
    events = [
        {"choices": [{"delta": {"content": "Hi"}, "logprobs": {"content": WIRE["content"][:1]}}]},
        {"choices": [{"delta": {"content": "\ufffd"}, "logprobs": {"content": None}}]},
        {"choices": [{"delta": {}, "logprobs": {"content": WIRE["content"][1:]}}]},
        {"choices": [{"delta": {}, "finish_reason": "stop"}]},
    ]
    stream = Stream(LIKELY, "m")
    for event in events:
        stream.read(msgspec.json.encode(event))
    assert stream.reply().candidates[0].tokens == READ
    monkeypatch.setattr(limits, "LINE_BYTES_MAX", 100)
    with pytest.raises(RequestFailed, match="longer than 100 bytes"):
        Stream(LIKELY, "m").read(msgspec.json.encode(events[0]))


def test_a_logarithm_that_is_no_number_is_not_handed_out() -> None:
    with pytest.raises(RequestFailed, match="not of the protocol"):
        read_reply(answer(WIRE).replace(b"-9999.0", b"-1e999"), LIKELY, "m")
