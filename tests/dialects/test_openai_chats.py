"""OpenAI's chat requests: what becomes of each member, and how a refusal names it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from nightrate import limits
from nightrate.dialects.openai import ChatCall, parse_chat
from nightrate.dialects.openai_chats import HINTS, UNSERVED
from nightrate.dialects.openai_shapes import ChatBody
from nightrate.domain.generation import Message, Prompt, Sampling
from nightrate.domain.guidance import Thinking, ThinkingLevel
from nightrate.domain.schema import AnyValue, JSONForm, Member, Number, Object, Schema
from nightrate.errors import BadRequest, NotSupported

ASK = [{"role": "user", "content": "hi"}]


def parsed(**members: Any) -> ChatCall:
    body = {"model": "models/gemini-x", "messages": ASK, **members}
    return parse_chat(msgspec.json.encode(body))


def refused(kind: type[BadRequest | NotSupported], **members: Any) -> tuple[str | None, str]:
    with pytest.raises(kind) as caught:
        parsed(**members)
    assert type(caught.value) is kind
    return caught.value.field, caught.value.message


def test_the_least_that_can_be_asked() -> None:
    assert parsed() == ChatCall(
        model="gemini-x",
        prompt=Prompt(messages=(Message("user", "hi"),)),
        streamed=False,
        usage_streamed=False,
    )


def test_the_system_and_the_developer_speak_first_and_parts_are_joined() -> None:
    prompt = parsed(
        messages=[
            {"role": "system", "content": "Be brief."},
            {
                "role": "user",
                "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}],
            },
            {"role": "developer", "content": "Be kind."},
            {"role": "assistant", "content": None, "refusal": "No.", "tool_calls": None},
            {
                "role": "assistant",
                "content": [{"type": "refusal", "refusal": "Never."}],
                "annotations": [],
            },
            {"role": "user", "content": ""},
        ]
    ).prompt
    assert prompt.system == "Be brief.\nBe kind."
    assert prompt.messages == (
        Message("user", "ab"),
        Message("model", "No."),
        Message("model", "Never."),
        Message("user", ""),
    )


def test_what_is_set_reaches_the_sampling() -> None:
    prompt = parsed(
        temperature=0.5,
        top_p=0.9,
        max_completion_tokens=7,
        max_tokens=7,
        stop=["a", "b"],
        seed=-1,
        presence_penalty=1,
        frequency_penalty=-1,
    ).prompt
    assert prompt.sampling == Sampling(
        temperature=0.5,
        top_p=0.9,
        max_output_tokens=7,
        stop=("a", "b"),
        seed=2**31 - 1,
        presence_penalty=1,
        frequency_penalty=-1,
    )
    assert parsed(max_tokens=5, stop="x").prompt.sampling == Sampling(
        max_output_tokens=5, stop=("x",)
    )
    assert parsed(seed=7).prompt.sampling.seed == parsed(seed=7 + 2**31).prompt.sampling.seed == 7


def test_what_asks_for_nothing_is_taken() -> None:
    nothing = {
        "n": 1,
        "logprobs": False,
        "top_logprobs": 0,
        "logit_bias": {},
        "tools": [],
        "functions": [],
        "tool_choice": "auto",
        "function_call": "none",
        "modalities": ["text"],
        "response_format": {"type": "text"},
        "stop": None,
        "stream": False,
        "audio": None,
        "google": {},
        "extra_body": {"google": {"thinking_config": None}},
    }
    assert parsed(**nothing) == parsed()


def test_hints_are_passed_over() -> None:
    values: dict[str, Any] = {
        "metadata": {"a": "b"},
        "store": True,
        "reasoning_effort": "low",
        "verbosity": "high",
        "prompt_cache_options": {"mode": "x"},
    }
    given = {name: values.get(name, "text") for name in HINTS}
    call, plain = parsed(**given), parsed()
    assert call.prompt.thinking == Thinking(level=ThinkingLevel.LOW)
    assert msgspec.structs.replace(call.prompt, thinking=None) == plain.prompt
    assert msgspec.structs.replace(call, prompt=plain.prompt) == plain


@pytest.mark.parametrize(
    ("effort", "thinking"),
    [
        ("none", Thinking(0)),
        ("minimal", Thinking(level=ThinkingLevel.MINIMAL)),
        ("xhigh", Thinking(level=ThinkingLevel.HIGH)),
        (None, None),
    ],
)
def test_an_effort_is_read_for_models_that_think(
    effort: str | None, thinking: Thinking | None
) -> None:
    assert parsed(reasoning_effort=effort).prompt.thinking == thinking


def test_every_member_is_a_hint_or_refused_or_honoured() -> None:
    assert not set(HINTS) & set(UNSERVED)
    assert set(HINTS) | set(UNSERVED) < set(ChatBody.__struct_fields__)


@pytest.mark.parametrize("options", [{"stream": True}, {"stream": True, "stream_options": {}}])
def test_a_stream_without_its_usage(options: dict[str, Any]) -> None:
    call = parsed(**options)
    assert (call.streamed, call.usage_streamed) == (True, False)


def test_a_stream_with_its_usage() -> None:
    call = parsed(stream=True, stream_options={"include_usage": True, "include_obfuscation": False})
    assert (call.streamed, call.usage_streamed) == (True, True)


def test_thinking_is_checked_in_either_place_and_spelling() -> None:
    for google, thinking in (
        ({"thinking_config": {"thinking_budget": 0, "include_thoughts": True}}, Thinking(0)),
        ({"thinkingConfig": {"thinkingLevel": "low"}}, Thinking(level=ThinkingLevel.LOW)),
    ):
        assert parsed(google=google) == parsed(extra_body={"google": google})
        assert parsed(google=google).prompt.thinking == thinking
    wrong = {"thinking_config": {"thinking_budget": -7}}
    field, message = refused(BadRequest, extra_body={"google": wrong})
    assert field == "extra_body.google.thinking_config.thinking_budget"
    assert message.startswith(f"{field}: -7 is not between")
    field, _ = refused(BadRequest, google={"thinking_config": {"level": 1}})
    assert field == "google.thinking_config.level"
    field, _ = refused(BadRequest, google={"thinkingConfig": {}}, reasoning_effort="low")
    assert field == "google.thinking_config"


def test_an_answer_may_have_to_be_json_or_to_keep_a_schema() -> None:
    form = parsed(response_format={"type": "json_object"}).prompt.form
    assert form == JSONForm(Schema(Object(others=AnyValue())), "response_format.type")
    schema = {
        "type": "object",
        "properties": {"a": {"type": "integer"}},
        "required": ["a"],
        "additionalProperties": False,
    }
    named = {"name": "x", "description": "d", "strict": True, "schema": schema}
    form = parsed(response_format={"type": "json_schema", "json_schema": named}).prompt.form
    member = Member("a", Number(whole=True), required=True)
    assert form == JSONForm(Schema(Object(members=(member,))), "response_format.json_schema.schema")
    bare = {"type": "json_schema", "json_schema": {"name": "x"}}
    form = parsed(response_format=bare).prompt.form
    assert form == JSONForm(Schema(Object(others=AnyValue())), "response_format.json_schema")


def test_a_cached_content_is_continued() -> None:
    for google in ({"cached_content": "cachedContents/x"}, {"cachedContent": "x"}):
        assert parsed(google=google).prompt.cache == "x"
        assert parsed(extra_body={"google": google}).prompt.cache == "x"
    field, _ = refused(BadRequest, extra_body={"google": {"cached_content": "a b"}})
    assert field == "extra_body.google.cached_content"
    turns = [{"role": "system", "content": "x"}, *ASK]
    field, message = refused(BadRequest, google={"cached_content": "x"}, messages=turns)
    assert field == "messages"
    assert "cached content" in message


@pytest.mark.parametrize(
    ("members", "path"),
    [
        ({"temperature": 2.1}, "temperature"),
        ({"top_p": -0.1}, "top_p"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_completion_tokens": 2**31}, "max_completion_tokens"),
        ({"max_completion_tokens": 1, "max_tokens": 2}, "max_tokens"),
        ({"presence_penalty": 3}, "presence_penalty"),
        ({"frequency_penalty": -3}, "frequency_penalty"),
        ({"n": 0}, "n"),
        ({"n": 9}, "n"),
        ({"stop": ["x"] * (limits.STOP_SEQUENCES_MAX + 1)}, "stop"),
        ({"stop": [""]}, "stop"),
        ({"reasoning_effort": "huge"}, "reasoning_effort"),
        ({"verbosity": "huge"}, "verbosity"),
        ({"response_format": {"type": "xml"}}, "response_format.type"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"strict": True}}},
            "response_format.json_schema.name",
        ),
        (
            {"response_format": {"type": "text", "json_schema": {"name": "x"}}},
            "response_format.json_schema",
        ),
        (
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "x", "schema": {"type": "thing"}},
                }
            },
            "response_format.json_schema.schema.type",
        ),
        ({"stream_options": {}}, "stream_options"),
        ({"model": ""}, "model"),
        ({"model": 1}, "model"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "system", "content": "x"}]}, "messages"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages[0].role"),
        ({"messages": [*ASK, {"role": "user"}]}, "messages[1].content"),
        ({"messages": [{"role": "user", "refusal": "no"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": []}]}, "messages[0].content"),
        (
            {"messages": [{"role": "user", "content": [{"type": "text"}]}]},
            "messages[0].content[0].text",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "x"}]}]},
            "messages[0].content[0].type",
        ),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"messages": [{"content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": "x", "text": "y"}]}, "messages[0].text"),
        ({"top_k": 3}, "top_k"),
        ({"contents": []}, "contents"),
        ({"stream_options": {"usage": True}, "stream": True}, "stream_options.usage"),
    ],
)
def test_what_is_wrong_is_refused_by_its_path(members: dict[str, Any], path: str) -> None:
    field, message = refused(BadRequest, **members)
    assert field == path
    assert message.startswith(f"{path}: ")


@pytest.mark.parametrize(
    ("members", "path"),
    [
        ({"logit_bias": {"5": 1}}, "logit_bias"),
        ({"tools": [{"type": "custom", "custom": {"name": "f"}}]}, "tools[0].type"),
        ({"functions": [{}]}, "functions"),
        ({"tool_choice": {"type": "allowed_tools"}}, "tool_choice.type"),
        ({"function_call": "required"}, "function_call"),
        ({"web_search_options": {"a": 1}}, "web_search_options"),
        ({"prediction": {"type": "content"}}, "prediction"),
        ({"audio": {"voice": "x"}}, "audio"),
        ({"moderation": {"model": "x"}}, "moderation"),
        ({"modalities": ["text", "audio"]}, "modalities[1]"),
        ({"messages": [{"role": "function", "content": "x", "name": "f"}]}, "messages[0].role"),
        (
            {"messages": [{"role": "assistant", "content": "x", "function_call": {"name": "f"}}]},
            "messages[0].function_call",
        ),
        ({"messages": [{"role": "user", "content": "x", "name": "Ann"}]}, "messages[0].name"),
        (
            {"messages": [{"role": "assistant", "tool_calls": [{"id": "1", "type": "custom"}]}]},
            "messages[0].tool_calls[0].type",
        ),
    ],
)
def test_what_is_not_served_is_refused_by_its_path(members: dict[str, Any], path: str) -> None:
    field, message = refused(NotSupported, **members)
    assert field == path
    assert message.startswith(f"{path}: this server does not support it yet.")


def test_a_misplaced_member_is_told_where_it_belongs() -> None:
    _, message = refused(BadRequest, contents=[])
    assert message == 'contents: it is not known here. Use "messages".'


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{", "The body is no JSON near byte 1: Input data was truncated."),
        (b"[]", "The body is wrong: expected `object`, got `array`."),
        (b"{}", "model: it is missing."),
        (b'{"model":"\xff"}', "The body is no JSON: The text is not UTF-8."),
        (b"[" * 101 + b"]" * 101, "JSON is nested deeper than 100 levels."),
    ],
)
def test_a_body_that_is_none_says_so(body: bytes, message: str) -> None:
    with pytest.raises(BadRequest) as caught:
        parse_chat(body)
    assert caught.value.message == message
