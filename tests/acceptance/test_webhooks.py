"""An event outlives the server: killed between the end of a batch and its delivery."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator

import jwt
import msgspec
import pytest
import standardwebhooks
from google import genai
from google.genai import types

from tests.acceptance.conftest import MakeServer
from tests.acceptance.server import Server, request_line, until


class Receiver(http.server.ThreadingHTTPServer):
    """Takes events; while it is deaf it hears them and never answers."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.deaf = True
        self.heard: list[tuple[dict[str, str], bytes]] = []
        self.answered: list[str] = []
        self.released = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/hook"


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        deaf = self.server.deaf
        self.server.heard.append((headers, body))
        if deaf:
            self.server.released.wait()
            return
        self.send_response(200)
        self.end_headers()
        self.server.answered.append(headers["webhook-id"])

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    thread = threading.Thread(target=receiver.serve_forever)
    thread.start()
    yield receiver
    receiver.released.set()
    receiver.shutdown()
    thread.join()
    receiver.server_close()


def register(server: Server, uri: str) -> str:
    wish = {"uri": uri, "subscribed_events": ["batch.succeeded"]}
    answer = server.ask("POST", "/v1/webhooks", msgspec.json.encode(wish))
    assert answer.status == 200, answer.body
    secret: str = answer.json["new_signing_secret"]
    return secret


def test_a_server_killed_before_the_delivery_delivers_once_it_is_back(
    make_server: MakeServer, receiver: Receiver
) -> None:
    server = make_server("--engine", "echo")
    secret = register(server, receiver.url)
    name = server.submit(request_line("a", "hello"))
    until(lambda: receiver.heard, 60)
    assert server.batch(name)["done"], "nothing is told before it is durable"
    server.kill()
    receiver.deaf = False
    server.restart()
    until(lambda: receiver.answered, 60)
    (before, _), (after, body) = receiver.heard
    assert before["webhook-id"] == after["webhook-id"]
    event = standardwebhooks.Webhook(secret).verify(body, after)
    assert event["data"]["id"] == name
    content = server.ask("GET", event["data"]["output_file_uri"]).body
    assert msgspec.json.decode(content)["key"] == "a"
    second = server.submit(request_line("b", "hello"))
    server.finish(second)
    until(lambda: len(receiver.answered) > 1, 60)
    assert len(set(receiver.answered)) == len(receiver.answered) == 2


def test_a_batch_of_the_sdk_tells_its_own_targets_with_a_token(
    client: genai.Client, echo: Server, receiver: Receiver
) -> None:
    receiver.deaf = False
    job = client.batches.create(
        model="gemini-2.5-flash",
        src=[types.InlinedRequest(contents="hi")],
        config={"webhook_config": {"uris": [receiver.url], "user_metadata": {"run": "7"}}},
    )
    until(lambda: receiver.answered, 60)
    ((headers, body),) = receiver.heard
    token = headers["webhook-signature"]
    keys = jwt.PyJWKSet.from_dict(echo.get("/.well-known/jwks.json"))
    key = keys[jwt.get_unverified_header(token)["kid"]]
    claims = jwt.decode(
        token, key, algorithms=["RS256"], audience=receiver.url, issuer=echo.base_url
    )
    assert claims["data"] == {"id": job.name}
    assert claims["user_metadata"] == {"run": "7"}
    assert msgspec.json.decode(body)["type"] == claims["type"] == "batch.succeeded"
