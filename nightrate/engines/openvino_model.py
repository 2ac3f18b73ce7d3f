"""OpenVINO GenAI, touched here only: loading, tokens, sampling settings and the batching pipelines.

Runs in the engine's child process. The library's usage reports are switched off before it is
imported.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from msgspec import Struct

from nightrate import clock
from nightrate.domain.generation import Prompt, Sampling
from nightrate.engines.call_syntaxes import CallSyntax, syntax_of
from nightrate.engines.grammars import grammar_of_prompt
from nightrate.engines.likelihood import Measured, Mode
from nightrate.engines.prefixes import BLOCK_TOKENS
from nightrate.engines.sampling import (
    TEMPERATURE_DEFAULT,
    TOP_K_DEFAULT,
    TOP_P_DEFAULT,
    check_sampling,
    either,
    output_tokens_max,
)
from nightrate.engines.token_memory import TokenMemory, sound_cuts
from nightrate.engines.told import Told, decides, ways_to_tell
from nightrate.errors import Code, RequestFailed

EXACT_PROPERTIES = {
    "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0",
    "KV_CACHE_PRECISION": "f32",
    "INFERENCE_PRECISION_HINT": "f32",
}
"""With these an answer does not depend on its neighbours; measured identical, at half the speed."""

CachePrecision = Literal["f16", "u8"]
"""How the fast mode keeps the keys and values of its attention cache."""

STEP_TOKENS_MAX = 512
"""Tokens of one step: enough to fill the processor, few enough for a step to stay short."""

_CONTEXT_TOKENS_USUAL = 1 << 16
"""Assumed where the files do not say; only the tokenizer's limit is looked for with it."""

_SEQUENCES_MAX = 256
_SEEDS = 1 << 64
_WARM_UP_TOKENS = BLOCK_TOKENS + 1
"""Takes two blocks, so that the share in use tells how many there are."""


class ModelSetup(Struct, frozen=True, kw_only=True):
    """What the child loads, and how: its first frame."""

    path: str
    model_version: str
    context_tokens: int | None
    kv_cache_gib: int
    threads: int | None
    requests: int
    reproducible: Literal["auto", "always", "never"]
    ignore_eos: bool
    kv_cache_precision: CachePrecision = "f16"
    functions: bool = False
    """Whether it calls functions as it sees fit."""


class Encoded(Struct, frozen=True):
    """A prompt as the model sees it: token ids of shape (1, tokens)."""

    ids: Any
    tokens: int


def import_openvino() -> tuple[Any, Any]:
    """Import the library with its usage reports switched off, and give (openvino, genai).

    Raises:
        ImportError: it is not installed, or not made for this machine.
    """
    # The library falls back to a stub when its reporting package cannot be imported.
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    import openvino
    import openvino_genai

    return openvino, openvino_genai


class Model:
    """A loaded tokenizer, and pipelines made when they are first needed."""

    def __init__(self, setup: ModelSetup) -> None:
        self.setup = setup
        self.openvino, self.genai = import_openvino()
        self.finished = {self.genai.GenerationStatus.FINISHED, self.genai.GenerationStatus.STOP}
        self.running = self.genai.GenerationStatus.RUNNING
        self.length = self.genai.GenerationFinishReason.LENGTH
        self._path = Path(setup.path)
        self._tokenizer = self.genai.Tokenizer(self._path)
        self._tokenizer_tokens_max = self._find_tokenizer_limit()
        template = str(self._tokenizer.chat_template)
        self._silent = self._silent_words()
        self._control = list(self._silent)
        turns = [word for word in self._control if word in template]
        self.syntax: CallSyntax | None = syntax_of(template) if setup.functions else None
        """How the model writes calls where it decides; None, where it never does."""
        markers = self.syntax.markers if self.syntax is not None else ()
        self._left_out = {number for word, number in self._silent.items() if word not in markers}
        if self.syntax is not None:
            # Words around calls and their results steer the model; decoding lets many of them in.
            told = {word for word, _ in self._bracketed() if word[0] == "<" and word in template}
            self._control += told.difference(self._silent)
        self._memory = TokenMemory(self._ids, sound_cuts(self._ids, turns))

    def mode_of(self, sampling: Sampling) -> Mode:
        """Choose the pipeline for a request."""
        choice = self.setup.reproducible
        if choice == "always" or (choice == "auto" and sampling.reproducible):
            return "exact"
        return "fast"

    def pipeline(self, mode: Mode) -> tuple[Any, int]:
        """Load a pipeline and warm it up; give it with the tokens its attention cache holds."""
        pipeline = self._load(mode, cache_gib=self.setup.kv_cache_gib, reuse_prefixes=True)
        return pipeline, self._warm_up(pipeline)

    def _load(self, mode: Mode, *, cache_gib: int, reuse_prefixes: bool) -> Any:
        fast = {"KV_CACHE_PRECISION": self.setup.kv_cache_precision}
        properties: dict[str, Any] = dict(EXACT_PROPERTIES if mode == "exact" else fast)
        if self.setup.threads is not None:
            properties["INFERENCE_NUM_THREADS"] = self.setup.threads
        scheduler = self.genai.SchedulerConfig()
        scheduler.max_num_batched_tokens = STEP_TOKENS_MAX
        scheduler.max_num_seqs = _SEQUENCES_MAX
        scheduler.cache_size = cache_gib
        scheduler.dynamic_split_fuse = True
        scheduler.enable_prefix_caching = reuse_prefixes
        return self.genai.ContinuousBatchingPipeline(
            self._path, self._tokenizer, scheduler, "CPU", **properties
        )

    def _warm_up(self, pipeline: Any) -> int:
        import numpy as np

        ids = np.zeros((1, _WARM_UP_TOKENS), dtype=np.int64)
        config = self._config(2)
        config.ignore_eos = True
        handle = pipeline.add_request(0, self.openvino.Tensor(ids), config)
        pipeline.step()
        share_percent = pipeline.get_metrics().cache_usage
        while pipeline.has_non_finished_requests():
            pipeline.step()
        handle.read_all()
        blocks = -(-_WARM_UP_TOKENS // BLOCK_TOKENS)
        return int(blocks * 100 / share_percent) * BLOCK_TOKENS

    def encode(self, prompt: Prompt) -> Encoded:
        """Put a conversation into the model's template and give its token ids.

        Raises:
            RequestFailed: the template does not take it.
        """
        for told in ways_to_tell(prompt, self._control, self.syntax):
            rendered = self._rendered(told)
            if rendered is not None and told.kept_in(rendered):
                return self.encode_text(*told.pieces(rendered))
        message = "The model's chat template has no place for such a conversation."
        raise RequestFailed(message, code=Code.INVALID_ARGUMENT)

    def _rendered(self, told: Told) -> str | None:
        """Have the template make a text; None where it does not take the conversation."""
        tools = {} if told.tools is None else {"tools": told.tools}
        render = self._tokenizer.apply_chat_template
        try:
            return str(render(told.turns, add_generation_prompt=True, **tools))
        except RuntimeError:  # The library's only word for that.
            return None

    def encode_text(self, *pieces: str) -> Encoded:
        """Give the token ids of some pieces of text, one after the other."""
        import numpy as np

        parts = [part for piece in pieces for part in self._memory.parts(piece)]
        ids = np.concatenate(parts)[np.newaxis]
        return Encoded(self.openvino.Tensor(ids), int(ids.shape[1]))

    def cut(self, encoded: Encoded, tokens: int) -> Encoded:
        """Give the beginning of a prompt."""
        return Encoded(self.openvino.Tensor(encoded.ids.data[:, :tokens].copy()), tokens)

    def _ids(self, text: str) -> Any:
        """Give the token ids of a text, as an array.

        It is read in halves if need be: the tokenizer cuts off silently at its own limit. What is
        longer than that fits into no context; it is encoded in order to be counted.
        """
        import numpy as np

        # Copied: the tokenizer writes its next answer into the same memory.
        read = self._tokenizer.encode(text, add_special_tokens=False).input_ids.data
        ids = np.array(read[0], dtype=np.int64)
        if len(ids) < self._tokenizer_tokens_max or len(text) == 1:
            return ids
        middle = text.rfind(" ", 1, len(text) // 2)
        middle = middle if middle > 0 else len(text) // 2
        return np.concatenate([self._ids(text[:middle]), self._ids(text[middle:])])

    def _find_tokenizer_limit(self) -> float:
        """Find out after how many tokens the tokenizer cuts a text off."""
        words = 2 * (self.setup.context_tokens or _CONTEXT_TOKENS_USUAL)
        ids = self._tokenizer.encode(" a" * words, add_special_tokens=False).input_ids
        return int(ids.shape[1]) if ids.shape[1] < words else math.inf

    def decode(self, ids: list[int]) -> str:
        """Give the text of generated tokens, without control tokens and unfinished characters."""
        return str(self._tokenizer.decode(ids)) if ids else ""

    def decoder(self, prompt: Prompt) -> Callable[[list[int]], str]:
        """Give what makes the text of an answer, in which its calls can be found."""
        return self._decode_with_calls if decides(prompt) else self.decode

    def _decode_with_calls(self, ids: list[int]) -> str:
        """Give the text with the words that mark calls, though they may be control tokens."""
        kept = [number for number in ids if number not in self._left_out]
        return str(self._tokenizer.decode(kept, skip_special_tokens=False)) if kept else ""

    def _silent_words(self) -> dict[str, int]:
        """Give the words of the vocabulary that are control tokens: decoding leaves them out."""
        decode = self._tokenizer.decode
        return {word: number for word, number in self._bracketed() if not decode([number])}

    def _bracketed(self) -> list[tuple[str, int]]:
        """Give the words of the vocabulary that stand in brackets, as control words do."""
        brackets = {b"<": b">", b"[": b"]"}
        return [
            (word.decode(errors="replace"), number)
            for word, number in self._tokenizer.get_vocab().items()
            if len(word) > len("<>") and brackets.get(word[:1]) == word[-1:]
        ]

    def tokens_max(self, cache_tokens: int) -> int:
        """Give how many tokens a prompt and its answer may have together."""
        return min(self.setup.context_tokens or cache_tokens, cache_tokens)

    def config(self, prompt: Prompt, prompt_tokens: int, tokens_max: int) -> Any:
        """Turn sampling settings and the form of the answer into the library's settings.

        Raises:
            RequestFailed: a value is out of range, the prompt leaves no room for an answer, or the
                form has bounds that no grammar of a sensible size keeps.
        """
        sampling = prompt.sampling
        check_sampling(sampling)
        config = self._config(output_tokens_max(sampling, prompt_tokens, tokens_max))
        config.ignore_eos = self.setup.ignore_eos
        config.presence_penalty = sampling.presence_penalty or 0.0
        config.frequency_penalty = sampling.frequency_penalty or 0.0
        temperature = either(sampling.temperature, TEMPERATURE_DEFAULT)
        top_p = either(sampling.top_p, TOP_P_DEFAULT)
        if temperature > 0 and top_p > 0:
            config.do_sample = True
            config.temperature = temperature
            config.top_p = top_p
            config.top_k = either(sampling.top_k, TOP_K_DEFAULT)
            seed = sampling.seed
            config.rng_seed = int(clock.jitter() * _SEEDS) if seed is None else seed % _SEEDS
        if prompt.logprobs is not None:
            config.logprobs = 1
        if (grammar := grammar_of_prompt(prompt)) is not None:
            # The library compiles it in the next step, and keeps what it has compiled. A grammar
            # that it did not understand would break the pipeline: ours are made, never passed on.
            structure = self.genai.StructuredOutputConfig()
            structure.grammar = grammar
            config.structured_output_config = structure
        return config

    def reading_config(self) -> Any:
        """Give the library's settings for a prompt that is read for what others begin with."""
        return self._config(1)

    def likelihoods(self, mode: Mode, passages: dict[str, str]) -> dict[str, Measured]:
        """Measure how likely the model finds some texts. Nothing else runs meanwhile.

        The pipeline is loaded like those that answer, but for prefix reuse: tokens that are not
        computed have no likelihood.
        """
        pipeline = self._load(mode, cache_gib=1, reuse_prefixes=False)
        config = self._config(1)
        config.echo = True
        config.logprobs = 1
        measured = {}
        for number, (name, text) in enumerate(passages.items()):
            encoded = self.encode_text(text)
            handle = pipeline.add_request(number, encoded.ids, config)
            while pipeline.has_non_finished_requests():
                pipeline.step()
            # The first token follows nothing; what is generated after the text does not count.
            logs = list(handle.read_all()[0].generated_log_probs)[1 : encoded.tokens]
            measured[name] = Measured(-math.fsum(logs) / len(logs), encoded.tokens)
        return measured

    def _config(self, output_tokens: int) -> Any:
        config = self.genai.GenerationConfig()
        config.max_new_tokens = output_tokens
        config.do_sample = False
        config.stop_token_ids = {self._tokenizer.get_eos_token_id()}
        config.eos_token_id = self._tokenizer.get_eos_token_id()
        return config
