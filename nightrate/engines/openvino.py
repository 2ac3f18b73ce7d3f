"""The embedded engine: OpenVINO GenAI's continuous batching in a supervised child process.

Requests with a seed or temperature 0 go through a second, exact pipeline in the same child, loaded
when the first of them comes: its answers do not depend on what else is in the batch. Those that
somebody waits for have a child of their own as soon as one of them meets a batch: with a model of
the user's only if they ask for that, because it takes the memory for the weights once more.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Raw, structs

from nightrate import limits
from nightrate.domain.generation import Asked, Capability, Prompt, Reply
from nightrate.engines import weights
from nightrate.engines.base import (
    Capacity,
    Finding,
    Options,
    Progress,
    ignore_progress,
    told_from_threads,
)
from nightrate.engines.child import Patience, read_answer
from nightrate.engines.child_engine import ModelEngine, prompt_demanded, with_spare
from nightrate.engines.front_child import FrontChild
from nightrate.engines.instructions import system_of
from nightrate.engines.likelihood import Comparison, Measured, Mode, compare, findings_of
from nightrate.engines.openvino_child import Offer
from nightrate.engines.openvino_model import CachePrecision, ModelSetup
from nightrate.engines.options import options_of
from nightrate.engines.packages import cache_directory
from nightrate.engines.processor import findings_about
from nightrate.engines.told import decides
from nightrate.errors import EngineDown

CHILD = (sys.executable, "-m", "nightrate.engines.openvino_child")

ALTERNATIVES = (
    "Until that is solved, `--engine echo` tries the rest of the server out, and [models] in the"
    " settings can name another engine that an installed package brings."
)

_LIVE_REQUESTS = 8

_LIVE_CACHE_SHARE = 8
"""One part of so many of the attention cache is kept for live requests that have no process of
their own."""

_BYTES_PER_TOKEN = 3
"""Fewer than English text has, so that the estimate is rather too high."""

_TEMPLATE_TOKENS = 32
"""What the chat template adds to a prompt, about."""

_FUNCTIONS_TOKENS = 512
"""What it adds where the model decides about calls, at most about: how they are written."""

Whole = Annotated[int, Meta(ge=1)]
Seconds = Annotated[float, Meta(gt=0)]


_CAPABILITIES = frozenset(
    {
        *(Capability.TEXT, Capability.STREAM, Capability.SCHEMA, Capability.CALLS),
        Capability.LOGPROBS,
    }
)


class OpenVINOOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Settings of the embedded engine."""

    model: str = weights.DEFAULT_MODEL
    """The built-in model, or the path of a GGUF file or of a converted OpenVINO folder."""
    convert: bool = False
    """Whether a GGUF file of a type that would be misread is re-encoded to Q8_0, not refused."""
    cache_directory: str | None = None
    """Where converted weights are kept; the user's cache directory by default."""
    requests: Whole = 32
    """How many requests are computed at once."""
    live_requests: Annotated[int, Meta(ge=0)] | None = None
    """How many live requests are computed beside batches, in a process of their own, which takes
    memory for the weights once more; 0: they share the places of batches. By default 8, which with
    a model of one's own are computed in the process of batches."""
    threads: Whole | None = None
    """Processor threads; by default as many as there are cores."""
    kv_cache_gib: Whole = 2
    """Attention cache of each pipeline; taken from the machine as it is used."""
    kv_cache_precision: CachePrecision = "f16"
    """How the fast mode keeps it; u8 holds 1.7 times the tokens and takes longer to read them."""
    reproducible: Literal["auto", "always", "never"] = "auto"
    """Which requests are answered in exact mode; auto: those with a seed or temperature 0."""
    functions: bool = False
    """Whether its model was trained to call functions, so that it decides by itself if it does."""
    start_seconds: Seconds = 300.0
    """How long the model may take to load."""
    silence_seconds: Seconds = 60.0
    """A child that works without a sign of life for this long is killed and started again."""
    ignore_eos: bool = False
    """For benchmarks: every answer runs to its token limit."""


class OpenVINOEngine(ModelEngine):
    """Answers with a model on this machine's processor."""

    name = "openvino"
    reuses_beginnings = True

    def __init__(self, options: OpenVINOOptions, child: Sequence[str] = CHILD) -> None:
        self._options = options
        patience = Patience(
            start_seconds=options.start_seconds, silence_seconds=options.silence_seconds
        )
        super().__init__(child, patience)
        kept = options.live_requests
        self._live_requests = _LIVE_REQUESTS if kept is None else kept
        self._live_apart = kept is not None or options.model == weights.DEFAULT_MODEL
        """Whether these have a process of their own."""
        what = f"The {self.name} engine's process for live requests"
        self._front = FrontChild(what, child, patience, self._child)
        self._setup: ModelSetup | None = None
        self._batch_requests = 0
        """Requests of batches that are inside."""
        self._model_version = ""
        self._capacity = Capacity(with_spare(options.requests), live=self._live_requests)

    @classmethod
    def from_options(cls, options: Options) -> OpenVINOEngine:
        """Read the settings table."""
        return cls(options_of(cls.name, options, OpenVINOOptions))

    @property
    def capabilities(self) -> frozenset[Capability]:
        """Text, also piece by piece and of a form, and calls."""
        return _CAPABILITIES | ({Capability.TOOLS} if self._options.functions else set())

    @property
    def capacity(self) -> Capacity:
        """A few more than are computed, so that an ended one is replaced without a round trip."""
        return self._capacity

    async def open(self, progress: Progress = ignore_progress) -> None:
        """Prepare the weights (once: fetched and converted) and start the child."""
        options = self._options
        prepared = await asyncio.to_thread(
            weights.prepare,
            options.model,
            cache_directory(options.cache_directory),
            convert=options.convert,
            progress=told_from_threads(progress),
        )
        progress(f"Loading {prepared.model_version}", None)
        self._setup = setup_of(options, prepared)
        try:
            await self._child.open(self._setup)
        except EngineDown as down:
            raise EngineDown(f"{down.message}\n{ALTERNATIVES}") from down
        self._model_version = prepared.model_version
        offer = self._child.greeting(Offer)
        self._tokens_max = offer.tokens_max
        tokens = offer.cache_tokens
        if self._live_requests and not self._live_apart:
            tokens -= tokens // _LIVE_CACHE_SHARE
        self._capacity = Capacity(with_spare(options.requests), tokens, self._live_requests)

    @property
    def live_pid(self) -> int | None:
        """The process that computes what somebody waits for; None while there is none."""
        return self._front.process_id

    async def close(self) -> None:
        """End the children."""
        await self._front.close()
        await super().close()

    def hung(self, since: float) -> None:
        """Have both children started again: which of them it was is not known."""
        self._front.hung(since)
        super().hung(since)

    async def generate(self, prompt: Prompt) -> Reply:
        """Have a child answer."""
        if prompt.live:
            async with aclosing(self._pieces("generate", prompt)) as pieces:
                *_, reply = [piece async for piece in pieces]
            assert isinstance(reply, Reply), "the last of all"
            return reply
        self._batch_requests += 1
        try:
            return await super().generate(prompt)
        finally:
            self._batch_requests -= 1

    async def stream(self, prompt: Prompt) -> AsyncGenerator[str | Reply, None]:
        """Have a child answer, and tell what is certain of the answer after each step."""
        async with aclosing(self._pieces("stream", prompt)) as pieces:
            async for piece in pieces:
                if piece is not None:
                    yield piece

    async def _pieces(self, verb: str, prompt: Prompt) -> AsyncGenerator[str | Reply | None, None]:
        """Give what a child says of an answer: None when it begins, if somebody waits for it."""
        with prompt_demanded(prompt, self._tokens_max):
            async with aclosing(self._line(prompt)(verb, prompt)) as answers:
                async for answer in answers:
                    yield read_answer(answer, str | Reply | None)

    def _line(self, prompt: Prompt) -> Callable[[str, object], AsyncGenerator[Raw, None]]:
        """Choose the child that answers a prompt; the second one is for those who wait.

        Those beyond its requests have the first one, where they come before any of a batch.
        """
        if prompt.live and self._live_requests and self._live_apart:
            if self._front.answering:
                full = self._front.inside >= self._live_requests
                return self._child.answers if full else self._front.answers
            if self._batch_requests and self._setup is not None:
                self._front.open_soon(structs.replace(self._setup, requests=self._live_requests))
        return self._child.answers

    async def count_tokens(self, prompt: Prompt) -> int:
        """Count with the model's own tokenizer and template."""
        ask = self._front.ask if self._front.answering else self._child.ask
        with prompt_demanded(prompt, self._tokens_max):
            return await ask("count_tokens", prompt, int)

    def cost(self, asked: Asked) -> int:
        """Estimate from the length of the text and the output limit."""
        if not isinstance(asked, Prompt):
            return 0  # It will be refused.
        texts = [message.words for message in asked.messages] + [system_of(asked) or ""]
        size_bytes = sum(len(text.encode(errors="replace")) for text in texts)
        output_tokens = asked.sampling.max_output_tokens or limits.OUTPUT_TOKENS_DEFAULT
        template_tokens = _TEMPLATE_TOKENS + (_FUNCTIONS_TOKENS if decides(asked) else 0)
        return size_bytes // _BYTES_PER_TOKEN + template_tokens + output_tokens

    async def likelihood(self, mode: Mode = "fast") -> dict[str, Any]:
        """Check that the model is computed rightly; see `likelihood`.

        Returns:
            By passage: ``measured`` and ``reference`` (each ``nats_per_token`` and ``tokens``) and
            ``passed``; the latter two are None for a model without stored reference values.
        """
        comparison = await self._compared(mode)
        return {name: msgspec.to_builtins(one) for name, one in comparison.items()}

    async def self_check(self) -> list[Finding]:
        """Hold the likelihood of fixed passages against the reference; see `likelihood`."""
        found = findings_of(self.name, await self._compared("fast"))
        return [*found, *findings_about(self.name)]

    async def _compared(self, mode: Mode) -> dict[str, Comparison]:
        measured = await self._child.ask("likelihood", mode, dict[str, Measured])
        return compare(self._model_version, measured)


def setup_of(options: OpenVINOOptions, prepared: weights.Weights) -> ModelSetup:
    """Put together what the child is told."""
    return ModelSetup(
        path=str(prepared.path),
        model_version=prepared.model_version,
        context_tokens=prepared.context_tokens,
        kv_cache_gib=options.kv_cache_gib,
        kv_cache_precision=options.kv_cache_precision,
        threads=options.threads,
        requests=options.requests,
        reproducible=options.reproducible,
        ignore_eos=options.ignore_eos,
        functions=options.functions,
    )
