"""``nightrate bench``: measures what a batch gains on this machine, and prints it."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from nightrate.settings import load

if TYPE_CHECKING:
    from nightrate.measure import Measured, Rate

COUNT = click.IntRange(min=1)


@click.command()
@click.option("--model", default="gemini-flash-latest", show_default=True, help="The model to ask.")
@click.option("--price", is_flag=True, help="Say what a token of a batch costs beside a live one.")
@click.option(
    "--requests", "batch_requests", type=COUNT, default=64, show_default=True, help="Of each batch."
)
@click.option(
    "--live",
    "live_requests",
    type=COUNT,
    default=6,
    show_default=True,
    help="Live requests a round.",
)
@click.option("--rounds", type=COUNT, default=2, show_default=True)
@click.option(
    "--words", "prompt_words", type=COUNT, default=24, show_default=True, help="Of each prompt."
)
@click.option(
    "--tokens",
    "output_tokens",
    type=COUNT,
    default=64,
    show_default=True,
    help="Of an answer, at most.",
)
@click.option("--config", type=click.Path(path_type=Path), help="Settings file (TOML).")
@click.option("--engine", metavar="NAME", help="Run every model on this one engine.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for a script.")
def bench(
    model: str,
    config: Path | None,
    engine: str | None,
    *,
    price: bool,
    as_json: bool,
    **load_options: int,
) -> None:
    """Measure a model: requests one at a time, and as a batch.

    Nothing else should run on the machine meanwhile. No server is needed, and none is asked.
    """
    from nightrate import measure as measuring
    from nightrate import telemetry
    from nightrate.progress import Steps

    settings = load(config, {"engine": engine}).settings
    telemetry.set_up(level=logging.ERROR)
    wanted = measuring.Load(**load_options)
    steps = Steps()

    def watch(doing: str, whole: int, done: int) -> None:
        steps.tell(doing, done / whole)

    try:
        found = asyncio.run(
            measuring.measure(settings, model, wanted, progress=steps.tell, watch=watch)
        )
    finally:
        steps.done()
    if as_json:
        told = {**msgspec.to_builtins(found), "batchPrice": round(found.batch_price, 4)}
        click.echo(msgspec.json.encode(told))
        return
    click.echo(f"{found.model} ({found.model_version})")
    click.echo(_row("one at a time", found.live))
    click.echo(_row("as a batch", found.batch))
    if price:
        click.echo(_price(found))


def _row(name: str, rate: Rate) -> str:
    return (
        f"  {name:14}{rate.requests:6} requests {rate.seconds:8.1f} s"
        f" {rate.tokens_per_second:9.1f} tokens/s"
    )


def _price(found: Measured) -> str:
    share = found.batch_price
    told = f"  A token of a batch takes {share:.2f} of the time of a live one"
    return f"{told}: {1 - share:.0%} less." if share < 1 else f"{told}: batches gain nothing here."
