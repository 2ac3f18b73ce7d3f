"""The JavaScript client, for those tests that run it."""

from __future__ import annotations

import pytest

from tests.clients.javascript import JavaScript, installed


@pytest.fixture(scope="session")
def javascript(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> JavaScript:
    """Give the client, kept from run to run in pytest's cache where there is one."""
    cache: pytest.Cache | None = getattr(request.config, "cache", None)
    return installed(cache.mkdir("javascript") if cache else tmp_path_factory.mktemp("javascript"))
