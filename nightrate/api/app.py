"""Every door of the server on one screen."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.convertors import Convertor, register_url_convertor
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.routing import Mount, Route, Router

from nightrate import telemetry
from nightrate.api.auth import Gate
from nightrate.api.caches import CacheDoors
from nightrate.api.description import describe
from nightrate.api.downloads import Downloads
from nightrate.api.gemini import Gemini, not_served
from nightrate.api.middleware import Watch
from nightrate.api.openai import OpenAI
from nightrate.api.profiles import PREFIXED, VERSIONS
from nightrate.api.respond import document
from nightrate.api.surfaces import refusal, surface_of
from nightrate.api.uploads import Uploads, error_headers, is_piece
from nightrate.api.webhooks import WebhookDoors
from nightrate.dialects import gemini as wire
from nightrate.domain.generation import Failure
from nightrate.errors import Code, NotFound

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from nightrate.service.batches import Batches
    from nightrate.service.caches import Caches
    from nightrate.service.execute import Executor
    from nightrate.service.files import Files
    from nightrate.service.followers import Followers
    from nightrate.service.keys import Keys
    from nightrate.service.models import Models
    from nightrate.service.outlooks import Outlooks
    from nightrate.service.results import Results
    from nightrate.service.webhooks import Webhooks

Readiness = Callable[[], Awaitable[str | None]]
"""Gives None when the server can work, else the reason why not."""


class _Text(Convertor[str]):
    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


class _Version(_Text):
    regex = "|".join(VERSIONS)


class _Id(_Text):
    regex = "[A-Za-z0-9._~@-]{1,128}"  # no colon: what follows one is a verb


class _Kind(_Text):
    regex = "models|tunedModels"


class _Profile(_Text):
    regex = str(PREFIXED)


_CONVERTORS = {"v": _Version(), "id": _Id(), "kind": _Kind(), "profile": _Profile()}
for _name, _convertor in _CONVERTORS.items():
    register_url_convertor(_name, _convertor)

_ALL = "GET", "POST", "PUT", "PATCH", "DELETE"
_MODEL = "/{version:v}/{kind:kind}/{model:id}"
_BATCH = "/{version:v}/batches/{batch_id:id}"
_FILE = "/{version:v}/files/{file_id:id}"
_CACHE = "/{version:v}/cachedContents/{cache_id:id}"
_WEBHOOK = "/{version:v}/webhooks/{webhook_id:id}"


def create_app(  # noqa: PLR0913 - one keyword a service
    *,
    files: Files,
    results: Results,
    followers: Followers,
    batches: Batches,
    models: Models,
    executor: Executor,
    webhooks: Webhooks,
    caches: Caches,
    keys: Keys,
    outlooks: Outlooks,
    readiness: Readiness,
    public_url: str | None,
    changes_by_get: bool = True,
) -> Starlette:
    """Make the application.

    ``public_url`` is the address clients see, if it is configured; ``changes_by_get`` serves what
    documentation changes by GET.
    """
    gemini = Gemini(
        files=files,
        results=results,
        batches=batches,
        models=models,
        executor=executor,
        outlooks=outlooks,
        public_url=public_url,
    )
    upload = Uploads(files, public_url).serve
    download = Downloads(results, followers).serve
    routes = [
        Route("/{version:v}/models", gemini.list_models),
        Route("/{version:v}/tunedModels", gemini.list_tuned_models),
        Route(_MODEL, gemini.get_model),
        Route(_MODEL + ":generateContent", gemini.generate, methods=["POST"]),
        Route(_MODEL + ":streamGenerateContent", gemini.stream, methods=["POST"]),
        Route(_MODEL + ":countTokens", gemini.count_tokens, methods=["POST"]),
        Route(_MODEL + ":batchGenerateContent", gemini.create_batch, methods=["POST"]),
        *_embedding_routes(gemini),
        Route("/{version:v}/batches", gemini.list_batches),
        Route(_BATCH, gemini.get_batch),
        Route(_BATCH, gemini.delete_batch, methods=["DELETE"]),
        *_changing(_BATCH + ":delete", gemini.delete_batch, by_get=changes_by_get),
        *_changing(_BATCH + ":cancel", gemini.cancel_batch, by_get=changes_by_get),
        Route(_BATCH + ":updateGenerateContentBatch", gemini.update_batch, methods=["PATCH"]),
        Route("/upload/{version:v}/files", upload, methods=["POST", "PUT"]),
        Route("/{alias:v}/upload/{version:v}/files", upload, methods=["POST", "PUT"]),
        Route("/{version:v}/files", gemini.list_files),
        Route(_FILE, gemini.get_file),
        Route(_FILE, gemini.delete_file, methods=["DELETE"]),
        Route(_FILE + ":download", download),
        Route("/download" + _FILE + ":download", download),
        *_webhook_routes(webhooks),
        *_cache_routes(caches),
        *_not_served(_BATCH, "Changing a batch", "PATCH"),
        *_not_served("/{version:v}/files", "Creating a file without its bytes", "POST"),
        *_not_served("/{version:v}/files:register", "Registering files elsewhere", "POST"),
        *_openai_routes(OpenAI(files, Downloads(results, followers), batches, models, executor)),
    ]
    return _guarded(routes, keys, readiness)


def _guarded(routes: list[Route], keys: Keys, readiness: Readiness) -> Starlette:
    """Put the doors behind the gate, with and without the prefix of a profile."""
    exact = Router(routes, redirect_slashes=False)
    app = Starlette(
        routes=[
            Route("/livez", _alive),
            Route("/metrics", _metrics),
            Route("/openapi.json", describe),
            Route("/readyz", _ready(readiness)),
            *routes,
            Mount("/{profile:profile}", exact),
        ],
        middleware=[
            Middleware(Watch, error_headers=error_headers),
            Middleware(Gate, keys=keys, is_piece=is_piece),
        ],
        exception_handlers={HTTPException: _no_route},
    )
    app.router.redirect_slashes = False  # clients follow no redirects
    return app


def _changing(
    path: str, handler: Callable[[Request], Awaitable[Response]], *, by_get: bool
) -> list[Route]:
    """Route a verb that documentation calls by GET as well; nobody means it by asking HEAD."""
    reading = Route(path, handler if by_get else _switched_off)
    reading.methods = {"GET"}
    return [reading, Route(path, handler, methods=["POST"])]


async def _switched_off(request: Request) -> Response:
    """Answer a change by GET where that is not wanted."""
    message = (
        f"GET {request.scope['path']} is switched off on this server, by its setting"
        " changes_by_get; send POST."
    )
    status, content = wire.render_error(NotFound(message))
    return document(content, status, {"allow": "POST", "cache-control": "no-store"})


def _embedding_routes(gemini: Gemini) -> list[Route]:
    update = gemini.update_embedding_batch
    return [
        Route(_MODEL + ":embedContent", gemini.embed, methods=["POST"]),
        Route(_MODEL + ":batchEmbedContents", gemini.embed_several, methods=["POST"]),
        Route(_MODEL + ":asyncBatchEmbedContent", gemini.create_embedding_batch, methods=["POST"]),
        Route(_BATCH + ":updateEmbedContentBatch", update, methods=["PATCH"]),
    ]


def _webhook_routes(webhooks: Webhooks) -> list[Route]:
    doors = WebhookDoors(webhooks)
    return [
        Route("/{version:v}/webhooks", doors.list),
        Route("/{version:v}/webhooks", doors.create, methods=["POST"]),
        Route(_WEBHOOK, doors.get),
        Route(_WEBHOOK, doors.change, methods=["PATCH"]),
        Route(_WEBHOOK, doors.delete, methods=["DELETE"]),
        Route(_WEBHOOK + "/deliveries", doors.deliveries),
        Route(_WEBHOOK + ":ping", doors.ping, methods=["POST"]),
        Route(_WEBHOOK + ":rotateSigningSecret", doors.rotate, methods=["POST"]),
        Route(_WEBHOOK + "/rotate_secret", doors.rotate, methods=["POST"]),
        Route("/.well-known/jwks.json", doors.public_keys),
    ]


def _openai_routes(openai: OpenAI) -> list[Route]:
    """Route what OpenAI's clients ask; their ids have slashes, which may come decoded."""
    base = "/{version:v}/openai"
    anywhere = base, "/{version:v}"
    return [
        *(Route(f"{at}/chat/completions", openai.chat, methods=["POST"]) for at in anywhere),
        *(Route(f"{at}/embeddings", openai.embed, methods=["POST"]) for at in anywhere),
        Route(f"{base}/models", openai.list_models),
        Route(base + "/models/{tail:path}", openai.get_model),
        Route(f"{base}/files", openai.list_files),
        Route(f"{base}/files", openai.upload_file, methods=["POST"]),
        Route(base + "/files/{tail:path}", openai.get_file),
        Route(base + "/files/{tail:path}", openai.delete_file, methods=["DELETE"]),
        Route(f"{base}/batches", openai.list_batches),
        Route(f"{base}/batches", openai.create_batch, methods=["POST"]),
        Route(base + "/batches/{tail:path}", openai.get_batch),
        Route(base + "/batches/{tail:path}", openai.cancel_batch, methods=["POST"]),
        *(Route(f"{at}/images/generations", openai.draw, methods=["POST"]) for at in anywhere),
    ]


def _cache_routes(caches: Caches) -> list[Route]:
    doors = CacheDoors(caches)
    return [
        Route("/{version:v}/cachedContents", doors.list),
        Route("/{version:v}/cachedContents", doors.create, methods=["POST"]),
        Route(_CACHE, doors.get),
        Route(_CACHE, doors.change, methods=["PATCH"]),
        Route(_CACHE, doors.delete, methods=["DELETE"]),
    ]


def _not_served(path: str, what: str, *methods: str) -> list[Route]:
    return [Route(path, not_served(what), methods=list(methods))]


async def _metrics(request: Request) -> Response:
    """Answer with the figures that Prometheus gathers."""
    del request
    content, content_type = telemetry.metrics()
    return document(content, headers={"content-type": content_type})


async def _alive(request: Request) -> Response:
    """Answer as long as the process serves."""
    del request
    return document(b"{}")


def _ready(readiness: Readiness) -> Callable[[Request], Awaitable[Response]]:
    async def handler(request: Request) -> Response:
        del request
        reason = await readiness()
        if reason is None:
            return document(b"{}")
        status, content = wire.render_failure(Failure(Code.UNAVAILABLE, reason))
        return document(content, status)

    return handler


async def _no_route(request: Request, error: Exception) -> Response:
    """Answer what the table does not hold."""
    allowed = (getattr(error, "headers", None) or {}).get("Allow")
    message = f"There is nothing at {request.method} {request.scope['path']}"
    message += f"; the methods here are: {allowed}." if allowed else "."
    status, content = refusal(NotFound(message), surface_of(request.scope))
    headers = {"allow": allowed} if allowed else {}
    return document(content, status, {**error_headers(request.scope), **headers})
