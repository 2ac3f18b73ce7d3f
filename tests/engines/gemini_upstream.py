"""A server that speaks Gemini's protocol, on a real port, with faults on demand."""

from __future__ import annotations

from contextlib import aclosing
from typing import Any

import msgspec
from aiohttp import web

from nightrate.dialects.gemini_counts import parse_count, render_count
from nightrate.dialects.gemini_errors import render_failure
from nightrate.dialects.gemini_passages import parse_passage
from nightrate.dialects.gemini_prompts import parse_prompt
from nightrate.dialects.gemini_replies import render_reply
from nightrate.dialects.gemini_streams import EVENTS, StreamWriter
from nightrate.dialects.gemini_vectors import render_embedding
from nightrate.domain.generation import Failure
from nightrate.engines.gemini import GeminiEngine
from nightrate.errors import RequestFailed
from tests.engines.upstream import Fault, Upstream, answer, shown

MODEL = "the-model"


class GeminiUpstream(Upstream):
    """The server; as `Upstream`."""

    version = "v1beta"

    def __init__(self) -> None:
        super().__init__()
        self.paths: list[str] = []

    def _route(self, router: web.UrlDispatcher) -> None:
        router.add_get("/v1beta/models", self._models)
        router.add_post("/v1beta/models/{model}:{verb}", self._asked)

    def _knows(self, request: web.Request) -> bool:
        return request.headers.get("x-goog-api-key") == self.key

    async def _models(self, _request: web.Request) -> web.Response:
        models = [{"name": f"models/{name}", "version": "001"} for name in self.models]
        return answer({"models": models})

    async def _asked(self, request: web.Request) -> web.StreamResponse:
        self.paths.append(str(request.rel_url))
        body = await request.read()
        self.bodies.append(msgspec.json.decode(body))
        verbs = {
            "generateContent": self._generate,
            "streamGenerateContent": self._stream,
            "embedContent": self._embed,
            "countTokens": self._count,
        }
        try:
            return await verbs[request.match_info["verb"]](request, body)
        except RequestFailed as failed:
            return _failed(failed)

    async def _generate(self, _request: web.Request, body: bytes) -> web.StreamResponse:
        reply = await self._echo.generate(shown(parse_prompt(body, MODEL)))
        return _json(render_reply(reply, "x"))

    async def _stream(self, request: web.Request, body: bytes) -> web.StreamResponse:
        assert request.query["alt"] == "sse"
        writer = StreamWriter(EVENTS, "x")
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        async with aclosing(self._echo.stream(shown(parse_prompt(body, MODEL)))) as pieces:
            try:
                async for piece in pieces:
                    if not response.prepared:
                        await response.prepare(request)
                    await response.write(writer.write(piece))
            except RequestFailed as failed:
                if not response.prepared:
                    raise
                await response.write(writer.write(Failure(failed.code, failed.message)))
        return response

    async def _embed(self, _request: web.Request, body: bytes) -> web.StreamResponse:
        return _json(render_embedding(await self._echo.embed(parse_passage(body, MODEL))))

    async def _count(self, _request: web.Request, body: bytes) -> web.StreamResponse:
        tokens = await self._echo.count_tokens(shown(parse_count(body, MODEL)))
        return _json(render_count(tokens))


def _json(body: bytes) -> web.Response:
    return web.Response(body=body, content_type="application/json")


def _failed(failed: RequestFailed) -> web.Response:
    status, body = render_failure(Failure(failed.code, failed.message))
    return web.Response(body=body, status=status, content_type="application/json")


def engine_of(upstream: Upstream, **given: Any) -> GeminiEngine:
    """Make an engine for it, not yet open."""
    options: dict[str, Any] = {"base_url": upstream.base_url, **given}
    return GeminiEngine.from_options(options)


def denial(
    code: int, status: str, *details: dict[str, Any], message: str = "You said: SECRET WORDS"
) -> Fault:
    """Make a fault: a refusal as Google's services write it, with the prompt in its message."""

    async def fault(_request: web.Request) -> web.StreamResponse:
        error = {"code": code, "message": message, "status": status, "details": list(details)}
        return answer({"error": error}, code)

    return fault


def detail(kind: str, **members: Any) -> dict[str, Any]:
    """Make a detail of a refusal."""
    return {"@type": f"type.googleapis.com/google.rpc.{kind}", **members}


WRONG_KEY = denial(400, "INVALID_ARGUMENT", detail("ErrorInfo", reason="API_KEY_INVALID"))
ABROAD = denial(
    400, "FAILED_PRECONDITION", message="User location is not supported for the API use."
)
