"""The door for OpenAI's clients: chat, models, files and batches, over the same services."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from nightrate import clock, limits
from nightrate.api import body
from nightrate.api.auth import tenant_of
from nightrate.api.forms import receive_file
from nightrate.api.profiles import PREFIXED, profile_of
from nightrate.api.respond import STREAM_HEADERS, Told, Unbegun, document, told
from nightrate.dialects import openai as wire
from nightrate.domain.batch import Method
from nightrate.domain.cache import Reach
from nightrate.domain.file import Page
from nightrate.domain.generation import Failure
from nightrate.domain.states import FINAL_STATES
from nightrate.errors import BadRequest, Conflict, NotFound

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from nightrate.api.downloads import Downloads
    from nightrate.service.batches import Batches
    from nightrate.service.execute import Executor
    from nightrate.service.files import Files
    from nightrate.service.models import Models

_RESPONSE_ID_CHARACTERS = 22
_ID = re.compile(r"[A-Za-z0-9._~@-]{1,128}")
_CONTENT = "/content"
_CANCEL = "/cancel"


class OpenAI:
    """Handlers of the OpenAI-compatible routes."""

    def __init__(
        self,
        files: Files,
        downloads: Downloads,
        batches: Batches,
        models: Models,
        executor: Executor,
    ) -> None:
        self._files = files
        self._downloads = downloads
        self._batches = batches
        self._models = models
        self._executor = executor

    # live -------------------------------------------------------------------------------------

    async def chat(self, request: Request) -> Response:
        """Answer ``POST chat/completions``; a client that leaves frees the engine."""
        call = wire.parse_chat(await body.whole(request))
        model = self._models.resolve(call.model, Method.GENERATE)
        reach = Reach(tenant_of(request), clock.now())
        prompt = await self._executor.whole(call.prompt, model.name, reach)
        response_id = clock.new_id(_RESPONSE_ID_CHARACTERS)
        if call.streamed:
            pieces = self._executor.stream(model, prompt, reach)
            writer = wire.ChatStream(
                *(model.name, response_id, clock.now()), usage=call.usage_streamed
            )
            headers = {**STREAM_HEADERS, "content-type": wire.CONTENT_TYPE}
            try:
                begun = Told.begin(told(pieces, writer.write), headers)
                return await body.while_connected(request, begun)
            except Unbegun as unbegun:
                return _failed(unbegun.failure)
        answering = self._executor.live(model, prompt, reach)
        outcome = await body.while_connected(request, answering)
        if isinstance(outcome, Failure):
            return _failed(outcome)
        return document(wire.render_completion(outcome, response_id, clock.now()))

    async def embed(self, request: Request) -> Response:
        """Answer ``POST embeddings``; a client that leaves frees the engine."""
        call = wire.parse_embeddings(await body.whole(request))
        model = self._models.resolve(call.model, Method.EMBED)
        outcome = await body.while_connected(request, self._executor.live_all(model, call.passages))
        if isinstance(outcome, Failure):
            return _failed(outcome)
        return document(wire.render_embeddings(outcome, packed=call.packed))

    async def draw(self, request: Request) -> Response:
        """Answer ``POST images/generations``; a client that leaves frees the engine."""
        call = wire.parse_image(await body.whole(request))
        model = self._models.resolve(call.model, Method.GENERATE)
        outcome = await body.while_connected(request, self._executor.live(model, call.prompt))
        if isinstance(outcome, Failure):
            return _failed(outcome)
        if (refusal := wire.without_picture(outcome)) is not None:
            return _failed(refusal)
        return document(wire.render_image(outcome, clock.now()))

    # models -----------------------------------------------------------------------------------

    async def list_models(self, request: Request) -> Response:
        """Answer ``GET models``."""
        del request
        return document(wire.render_models(self._models.list()))

    async def get_model(self, request: Request) -> Response:
        """Answer ``GET models/ID``."""
        return document(wire.render_model(self._models.resolve(_named(request, "models"))))

    # files ------------------------------------------------------------------------------------

    async def upload_file(self, request: Request) -> Response:
        """Answer ``POST files``: a form with the file and what it is for, in any order."""
        return document(wire.render_file(await receive_file(request, self._files)))

    async def list_files(self, request: Request) -> Response:
        """Answer ``GET files``."""
        tenant, query = tenant_of(request), request.query_params
        purpose = query.get("purpose")
        if purpose and purpose not in wire.PURPOSES:
            return document(wire.render_files([], has_more=False))
        order = query.get("order", "desc")
        if order not in ("asc", "desc"):
            message = 'order: it must be "asc" or "desc".'
            raise BadRequest(message, field="order")
        most = limits.OPENAI_FILES_PAGE_SIZE_MAX
        after = None
        if name := query.get("after"):
            file = await self._files.get(tenant, _id(name, "files"))
            after = file.created_at, file.file_id
        page = Page(size=_limit(request, most, most), after=after, oldest_first=order == "asc")
        source = wire.PURPOSES[purpose] if purpose else None
        files, following = await self._files.list(tenant, page, source)
        return document(wire.render_files(files, has_more=following is not None))

    async def get_file(self, request: Request) -> Response:
        """Answer ``GET files/ID`` and ``GET files/ID/content``."""
        tail: str = request.path_params["tail"]
        if tail.endswith(_CONTENT):
            file_id = _id(tail.removesuffix(_CONTENT), "files")
            return await self._downloads.send(request, file_id)
        file = await self._files.get(tenant_of(request), _named(request, "files"))
        return document(wire.render_file(file))

    async def delete_file(self, request: Request) -> Response:
        """Answer ``DELETE files/ID``."""
        file_id = _named(request, "files")
        await self._files.delete(tenant_of(request), file_id)
        return document(wire.render_deleted_file(file_id))

    # batches ----------------------------------------------------------------------------------

    async def create_batch(self, request: Request) -> Response:
        """Answer ``POST batches``; the first line of the file says for which model."""
        tenant = tenant_of(request)
        order = wire.parse_batch_order(await body.whole(request))
        assert order.file_name is not None, "this dialect has files only"
        line = await self._batches.first_line(tenant, order.file_name)
        batch = await self._batches.submit(tenant, wire.model_of_line(line), order)
        return document(wire.render_batch(batch))

    async def list_batches(self, request: Request) -> Response:
        """Answer ``GET batches``, newest first."""
        tenant, after = tenant_of(request), None
        if name := request.query_params.get("after"):
            batch = await self._batches.get(tenant, _id(name, "batches"))
            after = batch.created_at, batch.batch_id
        size = _limit(
            request, limits.OPENAI_BATCHES_PAGE_SIZE_DEFAULT, limits.OPENAI_BATCHES_PAGE_SIZE_MAX
        )
        batches, following = await self._batches.list(tenant, Page(size=size, after=after))
        return document(wire.render_batches(batches, has_more=following is not None))

    async def get_batch(self, request: Request) -> Response:
        """Answer ``GET batches/ID``."""
        batch = await self._batches.get(tenant_of(request), _named(request, "batches"))
        return document(wire.render_batch(batch))

    async def cancel_batch(self, request: Request) -> Response:
        """Answer ``POST batches/ID/cancel``; one that has ended is given as it is.

        The original service refuses that, and so does the profile that follows it to the letter.
        """
        tail: str = request.path_params["tail"]
        if not tail.endswith(_CANCEL):
            raise _nothing_at(request)
        batch_id = _id(tail.removesuffix(_CANCEL), "batches")
        if profile_of(request.scope) is PREFIXED:
            batch = await self._batches.get(tenant_of(request), batch_id)
            if batch.state in FINAL_STATES:
                raise Conflict(f"Batch batches/{batch_id} has ended; it cannot be cancelled.")
        return document(wire.render_batch(await self._batches.cancel(tenant_of(request), batch_id)))


def _failed(failure: Failure) -> Response:
    status, content = wire.render_failure(failure)
    return document(content, status)


def _named(request: Request, collection: str) -> str:
    """Give the id at the end of the path, which may have its collection before it."""
    return _id(request.path_params["tail"], collection)


def _id(name: str, collection: str) -> str:
    """Give the id of ``collection/ID`` or of a bare ``ID``.

    Raises:
        NotFound: nothing can be called so.
    """
    found = name.removeprefix(f"{collection}/")
    if not _ID.fullmatch(found):
        raise NotFound(f"There is nothing of that name among the {collection}.")
    return found


def _nothing_at(request: Request) -> NotFound:
    return NotFound(f"There is nothing at {request.method} {request.scope['path']}.")


def _limit(request: Request, default: int, most: int) -> int:
    """Read how many things a page shall have.

    Raises:
        BadRequest: it is no number within the bounds.
    """
    text = request.query_params.get("limit")
    if text is None:
        return default
    if not (text.isascii() and text[:9] == text and text.isdecimal() and 1 <= int(text) <= most):
        message = f"limit: it must be 1 to {most}."
        raise BadRequest(message, field="limit")
    return int(text)
