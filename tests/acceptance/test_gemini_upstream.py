"""A real server whose models run behind another one, at its door for Gemini's clients."""

from __future__ import annotations

import base64
import io
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest
from google import genai
from google.genai import errors, types
from PIL import Image

from tests.acceptance.conftest import MakeServer
from tests.acceptance.server import Server, counters, request_line, text_of, until

SETTINGS = """
[models]
"gemini-*" = "far"
"*embedding*" = "vectors"
"*image*" = "pictures"

[engines.far]
kind = "gemini"
base_url = "{base_url}/v1beta"
model = "gemini-2.5-flash"
api_key = {{ env = "FAR_KEY" }}
logprobs = true
concurrency_max = {concurrency}

[engines.vectors]
kind = "gemini"
base_url = "{base_url}/v1beta"
model = "gemini-embedding-001"
text = false
embeddings = true

[engines.pictures]
kind = "gemini"
base_url = "{base_url}/v1beta"
model = "gemini-3-pro-image-preview"
text = false
images = true
"""

MODEL = "gemini-2.5-flash"
CARD = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
CLOCK = {"functionDeclarations": [{"name": "clock", "parameters": {"type": "OBJECT"}}]}
REQUESTS: tuple[dict[str, Any], ...] = (
    {"contents": [{"parts": [{"text": "hello"}]}]},
    {
        "contents": [
            {"role": "user", "parts": [{"text": "one"}]},
            {"role": "model", "parts": [{"functionCall": {"name": "clock", "args": {"z": 1}}}]},
            {"role": "user", "parts": [{"functionResponse": {"name": "clock", "response": {}}}]},
            {"role": "user", "parts": [{"text": "two and \u2028 three"}]},
        ],
        "systemInstruction": {"parts": [{"text": "Be brief."}]},
    },
    {
        "contents": "once upon a time",
        "generationConfig": {
            "temperature": 0.5,
            "topP": 0.9,
            "topK": 40,
            "seed": 7,
            "maxOutputTokens": 3,
            "presencePenalty": 0.5,
            "frequencyPenalty": -0.5,
            "stopSequences": ["x"],
        },
    },
    {
        "contents": "a card",
        "generationConfig": {"responseMimeType": "application/json", "responseJsonSchema": CARD},
    },
    {
        "contents": "sky?",
        "generationConfig": {
            "responseMimeType": "text/x.enum",
            "responseSchema": {"type": "STRING", "enum": ["red", "blue"]},
        },
    },
    {"contents": "Now: [[call clock]]", "tools": [CLOCK]},
    {
        "contents": "now",
        "tools": [CLOCK],
        "toolConfig": {"functionCallingConfig": {"mode": "ANY"}},
    },
    {"contents": "sure?", "generationConfig": {"responseLogprobs": True, "logprobs": 2}},
    {"contents": "twice", "generationConfig": {"candidateCount": 2}},
    {"contents": "a [[block PROHIBITED_CONTENT]]"},
    {"contents": "b [[block SAFETY]]", "generationConfig": {"candidateCount": 2}},
    {"contents": "c [[withhold RECITATION]]"},
    {
        "contents": "think",
        "generationConfig": {"thinkingConfig": {"thinkingBudget": 0}},
        "safetySettings": [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "OFF"}],
    },
)


def settings(far: Server, path: Path, concurrency: int = 32) -> tuple[str, str]:
    """Write settings whose models are those of another server; give the options that name them."""
    config = path / "settings.toml"
    config.write_text(SETTINGS.format(base_url=far.base_url, concurrency=concurrency))
    return "--config", str(config)


KEY = {"FAR_KEY": "any-key"}


@pytest.fixture(scope="module")
def server(echo: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    path = tmp_path_factory.mktemp("near")
    server = Server(path / "data", *settings(echo, path), environment=KEY)
    try:
        yield server.start()
    finally:
        server.close()


def said(answer: Any) -> Any:
    """Give what an answer says, without the id that each has of its own."""
    return {name: value for name, value in answer.items() if name != "responseId"}


def call(server: Server, verb: str, body: Any, model: str = MODEL) -> Any:
    answer = server.ask("POST", f"/v1beta/models/{model}:{verb}", msgspec.json.encode(body))
    assert answer.status == 200, answer.body
    return answer.json


@pytest.mark.parametrize("request_body", REQUESTS, ids=lambda body: str(body["contents"])[:20])
def test_a_live_answer_through_two_servers_is_that_of_one(
    server: Server, echo: Server, request_body: dict[str, Any]
) -> None:
    one, two = (call(each, "generateContent", request_body) for each in (echo, server))
    assert said(two) == said(one)
    if "functionDeclarations" not in str(request_body):
        counted = [
            call(each, "countTokens", {"contents": request_body["contents"]})
            for each in (echo, server)
        ]
        assert counted[0] == counted[1]


def test_a_batch_through_two_servers_has_the_answers_of_one(server: Server, echo: Server) -> None:
    lines = [
        msgspec.json.encode({"key": str(number), "request": body}) + b"\n"
        for number, body in enumerate(REQUESTS)
    ]
    lines += [request_line(str(number), f"say {number}") for number in range(500)]
    lines += [request_line("bad", f"[[fail {code}]]") for code in (3, 9, 11, 12)]
    found = []
    for each in (echo, server):
        name = each.submit(b"".join(lines))
        assert each.finish(name)["done"]
        results = each.results(name)
        assert [result["key"] for result in results] == [
            msgspec.json.decode(line)["key"] for line in lines
        ]
        found.append(results)
    for one, two in zip(*found, strict=True):
        if "error" in one:
            assert two["error"]["code"] == one["error"]["code"]
        else:
            assert said(two["response"]) == said(one["response"])
    assert sum("error" in result for result in found[1]) == 4


def test_a_stream_through_two_servers_is_that_of_one(server: Server, echo: Server) -> None:
    texts = []
    for each in (echo, server):
        with genai.Client(api_key="any", http_options={"base_url": each.base_url}) as client:
            pieces = client.models.generate_content_stream(model=MODEL, contents="once upon a time")
            texts.append([piece.text for piece in pieces if piece.text])
    assert texts[0] == texts[1]
    assert len(texts[0]) > 1
    with genai.Client(api_key="any", http_options={"base_url": server.base_url}) as client:
        broken = client.models.generate_content_stream(model=MODEL, contents="SECRET [[break 14]]")
        with pytest.raises(errors.APIError) as failed:
            list(broken)
        assert "SECRET" not in str(failed.value)


def test_a_blocked_prompt_is_an_answer_that_says_why(server: Server, echo: Server) -> None:
    for each in (echo, server):
        with genai.Client(api_key="any", http_options={"base_url": each.base_url}) as client:
            blocked = client.models.generate_content(model=MODEL, contents="[[block SAFETY]]")
            assert blocked.prompt_feedback is not None
            assert blocked.prompt_feedback.block_reason is types.BlockedReason.SAFETY
            assert blocked.candidates is None
            assert blocked.text is None
            (only,) = client.models.generate_content_stream(
                model=MODEL, contents="[[block SAFETY]]"
            )
            assert only.prompt_feedback == blocked.prompt_feedback
            stream = client.models.generate_content_stream(
                model=MODEL, contents="[[withhold SAFETY]]"
            )
            *pieces, last = list(stream)
            assert "".join(piece.text or "" for piece in pieces) == "[[wi"
            assert last.candidates is not None
            assert last.candidates[0].finish_reason is types.FinishReason.SAFETY
        name = each.submit(request_line("k", "[[block SAFETY]]"))
        each.finish(name)
        assert counters(each.batch(name)) == (1, 0, 1, 0)
        (result,) = each.results(name)
        assert result["response"]["promptFeedback"] == {"blockReason": "SAFETY"}
        assert "candidates" not in result["response"]


def test_vectors_through_two_servers_are_those_of_one(server: Server, echo: Server) -> None:
    model = "gemini-embedding-001"
    request = {"content": {"parts": [{"text": "a b c"}]}, "outputDimensionality": 64}
    found = [call(each, "embedContent", request, model) for each in (echo, server)]
    assert found[0]["usageMetadata"] == found[1]["usageMetadata"]
    assert found[0]["embedding"]["values"] == pytest.approx(
        found[1]["embedding"]["values"], rel=1e-6
    )
    with genai.Client(api_key="any", http_options={"base_url": server.base_url}) as client:
        task = types.EmbedContentConfig(task_type="RETRIEVAL_QUERY")
        many = client.models.embed_content(model=model, contents=["a b", "c d"], config=task)
        assert [len(vector.values or ()) for vector in many.embeddings or ()] == [768, 768]


def test_a_batch_of_vectors_through_two_servers_is_that_of_one(
    server: Server, echo: Server
) -> None:
    settings: tuple[dict[str, Any], ...] = (
        {},
        {"taskType": "CLUSTERING"},
        {"outputDimensionality": 8},
    )
    lines = [
        {"key": str(key), "request": {"content": {"parts": [{"text": f"word {key}"}]}, **more}}
        for key, more in enumerate(settings)
    ]
    found = []
    for each in (echo, server):
        file = each.upload(b"\n".join(map(msgspec.json.encode, lines)))
        order = {"batch": {"displayName": "v", "inputConfig": {"fileName": file}}}
        name = call(each, "asyncBatchEmbedContent", order, "gemini-embedding-001")["name"]
        assert each.finish(name)["done"]
        found.append(each.results(name))
    for one, two in zip(*found, strict=True):
        values = [each["response"].pop("embedding")["values"] for each in (one, two)]
        assert values[0] == pytest.approx(values[1], rel=1e-6)
        assert one == two
    assert len(found[0]) == 3


def test_pictures_come_from_the_server_behind_in_their_size(server: Server) -> None:
    config = {
        "responseModalities": ["TEXT", "IMAGE"],
        "imageConfig": {"aspectRatio": "16:9", "imageSize": "512"},
    }
    body = {"contents": "a cat", "generationConfig": config}
    answer = call(server, "generateContent", body, "gemini-3-pro-image-preview")
    text, picture = answer["candidates"][0]["content"]["parts"]
    assert text["text"] == "a cat"
    data = base64.b64decode(picture["inlineData"]["data"])
    assert Image.open(io.BytesIO(data)).size == (688, 384)


def test_nothing_is_lost_when_the_server_behind_is_killed_and_comes_back(
    make_server: MakeServer, tmp_path: Path
) -> None:
    behind = make_server("--engine", "echo")
    port = urlsplit(behind.base_url).port
    server = make_server(*settings(behind, tmp_path, 4), environment=KEY)
    lines = [request_line(str(number), f"{number} [[delay 0.1]]") for number in range(120)]
    name = server.submit(b"".join(lines))
    until(lambda: counters(server.batch(name))[2] > 10, 30)
    behind.kill()
    until(lambda: "is waited for" in server.process.said, 30)
    assert not server.batch(name)["done"]
    again = Server(behind.data, "--engine", "echo", "--port", str(port))
    try:
        again.start()
        server.finish(name)
        results = server.results(name)
    finally:
        again.close()
    assert [result["key"] for result in results] == [str(number) for number in range(120)]
    assert all(text_of(result).startswith(result["key"]) for result in results)


def test_what_is_beyond_a_limit_of_a_minute_waits_and_is_answered(
    make_server: MakeServer, echo: Server, tmp_path: Path
) -> None:
    config = tmp_path / "settings.toml"
    text = SETTINGS.format(base_url=echo.base_url, concurrency=32)
    config.write_text(text.replace("logprobs = true", "requests_per_minute = 120"))
    server = make_server("--config", str(config), environment=KEY)
    began = time.monotonic()
    name = server.submit(b"".join(request_line(str(key), f"say {key}") for key in range(12)))
    answered = call(server, "generateContent", {"contents": "meanwhile"})
    assert text_of({"response": answered}) == "meanwhile"
    server.finish(name)
    assert time.monotonic() - began >= (13 - 5.8) / 2
    assert [text_of(result) for result in server.results(name)] == [f"say {n}" for n in range(12)]
