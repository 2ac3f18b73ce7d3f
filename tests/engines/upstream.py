"""A server that speaks OpenAI's protocol as vLLM does, on a real port, with faults on demand."""

from __future__ import annotations

import asyncio
from base64 import b64decode
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any, TypeVar
from zlib import crc32

import msgspec
from aiohttp import web
from msgspec import structs

from nightrate import clock
from nightrate.dialects.openai_chats import parse_chat
from nightrate.dialects.openai_embeddings import parse_embeddings, render_embeddings
from nightrate.dialects.openai_images import parse_image, render_image
from nightrate.dialects.openai_replies import render_completion
from nightrate.dialects.openai_streams import ChatStream
from nightrate.domain.generation import Prompt
from nightrate.domain.medium import Medium, media_of_turn, pieces_of
from nightrate.engines.echo import EchoEngine, EchoOptions
from nightrate.engines.openai import OpenAIEngine
from nightrate.errors import EngineFault, RequestFailed

Fault = Callable[[web.Request], Awaitable[web.StreamResponse | None]]
"""What happens instead of an answer; None for an answer after all."""

BEYOND = ("top_k", "truncate_prompt_tokens")
"""Members that vLLM takes beyond the protocol."""

Served = TypeVar("Served", bound="Upstream")

STATUSES = {3: 400, 8: 429, 14: 503}


class Upstream:
    """The server. What it was sent lies in `bodies`; what it does wrong comes from `faults`."""

    version = "v1"

    def __init__(self) -> None:
        self.base_url = ""
        self.key = ""
        self.models = ["the-model"]
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.faults: list[Fault] = []
        """Each strikes one request, in their order."""
        self.fault: Fault | None = None
        """Strikes every request behind those."""
        self.models_fault: Fault | None = None
        self.inside = 0
        self.most_inside = 0
        self.left = asyncio.Event()
        """Set when a client went away while it was being answered."""
        self._echo = EchoEngine(EchoOptions())
        self._runner: web.AppRunner | None = None

    async def start(self, port: int = 0) -> None:
        """Listen; on the same port as before, or on a free one."""
        await self._echo.open()
        app = web.Application(client_max_size=64 << 20, middlewares=[self._struck])
        self._route(app.router)
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.001)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", port, reuse_address=True)
        await site.start()
        port = self._runner.addresses[0][1]
        self.base_url = f"http://127.0.0.1:{port}/{self.version}"

    def _route(self, router: web.UrlDispatcher) -> None:
        router.add_get("/v1/models", self._models)
        router.add_post("/v1/chat/completions", self._chat)
        router.add_post("/v1/embeddings", self._embeddings)
        router.add_post("/v1/images/generations", self._images)
        router.add_post("/tokenize", self._tokenize)

    def _knows(self, request: web.Request) -> bool:
        return request.headers.get("authorization") == f"Bearer {self.key}"

    @property
    def port(self) -> int:
        return int(self.base_url.split(":")[2].partition("/")[0])

    async def stop(self) -> None:
        """Close the port and every connection."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    # answers ----------------------------------------------------------------------------------

    @web.middleware
    async def _struck(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        self.headers.append(dict(request.headers))
        if self.key and not self._knows(request):
            return refusal(401)
        self.inside += 1
        self.most_inside = max(self.most_inside, self.inside)
        try:
            listing = request.path.endswith("/models")
            fault = self.models_fault if listing else self._next_fault()
            struck = await fault(request) if fault else None
            return struck or await handler(request)
        except asyncio.CancelledError:
            self.left.set()
            raise
        except RequestFailed as failed:
            return refusal(STATUSES.get(failed.code, 500))
        except EngineFault:
            return refusal(500)
        finally:
            self.inside -= 1

    def _next_fault(self) -> Fault | None:
        return self.faults.pop(0) if self.faults else self.fault

    async def _models(self, _request: web.Request) -> web.Response:
        data = [{"id": name, "object": "model"} for name in self.models]
        return answer({"object": "list", "data": data})

    async def _body(self, request: web.Request) -> dict[str, Any]:
        body: dict[str, Any] = msgspec.json.decode(await request.read())
        self.bodies.append(dict(body))
        for name in BEYOND:
            body.pop(name, None)
        return body

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        call = parse_chat(msgspec.json.encode(await self._body(request)))
        prompt = shown(call.prompt)
        if not call.streamed:
            reply = await self._echo.generate(prompt)
            body = render_completion(reply, "x", clock.now())
            return web.Response(body=body, content_type="application/json")
        writer = ChatStream(call.model, "x", clock.now(), usage=call.usage_streamed)
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        async with aclosing(self._echo.stream(prompt)) as pieces:
            first = await anext(pieces)
            await response.prepare(request)
            await response.write(writer.write(first))
            async for piece in pieces:
                await response.write(writer.write(piece))
        return response

    async def _embeddings(self, request: web.Request) -> web.Response:
        call = parse_embeddings(msgspec.json.encode(await self._body(request)))
        vectors = [await self._echo.embed(passage) for passage in call.passages]
        body = render_embeddings(vectors, packed=call.packed)
        return web.Response(body=body, content_type="application/json")

    async def _images(self, request: web.Request) -> web.Response:
        call = parse_image(msgspec.json.encode(await self._body(request)))
        body = render_image(await self._echo.generate(call.prompt), clock.now())
        return web.Response(body=body, content_type="application/json")

    async def _tokenize(self, request: web.Request) -> web.Response:
        body = await self._body(request)
        body.pop("add_generation_prompt")
        if all(turn["role"] == "system" for turn in body["messages"]):
            turns = [{**turn, "role": "user"} for turn in body["messages"]]
            body["messages"] = turns
        prompt: Prompt = parse_chat(msgspec.json.encode(body)).prompt
        return answer({"count": await self._echo.count_tokens(prompt)})


def shown(prompt: Prompt) -> Prompt:
    """Put words for each medium into the text, where it stands: its type and what its bytes are."""
    messages = list(prompt.messages)
    for turn, message in enumerate(messages):
        pieces = pieces_of(message.text, media_of_turn(prompt.media, turn))
        text = "".join(one if isinstance(one, str) else _words_of(one) for one in pieces)
        messages[turn] = structs.replace(message, text=text)
    return structs.replace(prompt, messages=tuple(messages), media=())


def _words_of(medium: Medium) -> str:
    return words_of(medium.mime_type, b64decode(medium.data, validate=True))


def words_of(mime_type: str, content: bytes) -> str:
    """Give the words that stand for a medium in an answer."""
    return f"<{mime_type} {crc32(content):08x}>"


@asynccontextmanager
async def serving(kind: type[Served]) -> AsyncIterator[Served]:
    """Serve while the block runs."""
    upstream = kind()
    await upstream.start()
    try:
        yield upstream
    finally:
        await upstream.stop()


def made(upstream: Upstream, **given: Any) -> OpenAIEngine:
    """Make an engine for it, not yet open."""
    options: dict[str, Any] = {
        "base_url": upstream.base_url,
        "server": "vllm",
        "schema": True,
        "functions": True,
    }
    options |= given
    return OpenAIEngine.from_options(options)


def answer(document: object, status: int = 200, **headers: str) -> web.Response:
    """Answer with JSON."""
    body = msgspec.json.encode(document)
    return web.Response(
        body=body, status=status, content_type="application/json", headers=headers or None
    )


def refusal(status: int, after: str | None = None, **error: object) -> web.Response:
    """Refuse as OpenAI's servers do, with the words of a prompt in the message."""
    said = {"message": "You said: SECRET WORDS", "type": "error", "param": None, **error}
    headers = {} if after is None else {"Retry-After": after}
    body = msgspec.json.encode({"error": said})
    return web.Response(body=body, status=status, content_type="application/json", headers=headers)


def refuses(status: int, after: str | None = None, **error: object) -> Fault:
    """Make a fault: a status."""

    async def fault(_request: web.Request) -> web.StreamResponse:
        return refusal(status, after, **error)

    return fault


def says(body: bytes, content_type: str = "application/json", status: int = 200) -> Fault:
    """Make a fault: a body."""

    async def fault(_request: web.Request) -> web.StreamResponse:
        return web.Response(body=body, status=status, content_type=content_type)

    return fault


def breaks(after: bytes = b"", length: int | None = None) -> Fault:
    """Make a fault: the connection breaks, after some bytes of a body of some announced length."""

    async def fault(request: web.Request) -> web.StreamResponse:
        await request.read()
        if after:
            response = web.StreamResponse(headers={"content-type": "text/event-stream"})
            response.content_length = length
            await response.prepare(request)
            await response.write(after)
        assert request.transport is not None
        request.transport.close()
        return web.Response()

    return fault
