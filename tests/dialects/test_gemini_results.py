"""Answers to lines and inline items."""

from __future__ import annotations

import json

import pytest
from google.genai import types
from hypothesis import given
from hypothesis import strategies as st

from nightrate.dialects.gemini_items import ItemJoiner
from nightrate.dialects.gemini_plain_results import plain_response
from nightrate.dialects.gemini_profiles import Profile
from nightrate.dialects.gemini_replies import render_reply
from nightrate.dialects.gemini_results import render_line, render_line_in_full
from nightrate.dialects.row import Echo
from nightrate.domain.batch import BatchForm
from nightrate.domain.calling import Call
from nightrate.domain.generation import Candidate, Failure, FinishReason, Reply, Usage
from nightrate.domain.grounding import Grounding
from nightrate.domain.picture import Picture
from nightrate.errors import Code

FILE, INLINE = BatchForm.FILE, BatchForm.INLINE
REPLY = Reply((Candidate("Hello"),), Usage(3, 2), "echo-1")
RESPONSE = (
    b'{"candidates":[{"content":{"parts":[{"text":"Hello"}],"role":"model"},'
    b'"finishReason":"STOP","index":0}],'
    b'"usageMetadata":{"promptTokenCount":3,"candidatesTokenCount":2,"totalTokenCount":5,'
    b'"promptTokensDetails":[{"modality":"TEXT","tokenCount":3}],'
    b'"candidatesTokensDetails":[{"modality":"TEXT","tokenCount":2}]},'
    b'"modelVersion":"echo-1","responseId":"r1"}'
)
FAILURE = Failure(Code.INVALID_ARGUMENT, "Error on line 3: no.")


def test_a_reply_comes_before_the_key() -> None:
    line = render_line(Echo(b'"k"'), REPLY, FILE, "r1")
    assert line == b'{"response":' + RESPONSE + b',"key":"k"}'


def test_a_failure_has_the_rpc_code_and_its_name() -> None:
    assert render_line(Echo(b"7"), FAILURE, FILE, "r1") == (
        b'{"error":{"code":3,"message":"Error on line 3: no.","status":"INVALID_ARGUMENT"},"key":7}'
    )


def test_nothing_is_echoed_that_was_not_sent() -> None:
    assert render_line(Echo(), REPLY, FILE, "r1") == b'{"response":' + RESPONSE + b"}"
    assert render_line(Echo(), REPLY, INLINE, "r1") == b'{"response":' + RESPONSE + b"}"


def test_metadata_and_further_members_follow_the_key() -> None:
    echo = Echo(b'"k"', b'{"key":"k","n":1}', {"id": b"[1, 2.50]", 'a"b': b"{}"})
    assert render_line(echo, REPLY, FILE, "r1") == (
        b'{"response":'
        + RESPONSE
        + b',"key":"k","metadata":{"key":"k","n":1},"id":[1, 2.50],"a\\"b":{}}'
    )


def test_an_inline_item_has_no_status_and_no_key() -> None:
    echo = Echo(b'"k"', b'{"key":"k"}', {"id": b"1"})
    assert render_line(echo, FAILURE, INLINE, "r1") == (
        b'{"error":{"code":3,"message":"Error on line 3: no."},"metadata":{"key":"k"}}'
    )


def shown(line: bytes) -> bytes:
    """Give an item as clients see it who expect strings only."""
    return ItemJoiner(Profile.DOCUMENTED).feed(line + b"\n")


def test_metadata_of_an_inline_item_are_strings() -> None:
    metadata = b'{"a":"x\\n","b":1.50,"c":{"d": [true]},"e":null,"f":"\xc3\xa9"}'
    line = shown(render_line(Echo(None, metadata), REPLY, INLINE, "r1"))
    expected = {"a": "x\n", "b": "1.50", "c": '{"d": [true]}', "e": "null", "f": "é"}
    assert json.loads(line)["metadata"] == expected
    item = types.InlinedResponse.model_validate_json(line)
    assert item.metadata == expected


def test_a_failed_inline_item_suits_the_official_client() -> None:
    item = types.InlinedResponse.model_validate_json(
        render_line(Echo(None, b"{}"), FAILURE, INLINE, "r1")
    )
    assert item.error is not None
    assert item.error.code == 3


def test_a_reply_suits_the_official_client() -> None:
    response = types.GenerateContentResponse.model_validate_json(render_reply(REPLY, "r1"))
    assert response.text == "Hello"
    assert response.response_id == "r1"
    assert response.model_version == "echo-1"
    assert response.candidates is not None
    assert response.candidates[0].finish_reason is types.FinishReason.STOP


def test_a_live_reply_is_printed_over_several_lines() -> None:
    text = render_reply(Reply((Candidate("Hế\u2028"),), Usage(3, 2), "e"), "r1").decode()
    assert text.startswith('{\n  "candidates": [\n    {\n      "content": {\n')
    assert "Hế\u2028" in text


def test_tokens_that_were_only_thought_are_told_apart_from_those_of_the_answer() -> None:
    reply = Reply((Candidate("b"),), Usage(9, 7, 0, 5), "e")
    response = json.loads(render_line(Echo(), reply, FILE, "r1"))["response"]
    assert response["usageMetadata"] == {
        "promptTokenCount": 9,
        "candidatesTokenCount": 2,
        "totalTokenCount": 16,
        "thoughtsTokenCount": 5,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 9}],
        "candidatesTokensDetails": [{"modality": "TEXT", "tokenCount": 2}],
    }


def test_thoughts_stand_before_the_answer_and_say_what_they_are() -> None:
    thought = Candidate("b", calls=(Call("f", "{}"),), thoughts="H\u1ebf?")
    replies = Reply((thought, Candidate("", thoughts="x")), Usage(9, 7, 0, 5), "e")
    line = render_line(Echo(), replies, FILE, "r1")
    assert line.isascii()
    first, second = json.loads(line)["response"]["candidates"]
    assert first["content"]["parts"] == [
        {"text": "H\u1ebf?", "thought": True},
        {"text": "b"},
        {"functionCall": {"name": "f", "args": {}}},
    ]
    assert second["content"]["parts"] == [{"text": "x", "thought": True}]


def test_an_answer_that_was_cut_says_so() -> None:
    reply = Reply((Candidate("", FinishReason.LENGTH), Candidate("b")), Usage(9, 2, 4), "e")
    response = json.loads(render_line(Echo(), reply, FILE, "r1"))["response"]
    first, second = response["candidates"]
    assert first["finishReason"] == "MAX_TOKENS"
    assert first["content"] == {"parts": [{"text": ""}], "role": "model"}
    assert (first["index"], second["index"]) == (0, 1)
    assert response["usageMetadata"] == {
        "promptTokenCount": 9,
        "candidatesTokenCount": 2,
        "totalTokenCount": 11,
        "cachedContentTokenCount": 4,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 9}],
        "cacheTokensDetails": [{"modality": "TEXT", "tokenCount": 4}],
        "candidatesTokensDetails": [{"modality": "TEXT", "tokenCount": 2}],
    }


@pytest.mark.parametrize(
    ("media_tokens", "details"),
    [
        ((("IMAGE", 258), ("AUDIO", 32)), [("TEXT", 10), ("IMAGE", 258), ("AUDIO", 32)]),
        (None, None),
    ],
)
def test_tokens_of_media_are_told_by_their_kind_where_they_are_known(
    media_tokens: tuple[tuple[str, int], ...] | None, details: list[tuple[str, int]] | None
) -> None:
    reply = Reply((Candidate("b"),), Usage(300, 2, 4, media_tokens=media_tokens), "e")
    usage = json.loads(render_line(Echo(), reply, FILE, "r1"))["response"]["usageMetadata"]
    found = usage.get("promptTokensDetails")
    assert (found and [(one["modality"], one["tokenCount"]) for one in found]) == details
    assert "cacheTokensDetails" not in usage


@pytest.mark.parametrize("text", ["é", "\u2028\u2029\x85", "漢字 and 🎉", "\ud83d\ude00 \x7f"])
def test_lines_are_ascii(text: str) -> None:
    line = render_line(Echo(b'"k"'), Reply((Candidate(text),), Usage(1, 1), "e"), FILE, "r1")
    assert line.isascii()
    assert len(line.decode().splitlines()) == 1
    answer = json.loads(line)["response"]["candidates"][0]["content"]["parts"][0]["text"]
    assert answer == text.encode("utf-16", "surrogatepass").decode("utf-16")


@given(st.text(), st.text(), st.text())
def test_any_text_comes_back_as_it_was(text: str, key: str, member: str) -> None:
    raw = json.dumps(key, ensure_ascii=False).encode()
    echo = Echo(raw, b'{"a":' + raw + b"}", {f"x{member}": raw})
    reply = Reply((Candidate(text),), Usage(1, 1), text)
    for outcome in (reply, Failure(Code.INTERNAL, text)):
        line = render_line(echo, outcome, FILE, "r1")
        assert line.isascii()
        read = json.loads(line)
        assert read["key"] == key
        assert read["metadata"] == {"a": key}
        assert read[f"x{member}"] == key
    assert read["error"]["message"] == text


TEXTS = st.one_of(st.text(), st.sampled_from(['"TEXT"', "%b%d", "1111", '\\"', "\x00\x7f\u2028"]))
TOKENS = st.integers(1, 2**40)
KEYS = st.one_of(st.none(), TEXTS.map(lambda key: json.dumps(key, ensure_ascii=False).encode()))


@given(
    TEXTS, st.sampled_from([FinishReason.STOP, FinishReason.LENGTH]), TOKENS, TOKENS, TEXTS, KEYS
)
def test_a_plain_answer_is_written_as_the_full_writing_does(
    text: str, reason: FinishReason, asked: int, made: int, model: str, key: bytes | None
) -> None:
    reply = Reply((Candidate(text, reason),), Usage(asked, made), model)
    assert plain_response(reply, "r1") is not None
    for echo in (Echo(key), Echo(key, b"{}"), Echo(key, None, {"x": b"1"})):
        line = render_line(echo, reply, FILE, "r1")
        assert line == render_line_in_full(echo, reply, FILE, "r1")


@pytest.mark.parametrize(
    "reply",
    [
        Reply((Candidate("a"), Candidate("b")), Usage(1, 1), "e"),
        Reply((Candidate("a"),), Usage(1, 1, 1), "e"),
        Reply((Candidate("", FinishReason.BAD_CALL),), Usage(1, 1), "e"),
        Reply((Candidate("", calls=(Call("f", "{}"),)),), Usage(1, 1), "e"),
        Reply((Candidate("a"),), Usage(1, 1, 0, 1), "e"),
        Reply((Candidate("a", pictures=(Picture("image/png", b"x"),)),), Usage(1, 1), "e"),
        Reply((Candidate("a"),), Usage(1, 1), "e", Grounding((), ())),
        Reply((Candidate("", end_message="Enough."),), Usage(1, 1), "e"),
        Reply((Candidate("a"),), Usage(1, 0), "e"),
        Reply((Candidate("a"),), Usage(0, 1), "e"),
    ],
)
def test_what_is_not_plain_is_written_in_full(reply: Reply) -> None:
    assert plain_response(reply, "r1") is None
    assert render_line(Echo(), reply, FILE, "r1") == render_line_in_full(Echo(), reply, FILE, "r1")
