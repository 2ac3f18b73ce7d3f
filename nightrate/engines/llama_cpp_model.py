"""llama.cpp, touched here only: loading, tokens, sampling settings, and answers piece by piece.

Runs in the engine's child process. The library brings a server over HTTP with it, which cannot be
left out; it listens on the loopback device, and a key that nobody else knows guards it. It is asked
for what the library offers in no other way: the model's template, and its tokens.
"""

from __future__ import annotations

import http.client
import math
import urllib.parse
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from nightrate import clock
from nightrate.domain.generation import FinishReason, LogprobsWish, Prompt, Token
from nightrate.engines.call_syntaxes import CallSyntax, syntax_of
from nightrate.engines.exact_numbers import ExactNumbers
from nightrate.engines.gguf_files import chat_template, control_words
from nightrate.engines.grammars import grammar_of_prompt
from nightrate.engines.likelihood import Measured
from nightrate.engines.sampling import (
    TEMPERATURE_DEFAULT,
    TOP_K_DEFAULT,
    TOP_P_DEFAULT,
    check_sampling,
    either,
    output_tokens_max,
)
from nightrate.engines.told import Told, decides, ways_to_tell
from nightrate.errors import Code, RequestFailed

STEP_TOKENS_MAX = 128
"""Tokens of one step: enough to fill a processor, few enough for a step to stay short. Between two
steps others get their tokens, and a request can be given up."""

_HTTP_THREADS = 2
_HTTP_SECONDS = 60.0
_KEY_BYTES = 16

_SEEDS = 2**32 - 1
"""One less than 32 bits: the last one means none to the library."""

_SAMPLERS = ("penalties", "temperature", "top_k", "top_p")
"""What a token is drawn through, in this order; the library's own list has more."""

_CERTAIN = 1000.0
"""Added to the logit of a token that shall be drawn; how likely it was is told without."""


class ModelSetup(Struct, frozen=True, kw_only=True):
    """What the child loads, and how: its first frame."""

    path: str
    model_version: str
    slots: int
    live_slots: int = 0
    """Of these, what is kept for those that somebody waits for."""
    context_tokens: int
    """Of one slot: a prompt and its answer."""
    threads: int | None
    reproducible: bool
    """Whether an answer must not depend on its neighbours."""
    functions: bool = False
    """Whether it calls functions as it sees fit."""


class Piece(Struct, frozen=True):
    """What one step told of an answer; tokens are counted from its beginning."""

    text: str = ""
    output_tokens: int = 0
    cached_tokens: int = 0
    tokens: tuple[Token, ...] = ()
    finish_reason: FinishReason | None = None


class Refused(Exception):
    """The library does not take an order.

    Args:
        code: its own status.
        grammar: whether it is the grammar that it cannot follow.
    """

    def __init__(self, code: int, *, grammar: bool = False) -> None:
        super().__init__(f"status {code}")
        self.code = code
        self.grammar = grammar


class Model:
    """A loaded model with its slots. Its answers are made in the threads that ask for them."""

    def __init__(self, setup: ModelSetup) -> None:
        """Load.

        Raises:
            ImportError: the library is not installed, or not made for this machine.
            RuntimeError: it cannot load the model, or how that calls functions is not known.
        """
        import xllamacpp

        self.setup = setup
        self.syntax: CallSyntax | None = None
        """How the model writes calls where it decides; None, where it never does."""
        template = ""
        if setup.functions:
            template = chat_template(Path(setup.path))
            self.syntax = syntax_of(template)
        key = clock.secret_bytes(_KEY_BYTES).hex()
        self._server = xllamacpp.Server(_parameters(xllamacpp, setup, key, template))
        self._desk = _Desk(self._server.listening_address, key)
        self._control = control_words(Path(setup.path))

    def encode(self, prompt: Prompt) -> list[int]:
        """Put a conversation into the model's template and give its token ids.

        Raises:
            RequestFailed: the template does not take it.
        """
        for told in ways_to_tell(prompt, self._control, self.syntax):
            rendered = self._rendered(told)
            if rendered is not None and told.kept_in(rendered):
                return self.encode_text(*told.pieces(rendered))
        raise RequestFailed(
            "The model's chat template does not take this conversation: its turns may have to "
            "alternate, or it has no place for a system instruction.",
            code=Code.INVALID_ARGUMENT,
        )

    def _rendered(self, told: Told) -> str | None:
        """Have the template make a text; None where it does not take the conversation."""
        numbers = ExactNumbers(told.turns, told.tools, told.mark)
        order: dict[str, Any] = {"messages": numbers.hold(told.turns)}
        if told.tools is not None:
            # As a variable, not as tools of the library's, which would make a grammar of them, and
            # tell some models of tools of their maker's where one has the same name.
            order["chat_template_kwargs"] = {"tools": numbers.hold(told.tools)}
        try:
            return numbers.let_go(str(self._desk.ask("/apply-template", order)["prompt"]))
        except Refused:
            return None

    def encode_text(self, *pieces: str, begins: bool = True) -> list[int]:
        """Give the token ids of some pieces of text, one after the other.

        Args:
            pieces: control words in them steer the model.
            begins: whether the model's own token for a beginning is put first, if it has one.
        """
        ids: list[int] = []
        for number, piece in enumerate(pieces):
            order = {"content": piece, "parse_special": True}
            order["add_special"] = begins and number == 0
            ids += self._desk.ask("/tokenize", order)["tokens"]
        return ids

    def order(self, prompt: Prompt, ids: list[int]) -> dict[str, Any]:
        """Turn sampling settings and the form of the answer into an order to the library.

        Raises:
            RequestFailed: a value is out of range, the prompt leaves no room for an answer, or the
                form has bounds that no grammar of a sensible size keeps.
        """
        sampling = prompt.sampling
        check_sampling(sampling)
        tokens_max = output_tokens_max(sampling, len(ids), self.setup.context_tokens)
        temperature = either(sampling.temperature, TEMPERATURE_DEFAULT)
        top_p = either(sampling.top_p, TOP_P_DEFAULT)
        seed = sampling.seed
        order: dict[str, Any] = {
            "prompt": ids,
            "max_tokens": tokens_max,
            "temperature": temperature if top_p > 0 else 0.0,
            "top_p": top_p,
            "top_k": either(sampling.top_k, TOP_K_DEFAULT),
            "seed": int(clock.jitter() * _SEEDS) if seed is None else seed % _SEEDS,
            "presence_penalty": sampling.presence_penalty or 0.0,
            "frequency_penalty": sampling.frequency_penalty or 0.0,
            "repeat_penalty": 1.0,
            "repeat_last_n": self.setup.context_tokens,
            "samplers": _SAMPLERS,
            "stream": True,
            "timings_per_token": True,
            "return_progress": True,
        }
        if prompt.logprobs is not None:
            order["logprobs"] = max(1, prompt.logprobs.others)
        if (grammar := grammar_of_prompt(prompt)) is not None:
            order["grammar"] = grammar
        if self.syntax is not None and decides(prompt):
            order["preserved_tokens"] = self.syntax.markers
        return order

    def answer(
        self, order: dict[str, Any], wish: LogprobsWish | None, look: Callable[[Piece], bool]
    ) -> None:
        """Make an answer; returns when it has ended, or was given up. Blocks.

        Args:
            order: see `order`.
            wish: how many likely others are told of each token.
            look: told every step, also those that only read; True gives the answer up.

        Raises:
            Refused: the library does not take the order.
        """
        raised: list[BaseException] = []

        def heard(told: dict[str, Any]) -> bool:
            if "error" in told:
                raised.append(_refused(told["error"]))
                return True
            try:
                return look(_piece(told, wish))
            except BaseException as error:  # noqa: BLE001 - the library lets none through
                raised.append(error)
                return True

        self._server.handle_completions(order, heard)
        if raised:
            raise raised[0]

    def likelihood(self, ids: list[int], beat: Callable[[], None]) -> Measured:
        """Measure how likely the model finds a text, token by token. Blocks.

        The library tells nothing of the tokens of a prompt; so each is drawn after those before it,
        which are read once.

        Args:
            ids: two tokens at least.
            beat: called after each.
        """
        logs = []
        for at in range(1, len(ids)):
            order = {
                "prompt": ids[:at],
                "max_tokens": 1,
                "temperature": 0.0,
                "logprobs": 1,
                "logit_bias": [[ids[at], _CERTAIN]],
            }
            (drawn,) = self._server.handle_completions(order)["choices"][0]["logprobs"]["content"]
            assert drawn["id"] == ids[at], "a token that is certain is drawn"
            logs.append(float(drawn["logprob"]))
            beat()
        return Measured(-math.fsum(logs) / len(logs), len(ids))


class _Desk:
    """The library's own server, asked for templates and tokens by one thread."""

    def __init__(self, address: str, key: str) -> None:
        place = urllib.parse.urlsplit(address)
        self._connection = http.client.HTTPConnection(
            str(place.hostname), place.port, timeout=_HTTP_SECONDS
        )
        self._headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}

    def ask(self, path: str, order: dict[str, Any]) -> Any:
        """Ask, over a connection that is kept, and opened again when it was closed meanwhile.

        Raises:
            Refused: it does not take the order.
        """
        body = msgspec.json.encode(order)
        try:
            answer = self._sent(path, body)
        except (ConnectionError, http.client.HTTPException):
            self._connection.close()
            answer = self._sent(path, body)
        content = answer.read()
        if answer.status != HTTPStatus.OK:
            raise Refused(answer.status)
        return msgspec.json.decode(content)

    def _sent(self, path: str, body: bytes) -> http.client.HTTPResponse:
        self._connection.request("POST", path, body, self._headers)
        return self._connection.getresponse()


def _parameters(library: Any, setup: ModelSetup, key: str, template: str) -> Any:
    parameters = library.CommonParams()
    parameters.model.path = setup.path
    parameters.n_parallel = setup.slots
    # A part of the attention cache for each slot: shared by all, its order would depend on the
    # neighbours, and with it the last digits of every sum.
    parameters.n_ctx = setup.slots * setup.context_tokens
    parameters.kv_unified = False
    if setup.reproducible:
        # Over a cache of 16 or 32 bits the library adds up in another order where it reads many
        # tokens of a prompt at once, and how many these are depends on the neighbours. Over one of
        # this type it has only one way. The same is true of weights that it would rearrange.
        parameters.flash_attn_type = library.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_ENABLED
        parameters.cache_type_k = parameters.cache_type_v = library.ggml_type.GGML_TYPE_Q8_0
        parameters.no_extra_bufts = True
    parameters.n_batch = parameters.n_ubatch = max(STEP_TOKENS_MAX, setup.slots)
    if setup.threads is not None:
        parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = setup.threads
    parameters.fit_params = False
    parameters.cache_ram_mib = 0  # Else prompts that have left their slots would fill 8 GiB.
    parameters.prefill_assistant = False
    parameters.chat_template = template  # That of the file, unless another was looked at.
    parameters.verbosity = 0
    parameters.api_keys = [key]
    parameters.hostnames = ["127.0.0.1"]
    parameters.n_threads_http = _HTTP_THREADS
    parameters.endpoint_slots = parameters.ui = False
    return parameters


def _refused(error: dict[str, Any]) -> Refused:
    return Refused(int(error["code"]), grammar="grammar" in str(error["message"]))


def _piece(told: dict[str, Any], wish: LogprobsWish | None) -> Piece:
    (choice,) = told["choices"]
    timings = told.get("timings") or {}
    ended = choice.get("finish_reason")
    finish = FinishReason.LENGTH if ended == "length" else FinishReason.STOP
    listed = (choice.get("logprobs") or {}).get("content") or [] if wish is not None else []
    others = wish.others if wish is not None else 0
    return Piece(
        text=choice["text"],
        output_tokens=timings.get("predicted_n", 0),
        cached_tokens=timings.get("cache_n", 0),
        tokens=tuple(_token(one, others) for one in listed),
        finish_reason=finish if ended else None,
    )


def _token(told: dict[str, Any], others: int) -> Token:
    listed = told.get("top_logprobs", [])[:others]
    return Token(
        bytes(told["bytes"]).decode(errors="replace"),
        min(0.0, told["logprob"]),
        told["id"],
        tuple(_token(one, 0) for one in listed),
    )
