"""Engines for the tests of this folder."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from nightrate.engines.openai import OpenAIEngine
from nightrate.engines.openvino import OpenVINOEngine
from tests.engines.tiny import write_gguf
from tests.engines.upstream import Upstream, made, serving


@pytest.fixture
def tiny_gguf(tmp_path: Path) -> Path:
    """Give a GGUF file with a Q8_0 matrix; too small to be a model."""
    return write_gguf(tmp_path / "tiny.gguf", "Q8_0")


@pytest.fixture
def misread_gguf(tmp_path: Path) -> Path:
    """Give a GGUF file with a Q4_1 matrix."""
    return write_gguf(tmp_path / "misread.gguf", "Q4_1")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def embedded() -> AsyncIterator[OpenVINOEngine]:
    """Give the embedded engine with its real model; one for all tests, because it loads slowly."""
    engine = OpenVINOEngine.from_options({"requests": 8, "kv_cache_gib": 1})
    await engine.open()
    yield engine
    await engine.close()


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    """Give a server that speaks OpenAI's protocol."""
    async with serving() as upstream:
        yield upstream


@pytest.fixture
async def engine(upstream: Upstream) -> AsyncIterator[OpenAIEngine]:
    """Give an open engine for it."""
    engine = made(upstream)
    await engine.open()
    yield engine
    await engine.close()
