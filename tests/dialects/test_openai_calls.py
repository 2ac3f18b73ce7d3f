"""Functions of OpenAI's clients: declarations, choices, calls and results of earlier turns."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from nightrate.dialects.json_schema import read_schema
from nightrate.dialects.openai import ChatStream, parse_chat, render_completion
from nightrate.dialects.openai_results import render_openai_line
from nightrate.dialects.row import Echo
from nightrate.domain.batch import BatchForm
from nightrate.domain.calling import Call, Calling, CallMode, CallResult, Function
from nightrate.domain.generation import Candidate, FinishReason, Message, Prompt, Reply, Usage
from nightrate.errors import BadRequest, NotSupported, Refused

NOW = 1_700_000_000_999_999
TREE = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
CLOCK = {"type": "function", "function": {"name": "clock"}}
WEATHER = {
    "type": "function",
    "function": {"name": "weather", "description": "Tells it.", "parameters": TREE, "strict": True},
}
FUNCTIONS = (
    Function("clock"),
    Function("weather", "Tells it.", read_schema(TREE), strict=True),
)


def parse(*messages: Any, **members: Any) -> Prompt:
    turns = list(messages) or [{"role": "user", "content": "hi"}]
    body = {"model": "m", "messages": turns, **members}
    return parse_chat(msgspec.json.encode(body)).prompt


def calling(*tools: Any, **members: Any) -> Calling | None:
    return parse(tools=list(tools), **members).calling


def refusal(kind: type[Refused], *messages: Any, **members: Any) -> tuple[str | None, str]:
    with pytest.raises(Refused) as refused:
        parse(*messages, **members)
    assert type(refused.value) is kind
    return refused.value.field, refused.value.message


def with_arguments(schema: object) -> dict[str, object]:
    return {"type": "function", "function": {"name": "f", "parameters": schema}}


def named(name: object) -> dict[str, object]:
    return {"type": "function", "function": {"name": name}}


# declarations --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({}, Calling(FUNCTIONS, CallMode.AUTO, "tools", "tool_choice")),
        ({"tool_choice": None}, Calling(FUNCTIONS, CallMode.AUTO, "tools", "tool_choice")),
        ({"tool_choice": "auto", "parallel_tool_calls": True},
         Calling(FUNCTIONS, CallMode.AUTO, "tools", "tool_choice")),
        ({"tool_choice": "required", "parallel_tool_calls": False},
         Calling(FUNCTIONS, CallMode.ANY, "tools", "tool_choice", single=True)),
        ({"tool_choice": named("weather")},
         Calling(FUNCTIONS[1:], CallMode.ANY, "tools", "tool_choice")),
        ({"tool_choice": "none"}, None),
    ],
)  # fmt: skip
def test_the_choice_says_who_decides(members: Any, expected: Calling | None) -> None:
    assert calling(CLOCK, WEATHER, **members) == expected


def test_a_choice_without_functions_asks_for_nothing() -> None:
    for choice in ("auto", "none"):
        assert parse(tools=[], tool_choice=choice, parallel_tool_calls=False) == parse()


def test_no_parameters_are_no_arguments_and_a_function_need_not_be_strict() -> None:
    for nothing in ("null", "{}"):
        tool = with_arguments(json.loads(nothing))
        found = calling(tool)
        assert found is not None
        assert found.functions == (Function("f"),)


def test_arguments_may_be_one_of_several_objects() -> None:
    schema = {"anyOf": [TREE, {"type": "object"}]}
    assert calling(with_arguments(schema))


@pytest.mark.parametrize(
    ("members", "path", "kind"),
    [
        ({"tools": [{"type": "function"}]}, "tools[0].function", BadRequest),
        ({"tools": [{"type": "search"}]}, "tools[0].type", BadRequest),
        ({"tools": [{"type": "custom", "custom": {}}]}, "tools[0].type", NotSupported),
        ({"tools": [{**CLOCK, "name": "clock"}]}, "tools[0].name", BadRequest),
        ({"tools": [named("")]}, "tools[0].function.name", BadRequest),
        ({"tools": [named("a.b")]}, "tools[0].function.name", BadRequest),
        ({"tools": [named(5)]}, "tools[0].function.name", BadRequest),
        ({"tools": [CLOCK, CLOCK]}, "tools[1].function.name", BadRequest),
        ({"tools": [with_arguments({"type": "array"})]},
         "tools[0].function.parameters", BadRequest),
        ({"tools": [with_arguments({"not": {}})]},
         "tools[0].function.parameters.not", NotSupported),
        ({"tools": [named(f"f{number}") for number in range(129)]}, "tools", BadRequest),
        ({"tools": [CLOCK], "tool_choice": "any"}, "tool_choice", BadRequest),
        ({"tools": [CLOCK], "tool_choice": 5}, "tool_choice", BadRequest),
        ({"tools": [CLOCK], "tool_choice": {}}, "tool_choice.type", BadRequest),
        ({"tools": [CLOCK], "tool_choice": {"type": "custom"}}, "tool_choice.type", NotSupported),
        ({"tools": [CLOCK], "tool_choice": {**CLOCK, "name": "clock"}}, "tool_choice.name",
         BadRequest),
        ({"tools": [CLOCK], "tool_choice": {"type": "function"}}, "tool_choice.function",
         BadRequest),
        ({"tools": [CLOCK], "tool_choice": {"type": "function", "function": {}}},
         "tool_choice.function", BadRequest),
        ({"tools": [CLOCK], "tool_choice": named("sun")}, "tool_choice.function.name", BadRequest),
        ({"tools": [CLOCK], "tool_choice": named(["clock"])}, "tool_choice.function.name",
         BadRequest),
        ({"tool_choice": "required"}, "tool_choice", BadRequest),
        ({"tools": [CLOCK], "response_format": {"type": "json_object"}}, "tools", BadRequest),
    ],
)  # fmt: skip
def test_what_is_wrong_is_refused_by_its_path(members: Any, path: str, kind: type[Refused]) -> None:
    field, message = refusal(kind, **members)
    assert field == path
    assert message.startswith(f"{path}: ")


# earlier turns -------------------------------------------------------------------------------


def called(*calls: Any, **members: Any) -> dict[str, Any]:
    return {"role": "assistant", "tool_calls": list(calls), **members}


def call(call_id: str = "c1", name: str = "clock", arguments: str | None = "{}") -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    return {"id": call_id, "type": "function", "function": function}


def result(call_id: str | None = "c1", content: Any = "noon", **members: Any) -> dict[str, Any]:
    return {"role": "tool", "content": content, "tool_call_id": call_id, **members}


USER = {"role": "user", "content": "hi"}


def test_calls_and_results_are_read_back_as_they_were_written() -> None:
    prompt = parse(
        USER,
        called(call("c1", "weather", '{"city": "Oslo"}'), call("c2", arguments=""), content=None),
        result("c2", [{"type": "text", "text": "no"}, {"type": "text", "text": "on"}]),
        result("c1", '{"sky":"clear"}', name="weather"),
        {"role": "system", "content": "Be brief."},
        called({**call("c3"), "type": None, "index": 0}, content="Once more.", refusal=None),
        result("c3"),
    )
    assert prompt.system == "Be brief."
    assert prompt.messages == (
        Message("user", "hi"),
        Message(
            "model", "", (Call("weather", '{"city": "Oslo"}', "c1"), Call("clock", "{}", "c2"))
        ),
        Message(
            "user",
            "",
            results=(
                CallResult("clock", "noon", "c2"),
                CallResult("weather", '{"sky":"clear"}', "c1"),
            ),
        ),
        Message("model", "Once more.", (Call("clock", "{}", "c3"),)),
        Message("user", "", results=(CallResult("clock", "noon", "c3"),)),
    )


@pytest.mark.parametrize(
    ("turns", "path", "kind"),
    [
        ([called({**call(), "id": None})], "[0].tool_calls[0].id", BadRequest),
        ([called({"id": "1"})], "[0].tool_calls[0].function", BadRequest),
        ([called({**call(), "type": "x"})], "[0].tool_calls[0].type", BadRequest),
        ([called({**call(), "type": "custom"})], "[0].tool_calls[0].type", NotSupported),
        ([called(call(name="a b"))], "[0].tool_calls[0].function.name", BadRequest),
        ([called(call(), call(arguments="5"))], "[0].tool_calls[1].function.arguments", BadRequest),
        ([called(call(arguments='{"a":'))], "[0].tool_calls[0].function.arguments", BadRequest),
        ([called(call(arguments="[" * 99_999))], "[0].tool_calls[0].function.arguments",
         BadRequest),
        ([{**USER, "tool_calls": [call()]}], "[0].tool_calls", BadRequest),
        ([{**USER, "tool_call_id": "c1"}], "[0].tool_call_id", BadRequest),
        ([called(content=None)], "[0].content", BadRequest),
        ([called(call()), result(None)], "[1].tool_call_id", BadRequest),
        ([called(call()), result("c2")], "[1].tool_call_id", BadRequest),
        ([result(), called(call())], "[0].tool_call_id", BadRequest),
        ([called(call()), result(name="sun")], "[1].name", BadRequest),
        ([called(call()), result(content=None)], "[1].content", BadRequest),
        ([called(call()), result(content=[])], "[1].content", BadRequest),
    ],
)  # fmt: skip
def test_a_wrong_turn_is_refused_by_its_path(turns: Any, path: str, kind: type[Refused]) -> None:
    assert refusal(kind, *turns)[0] == f"messages{path}"


# answers -------------------------------------------------------------------------------------

CALLS = (Call("weather", '{"city": "Z\u00fcrich"}', "up1"), Call("clock", "{}"))
REPLY = Reply(
    (Candidate("", calls=CALLS), Candidate("So.", calls=CALLS[1:])), Usage(5, 2), "echo-1"
)
WHOLE = [
    {
        "id": "up1",
        "type": "function",
        "function": {"name": "weather", "arguments": '{"city": "Z\u00fcrich"}'},
    },
    {"id": "call_r1_0_1", "type": "function", "function": {"name": "clock", "arguments": "{}"}},
]
BAD = Reply((Candidate("", FinishReason.BAD_CALL),), Usage(5, 2), "echo-1")
WHY = "What the model wrote as a call is none of those that it may make. Ask again."


def test_a_completion_has_the_calls_and_no_content_where_nothing_was_said() -> None:
    found = json.loads(render_completion(REPLY, "r1", NOW))
    first, second = found["choices"]
    assert first["finish_reason"] == second["finish_reason"] == "tool_calls"
    assert first["message"] == {
        "role": "assistant",
        "content": None,
        "refusal": None,
        "tool_calls": WHOLE,
    }
    assert second["message"]["content"] == "So."
    assert second["message"]["tool_calls"] == [{**WHOLE[1], "id": "call_r1_1_0"}]
    message = ChatCompletion.model_validate(found).choices[0].message
    assert message.tool_calls is not None
    assert [one.id for one in message.tool_calls] == ["up1", "call_r1_0_1"]


def test_a_line_of_a_batch_has_what_the_live_call_would_have_had() -> None:
    line = render_openai_line(Echo(b'"k"'), REPLY, BatchForm.FILE, "r1", NOW)
    assert line.isascii()
    body = json.loads(line)["response"]["body"]
    assert body == json.loads(render_completion(REPLY, "r1", NOW))


def test_an_answer_whose_call_was_malformed_says_so_and_has_none() -> None:
    (choice,) = json.loads(render_completion(BAD, "r1", NOW))["choices"]
    assert choice["message"] == {"role": "assistant", "content": None, "refusal": WHY}
    assert choice["finish_reason"] == "stop"


def events(content: bytes) -> list[Any]:
    assert content.isascii()
    lines = content.decode().removesuffix("\n\n").split("\n\n")
    assert lines.pop() == "data: [DONE]"
    chunks = [json.loads(line.removeprefix("data: ")) for line in lines]
    for chunk in chunks:
        ChatCompletionChunk.model_validate(chunk)
    return [
        (choice["index"], choice["delta"], choice["finish_reason"])
        for chunk in chunks
        for choice in chunk["choices"]
    ]


def test_a_stream_has_each_call_whole_in_a_chunk_of_its_own() -> None:
    stream = ChatStream("m", "r1", NOW, usage=False)
    assert events(stream.write(REPLY)) == [
        (0, {"role": "assistant", "content": ""}, None),
        (0, {"tool_calls": [{**WHOLE[0], "index": 0}]}, None),
        (0, {"tool_calls": [{**WHOLE[1], "index": 1}]}, None),
        (0, {}, "tool_calls"),
        (1, {"role": "assistant", "content": "So."}, None),
        (1, {"tool_calls": [{**WHOLE[1], "id": "call_r1_1_0", "index": 0}]}, None),
        (1, {}, "tool_calls"),
    ]


def test_a_stream_whose_call_was_malformed_says_so() -> None:
    stream = ChatStream("m", "r1", NOW, usage=False)
    assert events(stream.write(BAD)) == [
        (0, {"role": "assistant", "content": ""}, None),
        (0, {"refusal": WHY}, None),
        (0, {}, "stop"),
    ]
