"""``nightrate run``: one file through one model, without a server.

The same rooms as the server, in a state directory beside the output. Interrupted or killed, the
same command finds the state and goes on; every finished answer is kept. The output appears whole,
by a rename, when the last line is in it.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec

from nightrate import clock, limits
from nightrate.domain.batch import Batch, Order
from nightrate.domain.file import Page, result_file_id
from nightrate.domain.states import FINAL_STATES, BatchState
from nightrate.engines.base import Progress
from nightrate.errors import BadRequest, Fault, Precondition
from nightrate.runtime import House, open_house
from nightrate.service.models import usual_method
from nightrate.settings import Settings
from nightrate.store.disk import sync_file, sync_folder

TENANT = "default"
MIME_TYPE = "application/jsonl"

Watch = Callable[[Batch], None]


class EnginesDown(Fault):
    """No engine can be opened."""


def state_directory(output: Path) -> Path:
    """Say where an unfinished run keeps its state."""
    return output.with_name(output.name + ".nightrate")


async def run_file(
    settings: Settings, source: Path, output: Path, model: str, *, progress: Progress, watch: Watch
) -> Batch:
    """Run a file's requests and write the answers, or go on with an earlier try.

    Args:
        settings: engines and models; ``data`` is replaced by the state directory.
        source: requests, one JSON object a line.
        output: where the answers go, one line for each request, in input order.
        model: the served name to run.
        progress: told what opening engines are doing.
        watch: told the batch's counters about five times a second.

    Returns:
        the batch in its final state. The output exists only if it succeeded.

    Raises:
        Precondition: there is an output already, or state of a different run.
        BadRequest: the input cannot be read or is empty.
        EnginesDown: the engine cannot run here.
    """
    state = state_directory(output)
    _check(source, output, state)
    # One file for oneself: quotas are for the tenants of a server.
    free = {"file_storage_bytes_max": limits.FILE_BYTES_MAX, "enqueued_tokens_max": {}}
    house = open_house(msgspec.structs.replace(settings, data=str(state), **free))
    worth_keeping = True
    try:
        async with house.working(progress):
            batch = await _resume(house, source, model)
            if batch is None:
                worth_keeping = False  # a refused order leaves nothing that a next try could use
                batch = await _submit(house, source, model)
                worth_keeping = True
            batch = await _finish(house, batch, watch)
            if batch.state is BatchState.SUCCEEDED:
                await _write_output(house, batch, output)
        worth_keeping = False
    finally:
        await house.close()
        if not worth_keeping:
            _remove(state)
    return batch


def _remove(state: Path) -> None:
    """Delete the state; whoever is killed over it leaves nothing that looks like a run."""
    ended = state.with_name(state.name + ".ended")
    shutil.rmtree(ended, ignore_errors=True)
    state.rename(ended)
    shutil.rmtree(ended)


def _check(source: Path, output: Path, state: Path) -> None:
    if output.exists() and not state.exists():
        raise Precondition(f"{output} exists already; remove it, or choose another output with -o.")
    if not source.is_file():
        raise BadRequest(f"{source} is not a file that can be read.")


async def _resume(house: House, source: Path, model: str) -> Batch | None:
    """Find the batch of an earlier try, if it was about the same input and model."""
    found = await house.store.list_batches(TENANT, Page(size=1))
    if not found:
        return None
    batch = found[0]
    file = await house.store.get_file(TENANT, batch.input_file_id or "", clock.now())
    digest = await asyncio.to_thread(_sha256, source)
    if file is None or file.sha256 != digest or batch.model != model:
        state = house.directory
        message = f"{state} belongs to a run of another input or model; remove it to start anew."
        raise Precondition(message)
    return batch


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


async def _submit(house: House, source: Path, model: str) -> Batch:
    """Take a durable copy of the input, so that it cannot change under the run, and submit it."""
    upload = await house.files.start_upload(
        TENANT,
        display_name=source.name[: limits.DISPLAY_NAME_CHARACTERS_MAX],
        mime_type=MIME_TYPE,
        file_id=None,
    )
    await house.files.append(upload.upload_id, 0, _pieces(source))
    file = await house.files.finalize(upload.upload_id)
    order = Order(
        display_name=source.stem,
        priority=0,
        file_name=file.file_id,
        inline=None,
        method=usual_method(model),
    )
    return await house.batches.submit(TENANT, model, order)


async def _pieces(source: Path) -> AsyncIterator[bytes]:
    with source.open("rb") as file:
        while piece := await asyncio.to_thread(file.read, limits.WRITE_BYTES):
            yield piece


async def _finish(house: House, batch: Batch, watch: Watch) -> Batch:
    while batch.state not in FINAL_STATES:
        watch(batch)
        await clock.sleep(limits.WATCH_SECONDS)
        engine = house.models.engine_of(batch.model)
        fault = house.lanes[engine].fault if engine else None
        if fault is not None:
            raise EnginesDown(fault.message)
        batch = await house.batches.get(batch.tenant, batch.batch_id)
    watch(batch)
    return batch


async def _write_output(house: House, batch: Batch, output: Path) -> None:
    content = await house.results.content(TENANT, result_file_id(batch.batch_id))
    part = output.with_name(output.name + ".part")
    with part.open("wb") as file:
        async with contextlib.aclosing(content.stream(0, content.size_bytes)) as pieces:
            async for piece in pieces:
                await asyncio.to_thread(file.write, piece)
        file.flush()
        await asyncio.to_thread(sync_file, file.fileno())
    part.replace(output)
    # The name is durable before the state that could write it again is deleted.
    await asyncio.to_thread(sync_folder, output.parent)
