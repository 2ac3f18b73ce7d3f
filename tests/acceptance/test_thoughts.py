"""What a model behind the engine `gemini` thought is told to those who ask, on every way alike."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from google import genai
from google.genai import types

from tests.acceptance.server import Server
from tests.acceptance.test_media import MODEL, SETTINGS, behind
from tests.acceptance.test_options import Sender
from tests.engines.gemini_upstream import GeminiUpstream
from tests.engines.upstream import says

PARTS = [{"text": "Hm, rivers.", "thought": True}, {"text": "The Po."}]
DOCUMENT: dict[str, Any] = {
    "candidates": [{"content": {"parts": PARTS, "role": "model"}, "finishReason": "STOP"}],
    "usageMetadata": {
        "promptTokenCount": 4,
        "candidatesTokenCount": 3,
        "thoughtsTokenCount": 5,
        "totalTokenCount": 12,
    },
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    path = tmp_path_factory.mktemp("thoughts")
    with behind(GeminiUpstream) as upstream:
        assert isinstance(upstream, GeminiUpstream)
        whole, event = msgspec.json.encode(DOCUMENT), b"data: %b\n\n"

        async def thinking(request: Any) -> Any:
            streamed = "stream" in str(request.rel_url)
            asked = "includeThoughts" in await request.text()
            document = whole if asked else whole.replace(b"Hm, rivers.", b"not asked for")
            if streamed:
                return await says(event % document, "text/event-stream")(request)
            return await says(document)(request)

        upstream.fault = thinking
        config = path / "settings.toml"
        config.write_text(SETTINGS.format(kind="gemini", base_url=upstream.base_url, more=""))
        server = Server(path / "data", "--config", str(config))
        try:
            yield server.start()
        finally:
            server.close()


def test_thoughts_stand_before_the_answer_where_they_were_asked_for(server: Server) -> None:
    samples: dict[str, Any] = {
        name: {
            "contents": "A river?",
            "generationConfig": {"thinkingConfig": {"includeThoughts": wish, "thinkingBudget": 9}},
        }
        for name, wish in (("told", True), ("kept", False))
    }
    ways = Sender(server).all(samples, MODEL, "generateContent", "batchGenerateContent")
    assert ways[0] == ways[1] == ways[2]
    told, kept = (ways[0][name][1] for name in ("told", "kept"))
    assert told["candidates"][0]["content"]["parts"] == PARTS
    assert kept["candidates"][0]["content"]["parts"] == PARTS[1:]
    assert told["usageMetadata"]["thoughtsTokenCount"] == 5


def test_googles_client_tells_thoughts_from_the_answer(server: Server) -> None:
    options = types.HttpOptions(base_url=server.base_url)
    thinking = types.ThinkingConfig(include_thoughts=True)
    config = types.GenerateContentConfig(thinking_config=thinking)
    with genai.Client(api_key="any", http_options=options) as client:
        reply = client.models.generate_content(model=MODEL, contents="A river?", config=config)
        assert reply.text == "The Po."
        assert [part.text for part in reply.parts or () if part.thought] == ["Hm, rivers."]
        pieces = list(
            client.models.generate_content_stream(model=MODEL, contents="A river?", config=config)
        )
        assert "".join(piece.text or "" for piece in pieces) == "The Po."
        thoughts = [part.text for piece in pieces for part in piece.parts or () if part.thought]
        assert thoughts == ["Hm, rivers."]
