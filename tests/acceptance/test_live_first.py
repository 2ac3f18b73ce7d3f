"""A real server answers live requests while a batch fills its engine, one of its own or far away.

What counts is the order of events: the rows of the batch wait for an hour, and are given up.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.acceptance.conftest import MakeServer
from tests.acceptance.server import Server, counters, request_line, text_of, until

HERE = """
[models]
"gemini-*" = "held"

[engines.held]
kind = "echo"
requests = 3
live_requests = 1
"""

FAR = """
[models]
"gemini-*" = "held"

[engines.held]
kind = "{kind}"
base_url = "{base_url}"
model = "gemini-2.5-flash"
concurrency_max = 4
"""

ROWS = 10
FILLED = 3
"""Places that batches have; one more is kept for live requests."""

MODEL = "/v1beta/models/gemini-2.5-flash"


def body(text: str) -> bytes:
    return msgspec.json.encode({"contents": [{"parts": [{"text": text}]}]})


def answered(server: Server, text: str) -> str:
    answer = server.ask("POST", f"{MODEL}:generateContent", body(text))
    assert answer.status == 200, answer.body
    return text_of({"response": answer.json})


def streamed(server: Server, text: str) -> str:
    answer = server.ask("POST", f"{MODEL}:streamGenerateContent", body(text))
    assert answer.status == 200, answer.body
    pieces: list[Any] = answer.json
    return "".join(text_of({"response": piece}) for piece in pieces)


@pytest.fixture(params=["echo", "openai", "gemini"])
def server(request: pytest.FixtureRequest, make_server: MakeServer, tmp_path: Path) -> Server:
    """Give a server whose engine has four places."""
    settings = HERE
    if request.param != "echo":
        behind = make_server("--engine", "echo").base_url
        path = "/v1beta/openai" if request.param == "openai" else "/v1beta"
        settings = FAR.format(kind=request.param, base_url=behind + path)
    config = tmp_path / "settings.toml"
    config.write_text(settings)
    return make_server("--config", str(config))


def test_live_requests_are_answered_while_a_batch_fills_the_engine(server: Server) -> None:
    lines = [request_line(number, f"{number} [[delay 3600]]") for number in range(ROWS)]
    name = server.submit(b"".join(lines))
    until(lambda: server.asked() == FILLED, 30)
    for number in range(3):
        assert answered(server, f"live {number}") == f"live {number}"
        assert streamed(server, f"a longer live text {number}") == f"a longer live text {number}"
    assert server.asked() == FILLED, "nobody of the batch has left, or has the place that is kept"
    assert counters(server.batch(name)) == (ROWS, ROWS, 0, 0)
    assert server.ask("POST", f"/v1beta/{name}:cancel", b"").status == 200
    server.finish(name)
    until(lambda: server.asked() == 0, 30)
