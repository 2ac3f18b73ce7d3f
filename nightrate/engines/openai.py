"""Any server that speaks OpenAI's protocol, as an engine: vLLM, SGLang, Ray Serve, hosted ones.

A prompt becomes one call of ``chat/completions``, or of ``images/generations`` when it wants a
picture, a passage one of ``embeddings``; such servers gather the calls that are open together by
themselves. How many these are follows the endpoint (see `pace`). What goes wrong there is told
apart in `endpoint`; the bodies are written in `dialects/openai_asks` and read in
`dialects/openai_answers`, those about pictures in `dialects/openai_pictures`.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from nightrate.dialects.openai_answers import (
    Stream,
    read_count,
    read_models,
    read_reply,
    read_vector,
)
from nightrate.dialects.openai_asks import Customs, render_count, render_passage, render_prompt
from nightrate.dialects.openai_pictures import (
    OPENAI_SIZES,
    PictureCustoms,
    read_picture,
    render_picture,
    sides_of_size,
)
from nightrate.domain.embedding import Embedding, Passage
from nightrate.domain.generation import Capability, Prompt, Reply
from nightrate.domain.schema import ChoiceForm
from nightrate.engines.base import Capacity, Engine, Options, Progress, ignore_progress
from nightrate.engines.endpoint import Endpoint
from nightrate.engines.options import options_of
from nightrate.engines.pace import Pace
from nightrate.errors import Code, EngineDown, RequestFailed, SettingsFault

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[\x20-\x7e\t]*")
_OK, _UNKEYED, _ELSEWHERE, _REFUSED = 200, 401, 300, 400

_CUSTOMS = {
    "other": Customs(),
    "openai": Customs(tokens_max="max_completion_tokens"),
    "vllm": Customs(top_k=True, cuts=True),
    "sglang": Customs(top_k=True),
}


class OpenAIOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Settings of the engine for servers that speak OpenAI's protocol."""

    base_url: str
    """Where the endpoint is, with the path before ``/chat/completions``."""
    model: str = ""
    """The name that the endpoint knows; without it, the one that it lists."""
    api_key: str = ""
    """Sent as a bearer token."""
    headers: dict[str, str] = {}
    """Sent with every request."""
    server: Literal["other", "openai", "vllm", "sglang"] = "other"
    """What answers there, for what goes beyond the protocol that all share."""
    text: bool = True
    """Whether it answers prompts."""
    embeddings: bool = False
    """Whether it makes vectors."""
    images: bool = False
    """Whether it draws pictures."""
    image_sizes: tuple[str, ...] = ()
    """The sizes that it draws, as ``1024x1024``; empty: any, or those of the hosted service."""
    schema: bool = False
    """Whether it holds answers to a JSON Schema."""
    functions: bool = False
    """Whether its model calls functions."""
    logprobs: bool = False
    """Whether it says how likely tokens were, and which others."""
    concurrency_max: Annotated[int, Meta(ge=1, le=10_000)] = 64
    """How many requests are under way at most; fewer while the endpoint refuses some."""
    timeout_seconds: Annotated[float, Meta(gt=0)] = 600.0
    """How long one answer may take, from the first byte sent to the last one received."""


class OpenAIEngine(Engine):
    """Answers with the model behind an endpoint."""

    name = "openai"
    reuses_beginnings = True  # All servers of note do, by themselves.

    def __init__(self, options: OpenAIOptions) -> None:
        self._options = options
        self._customs = _CUSTOMS[options.server]
        base_url = options.base_url.rstrip("/")
        self._chat = f"{base_url}/chat/completions"
        self._vectors = f"{base_url}/embeddings"
        self._pictures = f"{base_url}/images/generations"
        self._tokens = f"{base_url.removesuffix('/v1')}/tokenize"
        self._pace = Pace(options.concurrency_max)
        self._endpoint: Endpoint | None = None
        self._model = options.model
        self._capabilities = frozenset(_capabilities(options))
        hosted = options.server == "openai"
        sizes = options.image_sizes or (OPENAI_SIZES if hosted else ())
        self._picture_customs = PictureCustoms(sizes=sizes, says_format=not hosted)

    @classmethod
    def from_options(cls, options: Options) -> OpenAIEngine:
        """Read the settings table."""
        read = options_of(cls.name, options, OpenAIOptions)
        if problems := _contradictions(read):
            raise SettingsFault([f"engines.{cls.name}.{problem}" for problem in problems])
        return cls(read)

    @property
    def capabilities(self) -> frozenset[Capability]:
        """As configured: what an endpoint can do, it does not say."""
        return self._capabilities

    @property
    def capacity(self) -> Capacity:
        """As configured, and less while the endpoint refuses requests."""
        return self._pace.capacity

    async def open(self, progress: Progress = ignore_progress) -> None:
        """Connect, and find the model if none is configured."""
        progress("Connecting to the endpoint", None)
        await self.close()
        options = self._options
        headers = dict(options.headers)
        if options.api_key:
            headers["authorization"] = f"Bearer {options.api_key}"
        self._pace = Pace(options.concurrency_max)
        base_url = options.base_url.rstrip("/")
        endpoint = Endpoint(base_url, headers, self._pace, options.timeout_seconds)
        try:
            self._model = await self._found(endpoint)
        except BaseException:
            await endpoint.close()
            raise
        self._endpoint = endpoint

    async def _found(self, endpoint: Endpoint) -> str:
        """See that somebody is there who knows us, and give the name of the model.

        The list of models decides nothing more where the model is configured: some servers have no
        list, some keep it from keys that may use it, and names that are not in it may work.
        """
        look = await endpoint.look()
        if look.status == _UNKEYED or _ELSEWHERE <= look.status < _REFUSED:
            what = "`api_key`" if look.status == _UNKEYED else "`base_url`"
            raise EngineDown(f"The endpoint answers with status {look.status}: check {what}.")
        names = read_models(look.body) if look.status == _OK else None
        if look.status == _OK and names is None:
            message = "The endpoint's list of models is none of the protocol: check `base_url`."
            raise EngineDown(message)
        if self._options.model:
            return self._options.model
        if names is None:
            raise EngineDown(
                f"The endpoint does not list its models (status {look.status}): set `model`."
            )
        if len(names) != 1:
            raise EngineDown(f"The endpoint lists {len(names)} models: set `model` to one of them.")
        return names[0]

    async def close(self) -> None:
        """Close every connection."""
        endpoint, self._endpoint = self._endpoint, None
        if endpoint is not None:
            await endpoint.close()

    async def ready(self) -> None:
        """Wait while the endpoint cannot be reached."""
        await self._opened().ready()

    async def generate(self, prompt: Prompt) -> Reply:
        """Have the endpoint answer, or draw."""
        self._check(prompt)
        if (wish := prompt.picture) is not None:
            body = render_picture(prompt, wish, self._model, self._picture_customs)
            return await self._opened().post(
                self._pictures, body, lambda answer: read_picture(answer, prompt, wish, self._model)
            )
        body = render_prompt(prompt, self._model, self._customs, streamed=False)
        return await self._opened().post(
            self._chat, body, lambda answer: read_reply(answer, prompt, self._model)
        )

    async def stream(self, prompt: Prompt) -> AsyncGenerator[str | Reply, None]:
        """Have the endpoint answer, and give the texts as it sends them."""
        # A choice comes inside a form of our own making, and a picture whole.
        if isinstance(prompt.form, ChoiceForm) or prompt.picture is not None:
            async for piece in super().stream(prompt):
                yield piece
            return
        self._check(prompt)
        body = render_prompt(prompt, self._model, self._customs, streamed=True)
        answer = Stream(prompt, self._model)
        async with aclosing(self._opened().events(self._chat, body)) as events:
            async for event in events:
                if text := answer.read(event):
                    yield text
        yield answer.reply()

    async def embed(self, passage: Passage) -> Embedding:
        """Have the endpoint make a vector."""
        if Capability.EMBEDDINGS not in self._capabilities:
            return await super().embed(passage)
        import numpy as np

        from nightrate.engines.vectors import shortest, unit

        body = render_passage(passage, self._model, self._customs)
        values, tokens, version = await self._opened().post(
            self._vectors, body, lambda answer: read_vector(answer, passage, self._model)
        )
        (numbers,) = shortest(unit(np.array([values])))
        return Embedding(numbers, tokens, version)

    async def count_tokens(self, prompt: Prompt) -> int:
        """Have the endpoint count, if it is one that can."""
        self._check(prompt)
        if self._options.server != "vllm":
            message = "The server behind this model counts no tokens."
            raise RequestFailed(message, code=Code.UNIMPLEMENTED)
        body = render_count(prompt, self._model)
        return await self._opened().post(self._tokens, body, read_count, optional=True)

    def _opened(self) -> Endpoint:
        if self._endpoint is None:
            raise EngineDown("The openai engine is closed.")
        return self._endpoint

    def _check(self, prompt: Prompt) -> None:
        """Refuse what this engine was not configured for; `service/lane` has asked for the rest."""
        if prompt.picture is None and Capability.TEXT not in self._capabilities:
            message = "The openai engine gives no text here."
            raise RequestFailed(message, code=Code.UNIMPLEMENTED)


def _capabilities(options: OpenAIOptions) -> set[Capability]:
    found: set[Capability] = set()
    if options.text:
        found |= {Capability.TEXT, Capability.STREAM}
    if options.schema:
        found.add(Capability.SCHEMA)
    if options.images:
        found.add(Capability.IMAGES)
    if options.functions:
        found |= {Capability.CALLS, Capability.TOOLS}
    if options.logprobs:
        found |= {Capability.LOGPROBS, Capability.TOP_LOGPROBS}
    if options.embeddings:
        found.add(Capability.EMBEDDINGS)
    return found


def _contradictions(options: OpenAIOptions) -> list[str]:
    problems = []
    parts = urlsplit(options.base_url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        problems.append("base_url: it is no address that begins with http:// or https://")
    elif parts.query or parts.fragment or "@" in parts.netloc:
        problems.append("base_url: it has more than a host and a path; keys go into `api_key`")
    if not options.text and not options.embeddings and not options.images:
        problems.append("text: the engine does nothing; set `text`, `embeddings` or `images`")
    problems += [
        f"image_sizes: {size!r} is no size such as 1024x1024"
        for size in options.image_sizes
        if not _is_size(size)
    ]
    if options.image_sizes and not options.images:
        problems.append("image_sizes: they are about pictures, and `images` is false")
    if options.schema and not options.text:
        problems.append("schema: it is about text, and `text` is false")
    if options.functions and not options.text:
        problems.append("functions: it is about text, and `text` is false")
    if options.logprobs and not options.text:
        problems.append("logprobs: it is about text, and `text` is false")
    for name, value in {"authorization": options.api_key, **options.headers}.items():
        if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
            at = "api_key" if name == "authorization" else "headers"
            problems.append(f"{at}: a name or a value holds what no header may hold")
    return problems


def _is_size(text: str) -> bool:
    try:
        sides_of_size(text)
    except ValueError:
        return False
    return True
