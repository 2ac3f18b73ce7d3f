"""Connections that bring no request, bring too much of one, or do not take their answer."""

from __future__ import annotations

import contextlib

import psutil
import pytest

from nightrate import limits
from tests.acceptance.server import until
from tests.api.doors import Doors

ENDLESS = "x-endless: " + "y" * 1000 + "\r\n"


def test_a_connection_without_a_request_is_dropped(
    doors: Doors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "RECEIVE_TIMEOUT_SECONDS", 0.1)
    assert doors.raw(b"") == b""
    assert doors.raw(b"GET /v1beta/files HTTP/1.1\r\nhost: ") == b""


def test_a_second_request_has_its_own_time(doors: Doors, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "RECEIVE_TIMEOUT_SECONDS", 0.1)
    whole = b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n"
    with doors.connect() as connection:
        for _ in range(3):
            connection.sendall(whole)
            assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        connection.sendall(whole[:-2])
        assert connection.recv(65536) == b""


def test_a_head_without_end_is_refused_before_its_end(doors: Doors) -> None:
    lines = limits.HEAD_BYTES_MAX // len(ENDLESS) + 1
    answer = doors.raw(b"GET /livez HTTP/1.1\r\nhost: x\r\n" + ENDLESS.encode() * lines)
    assert answer.startswith(b"HTTP/1.1 400")
    assert str(limits.HEAD_BYTES_MAX).encode() in answer


def test_a_long_body_is_no_long_head(doors: Doors) -> None:
    body = b"x" * (limits.HEAD_BYTES_MAX * 2)
    headers = {"x-goog-upload-protocol": "raw"}
    assert doors.ask("POST", "/upload/v1beta/files", body, headers).status == 200


def test_a_client_that_takes_nothing_is_dropped(
    doors: Doors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "TAKE_TIMEOUT_SECONDS", 0.2)
    content = b"x" * (16 * limits.MIB)
    headers = {"x-goog-upload-protocol": "raw"}
    name = doors.ask("POST", "/upload/v1beta/files", content, headers).json["file"]["name"]
    head = f"GET /download/v1beta/{name}:download HTTP/1.1\r\nhost: x\r\n\r\n"
    with doors.connect() as connection:
        port = connection.getsockname()[1]
        connection.sendall(head.encode())
        connection.recv(1)

        def is_dropped() -> bool:
            ends = psutil.Process().net_connections("tcp")
            return not any([*end.raddr][1:] == [port] for end in ends)

        until(is_dropped, 30)
        taken = 0
        with contextlib.suppress(ConnectionResetError):
            while piece := connection.recv(limits.MIB):
                taken += len(piece)
    assert taken < len(content)
