"""``nightrate verify``: looks at a data directory, and prints what it finds."""

from __future__ import annotations

import asyncio
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from nightrate.errors import StoreFault
from nightrate.settings import load

if TYPE_CHECKING:
    from nightrate.verify import Flaw, Summary

SOUND, DAMAGED, NOT_LOOKED_AT = 0, 1, 2
"""How the command ends."""


@click.command()
@click.option("--data", metavar="DIR", help="The data directory to look at.")
@click.option("--config", type=click.Path(path_type=Path), help="Settings file (TOML).")
@click.option("--repair", is_flag=True, help="Let the requests of damaged results run again.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for a script.")
def verify(data: str | None, config: Path | None, *, repair: bool, as_json: bool) -> None:
    """Check that everything in a data directory is what was written, and that it is all there.

    The server must be stopped. Ends with status 0 when all is sound, 1 when something is damaged,
    2 when the directory cannot be looked at.
    """
    from nightrate import telemetry
    from nightrate import verify as looks
    from nightrate.progress import Pace

    directory = Path(load(config, {"data": data}).settings.data)
    telemetry.set_up(level=logging.CRITICAL)
    pace = Pace(f"looking at {directory}")
    flaws: list[Flaw] = []

    def tell(flaw: Flaw) -> None:
        pace.done()
        if as_json:
            flaws.append(flaw)
        else:
            _print_flaw(flaw)

    def watch(summary: Summary) -> None:
        pace.tell(summary.blobs, summary.bytes)

    try:
        summary = asyncio.run(looks.verify(directory, repair=repair, tell=tell, watch=watch))
    except StoreFault as fault:
        pace.done()
        click.secho("error: ", fg="red", bold=True, nl=False, err=True)
        click.echo(fault.message, err=True)
        sys.exit(NOT_LOOKED_AT)
    pace.done()
    if as_json:
        document: dict[str, Any] = msgspec.to_builtins(summary)
        click.echo(msgspec.json.encode({**document, "flaws": flaws}))
    else:
        _print_summary(directory, summary)
    sys.exit(DAMAGED if summary.flaws else SOUND)


def _print_flaw(flaw: Flaw) -> None:
    click.secho("FLAW", fg="red", nl=False)
    place = [f"batch {flaw.batch}" if flaw.batch else "", f"tenant {flaw.tenant}"]
    if flaw.shard is not None:
        place.insert(1, f"shard {flaw.shard}")
    where = f" ({', '.join(filter(None, place))})" if flaw.batch else ""
    click.echo(f"  {flaw.blob}{where}: {flaw.found}\n      -> {flaw.remedy}")


def _print_summary(directory: Path, summary: Summary) -> None:
    orphans = summary.orphans
    if orphans.count:
        young = f", {orphans.young} of them from a moment ago" if orphans.young else ""
        click.echo(f"Nothing names {orphans.count} files ({_size(orphans.bytes)}){young}:")
        for name in orphans.names:
            click.echo(f"  {name}")
        if (more := orphans.count - len(orphans.names)) > 0:
            click.echo(f"  ... and {more} more")
    told = f"{directory}: {summary.blobs} blobs, {_size(summary.bytes)}; "
    told += f"{summary.flaws} flaws" if summary.flaws else "all sound"
    if summary.reopened:
        told += f"; {summary.reopened} shards run again when the server is started"
    click.echo(told)


def _size(count: int) -> str:
    size = float(count)
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:  # noqa: PLR2004 - the step from unit to unit
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"
