"""Keys and secrets are in no log line, no figure and no error: marked ones are sent everywhere."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.routing import Mount, Route

from nightrate import telemetry
from nightrate.domain.key import KeyWish
from tests.api.doors import Doors, opened

CANARY = "canary" * 7 + "x"
"""As long as a secret, so that it is looked at as one."""

PARTS = {
    "{version:v}": "v1",
    "{alias:v}": "v1",
    "{kind:kind}": "models",
    "{model:id}": "gemini-2.5-flash",
    "{rest:path}": "x",
    "{tail:path}": "unknown",
}


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    """Give what the server writes to its log, every logger and level of the process."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    stream = io.StringIO()
    telemetry.set_up(stream, logging.DEBUG)
    yield stream
    root.handlers[:] = before
    root.setLevel(level)


@pytest.fixture
def doors(tmp_path: Path) -> Iterator[Doors]:
    with opened(tmp_path) as doors:
        yield doors


def calls(doors: Doors) -> Iterator[tuple[str, str]]:
    """Give every method and path of the route table, and some that are not in it."""
    for route in doors.app.routes:
        if isinstance(route, Mount):
            continue
        assert isinstance(route, Route)
        path = route.path
        for part, value in PARTS.items():
            path = path.replace(part, value)
        for kind in ("batch", "file", "webhook", "cache"):
            path = path.replace(f"{{{kind}_id:id}}", "unknown")
        assert "{" not in path, "a kind of parameter that is new here"
        for method in sorted(route.methods or ()):
            yield method, path
            yield method, f"/exact{path}"
    yield from (("GET", "/nothing"), ("POST", "/v1/nothing"), ("BREW", "/v1/models"))


def test_what_is_sent_as_a_key_is_told_to_nobody(doors: Doors, logged: io.StringIO) -> None:
    key = doors.call(doors.keys.create(KeyWish()))[1]
    marked = (f"nr_{key[3:11]}_{CANARY}", CANARY)
    told = []
    for method, path in calls(doors):
        for secret in marked:
            for headers, query in (
                ({"x-goog-api-key": secret}, ""),
                ({}, f"?key={secret}"),
                ({"authorization": f"Bearer {secret}"}, ""),
                # A good key beside a marked one: the call goes on to its door.
                ({"x-goog-api-key": key, "authorization": f"Bearer {secret}"}, f"?key={secret}"),
            ):
                answer = doors.ask(method, path + query, b"{}", headers)
                told.append(answer.body + str(answer.headers).encode())
    told.append(doors.ask("GET", "/metrics", headers={"x-goog-api-key": key}).body)
    told.append(doors.raw(f"GET /v1/models?key={CANARY} HTTP/9\r\nx: {CANARY}\r\n\r\n".encode()))
    doors.eventually(lambda: logged.getvalue().count('"event":"request"') > len(told) - 10)
    for text in (b"\n".join(told).decode("latin-1"), logged.getvalue()):
        assert text
        assert CANARY not in text
        assert key[12:] not in text


def test_a_key_of_this_server_is_told_to_who_makes_it_and_to_nobody_else(
    tmp_path: Path, logged: io.StringIO
) -> None:
    with opened(tmp_path) as doors:
        key, text = doors.call(doors.keys.create(KeyWish(name="laptop")))
        answer = doors.ask("GET", "/v1/models", headers={"x-goog-api-key": text})
        assert answer.status == 200
        doors.call(doors.keys.revoke(key.key_id))
        assert text[12:] not in logged.getvalue()
        listed = doors.call(doors.keys.list())
        assert text[12:] not in repr(listed)
    kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert key.key_id.encode() in kept
    assert text[12:].encode() not in kept
