"""Models as resources."""

from __future__ import annotations

import json

import msgspec

from nightrate.dialects.gemini import render_model, render_models
from nightrate.domain.batch import Method
from nightrate.domain.model import Model

MODEL = Model(
    name="gemini-2.5-flash",
    engine="echo",
    methods=frozenset({Method.GENERATE}),
    display_name="Gemini 2.5 Flash",
    description="Served by echo.",
    version="echo",
    input_token_limit=8192,
    output_token_limit=1024,
)


def test_a_model_is_shown_without_its_engine() -> None:
    assert json.loads(render_model(MODEL)) == {
        "name": "models/gemini-2.5-flash",
        "baseModelId": "gemini-2.5-flash",
        "version": "echo",
        "displayName": "Gemini 2.5 Flash",
        "description": "Served by echo.",
        "inputTokenLimit": 8192,
        "outputTokenLimit": 1024,
        "supportedGenerationMethods": [
            "generateContent",
            "streamGenerateContent",
            "countTokens",
            "batchGenerateContent",
            "createCachedContent",
        ],
    }


def test_a_model_says_what_can_be_asked_of_it() -> None:
    vectors = msgspec.structs.replace(MODEL, methods=frozenset({Method.EMBED}))
    methods = ["embedContent", "batchEmbedContents", "asyncBatchEmbedContent"]
    assert json.loads(render_model(vectors))["supportedGenerationMethods"] == methods
    both = msgspec.structs.replace(MODEL, methods=frozenset(Method))
    assert json.loads(render_model(both))["supportedGenerationMethods"][-3:] == methods


def test_a_page_lists_models_and_where_to_go_on() -> None:
    page = json.loads(render_models([MODEL], "next"))
    assert page == {"models": [json.loads(render_model(MODEL))], "nextPageToken": "next"}
    assert json.loads(render_models([MODEL])) == {"models": [json.loads(render_model(MODEL))]}
    assert json.loads(render_models([])) == {}
