"""Functions, through Google's and OpenAI's clients: live, streamed, and in batches."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

import pytest
from google import genai
from google.genai import errors, types
from openai import OpenAI

from tests.acceptance.server import Server, until
from tests.clients.test_samples import polled

MODEL = "gemini-2.5-flash"
WEATHER: dict[str, Any] = {
    "name": "weather",
    "description": "Tells the weather.",
    "parameters": {
        "type": "OBJECT",
        "properties": {"city": {"type": "STRING", "enum": ["Oslo", "Bergen"]}},
        "required": ["city"],
    },
}
CLOCK = {"name": "clock"}
TOOLS = [{"function_declarations": [CLOCK, WEATHER]}]
MUST = {"function_calling_config": {"mode": "ANY", "allowed_function_names": ["weather"]}}
CONFIG: dict[str, Any] = {"tools": TOOLS, "tool_config": MUST}
ARGUMENTS = {"city": "Oslo"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("functions") / "data", "--engine", "echo")
    try:
        yield server.start()
    finally:
        server.close()


@pytest.fixture
def chats(server: Server) -> Iterator[OpenAI]:
    url = f"{server.base_url}/v1beta/openai/"
    with OpenAI(api_key="any", base_url=url, max_retries=0) as client:
        yield client


def ask(client: genai.Client, contents: Any = "How is it?", **config: Any) -> Any:
    made = types.GenerateContentConfig(**config)
    return client.models.generate_content(model=MODEL, contents=contents, config=made)


def called(response: Any) -> list[tuple[str, Any]]:
    return [(call.name, call.args) for call in response.function_calls or []]


# Google's client ------------------------------------------------------------------------------


def test_a_demanded_call_is_the_same_live_streamed_and_in_both_kinds_of_batch(
    client: genai.Client, server: Server
) -> None:
    live = ask(client, **CONFIG)
    (streamed,) = client.models.generate_content_stream(
        model=MODEL, contents="How is it?", config=types.GenerateContentConfig(**CONFIG)
    )
    inline = types.InlinedRequest(
        contents="How is it?", config=types.GenerateContentConfig(**CONFIG)
    )
    job = polled(client, client.batches.create(model=MODEL, src=[inline]).name)
    assert job.dest is not None
    assert job.dest.inlined_responses is not None
    of_batch = job.dest.inlined_responses[0].response
    line = {"key": "k", "request": {"contents": "How is it?", **CONFIG}}
    name = server.submit(json.dumps(line).encode() + b"\n")
    assert server.finish(name)["done"]
    (result,) = server.results(name)
    of_file = types.GenerateContentResponse.model_validate(result["response"])
    for response in (live, streamed, of_batch, of_file):
        assert called(response) == [("weather", ARGUMENTS)]
        assert response is not None
        assert response.text is None
        (candidate,) = response.candidates or []
        assert candidate.finish_reason is types.FinishReason.STOP


def test_a_result_that_is_sent_back_is_answered_in_words(client: genai.Client) -> None:
    asked = types.Content(role="user", parts=[types.Part(text="How is it?")])
    called_ = ask(client, [asked], **CONFIG).candidates[0].content
    found = types.Part.from_function_response(name="weather", response={"sky": "clear"})
    for role in ("user", "tool"):
        turns = [asked, called_, types.Content(role=role, parts=[found])]
        assert ask(client, turns, tools=TOOLS).text == 'weather returned {"sky":"clear"}.'


def test_the_model_decides_where_nobody_demands_a_call(client: genai.Client) -> None:
    assert called(ask(client, "Now: [[call clock]]", tools=TOOLS)) == [("clock", {})]
    assert ask(client, "Hello.", tools=TOOLS).text == "Hello."
    never = {"function_calling_config": {"mode": "NONE"}}
    response = ask(client, "Now: [[call clock]]", tools=TOOLS, tool_config=never)
    assert response.text == "Now: [[call clock]]"


def test_a_call_that_does_not_fit_into_the_output_is_none(client: genai.Client) -> None:
    response = ask(client, max_output_tokens=2, **CONFIG)
    assert called(response) == []
    assert response.candidates[0].finish_reason is types.FinishReason.MAX_TOKENS


def test_functions_in_a_cached_content_are_called_by_requests_that_name_it(
    client: genai.Client,
) -> None:
    book = "The keeper lit the lamp. " * 40
    made = types.CreateCachedContentConfig(contents=book, ttl="600s", **CONFIG)
    cache = client.caches.create(model=MODEL, config=made)
    assert called(ask(client, cached_content=cache.name)) == [("weather", ARGUMENTS)]
    form = {"response_mime_type": "application/json"}
    with pytest.raises(errors.ClientError, match="the cached content declares functions"):
        ask(client, cached_content=cache.name, **form)


def test_the_client_calls_functions_by_itself_until_it_has_called_often_enough(
    client: genai.Client,
) -> None:
    asked: list[str] = []

    def weather(city: str) -> str:
        """Tell the weather.

        Args:
            city: Where.
        """
        asked.append(city)
        return f"clear over {city}"

    config = types.GenerateContentConfig(
        tools=[weather],
        tool_config=types.ToolConfig(
            function_calling_config=types.FunctionCallingConfig(
                mode=types.FunctionCallingConfigMode.ANY
            )
        ),
        automatic_function_calling=types.AutomaticFunctionCallingConfig(maximum_remote_calls=3),
    )
    response = client.models.generate_content(model=MODEL, contents="How is it?", config=config)
    assert called(response) == [("weather", {"city": "text"})]
    assert asked == ["text"] * 2  # what the third answer calls is left to the program
    history = response.automatic_function_calling_history
    assert history is not None
    results = [
        part.function_response.response
        for turn in history
        for part in turn.parts or []
        if part.function_response
    ]
    assert results == [{"result": "clear over text"}] * 2


def test_the_client_ends_by_itself_where_the_model_decides(client: genai.Client) -> None:
    def clock() -> str:
        """Tell the time."""
        return "noon"

    response = client.models.generate_content(
        model=MODEL,
        contents="Now: [[call clock]]",
        config=types.GenerateContentConfig(tools=[clock]),
    )
    assert response.text == 'clock returned {"result":"noon"}.'


# OpenAI's client ------------------------------------------------------------------------------

CHAT_TOOLS: list[Any] = [
    {"type": "function", "function": CLOCK},
    {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "Tells the weather.",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string", "enum": ["Oslo", "Bergen"]}},
                "required": ["city"],
                "additionalProperties": False,
            },
            "strict": True,
        },
    },
]
CHOICE: Any = {"type": "function", "function": {"name": "weather"}}
TURN: Any = {"role": "user", "content": "How is it?"}


def test_a_chat_calls_functions_and_goes_on_with_their_results(chats: OpenAI) -> None:
    members: dict[str, Any] = {"model": MODEL, "tools": CHAT_TOOLS, "parallel_tool_calls": False}
    whole = chats.chat.completions.create(messages=[TURN], tool_choice=CHOICE, **members)
    (choice,) = whole.choices
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content is None
    (call,) = choice.message.tool_calls or []
    assert call.type == "function"
    assert call.id.startswith("call_")
    assert (call.function.name, json.loads(call.function.arguments)) == ("weather", ARGUMENTS)
    result: Any = {"role": "tool", "tool_call_id": call.id, "content": "clear"}
    turns: list[Any] = [TURN, choice.message, result]
    after = chats.chat.completions.create(messages=turns, **members)
    assert after.choices[0].message.content == "weather returned clear."
    assert after.choices[0].message.tool_calls is None


def test_a_streamed_chat_has_the_call_whole(chats: OpenAI) -> None:
    with chats.chat.completions.stream(
        model=MODEL, messages=[TURN], tools=CHAT_TOOLS, tool_choice="required"
    ) as stream:
        completion = stream.get_final_completion()
    (choice,) = completion.choices
    assert choice.finish_reason == "tool_calls"
    (call,) = choice.message.tool_calls or []
    assert (call.function.name, call.function.arguments) == ("clock", "{}")


def test_a_batch_of_chats_calls_functions(chats: OpenAI) -> None:
    bodies = [
        {"model": MODEL, "messages": [TURN], "tools": CHAT_TOOLS, "tool_choice": choice}
        for choice in (CHOICE, "none")
    ]
    lines = [
        {"custom_id": str(index), "method": "POST", "url": "/v1/chat/completions", "body": body}
        for index, body in enumerate(bodies)
    ]
    content = "".join(json.dumps(line) + "\n" for line in lines).encode()
    file = chats.files.create(file=("in.jsonl", io.BytesIO(content)), purpose="batch")
    batch = chats.batches.create(
        input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h"
    )
    batch = until(
        lambda: (found := chats.batches.retrieve(batch.id)).status == "completed" and found, 60
    )
    assert batch.output_file_id is not None
    output = chats.files.content(batch.output_file_id).text
    first, second = (
        json.loads(line)["response"]["body"]["choices"][0] for line in output.splitlines()
    )
    (call,) = first["message"]["tool_calls"]
    assert first["finish_reason"] == "tool_calls"
    assert json.loads(call["function"]["arguments"]) == ARGUMENTS
    assert second["message"]["content"] == "How is it?"
    assert "tool_calls" not in second["message"]
