"""Requests for embeddings become passages, or are refused with the path of the field."""

from __future__ import annotations

import json
from typing import Any

import pytest

from nightrate import limits
from nightrate.dialects.gemini import parse_passage, parse_passages
from nightrate.dialects.rows import parse_row
from nightrate.domain.batch import BatchForm, Kind, Method
from nightrate.domain.embedding import EmbeddingTask, Passage
from nightrate.domain.generation import Failure
from nightrate.errors import BadRequest, NotSupported, Refused

FILE, INLINE = BatchForm.FILE, BatchForm.INLINE
TEXT = {"parts": [{"text": "hello"}]}
PLAIN = Passage(text="hello")


def parsed(request: Any) -> Passage:
    return parse_passage(json.dumps(request).encode(), "m")


def row(line: Any, form: BatchForm = FILE) -> tuple[Passage | Failure, Any]:
    text = line if isinstance(line, bytes) else json.dumps(line).encode()
    read = parse_row(text, 3, Kind(form, Method.EMBED), "m")
    assert isinstance(read.prompt, Passage | Failure)
    return read.prompt, read.echo


# what is honoured -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "request_",
    [
        {"content": TEXT},
        {"content": "hello"},
        {"content": {"parts": {"text": "hello"}, "role": "user"}},
        {"content": {"parts": "hello"}},
        {"content": ["hello"]},
        {"contents": "hello"},
        {"contents": [TEXT]},
        {"contents": TEXT},
        {"content": TEXT, "model": "models/m"},
        {"content": TEXT, "taskType": "", "title": "", "outputDimensionality": 0},
        {"content": TEXT, "task_type": "TASK_TYPE_UNSPECIFIED", "embed_content_config": {}},
        {"content": {"parts": [{"text": "hello"}, {"text": ""}, {"text": "x", "thought": True}]}},
        {"content": TEXT, "embedContentConfig": {"autoTruncate": True, "documentOcr": False}},
        {"content": TEXT, "title": None, "output_dimensionality": None},
    ],
)
def test_a_text_is_a_passage_in_every_form(request_: Any) -> None:
    assert parsed(request_) == PLAIN


@pytest.mark.parametrize(
    ("request_", "wanted"),
    [
        ({"taskType": "CLUSTERING"}, {"task": EmbeddingTask.CLUSTERING}),
        ({"task_type": "retrieval_query"}, {"task": EmbeddingTask.RETRIEVAL_QUERY}),
        ({"output_dimensionality": 64}, {"dimensions": 64}),
        ({"outputDimensionality": "64"}, {"dimensions": 64}),
        ({"title": "T"}, {"title": "T"}),
        (
            {"title": "T", "taskType": "RETRIEVAL_DOCUMENT"},
            {"title": "T", "task": EmbeddingTask.RETRIEVAL_DOCUMENT},
        ),
        ({"embedContentConfig": {"auto_truncate": False}}, {"truncate": False}),
        (
            {"embed_content_config": {"taskType": "RETRIEVAL_DOCUMENT", "title": "T"}},
            {"title": "T", "task": EmbeddingTask.RETRIEVAL_DOCUMENT},
        ),
        (
            {"embedContentConfig": {"outputDimensionality": 8}, "outputDimensionality": 8},
            {"dimensions": 8},
        ),
        (
            {"embedContentConfig": {"outputDimensionality": 8}},
            {"dimensions": 8, "dimensions_field": "embedContentConfig.outputDimensionality"},
        ),
    ],
)
def test_settings_are_read_where_they_stand(request_: Any, wanted: dict[str, Any]) -> None:
    assert parsed({"content": TEXT, **request_}) == Passage(text="hello", **wanted)


def test_several_parts_are_texts_of_their_own() -> None:
    content = {"parts": [{"text": "one"}, "two"]}
    assert parsed({"content": content}).text == "one\ntwo"


# what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "field", "words"),
    [
        ({}, "content", "missing or empty"),
        ({"content": []}, "content[0]", "missing or empty"),
        ({"contents": ["a", "b"]}, "contents", "2 contents; send a request for each"),
        ({"content": "a", "contents": "b"}, "contents", 'beside "content"'),
        ({"content": {}}, "content.parts", "missing or empty"),
        ({"content": {"parts": []}}, "content", "no text"),
        ({"content": {"parts": [{"text": " "}]}}, "content", "no text"),
        ({"content": {"parts": [{}]}}, "content.parts[0]", "no data"),
        ({"content": {"parts": {}}}, "content.parts", "no data"),
        ({"content": "x", "model": "models/other"}, "model", "not the model of this call"),
        ({"content": "x", "task_type": "FOO"}, "task_type", '"FOO" is not one of RETRIEVAL_QUERY'),
        ({"content": "x", "title": "T", "taskType": "CLUSTERING"}, "title", "RETRIEVAL_DOCUMENT"),
        ({"content": "x", "output_dimensionality": -1}, "output_dimensionality", "between 1 and"),
        ({"content": "x", "outputDimensionality": 8193}, "outputDimensionality", "8192"),
        (
            {"content": "x", "embedContentConfig": {"output_dimensionality": 8193}},
            "embedContentConfig.output_dimensionality",
            "8192",
        ),
        (
            {"content": "x", "taskType": "CLUSTERING", "embedContentConfig": {"taskType": "foo"}},
            "embedContentConfig.taskType",
            '"foo"',
        ),
        (
            {"content": "x", "title": "A", "embed_content_config": {"title": "B"}},
            "embed_content_config.title",
            'differs from "title"',
        ),
        ({"content": "x", "taskTypes": "X"}, "taskTypes", "Cannot find field"),
        ({"content": "x", "auto_truncate": True}, "auto_truncate", 'inside "embedContentConfig"'),
        ({"content": "x", "dimensions": 5}, "dimensions", 'Use "outputDimensionality"'),
        (
            {"content": "x", "generationConfig": {}},
            "generationConfig",
            "belongs to generateContent",
        ),
        (
            {"content": "x", "embedContentConfig": {"content": "y"}},
            "embedContentConfig.content",
            "up",
        ),
        ({"content": 5}, "content", "Invalid value"),
        (
            {"content": {"parts": [{"text": "x", "videoMetadata": {"fps": "1"}}]}},
            "content.parts[0].videoMetadata.fps",
            "not above 0",
        ),
    ],
)
def test_what_is_wrong_is_refused_with_its_path(request_: Any, field: str, words: str) -> None:
    with pytest.raises(BadRequest, match=words.replace("(", r"\(")) as refused:
        parsed(request_)
    assert refused.value.field == field
    assert field.rpartition(".")[2] in refused.value.message


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        ({"content": {"parts": [{"inlineData": {"data": ""}}]}}, "content.parts[0].inlineData"),
        ({"content": {"parts": {"file_data": {}}}}, "content.parts.file_data"),
        (
            {"content": "x", "embedContentConfig": {"documentOcr": True}},
            "embedContentConfig.documentOcr",
        ),
        (
            {"content": "x", "embed_content_config": {"audio_track_extraction": True}},
            "embed_content_config.audio_track_extraction",
        ),
    ],
)
def test_other_media_than_text_are_not_served(request_: Any, field: str) -> None:
    with pytest.raises(NotSupported, match="vectors are made of text") as refused:
        parsed(request_)
    assert refused.value.field == field


# several at once ------------------------------------------------------------------------------


def several(body: Any) -> list[Passage]:
    return parse_passages(body if isinstance(body, bytes) else json.dumps(body).encode(), "m")


def test_several_requests_keep_their_order() -> None:
    requests = [{"content": f"{number}", "model": "models/m"} for number in range(100)]
    assert [passage.text for passage in several({"requests": requests})] == [
        f"{number}" for number in range(limits.EMBEDDINGS_AT_ONCE_MAX)
    ]
    lenient = b"{'requests': [{'content': 'a', 'output_dimensionality': 5}]}"
    assert several(lenient) == [Passage(text="a", dimensions=5)]


@pytest.mark.parametrize(
    ("body", "field", "words"),
    [
        ({}, "requests", "missing or empty"),
        ({"requests": []}, "requests", "missing or empty"),
        ({"requests": [{"content": "x"}] * 101}, "requests", "101 requests; a call takes 100"),
        ({"requests": [{"content": "x"}, {}]}, "requests[1].content", "missing"),
        (
            {"requests": [{"content": "x", "task_type": "X"}]},
            "requests[0].task_type",
            "is not one of",
        ),
        ({"requests": [{"content": "x", "y": 1}]}, "requests[0].y", "Cannot find field"),
        ({"content": "x"}, "content", 'Send {"requests"'),
    ],
)
def test_one_bad_request_refuses_the_call(body: Any, field: str, words: str) -> None:
    with pytest.raises(Refused, match=words) as refused:
        several(body)
    assert refused.value.field == field


# lines and items ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        {"key": "k", "request": {"content": TEXT}},
        {"key": "k", "request": {"contents": "hello"}},
        {"key": "k", "content": TEXT},
        {"request": {"content": TEXT}, "metadata": {"key": "k"}},
        {"key": "k", "request": {"content": TEXT}, "model": "m"},
    ],
)
def test_a_line_is_read_in_every_form(line: Any) -> None:
    asked, echo = row(line)
    assert asked == PLAIN
    assert echo.key == b'"k"'


def test_a_line_keeps_members_that_mean_nothing() -> None:
    asked, echo = row({"key": 7, "request": {"content": "hello", "task_type": None}, "id": [1]})
    assert asked == PLAIN
    assert (echo.key, echo.extras) == (b"7", {"id": b"[1]"})


def test_an_inline_item_is_read_with_its_metadata() -> None:
    asked, echo = row(
        {"request": {"content": TEXT, "outputDimensionality": 4}, "metadata": {"n": "1"}}, INLINE
    )
    assert asked == Passage(text="hello", dimensions=4)
    assert json.loads(echo.metadata) == {"n": "1"}


@pytest.mark.parametrize(
    ("line", "form", "words"),
    [
        ({"key": "k"}, FILE, 'Error on line 3: it has neither "request" nor "content"'),
        ({"key": "k", "request": {"content": "x"}, "taskType": "X"}, FILE, 'inside "request"'),
        (
            {"key": "k", "request": {"content": "x"}, "auto_truncate": True},
            FILE,
            'inside "request", into "embedContentConfig"',
        ),
        ({"key": "k", "request": {"content": "x"}, "config": {}}, FILE, '"taskType" and the like'),
        ({"request": {"content": "x"}, "title": "T"}, INLINE, 'inside "request"'),
        ({"request": {"content": "x"}, "key": "k"}, INLINE, 'Use "metadata"'),
        ({"content": "x"}, INLINE, 'inside "request"'),
        ({"key": "k", "request": {"contents": ["a", "b"]}}, FILE, "request.contents: it has 2"),
        ({"key": "k", "request": {"content": "x", "task_type": "X"}}, FILE, "request.task_type:"),
        (b"rubbish", FILE, "Error on line 3: Invalid JSON"),
    ],
)
def test_a_bad_line_becomes_its_failure(line: Any, form: BatchForm, words: str) -> None:
    asked, _ = row(line, form)
    assert isinstance(asked, Failure)
    assert words in asked.message
