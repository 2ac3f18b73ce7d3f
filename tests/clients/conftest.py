"""The clients: Google's own for Python, told where the server is, and that for JavaScript."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from google import genai
from google.genai import types

from tests.acceptance.server import Server
from tests.clients.javascript import JavaScript, installed


@pytest.fixture(scope="session")
def javascript(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> JavaScript:
    """Give the client, kept from run to run in pytest's cache where there is one."""
    cache: pytest.Cache | None = getattr(request.config, "cache", None)
    return installed(cache.mkdir("javascript") if cache else tmp_path_factory.mktemp("javascript"))


@pytest.fixture
def client(server: Server) -> Iterator[genai.Client]:
    """Give the Python client of the server that a module of tests has."""
    options = types.HttpOptions(base_url=server.base_url)
    with genai.Client(api_key="any-key", http_options=options) as client:
        yield client
