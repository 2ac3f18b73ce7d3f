"""An engine that answers from the prompt: deterministic, free, with scripted delays and faults.

For tests, for the emulator and for benchmarks of the data path. The answer is the last user text,
cut at the output limit (one token is four characters) and at the first stop sequence. A prompt that
demands a form is answered with the plainest text that has it, one that demands a call with a call
of the first function, and one that demands a picture with one that is made of its words; see
`drawing`. A passage's vector comes from its words too; see `likeness`.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Annotated

import msgspec
from msgspec import Meta, structs

from nightrate import clock, limits
from nightrate.domain.calling import Call, Calling, CallMode
from nightrate.domain.embedding import Embedding, Passage
from nightrate.domain.generation import (
    Candidate,
    Capability,
    FinishReason,
    LogprobsWish,
    Prompt,
    Reply,
    Token,
    Usage,
)
from nightrate.domain.guidance import Withheld
from nightrate.domain.picture import Picture, PictureWish
from nightrate.domain.schema import JSONForm
from nightrate.engines.base import Capacity, Engine, Options, Progress, ignore_progress
from nightrate.engines.drawing import draw
from nightrate.engines.likeness import vector_of
from nightrate.engines.options import options_of
from nightrate.engines.specimens import specimen_of
from nightrate.errors import Code, EngineDown, RequestFailed

CHARACTERS_PER_TOKEN = 4

_SCRIPT = re.compile(r"\[\[(fail|flaky|down|delay|pace|break|repeat)(?: ([0-9.]+))?\]\]")
"""What a prompt's text may order, when ``scripted`` is on:

``[[fail 3]]`` fails for good with that rpc code; ``[[flaky 2]]`` fails twice, then answers;
``[[down]]`` takes the engine down each time; ``[[delay 0.5]]`` answers that many seconds late;
``[[pace 0.5]]`` takes that many seconds between two tokens; ``[[break 14]]`` fails for good with
that rpc code after the first token; ``[[repeat 1000]]`` answers with the text so many times.
"""

_CALL = re.compile(r"\[\[call ([A-Za-z0-9_.:-]+)\]\]")
"""``[[call NAME]]`` decides for a call of that function, where the answer may be one."""

_FILTER = re.compile(r"\[\[(block|withhold) ([A-Z_]+)\]\]")
"""``[[block SAFETY]]`` answers as a service does whose filter found that in the prompt, and
``[[withhold SAFETY]]`` as one whose filter found it after the first token of the answer."""

_STOP = FinishReason.STOP  # looking it up each time takes longer than a short answer
_NO_ORDERS: Mapping[str, str] = {}
_CAPABILITIES = frozenset(
    {
        *(Capability.TEXT, Capability.STREAM, Capability.EMBEDDINGS),
        *(Capability.SCHEMA, Capability.IMAGES, Capability.CALLS, Capability.TOOLS),
        *(Capability.LOGPROBS, Capability.TOP_LOGPROBS),
    }
)


class EchoOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Settings of the echo engine."""

    requests: Annotated[int, Meta(ge=1)] = 256
    """How many prompts of batches it wants in flight."""
    live_requests: Annotated[int, Meta(ge=0)] = 32
    """How many live requests have places beside them; 0: they share the others, and come first."""
    delay_seconds: float = 0.0
    """How long each answer takes."""
    scripted: bool = True
    """Whether prompts may order delays and faults; see `_SCRIPT`."""
    dimensions: Annotated[int, Meta(ge=1, le=limits.EMBEDDING_DIMENSIONS_MAX)] = 768
    """How long a vector is when the request does not say."""


class EchoEngine(Engine):
    """Answers with the question."""

    name = "echo"

    def __init__(self, options: EchoOptions) -> None:
        self._options = options
        self._capacity = Capacity(options.requests, live=options.live_requests)
        self._tries: dict[str, int] = {}
        self._drawing = asyncio.Semaphore(limits.ECHO_PICTURES_MAX)
        self._open = False
        self._at_once = False
        """Open, and in no need to wait before an answer."""
        self._pauses: set[asyncio.Future[None]] = set()

    @classmethod
    def from_options(cls, options: Options) -> EchoEngine:
        """Read the settings table."""
        return cls(options_of(cls.name, options, EchoOptions))

    @property
    def capabilities(self) -> frozenset[Capability]:
        """Text, also piece by piece and of a form, vectors, pictures and calls."""
        return _CAPABILITIES

    @property
    def capacity(self) -> Capacity:
        """As configured."""
        return self._capacity

    async def open(self, progress: Progress = ignore_progress) -> None:
        """Nothing to load."""
        del progress
        self._open = True
        self._at_once = not self._options.delay_seconds

    async def close(self) -> None:
        """Nothing to stop but delayed answers."""
        self._open = self._at_once = False
        for pause in self._pauses:
            pause.cancel()

    async def ready(self) -> None:
        """Ready while open."""
        if not self._open:
            raise EngineDown("The echo engine is closed.")

    async def generate(self, prompt: Prompt) -> Reply:
        """Give the last user text back."""
        text = prompt.messages[-1].words
        if self._at_once and prompt.picture is None and "[[" not in text:
            return self._reply(prompt, text, _NO_ORDERS)  # most prompts: nothing to wait for
        orders = self._orders(text)
        reply = await self._begin(prompt, orders)
        if "pace" in orders or "break" in orders:
            # Whoever does not stream waits for the same tokens.
            async with aclosing(self._tokens(reply, orders)) as tokens:
                async for _ in tokens:
                    pass
        return reply

    async def stream(self, prompt: Prompt) -> AsyncGenerator[str | Reply, None]:
        """Give the last user text back, four characters at a time."""
        orders = self._orders(prompt.messages[-1].words)
        reply = await self._begin(prompt, orders)
        async with aclosing(self._tokens(reply, orders)) as tokens:
            async for token in tokens:
                yield token
        yield reply

    async def embed(self, passage: Passage) -> Embedding:
        """Make a vector of the words of a passage."""
        await self._start(passage.text, self._orders(passage.text))
        text = f"{passage.title}\n{passage.text}" if passage.title else passage.text
        vector = vector_of(text, passage.dimensions or self._options.dimensions)
        return Embedding(vector, _token_count(text), "echo")

    async def _begin(self, prompt: Prompt, orders: Mapping[str, str]) -> Reply:
        text = prompt.messages[-1].words
        await self._start(text, orders)
        reply = self._reply(prompt, text, orders)
        if self._options.scripted and (order := _FILTER.search(text)):
            return _filtered(reply, order, prompt)
        if prompt.picture is not None:
            async with self._drawing:
                reply = await _drawn(reply, text, prompt.picture)
        return reply

    async def _start(self, text: str, orders: Mapping[str, str]) -> None:
        """Do what comes before any answer: the delay, and what the text orders."""
        if not self._open:
            raise EngineDown("The echo engine is closed.")
        if self._options.delay_seconds:
            await self._pause(self._options.delay_seconds)
        if orders:
            await self._play(text)

    def _orders(self, text: str) -> Mapping[str, str]:
        """Give what a text orders, if it may order anything; of equal orders the last one."""
        if self._options.scripted and "[[" in text:
            return dict(_SCRIPT.findall(text))
        return _NO_ORDERS

    async def _tokens(self, reply: Reply, orders: Mapping[str, str]) -> AsyncGenerator[str, None]:
        text = reply.candidates[0].text
        for start in range(0, len(text), CHARACTERS_PER_TOKEN):
            if start and "pace" in orders:
                await self._pause(_number(orders["pace"], 0))
            if not self._open:
                raise EngineDown("The echo engine was closed.", in_flight=True)
            if start and "break" in orders:
                raise _failure(orders["break"])
            yield text[start : start + CHARACTERS_PER_TOKEN]

    async def _pause(self, seconds: float) -> None:
        if not self._open:
            return  # Whoever pauses looks again afterwards.
        pause = asyncio.ensure_future(clock.sleep(seconds))
        self._pauses.add(pause)
        try:
            await asyncio.wait([pause])  # so that a cancelled caller and a cancelled pause differ
        finally:
            self._pauses.discard(pause)
            pause.cancel()
        if pause.cancelled():
            raise EngineDown("The echo engine was closed.", in_flight=True)

    async def _play(self, text: str) -> None:
        for order, argument in _SCRIPT.findall(text):
            if order == "delay":
                await self._pause(_number(argument, 0))
            elif order == "down":
                raise EngineDown("The script took the engine down.", in_flight=True)
            elif order == "fail":
                raise _failure(argument)
            elif order == "flaky" and self._tries.setdefault(text, 0) < _number(argument, 1):
                self._tries[text] += 1
                raise RequestFailed(
                    "The script asks for another try.",
                    code=Code.UNAVAILABLE,
                    retriable=True,
                    after_seconds=0.0,
                )

    def _reply(self, prompt: Prompt, text: str, orders: Mapping[str, str]) -> Reply:
        finish = _STOP
        if prompt.calling is not None and (call := _call(text, prompt.calling)):
            return _calling_reply(prompt, call)
        if prompt.form is not None:
            text = specimen_of(prompt.form)
        elif times := orders.get("repeat"):
            text = _repeated(text, times)
        for stop in prompt.sampling.stop:
            text = text.partition(stop)[0]
        limit = prompt.sampling.max_output_tokens
        if limit is not None and len(text) > limit * CHARACTERS_PER_TOKEN:
            text, finish = text[: limit * CHARACTERS_PER_TOKEN], FinishReason.LENGTH
        usage = _used(prompt, _token_count(text))
        tokens = () if prompt.logprobs is None else _certain(text, prompt.logprobs)
        return Reply((Candidate(text, finish, tokens=tokens),), usage, "echo")

    async def count_tokens(self, prompt: Prompt) -> int:
        """Four characters a token."""
        return _tokens_of_prompt(prompt)


def _certain(text: str, wish: LogprobsWish) -> tuple[Token, ...]:
    """Say of each token that no other was possible."""
    pieces = (
        text[start : start + CHARACTERS_PER_TOKEN]
        for start in range(0, len(text), CHARACTERS_PER_TOKEN)
    )
    return tuple(
        Token(piece, 0.0, others=(Token(piece, 0.0),) if wish.others else ()) for piece in pieces
    )


def _call(text: str, calling: Calling) -> Call | None:
    """Choose what is called: what the text orders, else the first where it must be one."""
    ordered = _CALL.search(text)
    wanted = ordered[1] if ordered else None
    function = next((one for one in calling.functions if one.name == wanted), None)
    if function is None and calling.mode is CallMode.ANY:
        function = calling.functions[0]
    if function is None:
        return None
    return Call(function.name, specimen_of(JSONForm(function.parameters, calling.field)))


def _calling_reply(prompt: Prompt, call: Call) -> Reply:
    """Answer with a call, or with nothing where the output limit cuts it."""
    tokens = _token_count(call.words)
    limit = prompt.sampling.max_output_tokens
    if limit is not None and tokens > limit:
        tokens, candidate = limit, Candidate("", FinishReason.LENGTH)
    else:
        candidate = Candidate("", calls=(call,))
    return Reply((candidate,), _used(prompt, tokens), "echo")


def _filtered(reply: Reply, order: re.Match[str], prompt: Prompt) -> Reply:
    """Give what a filter lets through: a token, of what means something without its end."""
    found = Withheld.__members__.get(order[2], Withheld.OTHER)
    blocked = order[1] == "block"
    plain = not blocked and prompt.form is None
    text = reply.candidates[0].text[:CHARACTERS_PER_TOKEN] if plain else ""
    candidate = Candidate(text, FinishReason.WITHHELD, withheld=found)
    usage = structs.replace(reply.usage, output_tokens=0 if blocked else 1)
    return Reply((candidate,), usage, reply.model_version, blocked=found if blocked else None)


async def _drawn(reply: Reply, text: str, wish: PictureWish) -> Reply:
    """Add the picture, which takes some milliseconds: others go on meanwhile."""
    data = await asyncio.to_thread(draw, text, wish.width, wish.height)
    (candidate,) = reply.candidates
    said = candidate.text if wish.with_text else ""
    drawn = structs.replace(candidate, text=said, pictures=(Picture("image/png", data),))
    return structs.replace(reply, candidates=(drawn,))


def _repeated(text: str, times: str) -> str:
    most = limits.ECHO_CHARACTERS_MAX
    wanted = _number(times, 1)
    if len(text) * wanted > most:
        message = f"[[repeat]] makes at most {most} characters."
        raise RequestFailed(message, code=Code.INVALID_ARGUMENT)
    return text * int(wanted)


def _number(argument: str, default: float) -> float:
    try:
        return float(argument or default)
    except ValueError:
        message = f"An order to the echo engine has {argument} where a number belongs."
        raise RequestFailed(message, code=Code.INVALID_ARGUMENT) from None


def _failure(code: str) -> RequestFailed:
    number = int(_number(code, Code.INTERNAL))
    if number not in set(Code):
        number = Code.INVALID_ARGUMENT
    return RequestFailed("The script failed this request.", code=Code(number))


def _token_count(text: str) -> int:
    return -(-len(text) // CHARACTERS_PER_TOKEN) or 1


def _used(prompt: Prompt, output_tokens: int) -> Usage:
    """Count what an answer used. Nothing is computed here, so all of a cached content is reused."""
    prompt_tokens = _tokens_of_prompt(prompt)
    return Usage(prompt_tokens, output_tokens, min(prompt.cached_tokens, prompt_tokens))


def _tokens_of_prompt(prompt: Prompt) -> int:
    tokens = _token_count(prompt.system) if prompt.system else 0
    for message in prompt.messages:
        tokens += _token_count(message.words)
    return tokens
