"""What is asked of a server that speaks OpenAI's protocol."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from nightrate.dialects.json_schema import read_schema
from nightrate.dialects.openai_asks import Customs, render_count, render_passage, render_prompt
from nightrate.domain.calling import Call, Calling, CallMode, CallResult, Function
from nightrate.domain.embedding import Passage
from nightrate.domain.generation import Message, Prompt, Sampling
from nightrate.domain.guidance import Thinking, ThinkingLevel
from nightrate.domain.schema import AnyValue, ChoiceForm, Form, JSONForm, Object, Schema
from nightrate.errors import Code, RequestFailed

HELLO = Prompt(messages=(Message("user", "12345678"),), system="1234")
TREE = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
SCHEMA = JSONForm(read_schema(TREE), "schema")
CHOICE = ChoiceForm(("red", "green"), "schema")
ANY = JSONForm(Schema(Object(others=AnyValue())), "schema")


def with_form(form: Form) -> Prompt:
    return msgspec.structs.replace(HELLO, form=form)


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        (ANY, {"type": "json_object"}),
        (SCHEMA, {**TREE, "additionalProperties": False}),
        (
            CHOICE,
            {
                "type": "object",
                "properties": {"choice": {"type": "string", "enum": ["red", "green"]}},
                "required": ["choice"],
                "additionalProperties": False,
            },
        ),
    ],
)
def test_a_form_is_asked_for_as_a_response_format(form: Form, expected: dict[str, Any]) -> None:
    body = msgspec.json.decode(render_prompt(with_form(form), "m", Customs(), streamed=False))
    wanted = body["response_format"]
    if wanted["type"] == "json_schema":
        assert wanted["json_schema"]["strict"] is True  # Each object has all of its members.
        wanted = wanted["json_schema"]["schema"]
    assert wanted == expected


@pytest.mark.parametrize(
    "tree",
    [
        {"properties": {"a": {}, "b": {"type": "null"}}, "required": ["b"]},
        {"properties": {"a": {}}, "required": ["a"]},
        {"items": {"type": "object", "additionalProperties": {"type": "string"}}},
        {"$ref": "#/$defs/x", "$defs": {"x": {"properties": {"a": {"type": "null"}}}}},
    ],
)
def test_a_schema_that_leaves_a_choice_is_not_asked_for_strictly(tree: Any) -> None:
    form = JSONForm(read_schema(tree), "schema")
    body = msgspec.json.decode(render_prompt(with_form(form), "m", Customs(), streamed=False))
    assert body["response_format"]["json_schema"]["strict"] is False


def test_a_stream_is_asked_to_say_what_it_used() -> None:
    body = msgspec.json.decode(render_prompt(HELLO, "m", Customs(), streamed=True))
    assert (body["stream"], body["stream_options"]) == (True, {"include_usage": True})


@pytest.mark.parametrize(
    ("passage", "customs", "members"),
    [
        (Passage(text="a"), Customs(), {"input": "a"}),
        (
            Passage(text="a", title="t", dimensions=8),
            Customs(),
            {"input": "t\na", "dimensions": 8},
        ),
        (
            Passage(text="a"),
            Customs(cuts=True),
            {"input": "a", "truncate_prompt_tokens": -1},
        ),
        (Passage(text="a", truncate=False), Customs(cuts=True), {"input": "a"}),
    ],
)
def test_a_passage_is_asked_for_as_an_embedding(
    passage: Passage, customs: Customs, members: dict[str, Any]
) -> None:
    body = msgspec.json.decode(render_passage(passage, "m", customs))
    assert body == {"model": "m", "encoding_format": "float", **members}


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_the_output_limit_and_the_likeliest_few_are_asked_for_as_the_server_calls_them(
    name: str,
) -> None:
    prompt = msgspec.structs.replace(HELLO, sampling=Sampling(top_k=5, max_output_tokens=7))
    customs = Customs(top_k=True, tokens_max=name)
    body = msgspec.json.decode(render_prompt(prompt, "m", customs, streamed=False))
    assert (body["top_k"], body[name]) == (5, 7)
    assert len(body) == 4
    with pytest.raises(RequestFailed, match="topK") as refused:
        render_prompt(prompt, "m", Customs(), streamed=False)
    assert refused.value.code is Code.UNIMPLEMENTED


@pytest.mark.parametrize(
    ("thinking", "effort"),
    [
        (None, None),
        (Thinking(-1), None),
        (Thinking(0), "none"),
        (Thinking(1), "low"),
        (Thinking(1024), "low"),
        (Thinking(1025), "medium"),
        (Thinking(8192), "medium"),
        (Thinking(24576), "high"),
        (Thinking(level=ThinkingLevel.MINIMAL), "minimal"),
        (Thinking(-1, ThinkingLevel.HIGH), "high"),
    ],
)
def test_a_model_that_thinks_is_told_how_hard_and_another_is_not(
    thinking: Thinking | None, effort: str | None
) -> None:
    prompt = msgspec.structs.replace(HELLO, thinking=thinking)
    for customs, told in ((Customs(thinks=True), effort), (Customs(), None)):
        body = msgspec.json.decode(render_prompt(prompt, "m", customs, streamed=False))
        assert body.get("reasoning_effort") == told


def test_tokens_are_counted_with_the_beginning_of_the_answer() -> None:
    assert msgspec.json.decode(render_count(HELLO, "m")) == {
        "model": "m",
        "messages": [
            {"role": "system", "content": "1234"},
            {"role": "user", "content": "12345678"},
        ],
        "add_generation_prompt": True,
    }


def test_a_text_that_is_no_unicode_is_not_sent() -> None:
    with pytest.raises(RequestFailed) as refused:
        render_count(Prompt(messages=(Message("user", "\ud800"),)), "m")
    assert refused.value.code is Code.INVALID_ARGUMENT


# calls ---------------------------------------------------------------------------------------

CLOCK = Function("clock", "Tells the time.", read_schema(TREE), strict=True)
SUN = Function("sun")
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "clock",
            "description": "Tells the time.",
            "parameters": {**TREE, "additionalProperties": False},
            "strict": True,
        },
    },
    {
        "type": "function",
        "function": {
            "name": "sun",
            "parameters": {"type": "object", "additionalProperties": False},
        },
    },
]


@pytest.mark.parametrize(
    ("calling", "expected"),
    [
        (Calling((CLOCK, SUN), CallMode.ANY, "tools", "mode"), {"tool_choice": "required"}),
        (
            Calling((CLOCK, SUN), CallMode.AUTO, "tools", "mode", single=True),
            {"tool_choice": "auto", "parallel_tool_calls": False},
        ),
    ],
)
def test_functions_are_declared_and_the_choice_is_said(
    calling: Calling, expected: dict[str, Any]
) -> None:
    prompt = msgspec.structs.replace(HELLO, calling=calling)
    body = msgspec.json.decode(render_prompt(prompt, "m", Customs(), streamed=False))
    del body["model"], body["messages"]
    assert body == {"tools": TOOLS, **expected}
    assert msgspec.json.decode(render_count(prompt, "m"))["tools"] == TOOLS


def turns(*messages: Message) -> list[Any]:
    body = render_prompt(Prompt(messages=messages), "m", Customs(), streamed=False)
    found: list[Any] = msgspec.json.decode(body)["messages"]
    return found


def written(call_id: str, name: str = "f", arguments: str = "{}") -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    return {"id": call_id, "function": function, "type": "function"}


def called(*calls: dict[str, Any], text: str | None = None) -> dict[str, Any]:
    return {"role": "assistant", "content": text, "tool_calls": list(calls)}


def found(call_id: str, text: str = "{}") -> dict[str, Any]:
    return {"role": "tool", "content": text, "tool_call_id": call_id}


@pytest.mark.parametrize(
    ("calls", "results", "ids"),
    [
        # Nobody named them: in the order of the calls of each function.
        (
            (Call("f", "{}"), Call("f", "{}")),
            (CallResult("f", "{}"), CallResult("f", "{}")),
            (0, 1),
        ),
        (
            (Call("f", "{}"), Call("g", "{}")),
            (CallResult("g", "{}"), CallResult("f", "{}")),
            (1, 0),
        ),
        # The client named them all.
        (
            (Call("f", "{}", "call_1"), Call("f", "{}", "call_2")),
            (CallResult("f", "{}", "call_2"), CallResult("f", "{}", "call_1")),
            (1, 0),
        ),
        # It named one side only.
        ((Call("f", "{}"),), (CallResult("f", "{}", "x"),), (0,)),
        ((Call("f", "{}", "call_1"),), (CallResult("f", "{}"),), (0,)),
    ],
)
def test_results_name_the_calls_that_they_are_of(
    calls: tuple[Call, ...], results: tuple[CallResult, ...], ids: tuple[int, ...]
) -> None:
    sent = turns(Message("model", "", calls), Message("user", "", results=results))
    names = [f"call_{place + 1}" for place in range(len(calls))]
    assert sent[0] == called(
        *(written(name, call.name) for name, call in zip(names, calls, strict=True))
    )
    assert sent[1:] == [found(names[place]) for place in ids]


def test_words_stand_beside_calls_and_behind_results() -> None:
    sent = turns(
        Message("model", "Let me see.", (Call("f", '{"a":1}', "x"),)),
        Message("user", "And now?", results=(CallResult("f", '{"b":2}', "x"),)),
    )
    assert sent == [
        called(written("x", arguments='{"a":1}'), text="Let me see."),
        found("x", '{"b":2}'),
        {"role": "user", "content": "And now?"},
    ]


@pytest.mark.parametrize(
    "result", [CallResult("g", "{}"), CallResult("f", "{}", "z"), CallResult("g", "{}", "z")]
)
def test_a_result_of_no_call_is_told_in_words(result: CallResult) -> None:
    sent = turns(
        Message("model", "", (Call("f", "{}", "x"),)), Message("user", "", results=(result,))
    )
    assert sent[1:] == [{"role": "user", "content": f"{result.name} returned {{}}."}]
