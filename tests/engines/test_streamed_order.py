"""Streamed answers of servers that pass the order of members over."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable
from typing import Any

import pytest

from nightrate.dialects.json_schema import read_schema
from nightrate.domain.generation import Message, Prompt
from nightrate.domain.schema import JSONForm
from nightrate.engines.base import Engine
from nightrate.testing.engine_samples import pieces_of, text_of
from tests.engines.gemini_upstream import GeminiUpstream, engine_of
from tests.engines.upstream import Upstream, made, says, serving

PAIR = {
    "type": "object",
    "properties": {"a": {"type": "number"}, "b": {"type": "number"}},
    "required": ["a", "b"],
}
PROMPT = Prompt(messages=(Message("user", "x"),), form=JSONForm(read_schema(PAIR), "f"))
PIECES = '{"b"', ": 1, ", '"a": 2}'


def events(documents: Iterable[Any], end: str = "") -> bytes:
    return "".join(f"data: {json.dumps(one)}\n\n" for one in documents).encode() + end.encode()


def spoken() -> bytes:
    """Say the pieces as a server of OpenAI's protocol does."""
    choices = [{"index": 0, "delta": {"content": piece}} for piece in PIECES]
    last = {"index": 0, "delta": {}, "finish_reason": "stop"}
    documents = [{"model": "m", "choices": [choice]} for choice in (*choices, last)]
    return events(documents, "data: [DONE]\n\n")


def told() -> bytes:
    """Say the pieces as a server of Gemini's protocol does."""
    documents: list[Any] = [
        {"candidates": [{"content": {"parts": [{"text": piece}], "role": "model"}}]}
        for piece in PIECES
    ]
    documents[-1]["candidates"][0]["finishReason"] = "STOP"
    return events(documents)


@pytest.fixture(params=[Upstream, GeminiUpstream])
async def engine(request: pytest.FixtureRequest) -> AsyncIterator[Engine]:
    async with serving(request.param) as upstream:
        gemini = isinstance(upstream, GeminiUpstream)
        engine = engine_of(upstream) if gemini else made(upstream, schema=True)
        await engine.open()
        upstream.faults = [says(told() if gemini else spoken(), "text/event-stream")]
        yield engine
        await engine.close()


async def test_what_is_out_of_order_comes_in_order_at_the_end(engine: Engine) -> None:
    texts, reply = await pieces_of(engine, PROMPT)
    assert texts == ["{", '"a":2,"b":1}']
    assert text_of(reply) == '{"a":2,"b":1}'
