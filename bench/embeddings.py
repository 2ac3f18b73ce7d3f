"""What a durable batch of embeddings costs over the bare model, and gains over single calls.

The same sentences of about twelve words, the same model and settings, in turns:

* plain: tokens, model and unit vectors in a bare loop of batches, in this process;
* batch: a batch through the whole server (planned, journaled, sealed), from its submission to its
  final state;
* alone: live requests through the same server, one at a time.

Run with ``python -m bench.embeddings``.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import statistics
import tempfile
import time
from pathlib import Path

import msgspec
from msgspec import Struct

from nightrate.domain.batch import Batch, Method, Order
from nightrate.domain.embedding import Embedding, Passage
from nightrate.domain.states import FINAL_STATES, BatchState
from nightrate.engines.minilm import MODEL_VERSION, prepare
from nightrate.engines.minilm_child import Model, Setup
from nightrate.engines.packages import cache_directory
from nightrate.engines.vectors import unit
from nightrate.engines.wordpiece import WordPieces
from nightrate.runtime import House, open_house
from nightrate.settings import Settings

TENANT = "default"
MODEL = "bench-embedding"
ROUNDS = 3
ALONE = 200
"""Sentences that are asked for one at a time."""

_TEXT = "the night train leaves a quiet town when lamps go out and rain begins to fall on old roofs"
_WORDS = _TEXT.split(" ")


class Rates(Struct, frozen=True):
    """Sentences a second, each way."""

    plain: float
    batch: float
    alone: float


def sentences(count: int, turn: int) -> list[str]:
    """Make sentences that differ from each other and from those of other turns."""
    words = itertools.cycle(_WORDS)
    return [f"{turn} {' '.join(itertools.islice(words, 11))} {number}" for number in range(count)]


class Plain:
    """The model without a server."""

    def __init__(self, batch: int) -> None:
        weights, vocabulary = prepare(cache_directory(None))
        self._pieces = WordPieces.from_file(vocabulary)
        self._batch = batch
        self._model = Model(
            Setup(
                weights=str(weights),
                vocabulary=str(vocabulary),
                model_version=MODEL_VERSION,
                threads=None,
                requests=batch,
            )
        )

    def run(self, texts: list[str]) -> float:
        """Embed every text; gives sentences a second."""
        started = time.perf_counter()
        for start in range(0, len(texts), self._batch):
            ids = [self._pieces.encode(text) for text in texts[start : start + self._batch]]
            unit(self._model.vectors(ids))
        return len(texts) / (time.perf_counter() - started)


async def run_batch(house: House, texts: list[str]) -> float:
    """Submit one batch and wait for its end; gives sentences a second."""
    items = tuple(
        msgspec.json.encode({"request": {"content": {"parts": [{"text": text}]}}}) for text in texts
    )
    order = Order(
        display_name="bench", priority=0, file_name=None, inline=items, method=Method.EMBED
    )
    started = time.perf_counter()
    batch: Batch = await house.batches.submit(TENANT, MODEL, order)
    while batch.state not in FINAL_STATES:
        await asyncio.sleep(0.02)
        batch = await house.batches.get(TENANT, batch.batch_id)
    seconds = time.perf_counter() - started
    assert batch.state is BatchState.SUCCEEDED
    assert batch.tally.succeeded == len(texts)
    return len(texts) / seconds


async def run_alone(house: House, texts: list[str]) -> float:
    """Ask for one after another; gives sentences a second."""
    model = house.models.resolve(MODEL)
    started = time.perf_counter()
    for text in texts:
        assert isinstance(await house.executor.live(model, Passage(text=text)), Embedding)
    return len(texts) / (time.perf_counter() - started)


async def measure(batch: int, requests: int, rounds: int) -> list[Rates]:
    """Measure the three ways in turns."""
    plain = Plain(batch)
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
                    rates.append(
                        Rates(
                            plain.run(texts),
                            await run_batch(house, texts),
                            await run_alone(house, texts[:ALONE]),
                        )
                    )
        finally:
            await house.close()
    return rates


def report(batch: int, requests: int, rounds: int) -> None:
    """Measure, and print the ratios."""
    rates = asyncio.run(measure(batch, requests, rounds))
    plain, durable, alone = (
        statistics.median(getattr(one, name) for one in rates) for name in Rates.__struct_fields__
    )
    over_plain = statistics.median(one.batch / one.plain for one in rates)
    over_alone = statistics.median(one.batch / one.alone for one in rates)
    print(f"Embeddings: {requests} sentences of 13 words, batches of {batch}, {rounds} rounds")
    print(f"  plain loop   {plain:8.0f} sentences/s")
    print(f"  batch        {durable:8.0f} sentences/s, {over_plain:.2f} of the plain loop")
    print(f"  one by one   {alone:8.0f} sentences/s; the batch is {over_alone:.1f} times as fast")


def main() -> None:
    """Measure and print it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--batch", type=int, default=32, help="texts that are computed at once")
    parser.add_argument("--requests", type=int, default=3_000)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    wanted = parser.parse_args()
    report(wanted.batch, wanted.requests, wanted.rounds)


if __name__ == "__main__":
    main()
