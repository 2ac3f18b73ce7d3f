"""Several answers to one request, through the official clients."""

from __future__ import annotations

from typing import Any

from google import genai
from google.genai.types import GenerateContentConfig, HttpOptions
from openai import OpenAI

from tests.api.doors import Doors

MODEL = "gemini-2.5-flash"
TEXTS = dict.fromkeys(range(3), "hello")


def test_googles_client_has_them_whole_and_streamed(doors: Doors) -> None:
    options = HttpOptions(base_url=doors.url)
    config = GenerateContentConfig(candidate_count=3)
    asked: dict[str, Any] = {"model": MODEL, "contents": "hello", "config": config}
    with genai.Client(api_key="any", http_options=options) as client:
        whole = client.models.generate_content(**asked)
        (streamed,) = client.models.generate_content_stream(**asked)
    for response in (whole, streamed):
        found = {}
        for candidate in response.candidates or []:
            assert candidate.content is not None
            assert candidate.content.parts is not None
            found[candidate.index] = candidate.content.parts[0].text
        assert found == TEXTS


def test_openais_client_has_them_whole_and_streamed(doors: Doors) -> None:
    asked: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": "hello"}]}
    with OpenAI(api_key="any", base_url=f"{doors.url}/v1beta/openai/", max_retries=0) as client:
        whole = client.chat.completions.create(**asked, n=3)
        one = client.chat.completions.create(**asked)
        chunks = list(client.chat.completions.create(**asked, n=3, stream=True))
    assert {choice.index: choice.message.content for choice in whole.choices} == TEXTS
    assert whole.usage.completion_tokens == 3 * one.usage.completion_tokens
    texts: dict[int, str] = {}
    ends: dict[int, str] = {}
    for chunk in chunks:
        for choice in chunk.choices:
            texts[choice.index] = texts.get(choice.index, "") + (choice.delta.content or "")
            ends[choice.index] = choice.finish_reason
    assert texts == TEXTS
    assert ends == dict.fromkeys(range(3), "stop")
