"""Real servers for the tests of this room, and an engine that counts what it was asked."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from google import genai
from google.genai import types

from tests.acceptance.counting import Counting
from tests.acceptance.server import Server

MakeServer = Callable[..., Server]


@pytest.fixture
def make_server(tmp_path: Path) -> Iterator[MakeServer]:
    """Give a function that starts servers, each on data of its own, and ends them all."""
    servers: list[Server] = []

    def make(*arguments: str, **options: Any) -> Server:
        server = Server(tmp_path / f"data-{len(servers)}", *arguments, **options)
        servers.append(server)
        return server.start()

    yield make
    for server in servers:
        server.close()
        shutil.rmtree(server.data)  # gigabytes, and pytest keeps the folders of its last runs


@pytest.fixture(scope="module")
def echo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Give one server with the echo engine, for tests that leave it running."""
    server = Server(tmp_path_factory.mktemp("echo") / "data", "--engine", "echo")
    try:
        yield server.start()
    finally:
        server.close()


@pytest.fixture
def client(echo: Server) -> Iterator[genai.Client]:
    """Give Google's own client, told only where the server is."""
    options = types.HttpOptions(base_url=echo.base_url)
    with genai.Client(api_key="any-key", http_options=options) as client:
        yield client


@pytest.fixture
def counting(tmp_path: Path) -> Counting:
    """Give an engine that counts, installed beside the server."""
    return Counting(tmp_path)
