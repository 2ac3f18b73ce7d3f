"""How likely the tokens of an answer were: wished for, and told on the wire."""

from __future__ import annotations

import json

import msgspec
import pytest
from google.genai import types

from nightrate.dialects.gemini import parse_prompt
from nightrate.dialects.gemini_replies import render_reply
from nightrate.dialects.gemini_results import render_line
from nightrate.dialects.row import Echo
from nightrate.domain.batch import BatchForm
from nightrate.domain.generation import Candidate, LogprobsWish, Prompt, Reply, Token, Usage
from nightrate.errors import BadRequest

TOKENS = (Token("He", -0.5, 7), Token("llo", -1.5, 8))
OTHERS = (Token("llo", -1.5, 8), Token("y", -2.0, 9))


def reply(*tokens: Token) -> Reply:
    return Reply((Candidate("Hello", tokens=tokens),), Usage(3, 2), "m-1")


def test_tokens_are_told_one_by_one_in_all_and_on_the_average() -> None:
    (candidate,) = json.loads(render_reply(reply(*TOKENS), "r"))["candidates"]
    assert candidate["avgLogprobs"] == -1.0
    assert candidate["logprobsResult"] == {
        "chosenCandidates": [
            {"token": "He", "logProbability": -0.5, "tokenId": 7},
            {"token": "llo", "logProbability": -1.5, "tokenId": 8},
        ],
        "logProbabilitySum": -2.0,
    }


def test_likely_others_are_told_for_every_place() -> None:
    tokens = TOKENS[0], Token("llo", -1.5, 8, OTHERS)
    response = types.GenerateContentResponse.model_validate_json(render_reply(reply(*tokens), "r"))
    assert response.candidates is not None
    result = response.candidates[0].logprobs_result
    assert result is not None
    assert result.top_candidates is not None
    first, second = result.top_candidates
    assert first.candidates == []
    assert second.candidates is not None
    assert [one.token for one in second.candidates] == ["llo", "y"]
    assert result.log_probability_sum == pytest.approx(-2.0)


def test_a_token_without_an_id_has_none() -> None:
    (candidate,) = json.loads(render_reply(reply(Token("a", 0.0)), "r"))["candidates"]
    assert candidate["logprobsResult"]["chosenCandidates"] == [{"token": "a", "logProbability": 0}]


def test_a_line_of_a_file_tells_them_too() -> None:
    line = json.loads(render_line(Echo(b'"k"'), reply(*TOKENS), BatchForm.FILE, "r1"))
    assert line["response"]["candidates"][0]["avgLogprobs"] == -1.0
    assert line["key"] == "k"


def parse(**settings: object) -> Prompt:
    request = {"contents": "hi", "generationConfig": settings}
    return parse_prompt(msgspec.json.encode(request), "m")


def test_the_likelihood_of_tokens_is_wished_for_with_its_path() -> None:
    wish = parse(responseLogprobs=True).logprobs
    assert wish == LogprobsWish(0, "generationConfig.responseLogprobs")
    wish = parse(responseLogprobs=True, logprobs=5).logprobs
    assert wish == LogprobsWish(5, "generationConfig.logprobs")
    assert parse(responseLogprobs=False).logprobs is None


@pytest.mark.parametrize(
    ("settings", "path"),
    [
        ({"logprobs": 2}, "generationConfig.logprobs"),
        ({"responseLogprobs": True, "logprobs": 21}, "generationConfig.logprobs"),
        (
            {"responseLogprobs": True, "responseModalities": ["IMAGE"]},
            "generationConfig.responseLogprobs",
        ),
    ],
)
def test_the_likelihood_of_tokens_may_not_be_told(settings: dict[str, object], path: str) -> None:
    with pytest.raises(BadRequest) as refused:
        parse(**settings)
    assert refused.value.field == path
