"""Counting tokens: what the body may be, and what is answered."""

from __future__ import annotations

import json
from typing import Any

import pytest

from nightrate.dialects.gemini import parse_count, render_count
from nightrate.domain.generation import Message, Prompt
from nightrate.errors import BadRequest, NotSupported

TURNS = [{"parts": [{"text": "hi"}]}]
PROMPT = Prompt(messages=(Message("user", "hi"),))


def parsed(body: Any) -> Prompt:
    return parse_count(json.dumps(body).encode(), "m")


def test_turns_alone_are_a_prompt() -> None:
    assert parsed({"contents": TURNS}) == PROMPT


@pytest.mark.parametrize(
    ("request_name", "system_name"),
    [
        ("generateContentRequest", "systemInstruction"),
        ("generate_content_request", "system_instruction"),
    ],
)
def test_a_whole_request_comes_before_turns_beside_it(request_name: str, system_name: str) -> None:
    whole = {"model": "models/m", "contents": TURNS, system_name: "Be brief."}
    prompt = parsed({request_name: whole, "contents": [{"parts": [{"text": "not me"}]}]})
    assert prompt.messages == PROMPT.messages
    assert prompt.system == "Be brief."


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "contents"),
        ({"contents": []}, "contents"),
        ({"contents": [{"parts": []}]}, "contents[0].parts"),
        (
            {"generateContentRequest": {"contents": TURNS, "model": "models/other"}},
            "generateContentRequest.model",
        ),
        (
            {"generate_content_request": {"contents": [{"parts": []}]}},
            "generate_content_request.contents[0].parts",
        ),
        ({"systemInstruction": "x", "contents": TURNS}, "systemInstruction"),
        ({"contents": 7}, "contents"),
    ],
)
def test_what_is_wrong_is_refused_with_its_path(body: Any, field: str) -> None:
    with pytest.raises(BadRequest) as refused:
        parsed(body)
    assert refused.value.field == field


def test_a_request_beside_the_turns_is_told_where_it_belongs() -> None:
    with pytest.raises(BadRequest, match='Put it inside "generateContentRequest"'):
        parsed({"system_instruction": "x", "contents": TURNS})


def test_what_cannot_be_answered_is_not_counted_either() -> None:
    with pytest.raises(NotSupported, match=r"generateContentRequest\.tools\[0\]"):
        parsed({"generateContentRequest": {"contents": TURNS, "tools": [{"codeExecution": {}}]}})


def test_a_count_is_of_text() -> None:
    assert json.loads(render_count(7)) == {
        "totalTokens": 7,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 7}],
    }


def test_a_count_tells_what_is_cached() -> None:
    whole = {"contents": TURNS, "cachedContent": "cachedContents/c"}
    assert parsed({"generateContentRequest": whole}).cache == "c"
    assert json.loads(render_count(7, 4)) == {
        "totalTokens": 7,
        "cachedContentTokenCount": 4,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 7}],
    }
