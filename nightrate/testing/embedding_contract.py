"""What every engine that makes vectors promises, as tests: used like `engine_contract`."""
# ruff: noqa: D102 - the names of the promises are sentences

from __future__ import annotations

import asyncio
import math
import struct
from collections.abc import Sequence

import pytest

from nightrate.domain.embedding import Embedding, Passage
from nightrate.domain.generation import Capability
from nightrate.engines.base import Engine
from nightrate.errors import EngineDown, RequestFailed

QUESTION = "Why is the sky blue?"
RELATED = "The sky is blue because of the way light scatters in the air."
UNRELATED = "Best pasta recipe"

NEIGHBOURS = 8
"""Passages that are embedded beside the one a test looks at."""

_NUMBER_CHARACTERS_MAX = 16
"""Of a 32-bit number in its shortest form, with sign and exponent."""


def passage(text: str, dimensions: int | None = None, title: str | None = None) -> Passage:
    """Make a passage."""
    return Passage(text=text, dimensions=dimensions, title=title)


def nearness(one: Sequence[float], other: Sequence[float]) -> float:
    """Give the cosine of the angle between two vectors of length 1."""
    return sum(a * b for a, b in zip(one, other, strict=True))


def length(vector: Sequence[float]) -> float:
    """Give how long a vector reaches."""
    return math.sqrt(nearness(vector, vector))


class EmbeddingContract:
    """Promises of an open engine. Fixture to provide: ``engine``."""

    unembeddable: Passage | None = None
    """A passage that this engine must refuse with `RequestFailed`; None if it takes anything."""

    async def test_it_makes_vectors_and_wants_work(self, engine: Engine) -> None:
        assert Capability.EMBEDDINGS in engine.capabilities
        assert engine.capacity.requests >= 1
        await engine.ready()

    async def test_a_vector_has_length_one_and_says_what_made_it(self, engine: Engine) -> None:
        embedding = await engine.embed(passage(QUESTION))
        assert length(embedding.values) == pytest.approx(1, abs=1e-5)
        assert embedding.prompt_tokens > 0
        assert embedding.model_version

    async def test_related_texts_are_closer_than_unrelated_ones(self, engine: Engine) -> None:
        texts = (QUESTION, RELATED, UNRELATED)
        vectors = [(await engine.embed(passage(text))).values for text in texts]
        assert nearness(vectors[0], vectors[1]) > nearness(vectors[0], vectors[2]) + 0.2

    async def test_a_vector_does_not_depend_on_its_neighbours(self, engine: Engine) -> None:
        alone = await engine.embed(passage(QUESTION))
        others = [passage(f"{UNRELATED} {'and more ' * number}") for number in range(NEIGHBOURS)]
        among, *_ = await asyncio.gather(
            *map(engine.embed, [passage(QUESTION), *others, passage(QUESTION)])
        )
        assert nearness(alone.values, among.values) == pytest.approx(1, abs=1e-4)
        assert alone.prompt_tokens == among.prompt_tokens

    async def test_each_passage_gets_its_own_vector(self, engine: Engine) -> None:
        count = engine.capacity.requests + NEIGHBOURS
        texts = [f"{QUESTION} {'again ' * (number % 7)}{number}" for number in range(count)]
        together = await asyncio.gather(*(engine.embed(passage(text)) for text in texts))
        for place in (0, count // 2, count - 1):
            alone = await engine.embed(passage(texts[place]))
            assert nearness(alone.values, together[place].values) == pytest.approx(1, abs=1e-4)

    async def test_a_shorter_vector_is_the_beginning_of_the_long_one(self, engine: Engine) -> None:
        whole = (await engine.embed(passage(QUESTION))).values
        short = (await engine.embed(passage(QUESTION, 64))).values
        assert len(short) == 64  # noqa: PLR2004 - as asked
        assert length(short) == pytest.approx(1, abs=1e-5)
        reach = length(whole[:64])
        assert short == pytest.approx([value / reach for value in whole[:64]], abs=1e-4)

    async def test_a_title_counts(self, engine: Engine) -> None:
        plain = await engine.embed(passage(RELATED))
        titled = await engine.embed(passage(RELATED, title="On volcanoes"))
        assert nearness(plain.values, titled.values) < 1 - 1e-3
        assert titled.prompt_tokens > plain.prompt_tokens

    async def test_numbers_are_short_to_write(self, engine: Engine) -> None:
        values = (await engine.embed(passage(RELATED))).values
        for value in values:
            (as_kept,) = struct.unpack("f", struct.pack("f", value))
            assert value == pytest.approx(as_kept, rel=1e-7)
            assert len(repr(value)) <= _NUMBER_CHARACTERS_MAX

    async def test_a_refused_passage_does_not_hurt_its_neighbours(self, engine: Engine) -> None:
        if self.unembeddable is None:
            return  # The engine takes anything.
        good = [passage(f"Number {number}.") for number in range(NEIGHBOURS)]
        outcomes = await asyncio.gather(
            *map(engine.embed, [good[0], self.unembeddable, *good[1:]]), return_exceptions=True
        )
        assert isinstance(outcomes.pop(1), RequestFailed)
        assert all(isinstance(outcome, Embedding) for outcome in outcomes)


class EmbeddingLifeContract:
    """Promises about opening and closing. Fixture to provide: ``fresh``, an engine not yet open."""

    async def test_an_engine_that_was_not_opened_is_down(self, fresh: Engine) -> None:
        with pytest.raises(EngineDown):
            await fresh.ready()
        with pytest.raises(EngineDown) as down:
            await fresh.embed(passage(QUESTION))
        assert not down.value.in_flight

    async def test_a_closed_engine_is_down(self, fresh: Engine) -> None:
        await fresh.open()
        assert (await fresh.embed(passage(QUESTION))).values
        await fresh.close()
        await fresh.close()
        with pytest.raises(EngineDown):
            await fresh.ready()
        with pytest.raises(EngineDown):
            await fresh.embed(passage(QUESTION))
