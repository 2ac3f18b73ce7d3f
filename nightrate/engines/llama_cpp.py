"""The second embedded engine: llama.cpp in a supervised child process, for all GGUF models.

It reads models and encodings that the `openvino` engine does not, tells likely other tokens, and
gives seeded answers that do not depend on their neighbours at its only speed, which is lower.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from nightrate.domain.generation import Capability
from nightrate.engines import gguf_files, weights
from nightrate.engines.base import (
    Capacity,
    Finding,
    Options,
    Progress,
    ignore_progress,
    told_from_threads,
)
from nightrate.engines.child import Patience
from nightrate.engines.child_engine import ModelEngine, with_spare
from nightrate.engines.likelihood import Measured, compare, findings_of
from nightrate.engines.llama_cpp_child import Offer
from nightrate.engines.llama_cpp_model import ModelSetup
from nightrate.engines.options import options_of
from nightrate.engines.packages import cache_directory
from nightrate.errors import EngineDown, SettingsFault

CHILD = (sys.executable, "-m", "nightrate.engines.llama_cpp_child")

REMEDIES = (
    "`pip install 'nightrate[llama_cpp]'` brings the library. A model whose heads are no multiple "
    "of 32 wide can be loaded with `reproducible = false` only."
)

CONTEXT_TOKENS_DEFAULT = 4096
"""Of a slot, where the model has as many: the attention cache of all slots is taken at once."""

Whole = Annotated[int, Meta(ge=1)]
Seconds = Annotated[float, Meta(gt=0)]

_CAPABILITIES = frozenset(
    {
        *(Capability.TEXT, Capability.STREAM, Capability.SCHEMA, Capability.CALLS),
        *(Capability.LOGPROBS, Capability.TOP_LOGPROBS),
    }
)


class LlamaCppOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Settings of the llama.cpp engine."""

    model: str = weights.DEFAULT_MODEL
    """The built-in model, or the path of a GGUF file."""
    cache_directory: str | None = None
    """Where the built-in model is kept; the user's cache directory by default."""
    slots: Whole = 8
    """How many requests are computed at once; each has a part of the attention cache."""
    live_requests: Annotated[int, Meta(ge=0)] | None = None
    """How many of the slots are kept for live requests, which take the others too; by default one
    where there are two. 0: they wait for the slots of batches, and come first."""
    context_tokens: Whole | None = None
    """Of a prompt and its answer; by default 4,096, or what the model reads if that is less."""
    threads: Whole | None = None
    """Processor threads; by default as many as there are cores."""
    reproducible: bool = True
    """Whether answers with a seed or temperature 0 must not depend on their neighbours."""
    functions: bool = False
    """Whether its model was trained to call functions, so that it decides by itself if it does."""
    start_seconds: Seconds = 300.0
    """How long the model may take to load."""
    silence_seconds: Seconds = 60.0
    """A child that works without a sign of life for this long is killed and started again."""


class LlamaCppEngine(ModelEngine):
    """Answers with a model on this machine's processor."""

    name = "llama_cpp"
    reuses_beginnings = True

    def __init__(self, options: LlamaCppOptions, child: Sequence[str] = CHILD) -> None:
        self._options = options
        super().__init__(
            child,
            Patience(start_seconds=options.start_seconds, silence_seconds=options.silence_seconds),
        )
        self._model_version = ""
        live = live_slots_of(options)
        self._capacity = Capacity(with_spare(options.slots - live), live=with_spare(live))

    @classmethod
    def from_options(cls, options: Options) -> LlamaCppEngine:
        """Read the settings table."""
        read = options_of("llama_cpp", options, LlamaCppOptions)
        if (read.live_requests or 0) >= read.slots:
            problem = "engines.llama_cpp.live_requests: it leaves nothing of `slots` to batches"
            raise SettingsFault([problem])
        return cls(read)

    @property
    def capabilities(self) -> frozenset[Capability]:
        """Text, also piece by piece and of a form, calls, and likely other tokens."""
        return _CAPABILITIES | ({Capability.TOOLS} if self._options.functions else set())

    @property
    def capacity(self) -> Capacity:
        """A few more than are computed, so that an ended one is replaced without a round trip."""
        return self._capacity

    async def open(self, progress: Progress = ignore_progress) -> None:
        """Look at the weights (the built-in ones are prepared once) and start the child."""
        setup = await asyncio.to_thread(setup_of, self._options, told_from_threads(progress))
        progress(f"Loading {setup.model_version}", None)
        try:
            await self._child.open(setup)
        except EngineDown as down:
            raise EngineDown(f"{down.message}\n{REMEDIES}") from down
        self._model_version = setup.model_version
        self._tokens_max = self._child.greeting(Offer).tokens_max

    async def self_check(self) -> list[Finding]:
        """Hold the likelihood of fixed passages against the reference; see `likelihood`."""
        measured = await self._child.ask("likelihood", None, dict[str, Measured])
        return findings_of(self.name, compare(self._model_version, measured))


def live_slots_of(options: LlamaCppOptions) -> int:
    """Give how many slots no batch takes."""
    return min(1, options.slots - 1) if options.live_requests is None else options.live_requests


def setup_of(options: LlamaCppOptions, progress: Progress) -> ModelSetup:
    """Find the weights and put together what the child is told. Blocks; call it in a thread.

    Raises:
        EngineDown: the weights cannot be had, or read less than is wanted; it says what to do.
    """
    if options.model == weights.DEFAULT_MODEL:
        cache = cache_directory(options.cache_directory)
        found = weights.prepare(options.model, cache, progress=progress)
        path, version, most = found.path, found.model_version, found.context_tokens
    else:
        path = Path(options.model).expanduser()
        if not path.is_file() or not gguf_files.is_gguf(path):
            raise EngineDown(
                f"There is no GGUF file at {path}. Set `model` to {weights.DEFAULT_MODEL!r} or to "
                "such a file; of one in parts, to its first part."
            )
        version, most = path.stem.lower(), gguf_files.inspect(path).context_tokens
    wanted = options.context_tokens
    if wanted is not None and most is not None and wanted > most:
        raise EngineDown(
            f"`context_tokens` is {wanted:,}, but {version} reads {most:,} tokens: lower it, or "
            "leave it out."
        )
    return ModelSetup(
        path=str(path),
        model_version=version,
        slots=options.slots,
        live_slots=live_slots_of(options),
        context_tokens=wanted or min(CONTEXT_TOKENS_DEFAULT, most or CONTEXT_TOKENS_DEFAULT),
        threads=options.threads,
        reproducible=options.reproducible,
        functions=options.functions,
    )
