"""Answers that rest on documents of the operator, through Google's client: alike on every way."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from google import genai
from google.genai import types

from tests.acceptance.server import Process, Server
from tests.clients.test_samples import polled

MODEL = "gemini-3.5-flash"
QUESTION = "Zürich? England won the final in Basel."
CONFIG = types.GenerateContentConfig(tools=[types.Tool(google_search=types.GoogleSearch())])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("search")
    paper = folder / "euro.md"
    paper.write_text("# The Euro\n\nEngland won the final in Basel against Spain.")
    command = ("index", "add", str(paper), "--base-uri", "https://docs.example.com")
    adding = Process([*command, "--data", str(folder / "data")])
    assert adding.wait(60) == 0
    adding.close()
    server = Server(folder / "data", "--engine", "echo")
    try:
        yield server.start()
    finally:
        server.close()


def check(metadata: Any) -> None:
    """Demand the whole of what an answer rests on."""
    assert isinstance(metadata, types.GroundingMetadata)
    assert metadata.web_search_queries == [QUESTION]
    (chunk,) = metadata.grounding_chunks or []
    assert chunk.web is not None
    assert (chunk.web.uri, chunk.web.title) == ("https://docs.example.com/euro.md", "The Euro")
    (support,) = metadata.grounding_supports or []
    segment = support.segment
    assert segment is not None
    assert (segment.start_index, segment.end_index) == (9, 40)
    assert segment.text == "England won the final in Basel."
    assert QUESTION.encode()[9:40].decode() == segment.text
    assert (support.grounding_chunk_indices, support.confidence_scores) == ([0], [1.0])
    assert metadata.search_entry_point is not None
    assert "Zürich?" in (metadata.search_entry_point.rendered_content or "")


def test_a_live_answer_says_what_it_rests_on(client: genai.Client) -> None:
    response = client.models.generate_content(model=MODEL, contents=QUESTION, config=CONFIG)
    (candidate,) = response.candidates or []
    check(candidate.grounding_metadata)


def test_a_streamed_answer_says_so_with_its_last_piece(client: genai.Client) -> None:
    stream = client.models.generate_content_stream(model=MODEL, contents=QUESTION, config=CONFIG)
    *before, last = [response.candidates[0] for response in stream if response.candidates]
    assert before
    assert all(candidate.grounding_metadata is None for candidate in before)
    check(last.grounding_metadata)


def test_an_answer_of_an_inline_batch_says_the_same(client: genai.Client) -> None:
    request = types.InlinedRequest(contents=QUESTION, config=CONFIG)
    job = polled(client, client.batches.create(model=MODEL, src=[request]).name)
    assert job.dest is not None
    (item,) = job.dest.inlined_responses or []
    assert item.response is not None
    (candidate,) = item.response.candidates or []
    check(candidate.grounding_metadata)


def test_an_answer_of_a_file_batch_says_the_same(client: genai.Client, tmp_path: Path) -> None:
    line = {"key": "k", "request": {"contents": QUESTION, "tools": [{"google_search": {}}]}}
    source = tmp_path / "in.jsonl"
    source.write_text(json.dumps(line))
    config = types.UploadFileConfig(mime_type="jsonl")
    file = client.files.upload(file=source, config=config)
    assert file.name is not None
    job = polled(client, client.batches.create(model=MODEL, src=file.name).name)
    assert job.dest is not None
    assert job.dest.file_name is not None
    answer = json.loads(client.files.download(file=job.dest.file_name))
    response = types.GenerateContentResponse.model_validate(answer["response"])
    (candidate,) = response.candidates or []
    check(candidate.grounding_metadata)
