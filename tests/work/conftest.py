"""What the tests of this room share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.work.site import ScriptedEngine, Waits
from tests.work.workshop import Workshop, opened


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Workshop]:
    async with opened(tmp_path) as shop:
        yield shop


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> Waits:
    return Waits(monkeypatch)


@pytest.fixture
def engine(waits: Waits) -> ScriptedEngine:
    del waits  # no test of this file waits for the clock
    return ScriptedEngine()
