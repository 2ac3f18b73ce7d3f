"""What a server that speaks Gemini's protocol answers, and what is made of it."""

from __future__ import annotations

import base64
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightrate.dialects.gemini_answers import Stream, read_reply
from nightrate.dialects.gemini_replies import render_reply
from nightrate.dialects.gemini_speech import blamed, read_count, read_models, read_vector
from nightrate.domain.calling import Call, Calling, CallMode, Function
from nightrate.domain.embedding import Passage
from nightrate.domain.generation import (
    Candidate,
    FinishReason,
    LogprobsWish,
    Message,
    Prompt,
    Reply,
    Sampling,
    Token,
    Usage,
)
from nightrate.domain.guidance import Withheld
from nightrate.domain.picture import Picture, PictureWish
from nightrate.domain.schema import AnyValue, ChoiceForm, JSONForm, Member, Object, Schema
from nightrate.errors import Code, RequestFailed

HELLO = Prompt(messages=(Message("user", "12345678"),), system="1234")
LOOK = Calling((Function("look"),), CallMode.AUTO, "tools", "mode")
MUST = msgspec.structs.replace(LOOK, mode=CallMode.ANY)
ONE = msgspec.structs.replace(LOOK, single=True)
FORM = JSONForm(Schema(AnyValue()), "x")
CHOICE = ChoiceForm(("red", "blue"), "x")
PICTURE = PictureWish(1024, 1024, with_text=True, field="x")
LIKELY = LogprobsWish(1, "x")
DATA = base64.b64encode(b"PNG").decode()


def wishing(**wish: Any) -> Prompt:
    return msgspec.structs.replace(HELLO, **wish)


def document(*parts: dict[str, Any], reason: str | None = "STOP", **more: Any) -> bytes:
    candidate = {"content": {"parts": list(parts), "role": "model"}, "index": 0, **more}
    if reason:
        candidate["finishReason"] = reason
    return msgspec.json.encode({"candidates": [candidate]})


def read(body: bytes, prompt: Prompt = HELLO) -> Candidate:
    (candidate,) = read_reply(body, prompt, "m").candidates
    return candidate


def failure(body: bytes, prompt: Prompt = HELLO) -> RequestFailed:
    with pytest.raises(RequestFailed) as caught:
        read_reply(body, prompt, "m")
    assert "SECRET" not in caught.value.message
    return caught.value


@pytest.mark.parametrize(
    ("prompt", "candidate"),
    [
        (HELLO, Candidate("hi")),
        (HELLO, Candidate("", FinishReason.LENGTH)),
        (wishing(thoughts=True), Candidate("hi", thoughts="Hm.\u2028 So?")),
        (wishing(thoughts=True), Candidate("", FinishReason.LENGTH, thoughts="Hm.")),
        (wishing(thoughts=True), Candidate("hi")),
        (wishing(form=FORM, thoughts=True), Candidate('{"a":1}', thoughts='{"b": 2}')),
        (wishing(form=FORM), Candidate('{"a":1}')),
        (wishing(form=FORM), Candidate('{"a":', FinishReason.LENGTH)),
        (wishing(form=CHOICE), Candidate("red")),
        (wishing(calling=LOOK), Candidate("words")),
        (wishing(calling=LOOK), Candidate("", FinishReason.BAD_CALL)),
        (wishing(calling=MUST), Candidate("", calls=(Call("look", '{"a":1}', "c1"),))),
        (wishing(calling=MUST), Candidate("", FinishReason.LENGTH)),
        (wishing(picture=PICTURE), Candidate("A.", pictures=(Picture("image/png", b"PNG"),))),
        (
            wishing(logprobs=LIKELY),
            Candidate("a", tokens=(Token("a", -0.5, 3, (Token("a", -0.5, 3),)),)),
        ),
    ],
)
def test_a_reply_comes_out_of_the_protocol_as_it_was_put_in(
    prompt: Prompt, candidate: Candidate
) -> None:
    reply = Reply((candidate,), Usage(7, 5, 3, 2), "v-1")
    assert read_reply(render_reply(reply, "x"), prompt, "m") == reply


def test_an_answer_that_does_not_say_what_it_used_or_what_ran_is_reckoned() -> None:
    reply = read_reply(document({"text": "12345"}), HELLO, "m")
    assert (reply.usage, reply.model_version) == (Usage(3, 2), "m")
    assert read_reply(document(), HELLO, "m").usage.output_tokens == 0


@pytest.mark.parametrize(
    ("used", "expected"),
    [
        ({"promptTokenCount": 9}, Usage(9, 0)),
        ({"promptTokenCount": 9, "toolUsePromptTokenCount": 2}, Usage(11, 0, lookup_tokens=2)),
        (
            {
                "promptTokenCount": 1,
                "toolUsePromptTokenCount": 2,
                "cachedContentTokenCount": 2,
            },
            Usage(3, 0, 2, lookup_tokens=1),
        ),
        ({"promptTokenCount": 9, "thoughtsTokenCount": 4}, Usage(9, 4, 0, 4)),
        ({"promptTokenCount": 9, "cachedContentTokenCount": 12}, Usage(9, 0, 9)),
        ({"promptTokenCount": -1}, Usage(3, 1)),
        ({"promptTokenCount": 9, "candidatesTokenCount": 2**40}, Usage(3, 1)),
        ({"candidatesTokenCount": 4}, Usage(3, 1)),
        ({"promptTokenCount": "9", "thoughtsTokenCount": None}, Usage(9, 0)),
        ({"promptTokenCount": 9, "toolUsePromptTokenCount": -2}, Usage(9, 0)),
        ({"promptTokenCount": 9, "candidatesTokenCount": "many"}, Usage(3, 1)),
        ({"promptTokenCount": None, "candidatesTokenCount": 4}, Usage(3, 1)),
        (None, Usage(3, 1)),
        ([1], Usage(3, 1)),
    ],
)
def test_what_was_used_is_believed_where_it_can_be(used: object, expected: Usage) -> None:
    answer = msgspec.json.decode(document({"text": "1234"}))
    body = msgspec.json.encode(answer | {"usageMetadata": used})
    assert read_reply(body, HELLO, "m").usage == expected


def test_thoughts_and_unknown_members_are_no_part_of_the_answer() -> None:
    parts: list[dict[str, Any]] = [
        {"text": "SECRET thinking", "thought": True, "thoughtSignature": "x"},
        {"text": "a", "thoughtSignature": "y", "new": 1},
        {"executableCode": {"code": "1"}},
        {"text": "b"},
    ]
    assert read(document(*parts, safetyRatings=[], citationMetadata={})).text == "ab"


@pytest.mark.parametrize(
    "body",
    [
        b'{"candidates":[{"finishReason":"MAX_TOKENS","index":0}]}',
        b'{"candidates":[{"content":{"role":"model"},"finishReason":"MAX_TOKENS"}]}',
        b'{"candidates":[{"content":{},"finishReason":"MAX_TOKENS"}]}',
    ],
)
def test_an_answer_that_was_cut_while_it_was_thought_has_no_text(body: bytes) -> None:
    assert read(body) == Candidate("", FinishReason.LENGTH)


def test_a_choice_that_is_cut_off_is_none() -> None:
    assert read(document({"text": "re"}, reason="MAX_TOKENS"), wishing(form=CHOICE)).text == ""


@pytest.mark.parametrize("reason", ["SAFETY", "RECITATION", "PROHIBITED_CONTENT", "IMAGE_SAFETY"])
@pytest.mark.parametrize("wishes", [{}, {"form": CHOICE}, {"logprobs": LIKELY}])
def test_an_answer_that_a_filter_ended_says_so_and_is_not_asked_for_again(
    reason: str, wishes: dict[str, Any]
) -> None:
    candidate = read(document({"text": "re"}, reason=reason), wishing(**wishes))
    assert candidate == Candidate(
        "" if "form" in wishes else "re",
        FinishReason.WITHHELD,
        withheld=Withheld[reason],
    )


@pytest.mark.parametrize(
    ("reason", "found"),
    [
        ("SAFETY", Withheld.SAFETY),
        ("OTHER", Withheld.OTHER),
        ("IMAGE_SAFETY", Withheld.IMAGE_SAFETY),
        ("A_NEWER_ONE", Withheld.OTHER),
    ],
)
def test_a_prompt_that_was_blocked_has_an_answer_without_text(reason: str, found: Withheld) -> None:
    used = {"promptTokenCount": 7, "totalTokenCount": 7}
    feedback = {"promptFeedback": {"blockReason": reason}, "usageMetadata": used}
    reply = read_reply(msgspec.json.encode(feedback), wishing(), "m")
    assert reply.blocked is found
    assert reply.candidates == (Candidate("", FinishReason.WITHHELD, withheld=found),)
    assert reply.usage == Usage(7, 0)


def test_feedback_beside_an_answer_says_nothing() -> None:
    answer = msgspec.json.decode(document({"text": "a"}))
    both = msgspec.json.encode(answer | {"promptFeedback": {"blockReason": "OTHER"}})
    assert read(both).text == "a"
    assert failure(b'{"promptFeedback":{}}').retriable


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("OTHER", "(OTHER)"),
        ("MALFORMED_FUNCTION_CALL", "(MALFORMED_FUNCTION_CALL)"),
        ("SECRET", "end."),
        (None, "end."),
    ],
)
def test_an_answer_without_a_known_end_is_asked_for_again(reason: str | None, words: str) -> None:
    failed = failure(document({"text": "a"}, reason=reason))
    assert (failed.code, failed.retriable) == (Code.INTERNAL, True)
    assert words in failed.message


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        (wishing(form=FORM), "the form"),
        (wishing(form=CHOICE), "the form"),
        (wishing(calling=MUST), "the call"),
        (wishing(picture=PICTURE), "the picture"),
        (wishing(logprobs=LIKELY), "the probabilities"),
    ],
)
def test_an_answer_without_what_was_asked_for_is_asked_for_again(
    prompt: Prompt, words: str
) -> None:
    failed = failure(document({"text": "SECRET words"}), prompt)
    assert (failed.code, failed.retriable) == (Code.INTERNAL, True)
    assert words in failed.message


def test_members_of_a_whole_answer_stand_in_the_order_of_the_schema() -> None:
    members = Member("b", AnyValue(), required=True), Member("a", AnyValue(), required=True)
    prompt = wishing(form=JSONForm(Schema(Object(members=members)), "x"))
    said = '{"a": 1, "b": 2}'
    assert read(document({"text": said}), prompt) == Candidate('{"b":2,"a":1}')
    stream = Stream(prompt, "m")
    assert stream.read(document({"text": said})) == '{"a":1,"b":2}'
    assert stream.reply().candidates == (Candidate('{"a":1,"b":2}'),)  # It has been seen.
    cut = read(document({"text": said[:9]}, reason="MAX_TOKENS"), prompt)
    assert cut == Candidate('{"a":1,', FinishReason.LENGTH)
    likely = msgspec.structs.replace(prompt, logprobs=LIKELY)
    chosen = {"chosenCandidates": [{"token": "a", "logProbability": -1.0}]}
    assert read(document({"text": said}, logprobsResult=chosen), likely).text == '{"a":1,"b":2}'


def test_an_answer_that_a_stop_sequence_cut_is_what_it_is() -> None:
    prompt = wishing(form=FORM, sampling=Sampling(stop=("1",)))
    assert read(document({"text": '{"a": '}), prompt) == Candidate('{"a":')


CALL = {"functionCall": {"name": "look", "args": {"a": 1}}}


def test_calls_are_kept_as_many_as_may_be() -> None:
    both = document(CALL, {"functionCall": {"name": "look", "id": "2"}})
    first, second = Call("look", '{"a":1}'), Call("look", "{}", "2")
    assert read(both, wishing(calling=LOOK)).calls == (first, second)
    assert read(both, wishing(calling=ONE)).calls == (first,)
    nothing = document({"functionCall": {"name": "look", "args": None}})
    assert read(nothing, wishing(calling=LOOK)).calls == (Call("look", "{}"),)


@pytest.mark.parametrize(
    "call", [{"name": "hide"}, {"name": "look", "args": [1]}, {"args": {}}, {"name": None}]
)
def test_what_may_not_be_called_is_a_bad_call(call: dict[str, Any]) -> None:
    found = read(document({"functionCall": call}), wishing(calling=LOOK))
    assert (found.finish_reason, found.calls) == (FinishReason.BAD_CALL, ())


@pytest.mark.parametrize(
    "arguments", [b'{"a":"\xff"}', b'{"a":' + b"[" * 3000 + b"]" * 3000 + b"}"]
)
def test_arguments_that_cannot_be_read_are_no_answer(arguments: bytes) -> None:
    body = document(CALL).replace(b'{"a":1}', arguments)
    assert failure(body, wishing(calling=LOOK)).retriable


def test_a_call_that_nobody_asked_for_is_no_answer() -> None:
    assert failure(document(CALL)).retriable


def test_likely_tokens_come_without_more_others_than_were_asked_for() -> None:
    told = {
        "chosenCandidates": [{"token": "a", "logProbability": 0.001}, {"token": "b"}],
        "topCandidates": [{"candidates": [{"token": "a"}, {"token": "z", "logProbability": -2}]}],
    }
    body = document({"text": "ab"}, logprobsResult=told)
    assert read(body, wishing(logprobs=LIKELY)).tokens == (
        Token("a", 0.0, others=(Token("a", 0.0),)),
        Token("b", 0.0),
    )
    assert read(body).tokens == ()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"SECRET",
        b"\xff",
        b"[" * 100_000,
        b'{"candidates":[{"content":{"parts":[{"text":5}]},"finishReason":"STOP"}]}',
        b'{"candidates":[{"content":{"parts":[{"inlineData":{"mimeType":"a","data":"*"}}]}}]}',
    ],
)
def test_what_is_no_answer_is_asked_for_again(body: bytes) -> None:
    failed = failure(body)
    assert (failed.code, failed.retriable) == (Code.INTERNAL, True)


# streams --------------------------------------------------------------------------------------


def test_a_streamed_answer_is_put_together() -> None:
    stream = Stream(wishing(calling=LOOK), "m")
    texts = [
        stream.read(document({"text": "Once "}, reason=None)),
        stream.read(document({"text": "x", "thought": True}, {"text": "upon"}, reason=None)),
        stream.read(document(CALL, reason=None)),
        stream.read(b'{"usageMetadata":{"promptTokenCount":4,"candidatesTokenCount":9}}'),
        stream.read(document({"text": ""})),
        stream.read(b'{"modelVersion":"v-2"}'),
    ]
    assert texts == ["Once ", "upon", "", "", "", ""]
    reply = stream.reply()
    assert reply.candidates == (Candidate("Once upon", calls=(Call("look", '{"a":1}'),)),)
    assert (reply.usage, reply.model_version) == (Usage(4, 9), "v-2")


def test_thoughts_of_a_stream_are_put_together_and_no_text() -> None:
    stream = Stream(wishing(thoughts=True), "m")
    pieces: tuple[tuple[dict[str, Any], ...], ...] = (
        ({"text": "Hm", "thought": True},),
        ({"text": ".", "thought": True}, {"thought": True}, {"text": "so"}),
    )
    assert [stream.read(document(*piece)) for piece in pieces] == ["", "so"]
    assert stream.reply().candidates == (Candidate("so", thoughts="Hm."),)


def test_an_error_in_a_stream_breaks_it_off() -> None:
    stream = Stream(HELLO, "m")
    with pytest.raises(RequestFailed, match="broke the answer off") as failed:
        stream.read(b'{"error":{"code":503,"message":"SECRET"}}')
    assert failed.value.retriable


def test_an_answer_that_grows_too_long_is_not_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nightrate.limits.LINE_BYTES_MAX", 150)
    stream = Stream(HELLO, "m")
    stream.read(document({"text": "a"}, reason=None))
    with pytest.raises(RequestFailed, match="longer than 150 bytes"):
        stream.read(document({"text": "a"}, reason=None))


@given(st.binary(max_size=200))
def test_no_body_makes_a_reader_fail_in_another_way(body: bytes) -> None:
    blamed(body)
    read_models(body)
    for call in (
        lambda: read_reply(body, HELLO, "m"),
        lambda: read_vector(body, Passage(text="a")),
        lambda: read_count(body),
    ):
        with pytest.raises(RequestFailed):
            call()
