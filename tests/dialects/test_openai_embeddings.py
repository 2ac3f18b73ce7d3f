"""OpenAI's requests for embeddings, live and in lines, and their answers."""

from __future__ import annotations

import base64
import json
import struct
from typing import Any

import msgspec
import pytest
from openai.types import CreateEmbeddingResponse

from nightrate import limits
from nightrate.dialects.openai import EmbeddingCall, parse_embeddings, render_embeddings
from nightrate.dialects.openai_embeddings import PACKED
from nightrate.dialects.row import Echo, ParsedLine
from nightrate.dialects.rows import hand_of, parse_row
from nightrate.domain.batch import Dialect, Kind, Method
from nightrate.domain.embedding import Embedding, Passage
from nightrate.domain.generation import Failure
from nightrate.errors import BadRequest, Code, NotSupported

KIND = Kind(method=Method.EMBED, dialect=Dialect.OPENAI)
BODY = {"model": "gemini-e", "input": "hi"}
LINE = {"custom_id": "a", "method": "POST", "url": "/v1/embeddings", "body": BODY}
VECTORS = (Embedding.of((0.5, -1.0), 3, "echo"), Embedding.of((0.25, 0.1), 4, "echo"))


def parsed(**members: Any) -> EmbeddingCall:
    return parse_embeddings(msgspec.json.encode({"model": "models/gemini-e", **members}))


def row_of(line: Any) -> ParsedLine:
    return parse_row(msgspec.json.encode(line), 7, KIND, "gemini-e")


def test_one_text_or_several_become_passages() -> None:
    assert parsed(input="a") == EmbeddingCall("gemini-e", (Passage(text="a"),), packed=False)
    call = parsed(input=["a", "b"], dimensions=8, encoding_format="base64", user="me")
    assert call.passages == tuple(
        Passage(text=text, dimensions=8, dimensions_field="dimensions") for text in "ab"
    )
    assert call.packed
    assert not parsed(input="a", encoding_format="float").packed


def test_messages_are_taken_for_their_text() -> None:
    messages = [
        {"role": "user", "content": "a"},
        {"role": "user", "content": [{"type": "text", "text": "b"}]},
    ]
    assert parsed(messages=messages).passages == (Passage(text="ab"),)


@pytest.mark.parametrize(
    ("members", "field"),
    [
        ({}, "input"),
        ({"messages": []}, "input"),
        ({"input": []}, "input"),
        ({"input": {"a": 1}}, "input"),
        ({"input": ""}, "input"),
        ({"input": ["a", ""]}, "input[1]"),
        ({"input": ["a", None]}, "input[1]"),
        ({"input": ["a"] * (limits.EMBEDDING_INPUTS_MAX + 1)}, "input"),
        ({"input": "a", "dimensions": 0}, "dimensions"),
        ({"input": "a", "dimensions": limits.EMBEDDING_DIMENSIONS_MAX + 1}, "dimensions"),
        ({"input": "a", "encoding_format": "hex"}, "encoding_format"),
        ({"input": "a", "model": ""}, "model"),
        ({"content": "a"}, "content"),
        ({"messages": [{"role": "robot", "content": "a"}]}, "messages[0].role"),
    ],
)
def test_what_is_wrong_is_refused_by_its_path(members: dict[str, Any], field: str) -> None:
    with pytest.raises(BadRequest) as caught:
        parsed(**members)
    assert caught.value.field == field


@pytest.mark.parametrize(("tokens", "field"), [([1, 2], "input[0]"), ([[1, 2], [3]], "input[0]")])
def test_tokens_are_those_of_another_model(tokens: Any, field: str) -> None:
    with pytest.raises(NotSupported) as caught:
        parsed(input=tokens)
    assert caught.value.field == field


def test_vectors_are_listed_in_the_order_of_their_texts() -> None:
    found = json.loads(render_embeddings(VECTORS, packed=False))
    assert found == {
        "object": "list",
        "data": [
            {"object": "embedding", "index": 0, "embedding": [0.5, -1.0]},
            {"object": "embedding", "index": 1, "embedding": [0.25, 0.1]},
        ],
        "model": "echo",
        "usage": {"prompt_tokens": 7, "total_tokens": 7},
    }
    assert CreateEmbeddingResponse.model_validate(found).data[1].embedding == [0.25, 0.1]


def test_packed_vectors_are_numbers_of_32_bits_with_the_lowest_byte_first() -> None:
    found = json.loads(render_embeddings(VECTORS, packed=True))
    packed = base64.b64decode(found["data"][1]["embedding"])
    assert struct.unpack("<2f", packed) == (0.25, struct.unpack("<f", struct.pack("<f", 0.1))[0])


def test_a_line_asks_for_one_vector_or_several() -> None:
    assert row_of(LINE) == ParsedLine(Echo(b'"a"'), (Passage(text="hi"),))
    several = row_of({**LINE, "body": {**BODY, "input": ["x", "y"], "encoding_format": "base64"}})
    assert several.prompt == (Passage(text="x"), Passage(text="y"))
    assert several.echo.extras == {PACKED: b"true"}


def test_a_line_for_another_endpoint_spoils_the_file() -> None:
    fault = row_of({**LINE, "url": "/v1/chat/completions"}).fault
    assert fault is not None
    assert fault.code == "mismatched_endpoint"


@pytest.mark.parametrize("body", [{**BODY, "input": [1]}, {**BODY, "n": 1}])
def test_a_wrong_body_is_the_failure_of_its_line(body: Any) -> None:
    row = row_of({**LINE, "body": body})
    assert row.fault is None
    assert isinstance(row.prompt, Failure)


def test_the_answer_to_a_line_is_that_of_a_live_call() -> None:
    for extras, packed in (({}, False), ({PACKED: b"true"}, True)):
        row = json.loads(
            hand_of(KIND).render(Echo(b'"a"', None, extras), VECTORS, KIND.form, "b-1", 0)
        )
        assert (row["custom_id"], row["response"]["status_code"]) == ("a", 200)
        assert row["response"]["body"] == json.loads(render_embeddings(VECTORS, packed=packed))


def test_a_failed_line_says_why() -> None:
    failure = Failure(Code.UNIMPLEMENTED, "No vectors.")
    row = json.loads(hand_of(KIND).render(Echo(b'"a"'), failure, KIND.form, "b-1", 0))
    assert row["response"]["status_code"] == 501
