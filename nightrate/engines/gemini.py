"""Any server that speaks Gemini's protocol, as an engine: Google's own, or another Nightrate.

A prompt becomes one call of ``:generateContent``, a passage one of ``:embedContent``; how many are
under way follows the endpoint (see `pace`). What goes wrong there is told apart in `endpoint`; the
bodies are written in `dialects/gemini_asks` and read in `dialects/gemini_answers` and
`dialects/gemini_speech`.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final
from urllib.parse import quote

from nightrate.dialects.gemini_answers import Stream, read_reply
from nightrate.dialects.gemini_asks import render_count, render_passage, render_prompt
from nightrate.dialects.gemini_speech import GEMINI, read_count, read_vector
from nightrate.dialects.streamed_order import TextsInOrder
from nightrate.domain.embedding import Embedding, Passage
from nightrate.domain.generation import Capability, Prompt, Reply
from nightrate.domain.medium import is_pattern
from nightrate.domain.schema import ChoiceForm
from nightrate.engines.base import Options
from nightrate.engines.endpoint_engine import EndpointEngine, EndpointOptions, contradictions
from nightrate.engines.options import options_of
from nightrate.errors import SettingsFault

_MODEL: Final = re.compile(r"(?:(?:models|tunedModels)/)?[A-Za-z0-9._~@-]+")


class GeminiOptions(EndpointOptions, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Settings of the engine for servers that speak Gemini's protocol."""

    text: bool = True
    """Whether it answers prompts."""
    embeddings: bool = False
    """Whether it makes vectors."""
    images: bool = False
    """Whether it draws pictures."""
    schema: bool = True
    """Whether it holds answers to a JSON Schema."""
    functions: bool = True
    """Whether its model calls functions."""
    logprobs: bool = False
    """Whether it says how likely tokens were."""
    media: tuple[str, ...] = ("image/*", "audio/*", "video/*", "text/*", "application/pdf")
    """The types of media that it reads in prompts; none: it reads text alone."""


class GeminiEngine(EndpointEngine):
    """Answers with the model behind an endpoint."""

    name = "gemini"
    reuses_beginnings = True  # Google's models do, by themselves.

    def __init__(self, options: GeminiOptions) -> None:
        super().__init__(
            options, GEMINI, {"x-goog-api-key": options.api_key} if options.api_key else {}
        )
        self._capabilities = frozenset(_capabilities(options))
        if Capability.MEDIA in self._capabilities:
            self.media = options.media

    @classmethod
    def from_options(cls, options: Options) -> GeminiEngine:
        """Read the settings table."""
        read = options_of(cls.name, options, GeminiOptions)
        if problems := _contradictions(read):
            raise SettingsFault([f"engines.{cls.name}.{problem}" for problem in problems])
        return cls(read)

    @property
    def capabilities(self) -> frozenset[Capability]:
        """As configured: what a model behind an endpoint can do, it does not say."""
        return self._capabilities

    async def generate(self, prompt: Prompt) -> Reply:
        """Have the endpoint answer, or draw."""
        with self._accounted(prompt) as account:
            self._check(prompt)
            body, url = render_prompt(prompt), self._call("generateContent")
            said = self._asking(account).post(
                url, body, lambda answer: read_reply(answer, prompt, self._model)
            )
            return account.of(await said)

    async def stream(self, prompt: Prompt) -> AsyncGenerator[str | Reply, None]:
        """Have the endpoint answer, and give the texts as it sends them."""
        # A choice that is cut off is none; the others may come in events longer than are held.
        whole = prompt.picture is not None or prompt.logprobs is not None
        if whole or isinstance(prompt.form, ChoiceForm):
            async for piece in super().stream(prompt):
                yield piece
            return
        with self._accounted(prompt) as account:
            self._check(prompt)
            answer, texts = Stream(prompt, self._model), TextsInOrder(prompt)
            body, url = render_prompt(prompt), self._call("streamGenerateContent?alt=sse")
            async with aclosing(self._asking(account).events(url, body)) as events:
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
            body, url = render_passage(passage), self._call("embedContent")
            values, tokens = await self._asking(account).post(
                url, body, lambda answer: read_vector(answer, passage)
            )
            account.tokens = tokens
        (vector,) = written(unit(np.array([values])))
        return Embedding(vector, tokens, self._model)

    async def count_tokens(self, prompt: Prompt) -> int:
        """Have the endpoint count."""
        self._check(prompt)
        url, name = self._call("countTokens"), self._full_name()
        return await self._opened().post(url, render_count(prompt, name), read_count, optional=True)

    def _full_name(self) -> str:
        return self._model if "/" in self._model else f"models/{self._model}"

    def _call(self, verb: str) -> str:
        return f"{self._base_url}/{quote(self._full_name())}:{verb}"


def _capabilities(options: GeminiOptions) -> set[Capability]:
    found: set[Capability] = set()
    if options.text:
        found |= {Capability.TEXT, Capability.STREAM}
        if options.schema:
            found.add(Capability.SCHEMA)
        if options.functions:
            found |= {Capability.CALLS, Capability.TOOLS}
        if options.logprobs:
            found |= {Capability.LOGPROBS, Capability.TOP_LOGPROBS}
    if options.images:
        found.add(Capability.IMAGES)
    if options.media and (options.text or options.images):
        found.add(Capability.MEDIA)
    if options.embeddings:
        found.add(Capability.EMBEDDINGS)
    return found


def _contradictions(options: GeminiOptions) -> list[str]:
    problems = contradictions(options)
    if options.model and not _MODEL.fullmatch(options.model):
        problems.append(f"model: {options.model!r} is no name of a model")
    if not options.text and not options.embeddings and not options.images:
        problems.append("text: the engine does nothing; set `text`, `embeddings` or `images`")
    if options.logprobs and not options.text:
        problems.append("logprobs: it is about text, and `text` is false")
    problems += [
        f"media: {pattern!r} is neither a type such as image/png nor a pattern such as image/*"
        for pattern in options.media
        if not is_pattern(pattern)
    ]
    return problems
