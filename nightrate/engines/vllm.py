"""vLLM in a supervised child process of ours: an engine for machines with a GPU."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from nightrate import clock
from nightrate.domain.generation import (
    Capability,
    LogprobsWish,
    Message,
    Prompt,
    Sampling,
)
from nightrate.engines.base import Capacity, Finding, Options, Progress, ignore_progress
from nightrate.engines.child import Patience
from nightrate.engines.child_engine import ModelEngine, with_spare
from nightrate.engines.options import options_of
from nightrate.engines.vllm_child import Offer
from nightrate.engines.vllm_model import VLLMSetup
from nightrate.errors import EngineDown

ENVIRONMENT = (
    *("VLLM_NO_USAGE_STATS=1", "HF_HUB_DISABLE_TELEMETRY=1"),
    # Its last words are what went wrong, not how it went along.
    "VLLM_LOGGING_LEVEL=WARNING",
)
"""What vLLM is told before it is imported: it reports nothing to anybody."""

CHILD = (sys.executable, "-m", "nightrate.engines.vllm_child")

ALTERNATIVES = (
    "Where there is no GPU, the engine `openvino` answers on the processor, and the engine `openai`"
    " asks a vLLM on another machine."
)

_STARTS = 2
"""Failed starts in a row after which it is given up: each may take minutes."""

_SEEDS = 1 << 32

Whole = Annotated[int, Meta(ge=1)]
Seconds = Annotated[float, Meta(gt=0)]

_CAPABILITIES = frozenset(
    {
        *(Capability.TEXT, Capability.STREAM, Capability.SCHEMA, Capability.CALLS),
        *(Capability.LOGPROBS, Capability.TOP_LOGPROBS),
    }
)


class VLLMOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Settings of vLLM."""

    model: str
    """A name at Hugging Face, or the path of a folder with the model's files."""
    revision: str | None = None
    """Which version of the model at Hugging Face; the newest by default."""
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = "auto"
    """The numbers it computes with; auto: those of the model's files."""
    quantization: str | None = None
    """How the weights are compressed, in vLLM's words; by default as the model's files say."""
    context_tokens_max: Whole | None = None
    """The longest prompt with its answer; by default as long as the model allows."""
    gpu_memory_share: Annotated[float, Meta(gt=0, le=1)] = 0.9
    """Of each GPU's memory, for weights and attention cache together."""
    kv_cache_gib: Whole | None = None
    """Attention cache of each GPU; by default what the share of memory leaves."""
    tensor_parallel: Whole = 1
    """How many GPUs each layer is spread over."""
    requests: Whole = 256
    """How many requests of batches are computed at once."""
    live_requests: Annotated[int, Meta(ge=0)] = 16
    """How many live requests have places beside them; 0: they share the others, and come first."""
    step_tokens_max: Whole | None = None
    """Tokens of one step of all requests together; vLLM chooses by default."""
    seed: Annotated[int, Meta(ge=0, lt=_SEEDS)] | None = None
    """Of what is drawn for requests that bring none; by default another at each start."""
    reproducible: bool = False
    """Whether no answer depends on its neighbours; slower, and not for every GPU and model."""
    eager: bool = False
    """Whether nothing is compiled ahead: ready sooner, and slower from then on."""
    trust_remote_code: bool = False
    """Whether code that comes with the model's files may run here."""
    chat_template: str | None = None
    """A file with a chat template in Jinja, instead of the model's own."""
    functions: bool = False
    """Whether its model was trained to call functions, so that it decides by itself if it does."""
    start_seconds: Seconds = 1800.0
    """How long the model may take to load, with its files fetched and kernels compiled."""
    silence_seconds: Seconds = 120.0
    """A child that works without a sign of life for this long is killed and started again."""
    ignore_eos: bool = False
    """For benchmarks: every answer runs to its token limit."""


class VLLMEngine(ModelEngine):
    """Answers with a model on this machine's GPUs."""

    name = "vllm"

    reuses_beginnings = True

    def __init__(self, options: VLLMOptions, child: Sequence[str] = CHILD) -> None:
        self._options = options
        super().__init__(
            command_of(options, child),
            Patience(
                start_seconds=options.start_seconds,
                silence_seconds=options.silence_seconds,
                starts=_STARTS,
            ),
        )
        live = with_spare(options.live_requests)
        self._capacity = Capacity(with_spare(options.requests), live=live)

    @classmethod
    def from_options(cls, options: Options) -> VLLMEngine:
        """Read the settings table."""
        return cls(options_of("vllm", options, VLLMOptions))

    @property
    def capabilities(self) -> frozenset[Capability]:
        """Text, also piece by piece, of a form and with likely others; and calls."""
        return _CAPABILITIES | ({Capability.TOOLS} if self._options.functions else set())

    @property
    def capacity(self) -> Capacity:
        """A few more than are computed, so that an ended one is replaced without a round trip.

        vLLM itself minds how many tokens fit into its cache.
        """
        return self._capacity

    async def open(self, progress: Progress = ignore_progress) -> None:
        """Start the child, which loads the model."""
        setup = setup_of(self._options)
        progress(f"Loading {setup.model_version} into vLLM", None)
        try:
            await self._child.open(setup)
        except EngineDown as down:
            raise EngineDown(f"{down.message}\n{ALTERNATIVES}") from down
        self._tokens_max = self._child.greeting(Offer).tokens_max

    async def self_check(self) -> list[Finding]:
        """Tell what vLLM has room for, and whether an answer comes again with temperature 0."""
        offer = self._child.greeting(Offer)
        room = (
            f"{offer.tokens_max:,} tokens for a prompt with its answer, {offer.cache_tokens:,} "
            "for all together"
        )
        enough = offer.cache_tokens >= offer.tokens_max
        remedy = "raise `gpu_memory_share`, or lower `context_tokens_max`"
        first, second = await self.generate(_AGAIN), await self.generate(_AGAIN)
        likely = [token.log_probability for token in first.candidates[0].tokens]
        again = first.candidates[0].text == second.candidates[0].text
        mean = sum(likely) / len(likely) if likely else 0.0
        found = f"{'the same' if again else 'another'} answer, {-mean:.3f} nats a token"
        return [
            Finding(f"{self.name}: room", enough, room, "" if enough else remedy),
            Finding(
                f"{self.name}: the same prompt twice",
                again,
                found,
                "" if again else "set `reproducible = true`, or do not rely on temperature 0",
            ),
        ]


_AGAIN = Prompt(
    messages=(Message("user", "Name the days of the week."),),
    sampling=Sampling(temperature=0.0, max_output_tokens=32),
    logprobs=LogprobsWish(0, "logprobs"),
)


def command_of(options: VLLMOptions, child: Sequence[str]) -> tuple[str, ...]:
    """Give the command that is the child: vLLM reads some of its settings from the environment."""
    more = ("VLLM_BATCH_INVARIANT=1",) if options.reproducible else ()
    return ("env", *ENVIRONMENT, *more, *child)


def setup_of(options: VLLMOptions) -> VLLMSetup:
    """Put together what the child is told.

    Raises:
        EngineDown: the model is a path, and there is nothing.
    """
    model, version = options.model, options.model
    folder = Path(model).expanduser()
    if folder.is_dir():
        model, version = str(folder), folder.resolve().name.lower()
    elif model.startswith(("/", ".", "~")):
        raise EngineDown(
            f"There is no folder {folder}. Set `model` to a folder with the model's files, or to a "
            "name at Hugging Face."
        )
    seed = options.seed
    return VLLMSetup(
        model=model,
        model_version=version,
        revision=options.revision,
        dtype=options.dtype,
        quantization=options.quantization,
        context_tokens_max=options.context_tokens_max,
        gpu_memory_share=options.gpu_memory_share,
        kv_cache_gib=options.kv_cache_gib,
        tensor_parallel=options.tensor_parallel,
        requests=options.requests,
        live_requests=options.live_requests,
        step_tokens_max=options.step_tokens_max,
        seed=int(clock.jitter() * _SEEDS) if seed is None else seed,
        eager=options.eager,
        trust_remote_code=options.trust_remote_code,
        chat_template=options.chat_template,
        functions=options.functions,
        ignore_eos=options.ignore_eos,
    )
