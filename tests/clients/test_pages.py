"""Pages that the user names, through Google's client: alike on every way, and beside a search."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from google import genai
from google.genai import types

from tests.acceptance.server import Process, Server
from tests.clients.test_samples import polled

MODEL = "gemini-3.5-flash"
PAGE = b"<title>The Euro</title><main>England won the final in Basel against Spain.</main>"
CONFIG = types.GenerateContentConfig(
    tools=[types.Tool(url_context=types.UrlContext(), google_search=types.GoogleSearch())]
)
Status = types.UrlRetrievalStatus


class Pages(ThreadingHTTPServer):
    """A web site with one page, which counts what it is asked."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        super().__init__(("127.0.0.1", 0), _Handler)
        self.address = f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Pages

    def do_GET(self) -> None:
        self.server.asked[self.path] += 1
        found = self.path == "/euro"
        self.send_response(200 if found else 404)
        self.send_header("content-type", "text/html")
        self.end_headers()
        self.wfile.write(PAGE if found else b"")

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
        pass


@pytest.fixture(scope="module")
def pages() -> Iterator[Pages]:
    with Pages() as pages:
        thread = threading.Thread(target=pages.serve_forever)
        thread.start()
        yield pages
        pages.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("pages")
    paper = folder / "trains.txt"
    paper.write_text("After the final a train to Basel leaves.")
    adding = Process(["index", "add", str(paper), "--data", str(folder / "data")])
    assert adding.wait(60) == 0
    adding.close()
    private = {"NIGHTRATE_URL_CONTEXT_PRIVATE": "true"}
    server = Server(folder / "data", "--engine", "echo", environment=private)
    try:
        yield server.start()
    finally:
        server.close()


def question(pages: Pages) -> str:
    bad = "http://169.254.169.254/latest"
    return f"England won the final in Basel.\nSee {pages.address}/euro, {pages.address}/no, {bad}."


def check(candidate: types.Candidate, pages: Pages) -> None:
    """Demand what became of each page, and that the answer rests on it and on the search."""
    told = candidate.url_context_metadata
    assert told is not None
    assert [(one.retrieved_url, one.url_retrieval_status) for one in told.url_metadata or []] == [
        (f"{pages.address}/euro", Status.URL_RETRIEVAL_STATUS_SUCCESS),
        (f"{pages.address}/no", Status.URL_RETRIEVAL_STATUS_ERROR),
        ("http://169.254.169.254/latest", Status.URL_RETRIEVAL_STATUS_UNSAFE),
    ]
    grounding = candidate.grounding_metadata
    assert grounding is not None
    assert grounding.web_search_queries
    titles = [chunk.web.title for chunk in grounding.grounding_chunks or [] if chunk.web]
    assert titles == ["The Euro", "trains"]
    support = (grounding.grounding_supports or [])[0]
    assert support.segment is not None
    assert support.segment.text == "England won the final in Basel."
    assert support.grounding_chunk_indices == [0]


def test_a_live_answer_rests_on_the_pages_that_are_named(
    client: genai.Client, pages: Pages
) -> None:
    response = client.models.generate_content(model=MODEL, contents=question(pages), config=CONFIG)
    (candidate,) = response.candidates or []
    check(candidate, pages)
    assert pages.asked["/robots.txt"]


def test_a_streamed_answer_says_so_with_its_last_piece(client: genai.Client, pages: Pages) -> None:
    stream = client.models.generate_content_stream(
        model=MODEL, contents=question(pages), config=CONFIG
    )
    *before, last = [response.candidates[0] for response in stream if response.candidates]
    assert all(candidate.url_context_metadata is None for candidate in before)
    check(last, pages)


def test_answers_of_batches_say_the_same(
    client: genai.Client, pages: Pages, tmp_path: Path
) -> None:
    request = types.InlinedRequest(contents=question(pages), config=CONFIG)
    job = polled(client, client.batches.create(model=MODEL, src=[request]).name)
    assert job.dest is not None
    (item,) = job.dest.inlined_responses or []
    assert item.response is not None
    (candidate,) = item.response.candidates or []
    check(candidate, pages)
    tools: list[Any] = [{"url_context": {}}, {"google_search": {}}]
    line = {"key": "k", "request": {"contents": question(pages), "tools": tools}}
    source = tmp_path / "in.jsonl"
    source.write_text(json.dumps(line))
    file = client.files.upload(file=source, config=types.UploadFileConfig(mime_type="jsonl"))
    assert file.name is not None
    job = polled(client, client.batches.create(model=MODEL, src=file.name).name)
    assert job.dest is not None
    assert job.dest.file_name is not None
    answer = json.loads(client.files.download(file=job.dest.file_name))
    response = types.GenerateContentResponse.model_validate(answer["response"])
    (candidate,) = response.candidates or []
    check(candidate, pages)
