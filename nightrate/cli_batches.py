"""``nightrate batches``: the batches of a server, from the command line."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any, TypeVar

import click
from msgspec import Raw, Struct, field, json

from nightrate import clock, limits
from nightrate.cli_receipts import tell_receipt
from nightrate.dialects.receipts import ReceiptDocument
from nightrate.errors import Fault, Precondition
from nightrate.remote import CallFailed, Remote, pieces
from nightrate.settings import server_of

T = TypeVar("T")

_NEXT_STEPS = {
    None: "Is it running? Start a server with `nightrate serve`, or name yours with --base-url.",
    401: "Put a key of the server into the variable GEMINI_API_KEY.",
    403: "Put a key of the server into the variable GEMINI_API_KEY.",
    404: "`nightrate batches list` shows what there is.",
}
_LIVE = {"PENDING", "RUNNING"}
_base_url = click.option("--base-url", metavar="URL", help="Where the server is.")
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON for a script.")
_name = click.argument("name", metavar="BATCH")


class _Stats(Struct, rename="camel"):
    request_count: str | None = None
    successful_request_count: str = "0"
    failed_request_count: str = "0"


class _Inner(Struct, rename="camel"):
    inlined_responses: list[Raw] = field(default_factory=list)


class _Output(Struct, rename="camel"):
    responses_file: str | None = None
    inlined_responses: _Inner | None = None
    inlined_embed_content_responses: _Inner | None = None


class _Range(Struct):
    low: int
    high: int


class _Nightrate(Struct):
    reason: str | None = None
    eta_seconds: _Range | None = field(name="etaSeconds", default=None)
    receipt: ReceiptDocument | None = None


class _Metadata(Struct, rename="camel"):
    state: str
    display_name: str = ""
    model: str = ""
    create_time: str = ""
    end_time: str | None = None
    batch_stats: _Stats = field(default_factory=_Stats)
    output: _Output | None = None
    nightrate: _Nightrate | None = None


class _Error(Struct):
    code: int = 0
    message: str = ""


class _Batch(Struct):
    """A batch as either profile of a server shows it."""

    name: str
    metadata: _Metadata
    error: _Error | None = None

    @property
    def state(self) -> str:
        return self.metadata.state.rpartition("STATE_")[2]

    @property
    def whole(self) -> int | None:
        count = self.metadata.batch_stats.request_count
        return None if count is None else int(count)

    @property
    def failed(self) -> int:
        return int(self.metadata.batch_stats.failed_request_count)

    @property
    def done(self) -> int:
        return int(self.metadata.batch_stats.successful_request_count) + self.failed


class _Page(Struct, rename="camel"):
    operations: list[Raw] = field(default_factory=list)
    next_page_token: str | None = None


class Unfinished(Fault):
    """What was asked for is not there yet, or will never be."""


@click.group()
def batches() -> None:
    """List, watch and end batches of a server, and fetch their results.

    The server is the one of --base-url, else of the variable GOOGLE_GEMINI_BASE_URL, else the one
    on this machine; the key that of GOOGLE_API_KEY or GEMINI_API_KEY.
    """


@batches.command("list")
@click.option("--state", help="Only those in this state, such as RUNNING.")
@click.option("--limit", default=50, show_default=True, help="How many, the newest first.")
@_base_url
@_json
def list_batches(state: str | None, limit: int, base_url: str | None, *, as_json: bool) -> None:
    """List batches, the newest first."""
    found = list(_asked(_pages, server_of(base_url), state, limit))
    if as_json:
        click.echo(json.format(json.encode(found), indent=-1))
        return
    for document in found:
        batch = json.decode(document, type=_Batch)
        count = f"{batch.done}/{'?' if batch.whole is None else batch.whole}"
        click.echo(f"{batch.name}  {batch.state:<9}  {count:>15}  {batch.metadata.display_name}")
    if not found:
        click.echo("There are no such batches." if state else "There are no batches.", err=True)


def _pages(server: Remote, state: str | None, limit: int) -> list[Raw]:
    found: list[Raw] = []
    query = {"filter": f"state={state}"} if state else {}
    while len(found) < limit:
        query["pageSize"] = str(min(limit - len(found), limits.PAGE_SIZE_MAX))
        page = json.decode(server.document("GET", "batches", query=query), type=_Page)
        found += page.operations
        if page.next_page_token is None:
            break
        query["pageToken"] = page.next_page_token
    return found


@batches.command("get")
@_name
@_base_url
@_json
def get_batch(name: str, base_url: str | None, *, as_json: bool) -> None:
    """Show where a batch stands."""
    document = _asked(_document, server_of(base_url), name)
    if as_json:
        click.echo(json.format(document, indent=-1))
        return
    _tell(json.decode(document, type=_Batch))


@batches.command("cancel")
@_name
@_base_url
@_json
def cancel_batch(name: str, base_url: str | None, *, as_json: bool) -> None:
    """End a batch now; what it has finished is kept."""
    server = server_of(base_url)
    _asked(server.document, "POST", f"{_resource(name)}:cancel")
    document = _asked(_document, server, name)
    if as_json:
        click.echo(json.format(document, indent=-1))
        return
    _tell(json.decode(document, type=_Batch))


@batches.command("delete")
@_name
@_base_url
@_json
def delete_batch(name: str, base_url: str | None, *, as_json: bool) -> None:
    """End a batch if it has not ended, and forget it."""
    _asked(server_of(base_url).document, "DELETE", _resource(name))
    if as_json:
        click.echo(json.encode({"deleted": _resource(name)}))
        return
    click.echo(f"{_resource(name)} is deleted.")


@batches.command("results")
@_name
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Where the answers go.")
@click.option("--follow", is_flag=True, help="Read along while the batch runs.")
@_base_url
def fetch_results(name: str, output: Path | None, base_url: str | None, *, follow: bool) -> None:
    """Write the answers, one JSON object a line, in the order of the requests."""
    if output is not None and output.exists():
        raise Precondition(f"{output} exists already; remove it, or choose another with -o.")
    server = server_of(base_url)
    batch = json.decode(_asked(_document, server, name), type=_Batch)
    lines = _asked(_results, server, batch, follow=follow)
    if output is None:
        _write(lines, sys.stdout.buffer)
        return
    part = output.with_name(output.name + ".part")
    with part.open("wb") as file:
        _write(lines, file)
    part.replace(output)
    click.echo(f"{output}: the answers of {batch.name}", err=True)


def _write(lines: Iterable[bytes], file: IO[bytes]) -> None:
    for piece in lines:
        file.write(piece)
        file.flush()


def _results(server: Remote, batch: _Batch, *, follow: bool) -> Iterator[bytes]:
    output = batch.metadata.output or _Output()
    inner = output.inlined_responses or output.inlined_embed_content_responses
    if inner is not None:
        return (bytes(json.encode(item)) + b"\n" for item in inner.inlined_responses)
    file = output.responses_file
    if file is None and follow and batch.state not in {"SUCCEEDED", "FAILED"}:
        file = f"files/batch-{batch.name.removeprefix('batches/')}"
    if file is None:
        why = f": {batch.error.message}" if batch.error else ""
        step = f" `nightrate batches watch {batch.name}` waits for its end."
        live = batch.state in _LIVE
        raise Unfinished(f"{batch.name} is {batch.state}{why}{step if live else ''}")
    return pieces(server.download(file, follow=follow))


@batches.command("watch")
@_name
@_base_url
@_json
def watch_batch(name: str, base_url: str | None, *, as_json: bool) -> None:
    """Wait for the end of a batch; status 0 only if it succeeded."""
    from nightrate.progress import Bar

    server = server_of(base_url)

    async def watch(bar: Bar) -> bytes:
        while True:
            document = await asyncio.to_thread(_asked, _document, server, name)
            batch = json.decode(document, type=_Batch)
            bar.count(batch.whole, batch.done, batch.failed)
            if batch.state not in _LIVE:
                return document
            await clock.sleep(limits.REMOTE_WATCH_SECONDS)

    with Bar(_resource(name)) as bar:
        document = asyncio.run(watch(bar))
    batch = json.decode(document, type=_Batch)
    if as_json:
        click.echo(json.format(document, indent=-1))
    else:
        _tell(batch)
    sys.exit(0 if batch.state == "SUCCEEDED" else 1)


def _tell(batch: _Batch) -> None:
    """Show a batch to a person."""
    about = batch.metadata
    whole = "?" if batch.whole is None else batch.whole
    click.echo(f"{batch.name}: {batch.state}")
    click.echo(f"  {about.display_name}, for {about.model.removeprefix('models/')}")
    click.echo(f"  {batch.done} of {whole} requests done, {batch.failed} failed")
    click.echo(
        f"  created {about.create_time}{f', ended {about.end_time}' if about.end_time else ''}"
    )
    if batch.error is not None:
        click.echo(f"  {batch.error.message}")
    if about.nightrate is not None:
        _tell_more(about.nightrate)
    if about.output is not None:
        click.echo(f"  its answers: nightrate batches results {batch.name}")


def _tell_more(more: _Nightrate) -> None:
    """Show why a batch is where it is, when it will have ended, and what it costs."""
    if more.reason:
        click.echo(f"  {more.reason}")
    if (eta := more.eta_seconds) is not None:
        click.echo(
            f"  will have ended in {_span(eta.low)} to {_span(eta.high)}, as things are going"
        )
    if more.receipt is not None:
        tell_receipt(more.receipt, "  ")


def _span(seconds: int) -> str:
    """Say how long something takes, in the unit that fits."""
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{round(seconds / size)} {unit}"
    return f"{seconds} s"


def _resource(name: str) -> str:
    return name if name.startswith("batches/") else f"batches/{name}"


def _document(server: Remote, name: str) -> bytes:
    return server.document("GET", _resource(name))


def _asked(call: Callable[..., T], *arguments: Any, **options: Any) -> T:
    """Call the server; what goes wrong is told with the next step."""
    try:
        return call(*arguments, **options)
    except CallFailed as failed:
        step = _NEXT_STEPS.get(failed.code)
        raise CallFailed(f"{failed.message} {step or ''}".strip(), code=failed.code) from failed
