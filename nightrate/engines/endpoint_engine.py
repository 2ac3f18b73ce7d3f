"""What all engines have in common whose work is done by an endpoint."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from nightrate import endpoint_limits
from nightrate.dialects.other_servers import Speech
from nightrate.domain.embedding import Passage
from nightrate.domain.generation import Asked, Capability, Prompt, Reply
from nightrate.domain.medium import estimated_tokens
from nightrate.engines.allowance import Allowance
from nightrate.engines.base import Capacity, Engine, Progress, ignore_progress
from nightrate.engines.endpoint import Endpoint
from nightrate.engines.pace import Pace
from nightrate.errors import Code, EngineDown, RequestFailed

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[\x20-\x7e\t]*")
_OK, _UNKEYED, _ELSEWHERE, _REFUSED = 200, 401, 300, 400


_Requests = Annotated[int, Meta(ge=1, le=endpoint_limits.REQUESTS_PER_MINUTE_MAX)]
_Tokens = Annotated[int, Meta(ge=1, le=endpoint_limits.TOKENS_PER_MINUTE_MAX)]


class EndpointOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Settings that all these engines have."""

    base_url: str
    """Where the endpoint is, with the path before that of a call."""
    model: str = ""
    """The name that the endpoint knows; without it, the one that it lists."""
    api_key: str = ""
    """Sent as the protocol has it."""
    headers: dict[str, str] = {}
    """Sent with every request."""
    concurrency_max: Annotated[int, Meta(ge=1, le=10_000)] = 64
    """How many requests are under way at most; fewer while the endpoint refuses some."""
    live_requests: Annotated[int, Meta(ge=0)] | None = None
    """How many of them are kept for live requests, which take the others too; by default an eighth,
    and at least one where there are two. 0: they wait for the places of batches, and come first."""
    timeout_seconds: Annotated[float, Meta(gt=0)] = 600.0
    """How long one answer may take, from the first byte sent to the last one received."""
    requests_per_minute: _Requests | None = None
    """How many requests begin in a minute at most; those beyond wait."""
    tokens_per_minute: _Tokens | None = None
    """How many tokens, of prompts and answers, these have at most."""


class _Account(msgspec.Struct):
    """What becomes of a request: was it sent, and what did it use?"""

    sent: bool = False
    tokens: int | None = None

    def of(self, reply: Reply) -> Reply:
        """Take note of what an answer used."""
        self.tokens = reply.usage.prompt_tokens + reply.usage.output_tokens
        return reply


class EndpointEngine(Engine):
    """Answers with the model behind an endpoint.

    Args:
        options: where that is, and what it is sent.
        speech: how it speaks.
        key_headers: what says who asks.
    """

    counts_itself = False

    def __init__(
        self, options: EndpointOptions, speech: Speech, key_headers: Mapping[str, str]
    ) -> None:
        self._common = options
        self._speech = speech
        self._headers = {**options.headers, **key_headers}
        self._base_url = options.base_url.rstrip("/")
        self._pace = _pace_of(options)
        self._endpoint: Endpoint | None = None
        self._model = options.model
        requests, tokens = options.requests_per_minute, options.tokens_per_minute
        if requests is not None or tokens is not None:
            self.allowance = Allowance(requests, tokens)

    @property
    def capacity(self) -> Capacity:
        """As configured, and less while the endpoint refuses requests."""
        return self._pace.capacity

    async def open(self, progress: Progress = ignore_progress) -> None:
        """Connect, and find the model if none is configured."""
        progress("Connecting to the endpoint", None)
        await self.close()
        options = self._common
        self._pace = _pace_of(options)
        endpoint = Endpoint(
            self._base_url, self._speech, self._headers, self._pace, options.timeout_seconds
        )
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
        if look.status != _OK and (why := self._speech.blamed(look.body).refuses_all):
            raise EngineDown(f"The endpoint answers with status {look.status}: {why}.")
        names = self._speech.read_models(look.body) if look.status == _OK else None
        if look.status == _OK and names is None:
            message = "The endpoint's list of models is none of the protocol: check `base_url`."
            raise EngineDown(message)
        if self._common.model:
            return self._common.model
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

    def cost(self, asked: Asked) -> int:
        """Estimate the tokens of what is asked and its answer, where these are limited."""
        if self._common.tokens_per_minute is None:
            return 0
        if isinstance(asked, Passage):
            return _estimated(asked.text) + _estimated(asked.title or "")
        limit = asked.sampling.max_output_tokens
        output = endpoint_limits.ESTIMATED_OUTPUT_TOKENS if limit is None else limit
        texts = (asked.system or "", *(message.words for message in asked.messages))
        return sum(map(_estimated, texts)) + estimated_tokens(asked.media) + output

    def _check(self, prompt: Prompt) -> None:
        """Refuse what this engine was not configured for; `service/lane` has asked for the rest."""
        if prompt.picture is None and Capability.TEXT not in self.capabilities:
            message = f"The {self.name} engine gives no text here."
            raise RequestFailed(message, code=Code.UNIMPLEMENTED)

    @contextmanager
    def _accounted(self, asked: Asked) -> Iterator[_Account]:
        """Settle what a request spent of the allowance when it was let in.

        What one used that failed nobody tells: its estimate stays spent.
        """
        account = _Account()
        try:
            yield account
        finally:
            if self.allowance is not None:
                if not account.sent:
                    self.allowance.unspend(self.cost(asked))
                elif account.tokens is not None:
                    self.allowance.settle(self.cost(asked), account.tokens)

    def _asking(self, account: _Account) -> Endpoint:
        """Give the endpoint, for a request that is sent now.

        Raises:
            EngineBusy: it is asked nothing at the moment.
            EngineDown: it must not be asked as it is.
        """
        endpoint = self._opened()
        endpoint.check()
        account.sent = True
        return endpoint

    def _opened(self) -> Endpoint:
        if self._endpoint is None:
            raise EngineDown(f"The {self.name} engine is closed.")
        return self._endpoint


def _pace_of(options: EndpointOptions) -> Pace:
    return Pace(options.concurrency_max, options.live_requests)


def _estimated(text: str) -> int:
    size_bytes = len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
    return -(-size_bytes // endpoint_limits.ESTIMATED_BYTES_PER_TOKEN)


def contradictions(options: EndpointOptions) -> list[str]:
    """Name what is wrong with the settings that all these engines have."""
    problems = []
    parts = urlsplit(options.base_url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        problems.append("base_url: it is no address that begins with http:// or https://")
    elif parts.query or parts.fragment or "@" in parts.netloc:
        problems.append("base_url: it has more than a host and a path; keys go into `api_key`")
    if (options.live_requests or 0) >= options.concurrency_max:
        problems.append("live_requests: it leaves nothing of `concurrency_max` to batches")
    if not _HEADER_VALUE.fullmatch(options.api_key):
        problems.append("api_key: it holds what no header may hold")
    if not all(
        _HEADER_NAME.fullmatch(name) and _HEADER_VALUE.fullmatch(value)
        for name, value in options.headers.items()
    ):
        problems.append("headers: a name or a value holds what no header may hold")
    return problems
