"""One request that asks its engine several times: for several answers, or with several passages.

Each is asked for alone, so that every engine can do it, and each takes a place of its own.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from msgspec import structs

from nightrate.domain.embedding import Embedding, Passage
from nightrate.domain.generation import Failure, Prompt, Reply
from nightrate.service.lane import Lane
from nightrate.service.places import Meter

T = TypeVar("T")

_SEEDS = 2**32
_SEED_MIN = -(2**31)


async def answered(
    lane: Lane, prompt: Prompt, *, live: bool, meter: Meter | None = None
) -> Reply | Failure:
    """Take a prompt through the engine, as often as answers are wanted; one failure fails all.

    Raises:
        EngineDown: the engine has given up.
    """
    if prompt.candidates == 1:
        return await lane.outcome(prompt, live=live, meter=meter)
    singles = _singles_of(prompt)
    outcomes = await _all_of([lane.outcome(single, live=live, meter=meter) for single in singles])
    replies = []
    for outcome in outcomes:
        if isinstance(outcome, Failure):
            return outcome
        replies.append(outcome)
    return _together(replies)


async def outcome_of_all(
    lane: Lane, passages: Sequence[Passage], meter: Meter
) -> tuple[Embedding, ...] | Failure:
    """Take the passages of one row through the engine; one that fails fails the row.

    Raises:
        EngineDown: the engine has given up; none of them has an outcome yet.
    """
    return all_embedded(await _all_of([lane.outcome(passage, meter=meter) for passage in passages]))


async def _all_of(ways: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """Go several ways through an engine at once; whatever ends this ends them all."""
    tasks = [asyncio.create_task(way) for way in ways]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def all_embedded(outcomes: Sequence[Embedding | Failure]) -> tuple[Embedding, ...] | Failure:
    """Give all vectors, or the first failure with the place of its passage among others."""
    embeddings = []
    for index, outcome in enumerate(outcomes):
        if isinstance(outcome, Failure):
            place = f"Request {index + 1}: " if len(outcomes) > 1 else ""
            return Failure(outcome.code, f"{place}{outcome.message}", outcome.field)
        embeddings.append(outcome)
    return tuple(embeddings)


def _singles_of(prompt: Prompt) -> list[Prompt]:
    """Give a prompt for each answer that is wanted.

    The first is what would be asked for one answer. The next ones have the next seeds, so that
    they differ, and come again with the same seed.
    """
    first = structs.replace(prompt, candidates=1)
    seed = prompt.sampling.seed
    if seed is None:
        return [first] * prompt.candidates
    return [
        structs.replace(first, sampling=structs.replace(first.sampling, seed=_folded(seed + step)))
        for step in range(prompt.candidates)
    ]


def _folded(seed: int) -> int:
    """Keep a seed within 32 bits with a sign, which is what engines take."""
    return (seed - _SEED_MIN) % _SEEDS + _SEED_MIN


def _drawn(
    counts: Sequence[tuple[tuple[str, int], ...] | None],
) -> tuple[tuple[str, int], ...] | None:
    """Add up tokens of pictures by their kind; nothing is known if it is not known of one."""
    total: Counter[str] = Counter()
    for count in counts:
        if count is None:
            return None
        total.update(dict(count))
    return tuple(total.items())


def _together(replies: Sequence[Reply]) -> Reply:
    """Make one reply of those to `_singles_of` a prompt; its own tokens count once."""
    for reply in replies:
        if reply.blocked is not None:
            return reply
    first = replies[0]
    usage = structs.replace(
        first.usage,
        output_tokens=sum(reply.usage.output_tokens for reply in replies),
        thought_tokens=sum(reply.usage.thought_tokens for reply in replies),
        drawn_tokens=_drawn([reply.usage.drawn_tokens for reply in replies]),
    )
    candidates = tuple(candidate for reply in replies for candidate in reply.candidates)
    return structs.replace(first, candidates=candidates, usage=usage)
