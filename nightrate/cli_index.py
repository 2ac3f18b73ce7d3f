"""The commands about the documents that searches find."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from nightrate.settings import load

if TYPE_CHECKING:
    from nightrate.dialects.documents import IndexedDocument
    from nightrate.manage_index import Added

_config = click.option("--config", type=click.Path(path_type=Path), help="Settings file (TOML).")
_data = click.option("--data", metavar="DIR", help="The data directory of the server.")
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON for a script.")


@click.group()
def index() -> None:
    """Add, list and remove the documents that searches find, whether a server is running or not."""


@index.command("add")
@click.argument(
    "paths", metavar="PATH...", nargs=-1, required=True, type=click.Path(path_type=Path)
)
@click.option(
    "--base-uri",
    metavar="URI",
    help="What the addresses of the documents begin with, instead of file:// and their path.",
)
@_data
@_config
@_json
def add(
    paths: tuple[Path, ...],
    base_uri: str | None,
    data: str | None,
    config: Path | None,
    *,
    as_json: bool,
) -> None:
    """Add files, and all files below folders: text, Markdown, HTML, JSON and PDF.

    A document that is there already is replaced. A file that cannot be read is told, and the others
    are added; then the command ends with status 1.
    """
    from nightrate import manage_index
    from nightrate.progress import Pace

    directory = _directory(config, data)
    pace = Pace("adding to the index", "documents")

    def tell(added: Added) -> None:
        pace.tell(added.documents, added.text_bytes)

    try:
        added = asyncio.run(manage_index.add(directory, paths, base_uri, tell))
    finally:
        pace.done()
    if as_json:
        click.echo(msgspec.json.encode(manage_index.summary_of(added)))
    else:
        for trouble in added.failed:
            click.secho("error: ", fg="red", bold=True, nl=False, err=True)
            click.echo(f"{trouble.path}: {trouble.message}", err=True)
        told = f"{added.documents} documents with {added.excerpts} excerpts are in the index"
        if added.skipped:
            told += f"; {added.skipped} files of other kinds were passed over"
        click.echo(f"{told}.")
    sys.exit(1 if added.failed else 0)


@index.command("list")
@_data
@_config
@_json
def list_documents(data: str | None, config: Path | None, *, as_json: bool) -> None:
    """Print every document, by its address."""
    from nightrate import manage_index

    found = asyncio.run(manage_index.list_documents(_directory(config, data)))
    if as_json:
        click.echo(msgspec.json.encode(found))
        return
    rows = [("ADDED", "BYTES", "EXCERPTS", "TITLE", "URI"), *map(_row, found)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo("  ".join(cells).rstrip())


def _row(document: IndexedDocument) -> tuple[str, ...]:
    added = f"{document.added[:10]} {document.added[11:16]}"
    counts = (str(document.text_bytes), str(document.excerpts))
    return (added, *counts, document.title[:_TITLE_SHOWN], document.uri)


_TITLE_SHOWN = 40


@index.command("remove")
@click.argument("uris", metavar="URI...", nargs=-1, required=True)
@_data
@_config
@_json
def remove(uris: tuple[str, ...], data: str | None, config: Path | None, *, as_json: bool) -> None:
    """Remove documents by their address, as `index list` prints it."""
    from nightrate import manage_index

    directory = _directory(config, data)
    for uri in uris:
        document = asyncio.run(manage_index.remove(directory, uri))
        if as_json:
            click.echo(msgspec.json.encode(document))
        else:
            click.echo(f"{document.uri} is not in the index any more.")


def _directory(config: Path | None, data: str | None) -> Path:
    return Path(load(config, {"data": data}).settings.data)
