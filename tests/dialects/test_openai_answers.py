"""What is made of the answers of a server that speaks OpenAI's protocol."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightrate.dialects.json_schema import read_schema
from nightrate.dialects.openai_answers import (
    Stream,
    blamed,
    read_count,
    read_models,
    read_reply,
    read_vector,
)
from nightrate.domain.calling import Call, Calling, CallMode, Function
from nightrate.domain.embedding import Passage
from nightrate.domain.generation import (
    Candidate,
    FinishReason,
    Message,
    Prompt,
    Sampling,
    Usage,
)
from nightrate.domain.guidance import Withheld
from nightrate.domain.schema import (
    AnyValue,
    ChoiceForm,
    Form,
    JSONForm,
    Member,
    Object,
    Schema,
)
from nightrate.errors import Code, RequestFailed

HELLO = Prompt(messages=(Message("user", "12345678"),), system="1234")
TREE = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
SCHEMA = JSONForm(read_schema(TREE), "schema")
CHOICE = ChoiceForm(("red", "green"), "schema")


def with_form(form: Form) -> Prompt:
    return msgspec.structs.replace(HELLO, form=form)


def completion(text: str | None, reason: str | None = "stop", **members: Any) -> bytes:
    said = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": said, "finish_reason": reason}
    return msgspec.json.encode({"choices": [choice], **members})


def code_of(body: bytes, prompt: Prompt = HELLO) -> Code:
    with pytest.raises(RequestFailed) as failed:
        read_reply(body, prompt, "m")
    return failed.value.code


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"prompt_tokens": 5, "completion_tokens": 6}, Usage(5, 6)),
        (
            {
                "prompt_tokens": 5,
                "completion_tokens": 6,
                "prompt_tokens_details": {"cached_tokens": 9},
            },
            Usage(5, 6, 5),
        ),
        (
            {
                "prompt_tokens": 5,
                "completion_tokens": 6,
                "prompt_tokens_details": {"cached_tokens": None},
            },
            Usage(5, 6),
        ),
        (
            {
                "prompt_tokens": 5,
                "completion_tokens": 6,
                "completion_tokens_details": {"reasoning_tokens": 4},
            },
            Usage(5, 6, 0, 4),
        ),
        (
            {
                "prompt_tokens": 5,
                "completion_tokens": 6,
                "completion_tokens_details": {"reasoning_tokens": 9},
            },
            Usage(5, 6, 0, 6),
        ),
        (
            {
                "prompt_tokens": 5,
                "completion_tokens": 6,
                "completion_tokens_details": {"reasoning_tokens": None},
            },
            Usage(5, 6),
        ),
        (
            {
                "prompt_tokens": 5,
                "completion_tokens": 6,
                "prompt_tokens_details": {"cached_tokens": -1},
                "completion_tokens_details": {"reasoning_tokens": -1},
            },
            Usage(5, 6),
        ),
        ({"prompt_tokens": -1, "completion_tokens": 6}, Usage(3, 2)),
        ({"prompt_tokens": 5, "completion_tokens": -6}, Usage(3, 2)),
        ({"prompt_tokens": 2**32, "completion_tokens": 6}, Usage(3, 2)),
        ({"prompt_tokens": 2**32 - 1, "completion_tokens": 6}, Usage(2**32 - 1, 6)),
        ({"prompt_tokens": 5}, Usage(3, 2)),
        ({"completion_tokens": 6}, Usage(3, 2)),
        ({"prompt_tokens": "5", "completion_tokens": "6"}, Usage(5, 6)),
        ({"prompt_tokens": "few", "completion_tokens": 6}, Usage(3, 2)),
        (
            {
                "prompt_tokens": 5,
                "completion_tokens": 6,
                "prompt_tokens_details": [],
                "completion_tokens_details": {"reasoning_tokens": 2},
            },
            Usage(5, 6, 0, 2),
        ),
        (None, Usage(3, 2)),
        ([1], Usage(3, 2)),
    ],
)
def test_usage_is_what_the_server_says_or_is_reckoned(usage: object, expected: Usage) -> None:
    reply = read_reply(completion("12345", usage=usage), HELLO, "m")
    assert reply.usage == expected
    assert reply.model_version == "m"


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ({"content": None, "refusal": "I will not."}, "I will not."),
        ({"content": None}, ""),
        ({"content": "", "refusal": "No."}, ""),
    ],
)
def test_a_refusal_is_a_text_and_nothing_is_none(said: dict[str, Any], text: str) -> None:
    body = msgspec.json.encode({"choices": [{"message": said, "finish_reason": "stop"}]})
    reply = read_reply(body, HELLO, "m")
    assert reply.candidates[0].text == text
    assert reply.usage.output_tokens == (3 if text else 0)


@pytest.mark.parametrize(
    ("form", "text"),
    [(None, "a"), (SCHEMA, "a"), (CHOICE, "")],
)
def test_an_answer_that_a_filter_ended_says_so_and_is_not_asked_for_again(
    form: Form | None, text: str
) -> None:
    prompt = msgspec.structs.replace(HELLO, form=form)
    reply = read_reply(completion("a", "content_filter"), prompt, "m")
    assert reply.candidates == (Candidate(text, FinishReason.WITHHELD, withheld=Withheld.SAFETY),)
    assert reply.blocked is None


def test_why_an_answer_ended_is_known_or_it_is_none() -> None:
    for reason, finish in (("eos", FinishReason.STOP), ("max_tokens", FinishReason.LENGTH)):
        reply = read_reply(completion("a", reason), HELLO, "m")
        assert reply.candidates[0].finish_reason is finish
    for reason in ("paused", "tool_calls"):  # nothing that could be called was declared
        assert code_of(completion("a", reason)) is Code.INTERNAL


@pytest.mark.parametrize(
    ("form", "text", "reason", "found"),
    [
        (SCHEMA, '{"a":1}', "stop", '{"a":1}'),
        (SCHEMA, '{ "a" :\n1 }', "stop", '{"a":1}'),
        (SCHEMA, '{ "a" : ', "length", '{"a":'),
        (SCHEMA, '{"a":"x"}', "stop", None),
        (SCHEMA, '{"a":1,"b":2}', "stop", None),
        (SCHEMA, '{"a":1} {}', "stop", None),
        (SCHEMA, "Sure! a is 1.", "stop", None),
        (SCHEMA, "[" * 100_000, "stop", None),
        (CHOICE, '{"choice": "red"}', "stop", "red"),
        (CHOICE, '{"choice": "r', "length", ""),
        (CHOICE, '{"choice": "blue"}', "stop", None),
        (CHOICE, '"red"', "stop", None),
        (CHOICE, "red", "stop", None),
        (CHOICE, '{"choice": ["red"]}', "stop", None),
    ],
)
def test_an_answer_has_the_form_or_is_none(
    form: Form, text: str, reason: str, found: str | None
) -> None:
    body = completion(text, reason)
    if found is None:
        assert code_of(body, with_form(form)) is Code.INTERNAL
    else:
        assert read_reply(body, with_form(form), "m").candidates[0].text == found


def test_members_of_a_whole_answer_stand_in_the_order_of_the_schema() -> None:
    members = Member("b", AnyValue(), required=True), Member("a", AnyValue(), required=True)
    form = JSONForm(Schema(Object(members=members)), "x")
    body = completion('{"a": 1, "b": {"d": 1, "c": 2}}', "stop")
    assert read_reply(body, with_form(form), "m").candidates[0].text == '{"b":{"d":1,"c":2},"a":1}'


def test_an_answer_that_a_stop_sequence_cut_is_what_it_is() -> None:
    prompt = msgspec.structs.replace(with_form(SCHEMA), sampling=Sampling(stop=("1",)))
    assert read_reply(completion('{"a": ', "stop"), prompt, "m").candidates[0].text == '{"a":'
    assert code_of(completion('{"a":"x"}', "stop"), prompt) is Code.INTERNAL


def test_a_streamed_form_is_compact_and_must_be_kept_too() -> None:
    for value, kept in (("1", True), ('"x y"', False)):
        stream = Stream(with_form(SCHEMA), "m")
        texts = []
        for piece in ("{ ", '"a', '" :', f" {value}", "\n}"):
            event = {"choices": [{"delta": {"content": piece}, "finish_reason": None}]}
            texts.append(stream.read(msgspec.json.encode(event)))
        assert texts == ["{", '"a', '":', value, "}"]
        end: dict[str, Any] = {"choices": [{"delta": {}, "finish_reason": "stop"}]}
        stream.read(msgspec.json.encode(end))
        if kept:
            assert stream.reply().candidates[0].text == '{"a":1}'
        else:
            with pytest.raises(RequestFailed, match="without the form"):
                stream.reply()


def test_a_stream_is_put_together() -> None:
    stream = Stream(HELLO, "m")
    events: list[dict[str, Any]] = [
        {"choices": [{"delta": {"role": "assistant", "content": ""}}], "model": "m-1"},
        {"choices": [{"delta": {"content": "Hel"}}]},
        {"choices": [{"delta": {"content": "lo"}, "finish_reason": None}]},
        {"choices": [{"delta": {}, "finish_reason": "stop"}]},
        {"choices": [{"finish_reason": None}], "usage": None},
        {"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 2}},
    ]
    texts = [stream.read(msgspec.json.encode(event)) for event in events]
    assert texts == ["", "Hel", "lo", "", "", ""]
    reply = stream.reply()
    assert reply.candidates[0].text == "Hello"
    assert (reply.usage, reply.model_version) == (Usage(5, 2), "m-1")


def test_a_stream_of_which_too_much_is_held_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nightrate.limits.LINE_BYTES_MAX", 5)
    stream = Stream(HELLO, "m")
    event = msgspec.json.encode({"choices": [{"delta": {"content": "abc"}}]})
    stream.read(event)
    with pytest.raises(RequestFailed, match="longer than 5 bytes"):
        stream.read(event)


def test_a_vector_has_the_length_that_was_asked_for() -> None:
    body = b'{"data":[{"embedding":[1,0.5]}],"usage":{"prompt_tokens":7},"model":"m-1"}'
    assert read_vector(body, Passage(text="a"), "m") == ([1.0, 0.5], 7, "m-1")
    assert read_vector(body, Passage(text="a", dimensions=2), "m")[0] == [1.0, 0.5]
    with pytest.raises(RequestFailed, match="have 2 numbers") as failed:
        read_vector(body, Passage(text="a", dimensions=3), "m")
    assert failed.value.code is Code.INVALID_ARGUMENT
    plain = b'{"data":[{"embedding":[1]}]}'
    assert read_vector(plain, Passage(text="12345"), "m") == ([1.0], 2, "m")
    impossible = b'{"data":[{"embedding":[1]}],"usage":{"prompt_tokens":-7}}'
    assert read_vector(impossible, Passage(text="12345"), "m") == ([1.0], 2, "m")


@pytest.mark.parametrize("body", [b"", b"{}", b'{"data":[]}', b'{"data":[{"embedding":[]}]}'])
def test_what_is_no_vector_is_none(body: bytes) -> None:
    with pytest.raises(RequestFailed) as failed:
        read_vector(body, Passage(text="a"), "m")
    assert (failed.value.code, failed.value.retriable) == (Code.INTERNAL, True)


def test_counts_and_models_are_read() -> None:
    assert read_count(b'{"count":5,"max_model_len":10}') == 5
    with pytest.raises(RequestFailed):
        read_count(b"[5]")
    assert read_models(b'{"data":[{"id":"a"},{"id":"b"}]}') == ["a", "b"]
    assert read_models(b"<html>") is None


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"error":{"code":"context_length_exceeded"}}', ": context_length_exceeded"),
        (b'{"error":{"type":"insufficient_quota","param":"stop"}}', None),
        (b'{"error":{"code":400,"type":"BadRequestError","param":"SECRET"}}', ""),
        (b'{"error":{"code":["SECRET"],"message":"SECRET"}}', ""),
        (b'{"object":"error","message":"SECRET"}', ""),
        (b"SECRET", ""),
        (b"\xff", ""),
    ],
)
def test_a_refusal_is_explained_in_known_words_only(body: bytes, words: str | None) -> None:
    expected = ": insufficient_quota, member stop" if words is None else words
    assert blamed(body).words == expected


@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_rubbish_is_never_an_answer_and_never_our_mistake(body: bytes) -> None:
    for read in (
        lambda: read_reply(body, HELLO, "m"),
        lambda: read_vector(body, Passage(text="a"), "m"),
        lambda: read_count(body),
    ):
        with pytest.raises(RequestFailed):
            read()
    blamed(body)
    read_models(body)


@pytest.mark.parametrize("event", [b"", b"[]", b"{", b"\xff", b'{"error":{"message":"SECRET"}}'])
def test_an_event_that_is_none_breaks_the_answer_off(event: bytes) -> None:
    with pytest.raises(RequestFailed) as failed:
        Stream(HELLO, "m").read(event)
    assert (failed.value.code, failed.value.retriable) == (Code.INTERNAL, True)
    assert "SECRET" not in failed.value.message


# calls ---------------------------------------------------------------------------------------

FUNCTIONS = (Function("clock"), Function("sun"))
MUST = Calling(FUNCTIONS, CallMode.ANY, "tools", "mode")
MAY = Calling(FUNCTIONS, CallMode.AUTO, "tools", "mode")


def calling(which: Calling) -> Prompt:
    return msgspec.structs.replace(HELLO, calling=which)


def calls(*written: dict[str, Any], text: str | None = None, reason: str = "tool_calls") -> bytes:
    tool_calls = [{"id": f"c{place}", "function": one} for place, one in enumerate(written)]
    said = {"role": "assistant", "content": text, "tool_calls": tool_calls}
    return msgspec.json.encode({"choices": [{"message": said, "finish_reason": reason}]})


CLOCK = {"name": "clock", "arguments": '{"zone": "UTC"}'}


@pytest.mark.parametrize("reason", ["tool_calls", "stop"])
@pytest.mark.parametrize("which", [MUST, MAY])
def test_calls_are_read_with_their_ids_and_beside_words(which: Calling, reason: str) -> None:
    body = calls(CLOCK, {"name": "sun"}, text="Let me see.", reason=reason)
    reply = read_reply(body, calling(which), "m")
    called = (Call("clock", '{"zone": "UTC"}', "c0"), Call("sun", "{}", "c1"))
    assert reply.candidates == (Candidate("Let me see.", calls=called),)
    assert reply.usage.output_tokens == 9  # reckoned from the words and what was called


def test_one_call_at_most_is_taken_where_one_was_asked_for() -> None:
    single = msgspec.structs.replace(MUST, single=True)
    (candidate,) = read_reply(calls(CLOCK, {"name": "?"}), calling(single), "m").candidates
    assert [call.name for call in candidate.calls] == ["clock"]


@pytest.mark.parametrize(
    "written",
    [
        {"name": "moon", "arguments": "{}"},
        {"arguments": "{}"},
        {"name": "clock", "arguments": '{"zone": '},
        {"name": "clock", "arguments": "[]"},
        {"name": "clock", "arguments": "[" * 100_000},
        {"name": "clock", "arguments": '{"a":' + "[" * 100 + "]" * 100 + "}"},
    ],
)
def test_what_is_no_call_of_a_declared_function_is_never_handed_out(written: Any) -> None:
    reply = read_reply(calls(CLOCK, written, text="So."), calling(MAY), "m")
    assert reply.candidates == (Candidate("So.", FinishReason.BAD_CALL),)


HELD = msgspec.structs.replace(MAY, held=True)
STRICT = msgspec.structs.replace(MAY, functions=(Function("clock", strict=True),))


@pytest.mark.parametrize(
    ("which", "reason"),
    [
        *((MAY, FinishReason.STOP), (MUST, FinishReason.STOP)),
        *((HELD, FinishReason.BAD_CALL), (STRICT, FinishReason.BAD_CALL)),
    ],
)
def test_arguments_that_do_not_fit_are_no_call_where_the_client_relies_on_it(
    which: Calling, reason: FinishReason
) -> None:
    (candidate,) = read_reply(calls(CLOCK), calling(which), "m").candidates
    assert candidate.finish_reason is reason
    assert bool(candidate.calls) is (reason is FinishReason.STOP)
    (plain,) = read_reply(calls({"name": "clock"}), calling(which), "m").candidates
    assert plain.calls


def test_calls_that_were_cut_are_not_handed_out() -> None:
    for which in (MUST, MAY):
        reply = read_reply(calls(CLOCK, reason="length"), calling(which), "m")
        assert reply.candidates == (Candidate("", FinishReason.LENGTH),)


def test_words_are_an_answer_where_the_model_decides_and_none_where_it_must_call() -> None:
    body = completion("It is noon.")
    assert read_reply(body, calling(MAY), "m").candidates == (Candidate("It is noon."),)
    with pytest.raises(RequestFailed, match="without the call") as failed:
        read_reply(body, calling(MUST), "m")
    assert (failed.value.code, failed.value.retriable) == (Code.INTERNAL, True)


def test_calls_of_a_stream_are_put_together_by_their_places() -> None:
    stream = Stream(calling(MUST), "m")
    pieces: list[dict[str, Any]] = [
        {"index": 1, "id": "b", "function": {"name": "sun"}},
        {"index": 0, "id": "a", "function": {"name": "clock", "arguments": ""}},
        {"index": 0, "function": {"arguments": '{"zone":'}},
        {"index": 0, "id": None, "function": {"name": None, "arguments": '"UTC"}'}},
    ]
    for piece in pieces:
        event = {"choices": [{"delta": {"tool_calls": [piece]}}]}
        assert stream.read(msgspec.json.encode(event)) == ""
    stream.read(b'{"choices":[{"delta":{},"finish_reason":"tool_calls"}]}')
    called = (Call("clock", '{"zone":"UTC"}', "a"), Call("sun", "{}", "b"))
    assert stream.reply().candidates == (Candidate("", calls=called),)


def test_a_stream_of_which_too_many_calls_are_held_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nightrate.limits.LINE_BYTES_MAX", 2)
    stream = Stream(calling(MUST), "m")
    first, second, third = (
        b'{"choices":[{"delta":{"tool_calls":[{"index":%d,"function":{}}]}}]}' % place
        for place in range(3)
    )
    stream.read(first)
    stream.read(second)
    with pytest.raises(RequestFailed, match="longer than 2 bytes"):
        stream.read(third)
