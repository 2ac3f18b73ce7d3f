"""The door for Gemini clients: models, live generation, batches and files."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING

from nightrate import clock, limits
from nightrate.api import body
from nightrate.api.auth import tenant_of
from nightrate.api.idempotency import once_of
from nightrate.api.links import base_url
from nightrate.api.profiles import profile_of
from nightrate.api.query import one_of, page_of, switched_on
from nightrate.api.respond import JSON, STREAM_HEADERS, Streamed, Told, Unbegun, document, told
from nightrate.dialects import gemini as wire
from nightrate.domain.batch import Method
from nightrate.domain.cache import Reach
from nightrate.domain.generation import Failure
from nightrate.errors import BadRequest, NotSupported

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request
    from starlette.responses import Response

    from nightrate.clock import Instant
    from nightrate.domain.batch import Batch, Order
    from nightrate.service.batches import Batches
    from nightrate.service.execute import Executor
    from nightrate.service.files import Files
    from nightrate.service.models import Models
    from nightrate.service.outlooks import Outlooks
    from nightrate.service.results import Results

_RESPONSE_ID_CHARACTERS = 22

_CHANGES = {"cache-control": "no-store"}
"""Documentation changes things by GET; nothing in between may answer such a call by itself."""

_UPDATES = {
    Method.GENERATE: "updateGenerateContentBatch",
    Method.EMBED: "updateEmbedContentBatch",
}


class Gemini:
    """Handlers of the Gemini routes, apart from uploads and downloads."""

    def __init__(  # noqa: PLR0913 - one keyword a room
        self,
        *,
        files: Files,
        results: Results,
        batches: Batches,
        models: Models,
        executor: Executor,
        outlooks: Outlooks,
        public_url: str | None,
    ) -> None:
        self._files = files
        self._results = results
        self._batches = batches
        self._models = models
        self._executor = executor
        self._outlooks = outlooks
        self._public_url = public_url

    # models -----------------------------------------------------------------------------------

    async def list_models(self, request: Request) -> Response:
        """Answer ``GET models``."""
        page = page_of(request, default=limits.PAGE_SIZE_DEFAULT, maximum=limits.PAGE_SIZE_MAX)
        start = page.after[0] if page.after else 0
        models = self._models.list()
        stop = start + page.size
        token = wire.encode_page_token(stop, "models") if stop < len(models) else None
        return document(wire.render_models(models[start:stop], token))

    async def list_tuned_models(self, request: Request) -> Response:
        """Answer ``GET tunedModels``: there are none."""
        del request
        return document(b"{}")

    async def get_model(self, request: Request) -> Response:
        """Answer ``GET models/ID``."""
        return document(wire.render_model(self._models.resolve(request.path_params["model"])))

    async def generate(self, request: Request) -> Response:
        """Answer ``POST models/ID:generateContent``; a client that leaves frees the engine."""
        name = request.path_params["model"]
        prompt = wire.parse_prompt(await body.whole(request), name)
        model = self._models.resolve(name, Method.GENERATE)
        reach = _reach(request)
        prompt = await self._executor.whole(prompt, model.name, reach)
        outcome = await body.while_connected(request, self._executor.live(model, prompt, reach))
        if isinstance(outcome, Failure):
            return _failed(outcome)
        return document(wire.render_reply(outcome, clock.new_id(_RESPONSE_ID_CHARACTERS)))

    async def stream(self, request: Request) -> Response:
        """Answer ``POST models/ID:streamGenerateContent`` while the answer is made.

        What fails before the first text is answered as any other call; a client that leaves frees
        the engine.
        """
        name = request.path_params["model"]
        framing = wire.framing_of(request.query_params.get("alt", ""))
        prompt = wire.parse_prompt(await body.whole(request), name)
        model = self._models.resolve(name, Method.GENERATE)
        reach = _reach(request)
        prompt = await self._executor.whole(prompt, model.name, reach)
        pieces = self._executor.stream(model, prompt, reach)
        writer = wire.StreamWriter(framing, clock.new_id(_RESPONSE_ID_CHARACTERS))
        headers = {**STREAM_HEADERS, "content-type": framing.content_type}
        try:
            return await body.while_connected(
                request, Told.begin(told(pieces, writer.write), headers)
            )
        except Unbegun as unbegun:
            return _failed(unbegun.failure)

    async def count_tokens(self, request: Request) -> Response:
        """Answer ``POST models/ID:countTokens``."""
        name = request.path_params["model"]
        prompt = wire.parse_count(await body.whole(request), name)
        model = self._models.resolve(name, Method.GENERATE)
        reach = _reach(request)
        prompt = await self._executor.whole(prompt, model.name, reach)
        counting = self._executor.count_tokens(model, prompt, reach)
        tokens = await body.while_connected(request, counting)
        if isinstance(tokens, Failure):
            return _failed(tokens)
        return document(wire.render_count(tokens, min(prompt.cached_tokens, tokens)))

    async def embed(self, request: Request) -> Response:
        """Answer ``POST models/ID:embedContent``; a client that leaves frees the engine."""
        name = request.path_params["model"]
        passage = wire.parse_passage(await body.whole(request), name)
        model = self._models.resolve(name, Method.EMBED)
        outcome = await body.while_connected(request, self._executor.live(model, passage))
        if isinstance(outcome, Failure):
            return _failed(outcome)
        return document(wire.render_embedding(outcome))

    async def embed_several(self, request: Request) -> Response:
        """Answer ``POST models/ID:batchEmbedContents``; one that fails fails the call."""
        name = request.path_params["model"]
        passages = wire.parse_passages(await body.whole(request), name)
        model = self._models.resolve(name, Method.EMBED)
        outcome = await body.while_connected(request, self._executor.live_all(model, passages))
        if isinstance(outcome, Failure):
            return _failed(outcome)
        return document(wire.render_embeddings(outcome))

    # batches ----------------------------------------------------------------------------------

    async def create_batch(self, request: Request) -> Response:
        """Answer ``POST models/ID:batchGenerateContent``."""
        return await self._create(request, Method.GENERATE)

    async def create_embedding_batch(self, request: Request) -> Response:
        """Answer ``POST models/ID:asyncBatchEmbedContent``."""
        return await self._create(request, Method.EMBED)

    async def _create(self, request: Request, method: Method) -> Response:
        model = request.path_params["model"]
        content = await body.whole(request, limits.INLINE_BODY_BYTES_MAX)
        order = wire.parse_order(content, model, method)
        profile = profile_of(request.scope)
        strict = profile is wire.Profile.EXACT
        if switched_on(request, "dryRun", "dry_run"):
            return await self._dry_run(request, model, order, strict=strict)
        batch = await self._batches.submit(
            *(tenant_of(request), model, order),
            strict=strict,
            once=once_of(request, model, method, profile, content),
        )
        return await self._batch(batch, profile)

    async def _dry_run(
        self, request: Request, model: str, order: Order, *, strict: bool
    ) -> Response:
        """Answer with what a batch would be; nothing runs, and nothing is kept."""
        looking = self._batches.inspect(tenant_of(request), model, order, strict=strict)
        found, strict, quote = await body.while_connected(request, looking)
        count = found.request_count if found.complete else None
        outlook = await self._outlooks.of_new(model, order.priority, count)
        report = wire.render_inspection(
            *(found, model, order.kind.form), strict=strict, quote=quote, outlook=outlook
        )
        return document(report)

    async def get_batch(self, request: Request) -> Response:
        """Answer ``GET batches/ID``."""
        batch_id = request.path_params["batch_id"]
        batch = await self._batches.get(tenant_of(request), batch_id)
        return await self._batch(batch, profile_of(request.scope))

    async def list_batches(self, request: Request) -> Response:
        """Answer ``GET batches``: every document without its inline results."""
        page = page_of(request, default=limits.PAGE_SIZE_DEFAULT, maximum=limits.PAGE_SIZE_MAX)
        wanted = wire.parse_filter(request.query_params.get("filter", ""))
        batches, following = await self._batches.list(tenant_of(request), page, wanted)
        profile = profile_of(request.scope)
        standing = zip(batches, await self._outlooks.of(batches), strict=True)
        return document(wire.render_batches(standing, _token(following), profile))

    async def cancel_batch(self, request: Request) -> Response:
        """Answer ``:cancel`` by POST, and by GET as documentation has it."""
        await self._batches.cancel(tenant_of(request), request.path_params["batch_id"])
        return document(b"{}", headers=_CHANGES)

    async def delete_batch(self, request: Request) -> Response:
        """Answer ``DELETE batches/ID``, and ``:delete`` by POST or by GET."""
        await self._batches.delete(tenant_of(request), request.path_params["batch_id"])
        return document(b"{}", headers=_CHANGES)

    async def update_batch(self, request: Request) -> Response:
        """Answer ``PATCH batches/ID:updateGenerateContentBatch`` with the batch itself."""
        return await self._update(request, Method.GENERATE)

    async def update_embedding_batch(self, request: Request) -> Response:
        """Answer ``PATCH batches/ID:updateEmbedContentBatch`` with the batch itself."""
        return await self._update(request, Method.EMBED)

    async def _update(self, request: Request, method: Method) -> Response:
        mask = one_of(request, "updateMask", "update_mask")
        change = wire.parse_change(await body.whole(request), mask)
        batch_id = request.path_params["batch_id"]
        found = await self._batches.get(tenant_of(request), batch_id)
        if found.kind.method is not method:
            verb = _UPDATES[found.kind.method]
            raise BadRequest(f"batches/{batch_id} is a batch of another kind; use :{verb}.")
        batch = await self._batches.update(tenant_of(request), batch_id, change)
        (outlook,) = await self._outlooks.of([batch])
        return document(wire.render_batch_resource(batch, profile_of(request.scope), outlook))

    async def _batch(self, batch: Batch, profile: wire.Profile) -> Response:
        """Answer with a batch's document; inline results are streamed into their places."""
        (outlook,) = await self._outlooks.of([batch])
        chunks = wire.render_batch(batch, profile=profile, outlook=outlook)
        texts = [chunk for chunk in chunks if isinstance(chunk, bytes)]
        if len(texts) == len(chunks):
            return document(b"".join(texts))
        await self._results.verify(batch)
        return await Streamed.begin(self._filled(chunks, batch, profile), {"content-type": JSON})

    async def _filled(
        self, chunks: Sequence[bytes | wire.Items], batch: Batch, profile: wire.Profile
    ) -> AsyncGenerator[bytes, None]:
        for chunk in chunks:
            if isinstance(chunk, bytes):
                yield chunk
                continue
            async with aclosing(self._results.items(batch, profile)) as items:
                async for piece in items:
                    yield piece

    # files ------------------------------------------------------------------------------------

    async def get_file(self, request: Request) -> Response:
        """Answer ``GET files/ID``."""
        file = await self._files.get(tenant_of(request), request.path_params["file_id"])
        return document(wire.render_file(file, base_url(request, self._public_url)))

    async def list_files(self, request: Request) -> Response:
        """Answer ``GET files``."""
        page = page_of(
            request, default=limits.FILES_PAGE_SIZE_DEFAULT, maximum=limits.FILES_PAGE_SIZE_MAX
        )
        files, following = await self._files.list(tenant_of(request), page)
        base = base_url(request, self._public_url)
        return document(wire.render_files(files, _token(following), base))

    async def delete_file(self, request: Request) -> Response:
        """Answer ``DELETE files/ID``."""
        await self._files.delete(tenant_of(request), request.path_params["file_id"])
        return document(b"{}")


def _failed(failure: Failure) -> Response:
    status, content = wire.render_failure(failure)
    return document(content, status)


def not_served(what: str) -> Callable[[Request], Awaitable[Response]]:
    """Make a handler for a method of Google's that is known but not served."""

    async def handler(request: Request) -> Response:
        del request
        message = f"{what} is not served by this server yet."
        raise NotSupported(message)

    return handler


def _reach(request: Request) -> Reach:
    return Reach(tenant_of(request), clock.now())


def _token(following: tuple[Instant, str] | None) -> str | None:
    return wire.encode_page_token(*following) if following else None
