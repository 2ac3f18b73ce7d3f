"""What comes out of an engine for a whole prompt: piece by piece, with its sources, summed up."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from nightrate.dialects.row import OutcomeOfRow
from nightrate.domain.embedding import Embedding
from nightrate.domain.generation import Failure, Prompt, Reply
from nightrate.domain.grounding import Grounding
from nightrate.domain.shard import Tally
from nightrate.errors import Code, EngineDown
from nightrate.service.grounding import grounded
from nightrate.service.lane import Lane
from nightrate.service.several import answered


async def pieces_of(
    lane: Lane, prompt: Prompt, grounding: Grounding | None
) -> AsyncGenerator[str | Reply | Failure, None]:
    """Take a prompt through its engine piece by piece: texts, at last the outcome."""
    try:
        if prompt.candidates > 1:  # Pieces of several answers at once would help nobody.
            ended = await answered(lane, prompt, live=True)
            yield ended if grounding is None else resting(ended, grounding)
            return
        async with aclosing(lane.stream(prompt, live=True)) as pieces:
            async for piece in pieces:
                if isinstance(piece, str) or grounding is None:
                    yield piece
                else:
                    yield resting(piece, grounding)
    except EngineDown as fault:
        yield Failure(Code.UNAVAILABLE, fault.message)


def resting(outcome: Reply | Failure, grounding: Grounding) -> Reply | Failure:
    """Say of a reply what it rests on."""
    return grounded(outcome, grounding) if isinstance(outcome, Reply) else outcome


def tally_of(outcome: OutcomeOfRow, nanoseconds: int) -> Tally:
    """Give the figures of a row: how it ended, its tokens, its share of the engine's time."""
    if isinstance(outcome, Reply):
        usage = outcome.usage
        return Tally(
            1,
            0,
            usage.prompt_tokens,
            usage.output_tokens,
            usage.cached_tokens,
            usage.thought_tokens,
            nanoseconds,
        )
    if isinstance(outcome, tuple):
        prompt_tokens = sum(embedding.prompt_tokens for embedding in outcome)
        return Tally(1, 0, prompt_tokens, engine_nanoseconds=nanoseconds)
    if isinstance(outcome, Embedding):
        return Tally(1, 0, outcome.prompt_tokens, engine_nanoseconds=nanoseconds)
    return Tally(failed=1, engine_nanoseconds=nanoseconds)
