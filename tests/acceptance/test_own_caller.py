"""A user's own model that decides about calls, in a real server, by both protocols.

It is the built-in one with another chat template, which imitates the calls that it is shown.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from google import genai
from google.genai import types
from openai import OpenAI

from tests.acceptance.conftest import MakeServer
from tests.acceptance.server import Server, until
from tests.engines.trained import write_trained

pytestmark = pytest.mark.embedded

SETTINGS = """
[models]
"gemini-*" = "mine"

[engines.mine]
kind = "openvino"
model = "{model}"
kv_cache_gib = 1
functions = true
"""

MODEL = "gemini-2.5-flash"
SECONDS = 300.0

WEATHER = types.FunctionDeclaration(
    name="weather",
    description="Tells the weather.",
    parameters_json_schema={
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
        "required": ["city", "days"],
    },
)
CITIES = "Oslo", "Bergen", "Oslo"
QUESTION = "How is the weather in Bergen for 7 days?"
CALLED = ("weather", {"city": "Bergen", "days": 7})


def question_of(city: str, days: int) -> str:
    return f"How is the weather in {city} for {days} days?"


def conversation() -> list[types.Content]:
    """Show how calls are made, and ask for one."""
    turns = []
    for days, city in enumerate(CITIES, 1):
        call = types.FunctionCall(name="weather", args={"city": city, "days": days})
        found = types.FunctionResponse(name="weather", response={"sky": "clear"})
        said = [types.Part(text="I look it up."), types.Part(function_call=call)]
        turns += [
            types.Content(role="user", parts=[types.Part(text=question_of(city, days))]),
            types.Content(role="model", parts=said),
            types.Content(role="user", parts=[types.Part(function_response=found)]),
            types.Content(role="model", parts=[types.Part(text="The sky is clear.")]),
        ]
    return [*turns, types.Content(role="user", parts=[types.Part(text=QUESTION)])]


def config(mode: str | None, **more: Any) -> types.GenerateContentConfig:
    calling = types.FunctionCallingConfig(mode=types.FunctionCallingConfigMode(mode or "AUTO"))
    return types.GenerateContentConfig(
        tools=[types.Tool(function_declarations=[WEATHER])],
        tool_config=None if mode is None else types.ToolConfig(function_calling_config=calling),
        temperature=0,
        max_output_tokens=100,
        **more,
    )


@pytest.fixture
def server(make_server: MakeServer, tmp_path: Path) -> Server:
    settings = tmp_path / "settings.toml"
    settings.write_text(SETTINGS.format(model=write_trained(tmp_path / "mine.gguf")))
    return make_server("--config", str(settings))


@pytest.fixture
def client(server: Server) -> Iterator[genai.Client]:
    options = types.HttpOptions(base_url=server.base_url)
    with genai.Client(api_key="any-key", http_options=options) as client:
        yield client


def found_in(response: types.GenerateContentResponse | None) -> list[object]:
    """Give the words and calls of an answer, in their order."""
    assert response is not None
    assert response.candidates
    content = response.candidates[0].content
    parts = (content.parts if content else None) or []
    return [
        (part.function_call.name, part.function_call.args) if part.function_call else part.text
        for part in parts
    ]


def batched(
    client: genai.Client, contents: Any, configs: list[types.GenerateContentConfig]
) -> list[list[object]]:
    """Give what is in the answers of a batch that asks the same in several ways."""
    requests = [types.InlinedRequest(contents=contents, config=one) for one in configs]
    name = client.batches.create(model=MODEL, src=[*requests]).name
    assert name is not None

    def ended() -> types.BatchJob | None:
        job = client.batches.get(name=name)
        return job if job.done else None

    job: types.BatchJob = until(ended, SECONDS)
    assert job.dest is not None
    return [found_in(item.response) for item in job.dest.inlined_responses or []]


def test_it_decides_live_in_a_stream_and_in_a_batch(client: genai.Client) -> None:
    contents: Any = conversation()
    both = ["I look it up.", CALLED]
    ask = client.models.generate_content
    assert found_in(ask(model=MODEL, contents=contents, config=config(None))) == both
    pieces = client.models.generate_content_stream(
        model=MODEL, contents=contents, config=config("AUTO")
    )
    *said, called = (part for piece in pieces for part in found_in(piece) if part)
    assert ["".join(map(str, said)), called] == both
    assert len(said) > 1
    words = "Say hello."
    hello = ask(model=MODEL, contents=words, config=config(None))
    assert hello.text
    assert not hello.function_calls
    demanded, decided, held = batched(client, contents, [*map(config, ("ANY", None, "VALIDATED"))])
    assert decided == held == both
    ((name, _),) = (part for part in demanded if isinstance(part, tuple))
    assert (name, len(demanded)) == ("weather", 1)


def test_it_decides_for_clients_of_openai(server: Server) -> None:
    messages: list[Any] = []
    for days, city in enumerate(CITIES, 1):
        arguments = f'{{"city":"{city}","days":{days}}}'
        called = {"name": "weather", "arguments": arguments}
        call = {"id": f"c{days}", "type": "function", "function": called}
        messages += [
            {"role": "user", "content": question_of(city, days)},
            {"role": "assistant", "content": "I look it up.", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": f"c{days}", "content": '{"sky":"clear"}'},
            {"role": "assistant", "content": "The sky is clear."},
        ]
    parameters: Any = WEATHER.parameters_json_schema
    with OpenAI(api_key="any", base_url=f"{server.base_url}/v1beta/openai/") as client:
        reply = client.chat.completions.create(
            model=MODEL,
            messages=[*messages, {"role": "user", "content": QUESTION}],
            tools=[{"type": "function", "function": {"name": "weather", "parameters": parameters}}],
            temperature=0,
            max_tokens=100,
        )
    (choice,) = reply.choices
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content == "I look it up."
    (made,) = choice.message.tool_calls or []
    assert made.type == "function"
    assert made.function.name == "weather"
    assert made.function.arguments.replace(" ", "") == '{"city":"Bergen","days":7}'
