"""A real server for generated requests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.server import Server
from tests.fuzz.__main__ import opened


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """Give a server of its own to a test: it is left in disorder."""
    with opened(tmp_path / "data") as server:
        yield server
