"""A server that is killed between what it looked up and its answers looks up nothing again."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.acceptance.conftest import MakeServer
from tests.acceptance.counting import Counting
from tests.acceptance.server import Server, until

ROWS = 12
SLOW = "slow"


class Web(ThreadingHTTPServer):
    """A web site, and a SearXNG under the same address; counts what both are asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.address = f"http://127.0.0.1:{self.server_address[1]}"
        self.asked: Counter[str] = Counter()
        self.let_go = threading.Event()
        """Until it is set, whoever asks for the slow page waits."""


class _Handler(BaseHTTPRequestHandler):
    server: Web

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        place = parts.path.strip("/")
        query = parse_qs(parts.query).get("q", [""])[0]
        self.server.asked[query or place] += 1
        if place == SLOW:
            self.server.let_go.wait()
        if place == "robots.txt":
            self._answer(404, "text/plain", b"")
        elif place == "search":
            found = {"url": f"https://example.com/{query.split()[0]}", "title": f"On {query}"}
            self._answer(200, "application/json", json.dumps({"results": [found]}).encode())
        else:
            page = f"<title>Page {place}</title><p>What the page {place} says.</p>"
            self._answer(200, "text/html", page.encode())

    def _answer(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
        pass


@pytest.fixture
def web() -> Iterator[Web]:
    with Web() as web:
        thread = threading.Thread(target=web.serve_forever)
        thread.start()
        try:
            yield web
        finally:
            web.let_go.set()
            web.shutdown()
            thread.join()


def order(web: Web, name: str) -> bytes:
    """Write a line that names a page and wants a search."""
    text = f"{name} is asked about {web.address}/{name}"
    tools: list[Any] = [{"urlContext": {}}, {"googleSearch": {}}]
    request = {"contents": [{"parts": [{"text": text}]}], "tools": tools}
    return json.dumps({"key": name, "request": request}).encode() + b"\n"


def kept(server: Server, web: Web, names: list[str]) -> set[str]:
    """Name the rows whose page and search stand in a journal."""
    journals = (server.data / "blobs" / "batches").glob("**/journal/*")
    data = b"".join(path.read_bytes() for path in journals)
    return {
        name
        for name in names
        if f"{web.address}/{name}".encode() in data
        and f"https://example.com/{name}".encode() in data
    }


def check(line: Any, web: Web) -> None:
    """Demand that an answer rests on its page and on its search."""
    name = line["key"]
    (candidate,) = line["response"]["candidates"]
    (page,) = candidate["urlContextMetadata"]["urlMetadata"]
    assert page["retrievedUrl"] == f"{web.address}/{name}"
    assert page["urlRetrievalStatus"] == "URL_RETRIEVAL_STATUS_SUCCESS"
    grounding = candidate["groundingMetadata"]
    (query,) = grounding["webSearchQueries"]
    assert query.startswith(f"{name} is asked about")
    assert [chunk["web"] for chunk in grounding["groundingChunks"]] == [
        {"uri": f"{web.address}/{name}", "title": f"Page {name}"},
        {"uri": f"https://example.com/{name}", "title": f"On {query}"},
    ]


def test_a_kill_between_pages_and_answers_fetches_none_again(
    make_server: MakeServer, counting: Counting, web: Web
) -> None:
    names = [f"row-{number}" for number in range(ROWS)]
    environment = {
        **counting.environment,
        "NIGHTRATE_URL_CONTEXT_PRIVATE": "true",
        "NIGHTRATE_SEARCH": web.address,
    }
    config = counting.settings(requests=ROWS + 1, delay_seconds=3600)  # it answers nobody
    server = make_server("--config", config, environment=environment)
    batch = server.submit(b"".join(order(web, name) for name in [*names, SLOW]))
    until(lambda: kept(server, web, names) == set(names) and web.asked[SLOW], 60)
    until(counting.asks_reach(ROWS), 60)
    server.kill()
    before = web.asked.copy()
    assert {place: before[place] for place in [*names, SLOW]} == dict.fromkeys([*names, SLOW], 1)
    assert set(counting.asked()) == set(names)
    assert not counting.answered()

    web.let_go.set()
    counting.settings(requests=ROWS + 1, delay_seconds=0)
    server.restart()
    server.finish(batch)
    lines = server.results(batch)
    assert [line["key"] for line in lines] == [*names, SLOW]
    for line in lines:
        check(line, web)
    slow_query = f"{SLOW} is asked about {web.address}/{SLOW}"
    again = Counter({"robots.txt": 1, SLOW: 1, slow_query: 1})
    assert web.asked - before == again, "nothing but what the killed server had not kept"
    assert counting.asked() == Counter({**dict.fromkeys(names, 2), SLOW: 1})
