"""Any server that speaks OpenAI's protocol, as an engine: vLLM, SGLang, Ray Serve, hosted ones.

A prompt becomes one call of ``chat/completions``, or of ``images/generations`` when it wants a
picture, a passage one of ``embeddings``; such servers gather the calls that are open together by
themselves. How many these are follows the endpoint (see `pace`). What goes wrong there is told
apart in `endpoint`; the bodies are written in `dialects/openai_asks` and read in
`dialects/openai_answers`, those about pictures in `dialects/openai_pictures`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Literal

from msgspec.structs import replace

from nightrate.dialects.openai_answers import (
    OPENAI,
    Stream,
    read_count,
    read_reply,
    read_vector,
)
from nightrate.dialects.openai_asks import Customs, render_count, render_passage, render_prompt
from nightrate.dialects.openai_media import OTHER_MEDIA, is_said
from nightrate.dialects.openai_pictures import (
    OPENAI_SIZES,
    PictureCustoms,
    read_picture,
    render_picture,
    sides_of_size,
)
from nightrate.dialects.streamed_order import TextsInOrder
from nightrate.domain.calling import Calling
from nightrate.domain.embedding import Embedding, Passage
from nightrate.domain.generation import Capability, Prompt, Reply
from nightrate.domain.schema import ChoiceForm
from nightrate.engines.base import Options
from nightrate.engines.calls import with_read_calls
from nightrate.engines.endpoint_engine import EndpointEngine, EndpointOptions, contradictions
from nightrate.engines.instructions import with_written_calls
from nightrate.engines.options import options_of
from nightrate.errors import Code, RequestFailed, SettingsFault

_CUSTOMS = {
    "other": Customs(),
    "openai": Customs(tokens_max="max_completion_tokens"),
    "vllm": Customs(top_k=True, cuts=True),
    "sglang": Customs(top_k=True),
}


class OpenAIOptions(EndpointOptions, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Settings of the engine for servers that speak OpenAI's protocol."""

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
    """Whether its model calls functions; one that keeps schemas also does where it must."""
    logprobs: bool = False
    """Whether it says how likely tokens were, and which others."""
    thinking: bool = False
    """Whether its model thinks as hard as it is told to."""
    media: tuple[str, ...] = ()
    """The types of media that its model reads in prompts: pictures, ``audio/wav``, ``audio/mpeg``,
    ``application/pdf``."""


class OpenAIEngine(EndpointEngine):
    """Answers with the model behind an endpoint."""

    name = "openai"
    reuses_beginnings = True  # All servers of note do, by themselves.

    def __init__(self, options: OpenAIOptions) -> None:
        key = {"authorization": f"Bearer {options.api_key}"} if options.api_key else {}
        super().__init__(options, OPENAI, key)
        self._options = options
        self._customs = replace(_CUSTOMS[options.server], thinks=options.thinking)
        base_url = self._base_url
        self._chat = f"{base_url}/chat/completions"
        self._vectors = f"{base_url}/embeddings"
        self._pictures = f"{base_url}/images/generations"
        self._tokens = f"{base_url.removesuffix('/v1')}/tokenize"
        self._capabilities = frozenset(_capabilities(options))
        self.media = options.media
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

    async def generate(self, prompt: Prompt) -> Reply:
        """Have the endpoint answer, or draw."""
        with self._accounted(prompt) as account:
            self._check(prompt)
            if (wish := prompt.picture) is not None:
                body = render_picture(prompt, wish, self._model, self._picture_customs)
                drawn = self._asking(account).post(
                    self._pictures,
                    body,
                    lambda answer: read_picture(answer, prompt, wish, self._model),
                )
                return account.of(await drawn)
            calling = self._written(prompt)
            if calling is not None:
                prompt = with_written_calls(prompt, calling)
            body = render_prompt(prompt, self._model, self._customs, streamed=False)
            said = self._asking(account).post(
                self._chat, body, lambda answer: read_reply(answer, prompt, self._model)
            )
            reply = account.of(await said)
            return reply if calling is None else with_read_calls(reply, calling)

    async def stream(self, prompt: Prompt) -> AsyncGenerator[str | Reply, None]:
        """Have the endpoint answer, and give the texts as it sends them."""
        # A choice comes inside a form of our own making, as a call may, and a picture whole.
        formed = isinstance(prompt.form, ChoiceForm) or self._written(prompt) is not None
        if formed or prompt.picture is not None:
            async for piece in super().stream(prompt):
                yield piece
            return
        with self._accounted(prompt) as account:
            self._check(prompt)
            body = render_prompt(prompt, self._model, self._customs, streamed=True)
            answer, texts = Stream(prompt, self._model), TextsInOrder(prompt)
            async with aclosing(self._asking(account).events(self._chat, body)) as events:
                async for event in events:
                    if text := texts.feed(answer.read(event)):
                        yield text
            reply, rest = texts.end(account.of(answer.reply()))
        if rest:
            yield rest
        yield reply

    async def embed(self, passage: Passage) -> Embedding:
        """Have the endpoint make a vector."""
        if Capability.EMBEDDINGS not in self._capabilities:
            return await super().embed(passage)
        import numpy as np

        from nightrate.engines.vectors import unit, written

        with self._accounted(passage) as account:
            body = render_passage(passage, self._model, self._customs)
            values, tokens, version = await self._asking(account).post(
                self._vectors, body, lambda answer: read_vector(answer, passage, self._model)
            )
            account.tokens = tokens
        (vector,) = written(unit(np.array([values])))
        return Embedding(vector, tokens, version)

    async def count_tokens(self, prompt: Prompt) -> int:
        """Have the endpoint count, if it is one that can."""
        self._check(prompt)
        if self._options.server != "vllm":
            message = "The server behind this model counts no tokens."
            raise RequestFailed(message, code=Code.UNIMPLEMENTED)
        calling = self._written(prompt)
        if calling is not None:
            prompt = with_written_calls(prompt, calling)
        body = render_count(prompt, self._model)
        return await self._opened().post(self._tokens, body, read_count, optional=True)

    def _written(self, prompt: Prompt) -> Calling | None:
        """Give the functions of which the model has to write a call, since it knows none itself."""
        return None if self._options.functions else prompt.calling


def _capabilities(options: OpenAIOptions) -> set[Capability]:
    found: set[Capability] = set()
    if options.text:
        found |= {Capability.TEXT, Capability.STREAM}
    if options.schema:  # A call that is demanded can be written in the form of one.
        found |= {Capability.SCHEMA, Capability.CALLS}
    if options.images:
        found.add(Capability.IMAGES)
    if options.functions:
        found |= {Capability.CALLS, Capability.TOOLS}
    if options.logprobs:
        found |= {Capability.LOGPROBS, Capability.TOP_LOGPROBS}
    if options.media:
        found.add(Capability.MEDIA)
    if options.embeddings:
        found.add(Capability.EMBEDDINGS)
    return found


def _contradictions(options: OpenAIOptions) -> list[str]:
    problems = contradictions(options)
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
    if options.thinking and not options.text:
        problems.append("thinking: it is about text, and `text` is false")
    if options.media and not options.text:
        problems.append("media: they stand in prompts for text, and `text` is false")
    problems += [
        f"media: {pattern!r} is none of image/*, a type such as image/png, {', '.join(OTHER_MEDIA)}"
        for pattern in options.media
        if not is_said(pattern)
    ]
    return problems


def _is_size(text: str) -> bool:
    try:
        sides_of_size(text)
    except ValueError:
        return False
    return True
