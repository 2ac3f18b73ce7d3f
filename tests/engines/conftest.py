"""Engines for the tests of this folder."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from nightrate.engines.font_files import characters_of
from nightrate.engines.illustrating import Fonts
from nightrate.engines.illustrator import prepare
from nightrate.engines.llama_cpp import LlamaCppEngine
from nightrate.engines.openai import OpenAIEngine
from nightrate.engines.openvino import OpenVINOEngine
from nightrate.engines.packages import cache_directory
from nightrate.engines.pictograms import Index
from tests.engines.tiny import write_gguf
from tests.engines.trained import write_trained
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


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def llama_cpp() -> AsyncIterator[LlamaCppEngine]:
    """Give the llama.cpp engine with the built-in model; one for all tests."""
    pytest.importorskip("xllamacpp", reason="the library of the extra llama_cpp is not installed")
    engine = LlamaCppEngine.from_options({"slots": 4, "context_tokens": 2048, "threads": 1})
    await engine.open()
    yield engine
    await engine.close()


@pytest.fixture(scope="session")
def trained_gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the built-in model with a chat template that knows functions."""
    return write_trained(tmp_path_factory.mktemp("trained") / "trained.gguf")


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    """Give a server that speaks OpenAI's protocol."""
    async with serving(Upstream) as upstream:
        yield upstream


@pytest.fixture
async def engine(upstream: Upstream) -> AsyncIterator[OpenAIEngine]:
    """Give an open engine for it."""
    engine = made(upstream)
    await engine.open()
    yield engine
    await engine.close()


@pytest.fixture(scope="session")
def fonts() -> Fonts:
    """Give the fonts of the illustrator, fetched on the first use."""
    return Fonts(*prepare(cache_directory(None)))


@pytest.fixture(scope="session")
def index(fonts: Fonts) -> Index:
    """Give the pictograms of that font."""
    return Index(characters_of(fonts.pictograms))


@pytest.fixture(scope="session")
def writable(fonts: Fonts) -> frozenset[int]:
    """Give the code points of its letters."""
    return characters_of(fonts.letters)
