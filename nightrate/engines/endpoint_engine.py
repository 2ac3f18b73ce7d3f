"""What all engines have in common whose work is done by an endpoint."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from nightrate.dialects.other_servers import Speech
from nightrate.engines.base import Capacity, Engine, Progress, ignore_progress
from nightrate.engines.endpoint import Endpoint
from nightrate.engines.pace import Pace
from nightrate.errors import EngineDown

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[\x20-\x7e\t]*")
_OK, _UNKEYED, _ELSEWHERE, _REFUSED = 200, 401, 300, 400


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
    timeout_seconds: Annotated[float, Meta(gt=0)] = 600.0
    """How long one answer may take, from the first byte sent to the last one received."""


class EndpointEngine(Engine):
    """Answers with the model behind an endpoint.

    Args:
        options: where that is, and what it is sent.
        speech: how it speaks.
        key_headers: what says who asks.
    """

    def __init__(
        self, options: EndpointOptions, speech: Speech, key_headers: Mapping[str, str]
    ) -> None:
        self._common = options
        self._speech = speech
        self._headers = {**options.headers, **key_headers}
        self._base_url = options.base_url.rstrip("/")
        self._pace = Pace(options.concurrency_max)
        self._endpoint: Endpoint | None = None
        self._model = options.model

    @property
    def capacity(self) -> Capacity:
        """As configured, and less while the endpoint refuses requests."""
        return self._pace.capacity

    async def open(self, progress: Progress = ignore_progress) -> None:
        """Connect, and find the model if none is configured."""
        progress("Connecting to the endpoint", None)
        await self.close()
        options = self._common
        self._pace = Pace(options.concurrency_max)
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

    def _opened(self) -> Endpoint:
        if self._endpoint is None:
            raise EngineDown(f"The {self.name} engine is closed.")
        return self._endpoint


def contradictions(options: EndpointOptions) -> list[str]:
    """Name what is wrong with the settings that all these engines have."""
    problems = []
    parts = urlsplit(options.base_url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        problems.append("base_url: it is no address that begins with http:// or https://")
    elif parts.query or parts.fragment or "@" in parts.netloc:
        problems.append("base_url: it has more than a host and a path; keys go into `api_key`")
    if not _HEADER_VALUE.fullmatch(options.api_key):
        problems.append("api_key: it holds what no header may hold")
    if not all(
        _HEADER_NAME.fullmatch(name) and _HEADER_VALUE.fullmatch(value)
        for name, value in options.headers.items()
    ):
        problems.append("headers: a name or a value holds what no header may hold")
    return problems
