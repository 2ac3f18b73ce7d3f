"""vLLM, touched here only: loading, tokens, sampling settings, and the engine that runs them.

Runs in the engine's child process. vLLM's scheduler and the weights live in processes of its own,
which it starts; this one cuts texts into tokens and puts answers together.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from msgspec import Struct

from nightrate import limits
from nightrate.domain.generation import Prompt, Token
from nightrate.domain.guidance import Thinking
from nightrate.engines.call_syntaxes import CallSyntax, syntax_of
from nightrate.engines.chat_templates import thinking_variables
from nightrate.engines.grammars import grammar_of_prompt
from nightrate.engines.sampling import (
    TEMPERATURE_DEFAULT,
    TOP_K_DEFAULT,
    TOP_P_DEFAULT,
    check_sampling,
    either,
    output_tokens_max,
)
from nightrate.engines.told import Told, ways_to_tell
from nightrate.errors import Code, RequestFailed

_SEEDS = 1 << 63
"""vLLM draws with whole numbers of 64 bits, and takes -1 for none."""

_AWAITED, _PATIENT = 0, 1
"""Priorities: the smaller one is let in first, and thrown out last when the cache is full."""

_LOG_PROBABILITY_MIN = -9999.0
"""Told in place of minus infinity, which JSON cannot write."""

_REASON_CHARACTERS_MAX = 300

_OTHERWISE = (
    "Set `functions = false`, or `chat_template` to a file with one that its model was trained with"
)


class VLLMSetup(Struct, frozen=True, kw_only=True):
    """What the child loads, and how: its first frame."""

    model: str
    model_version: str
    revision: str | None
    dtype: str
    quantization: str | None
    context_tokens_max: int | None
    gpu_memory_share: float
    kv_cache_gib: int | None
    tensor_parallel: int
    requests: int
    live_requests: int
    step_tokens_max: int | None
    seed: int
    eager: bool
    trust_remote_code: bool
    chat_template: str | None
    ignore_eos: bool
    functions: bool = False
    """Whether it calls functions as it sees fit."""


class EngineStopped(Exception):
    """vLLM's own processes are gone; nothing can be asked any more."""


class Model:
    """A running vLLM engine with its tokenizer.

    Made within a running event loop, and used in that loop only.
    """

    def __init__(self, setup: VLLMSetup) -> None:
        """Load.

        Raises:
            ImportError: vLLM is not installed, or not made for this machine.
            OSError: the model's files cannot be had.
            ValueError: vLLM does not take these settings for this model.
            RuntimeError: there is nothing to run on, or no chat template, or none that says how the
                model calls functions if it shall.
            EngineStopped: the processes that it started could not load the model.
        """
        self.setup = setup
        self._vllm = vllm = _import_vllm()
        from vllm.platforms import current_platform

        if current_platform.is_unspecified():
            raise RuntimeError(
                "it finds no GPU here. Look whether the driver lists one (`nvidia-smi`), and "
                "whether this process may use it"
            )
        from vllm.engine.arg_utils import AsyncEngineArgs
        from vllm.usage.usage_lib import UsageContext
        from vllm.v1.engine.async_llm import AsyncLLM

        config = AsyncEngineArgs(**arguments_of(setup)).create_engine_config(
            UsageContext.ENGINE_CONTEXT
        )
        try:
            self._llm: Any = AsyncLLM.from_vllm_config(config, disable_log_stats=True)
        except RuntimeError as error:
            # What went wrong was printed by the process that it happened in.
            raise EngineStopped from error
        self.tokens_max = int(config.model_config.max_model_len)
        self.cache_tokens = int(config.cache_config.kv_cache_size_tokens or 0)
        self._defaults = config.model_config.get_diff_sampling_param()
        self._inputs = vllm.inputs.tokens_input
        self._params = vllm.SamplingParams
        self._structures = vllm.sampling_params.StructuredOutputsParams
        self._kinds = vllm.sampling_params.RequestOutputKind
        self._tokenizer: Any = self._llm.get_tokenizer()
        self._template = self._find_template()
        self.syntax: CallSyntax | None = None
        """How the model writes calls where it decides; None, where it never does."""
        self._left_out: frozenset[int] | None = None
        if setup.functions:
            self.syntax = syntax_of(self._template, _OTHERWISE)
            self._left_out = silent_beside_calls(self.syntax, self._tokenizer)
        self._control = sorted(self._tokenizer.get_added_vocab(), key=len, reverse=True)
        self._silent = frozenset(self._tokenizer.all_special_ids)
        # One thread: a tokenizer is not made for several, and long texts must not hold up answers.
        self._encoder = ThreadPoolExecutor(1, "tokens")

    def _find_template(self) -> str:
        if self.setup.chat_template is not None:
            return Path(self.setup.chat_template).expanduser().read_text("utf-8")
        try:
            return str(self._tokenizer.get_chat_template())
        except ValueError as error:
            raise RuntimeError(
                "it has no chat template, so it was not made for conversations. Set "
                "`chat_template` to a file with one, in Jinja"
            ) from error

    async def encode(self, prompt: Prompt) -> list[int]:
        """Put a conversation into the model's template and give its token ids.

        Raises:
            RequestFailed: the template has no place for such a conversation, or nothing would
                hold the model to how long it may think.
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._encoder, self._encode, prompt)

    def _encode(self, prompt: Prompt) -> list[int]:
        ids: list[int] = []
        for piece in self._rendered(prompt):
            ids += self._tokenizer.encode(piece, add_special_tokens=False)
        return ids

    def _rendered(self, prompt: Prompt) -> list[str]:
        """Render a conversation; one that the template refuses, in the form that all of them take.

        Some templates know no system, or want the roles to take turns.
        """
        from jinja2 import TemplateError

        refusal: TemplateError | None = None
        for told in ways_to_tell(prompt, self._control, self.syntax, alternate=True):
            try:
                rendered = self._render(told, prompt.thinking)
            except TemplateError as error:
                refusal = error
                continue
            if told.kept_in(rendered):
                return told.pieces(rendered)
        message = "The model's chat template has no place for such a conversation."
        raise RequestFailed(message, code=Code.INVALID_ARGUMENT) from refusal

    def _render(self, told: Told, thinking: Thinking | None) -> str:
        tools = {} if told.tools is None else {"tools": told.tools}
        return str(
            self._tokenizer.apply_chat_template(
                told.turns,
                chat_template=self._template,
                tokenize=False,
                add_generation_prompt=True,
                **tools,
                **thinking_variables(thinking, self._template),
            )
        )

    def params(self, prompt: Prompt, prompt_tokens: int, *, streamed: bool) -> Any:
        """Turn sampling settings and the form of the answer into vLLM's settings.

        Raises:
            RequestFailed: a value is out of range, the prompt leaves no room for an answer, or the
                form has bounds that no grammar of a sensible size keeps.
        """
        sampling, defaults = prompt.sampling, self._defaults
        check_sampling(sampling)
        temperature = either(sampling.temperature, defaults.get("temperature", TEMPERATURE_DEFAULT))
        top_p = either(sampling.top_p, defaults.get("top_p", TOP_P_DEFAULT))
        drawn = temperature > 0 and top_p > 0
        seed = sampling.seed
        settings: dict[str, Any] = {
            "temperature": temperature if drawn else 0.0,
            "top_p": top_p if drawn else 1.0,
            "top_k": either(sampling.top_k, defaults.get("top_k", TOP_K_DEFAULT)) if drawn else 0,
            "min_p": defaults.get("min_p", 0.0) if drawn else 0.0,
            "repetition_penalty": defaults.get("repetition_penalty", 1.0),
            "presence_penalty": _penalty(sampling.presence_penalty, defaults, "presence_penalty"),
            "frequency_penalty": _penalty(
                sampling.frequency_penalty, defaults, "frequency_penalty"
            ),
            "seed": None if seed is None else seed % _SEEDS,
            "max_tokens": output_tokens_max(sampling, prompt_tokens, self.tokens_max),
            # With the sequence in the text, `certainty` decides about it, as for every engine.
            "stop": list(sampling.stop),
            "include_stop_str_in_output": True,
            "ignore_eos": self.setup.ignore_eos,
            "logprobs": None if prompt.logprobs is None else prompt.logprobs.others,
            "output_kind": self._kinds.DELTA if streamed else self._kinds.FINAL_ONLY,
            "skip_clone": True,
        }
        if (grammar := grammar_of_prompt(prompt)) is not None:
            settings["structured_outputs"] = self._structures(grammar=grammar)
        return self._made(settings)

    def _made(self, settings: dict[str, Any]) -> Any:
        from vllm.exceptions import VLLMClientError

        try:
            return self._params(**settings)
        except (VLLMClientError, ValueError) as error:
            raise _refused(error) from error

    async def outputs(
        self, number: int, ids: list[int], params: Any, *, live: bool
    ) -> AsyncGenerator[Any, None]:
        """Have vLLM answer; closing withdraws the request.

        Raises:
            RequestFailed: vLLM refuses these settings, or failed over this request.
            EngineStopped: its processes are gone.
        """
        from vllm.exceptions import VLLMClientError
        from vllm.v1.engine.exceptions import EngineDeadError, EngineGenerateError

        priority = _AWAITED if live else _PATIENT
        answers = self._llm.generate(self._inputs(ids), params, str(number), priority=priority)
        try:
            async for answer in answers:
                yield answer
        except EngineDeadError as error:
            raise EngineStopped from error
        except EngineGenerateError as error:
            message = "vLLM failed over this request."
            raise RequestFailed(message, code=Code.INTERNAL, retriable=True) from error
        except (VLLMClientError, ValueError) as error:
            raise _refused(error) from error
        finally:
            await answers.aclose()

    def text_with_calls(self, ids: list[int], text: str) -> str:
        """Give the text of an answer that may call functions, with the words that mark its calls.

        vLLM leaves them out where they are special tokens, and then they are read from the ids; see
        `silent_beside_calls`.
        """
        if self._left_out is None:
            return text
        kept = [number for number in ids if number not in self._left_out]
        decode = self._tokenizer.decode
        return str(decode(kept, skip_special_tokens=False, clean_up_tokenization_spaces=False))

    def tokens(self, ids: list[int], places: Any, others: int) -> tuple[Token, ...]:
        """Say how likely each token was, and so many of those that could have stood there."""
        told = []
        for token_id, place in zip(ids, places, strict=False):
            ranked = sorted(place.items(), key=lambda item: -item[1].logprob)[:others]
            rivals = tuple(self._token(number, one) for number, one in ranked)
            token = self._token(token_id, place[token_id])
            told.append(Token(token.text, token.log_probability, token_id, rivals))
        return tuple(told)

    def _token(self, token_id: int, one: Any) -> Token:
        text = "" if token_id in self._silent else one.decoded_token or ""
        return Token(text, min(0.0, max(_LOG_PROBABILITY_MIN, one.logprob)), token_id)

    async def pulse(self) -> None:
        """Return once vLLM's own loop has answered: between two steps, so it goes on.

        Raises:
            EngineStopped: its processes are gone.
        """
        from vllm.v1.engine.exceptions import EngineDeadError

        try:
            await self._llm.check_health()
            await self._llm.is_sleeping()
        except EngineDeadError as error:
            raise EngineStopped from error


def _import_vllm() -> Any:
    try:
        import vllm
        import vllm.inputs
        import vllm.sampling_params
    except ImportError as error:
        raise ImportError(
            f"{error}. Install it beside Nightrate, on a machine with a GPU: "
            "pip install 'nightrate[vllm]'"
        ) from error
    return vllm


def silent_beside_calls(syntax: CallSyntax, tokenizer: Any) -> frozenset[int] | None:
    """Give the special tokens that mark no call, which no text has; None if that is all of them."""
    special = {
        number: str(word) for number, word in tokenizer.added_tokens_decoder.items() if word.special
    }
    silent = frozenset(number for number, word in special.items() if word not in syntax.markers)
    return silent if len(silent) < len(special) else None


def arguments_of(setup: VLLMSetup) -> dict[str, Any]:
    """Say what is loaded, and how, in the words of vLLM's ``EngineArgs``."""
    cache = setup.kv_cache_gib
    return {
        "model": setup.model,
        "revision": setup.revision,
        "tokenizer_revision": setup.revision,
        "tokenizer_mode": "hf",
        "runner": "generate",
        "dtype": setup.dtype,
        "quantization": setup.quantization,
        "max_model_len": setup.context_tokens_max,
        "gpu_memory_utilization": setup.gpu_memory_share,
        "kv_cache_memory_bytes": None if cache is None else cache * limits.GIB,
        "tensor_parallel_size": setup.tensor_parallel,
        "max_num_seqs": setup.requests + setup.live_requests,
        "max_num_batched_tokens": setup.step_tokens_max,
        "seed": setup.seed,
        "enforce_eager": setup.eager,
        "trust_remote_code": setup.trust_remote_code,
        "max_logprobs": limits.LOGPROBS_MAX,
        "enable_prefix_caching": True,
        "scheduling_policy": "priority",
        "disable_log_stats": True,
    }


def _penalty(said: float | None, defaults: dict[str, Any], name: str) -> float:
    return float(either(said, defaults.get(name, 0.0)))


def _refused(error: Exception) -> RequestFailed:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    message = f"vLLM refuses this request: {lines[0][:_REASON_CHARACTERS_MAX]}"
    return RequestFailed(message, code=Code.INVALID_ARGUMENT)
