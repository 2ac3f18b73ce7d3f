"""What a durable batch of embeddings costs over the bare model, and gains over single calls.

The same sentences of about twelve words and the same model, in turns:

* plain: tokens, model and unit vectors in a bare loop, in this process, one batch after the other
  with all threads, of the size that is fastest here; before the batch and after it, since a machine
  changes its pace within a minute;
* side by side: the same with as many batches at once as the engine's process has, also bare;
* batch: a batch through the whole server (planned, journaled, sealed), from its creation to its
  final state, by the server's own clock;
* alone: live requests through the same server, one at a time.

Run with ``python -m bench.embeddings``.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import tempfile
import time
from collections import deque
from pathlib import Path
from typing import Any

import msgspec
import uvloop
from msgspec import Struct

from bench.passes import tell
from nightrate.domain.batch import Method, Order
from nightrate.domain.embedding import Embedding, Passage
from nightrate.engines.minilm import MODEL_VERSION, prepare
from nightrate.engines.minilm_child import BATCHES_MAX, Model, Setup
from nightrate.engines.packages import cache_directory
from nightrate.engines.vectors import unit
from nightrate.engines.wordpiece import WordPieces
from nightrate.measure import run_to_its_end
from nightrate.runtime import House, open_house
from nightrate.settings import Settings

MODEL = "bench-embedding"
ROUNDS = 3
SIZES = (8, 16, 32, 64)
"""Of the batches of the plain loop; the fastest one is taken."""
ALONE = 200
"""Sentences that are asked for one at a time."""

_TEXT = "the night train leaves a quiet town when lamps go out and rain begins to fall on old roofs"
_WORDS = _TEXT.split(" ")


class Rates(Struct, frozen=True):
    """Sentences a second, each way."""

    plain: float
    beside: float
    batch: float
    alone: float


def sentences(count: int, turn: int) -> list[str]:
    """Make sentences that differ from each other and from those of other turns."""
    words = itertools.cycle(_WORDS)
    return [f"{turn} {' '.join(itertools.islice(words, 11))} {number}" for number in range(count)]


class Plain:
    """The model without a server."""

    def __init__(self) -> None:
        weights, vocabulary = prepare(cache_directory(None))
        self._pieces = WordPieces.from_file(vocabulary)
        self._model = Model(
            Setup(
                weights=str(weights),
                vocabulary=str(vocabulary),
                model_version=MODEL_VERSION,
                threads=None,
                requests=max(SIZES),
            )
        )

    def run(self, texts: list[str], batch: int, begun_max: int = 1) -> float:
        """Embed every text, so many at once; gives sentences a second."""
        begun: deque[Any] = deque()
        started = time.perf_counter()
        for start in range(0, len(texts), batch):
            ids = [self._pieces.encode(text) for text in texts[start : start + batch]]
            begun.append(self._model.begin(ids, whole=begun_max == 1))
            if len(begun) == begun_max:
                unit(self._model.end(begun.popleft()))
        for one in begun:
            unit(self._model.end(one))
        return len(texts) / (time.perf_counter() - started)

    def fastest(self, texts: list[str]) -> int:
        """Find out how many texts are best computed at once."""
        self.run(texts, max(SIZES))
        return max(SIZES, key=lambda size: self.run(texts, size))


async def run_batch(house: House, texts: list[str]) -> float:
    """Submit one batch and wait for its end; gives sentences a second."""
    items = tuple(
        msgspec.json.encode({"request": {"content": {"parts": [{"text": text}]}}}) for text in texts
    )
    order = Order(
        display_name="bench", priority=0, file_name=None, inline=items, method=Method.EMBED
    )
    batch, seconds = await run_to_its_end(house, MODEL, order)
    return batch.tally.succeeded / seconds


async def run_alone(house: House, texts: list[str]) -> float:
    """Ask for one after another; gives sentences a second."""
    model = house.models.resolve(MODEL)
    started = time.perf_counter()
    for text in texts:
        assert isinstance(await house.executor.live(model, Passage(text=text)), Embedding)
    return len(texts) / (time.perf_counter() - started)


async def measure(batch: int, requests: int, rounds: int) -> tuple[list[Rates], int]:
    """Measure all ways in turns; gives also the size of the batches of the plain loop."""
    plain = Plain()
    size = plain.fastest(sentences(requests, rounds))
    rates = []
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(
            data=str(Path(folder) / "data"),
            models={"*embedding*": "minilm"},
            engines={"minilm": {"at_start": True, "requests": batch}},
        )
        house = open_house(settings)
        try:
            async with house.working():
                await house.engines_settled()
                await run_batch(house, sentences(batch, rounds))
                for turn in range(rounds):
                    texts = sentences(requests, turn)
                    before = plain.run(texts, size)
                    durable = await run_batch(house, texts)
                    after = plain.run(texts, size)
                    rates.append(
                        Rates(
                            statistics.harmonic_mean((before, after)),
                            plain.run(texts, batch, BATCHES_MAX),
                            durable,
                            await run_alone(house, texts[:ALONE]),
                        )
                    )
                    tell(
                        turn, rounds, "plain and batch", f"{before:.0f} and {durable:.0f} a second"
                    )
        finally:
            await house.close()
    return rates, size


def report(batch: int, requests: int, rounds: int) -> None:
    """Measure, and print the ratios."""
    rates, size = uvloop.run(measure(batch, requests, rounds))
    names = Rates.__struct_fields__
    middle = {name: statistics.median(getattr(one, name) for one in rates) for name in names}
    over = {
        name: statistics.median(one.batch / getattr(one, name) for one in rates) for name in names
    }
    print(f"Embeddings: {requests} sentences of 13 words, {batch} at once, {rounds} rounds")
    print(f"  plain         {middle['plain']:6.0f} sentences/s, {size} at once")
    print(f"  side by side  {middle['beside']:6.0f} sentences/s")
    print(f"  batch         {middle['batch']:6.0f} sentences/s")
    print(f"  alone         {middle['alone']:6.0f} sentences/s")
    print(f"  batch / plain         {over['plain']:.2f}   (wanted: at least 0.9)")
    print(f"  batch / side by side  {over['beside']:.2f}")
    print(f"  batch / alone         {over['alone']:.2f}")


def main() -> None:
    """Measure and print it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--batch", type=int, default=32, help="texts computed at once")
    parser.add_argument("--requests", type=int, default=12_000)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    wanted = parser.parse_args()
    report(wanted.batch, wanted.requests, wanted.rounds)


if __name__ == "__main__":
    main()
