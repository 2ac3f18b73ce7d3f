"""What comes out of an engine for a whole prompt: piece by piece, with its sources, summed up."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress

from nightrate.dialects.row import OutcomeOfRow
from nightrate.domain.embedding import Embedding
from nightrate.domain.generation import Failure, Prompt, Reply, Usage
from nightrate.domain.shard import Tally
from nightrate.errors import Code, EngineDown, EngineFault
from nightrate.service.grounding import LookedUp, grounded
from nightrate.service.lane import Lane
from nightrate.service.several import answered


async def pieces_of(
    lane: Lane, prompt: Prompt, looked_up: LookedUp | None
) -> AsyncGenerator[str | Reply | Failure, None]:
    """Take a prompt through its engine piece by piece: texts, at last the outcome."""
    try:
        if prompt.candidates > 1:  # Pieces of several answers at once would help nobody.
            ended = await answered(lane, prompt, live=True)
            yield ended if looked_up is None else await resting(lane, ended, looked_up)
            return
        async with aclosing(lane.stream(prompt, live=True)) as pieces:
            async for piece in pieces:
                if isinstance(piece, str) or looked_up is None:
                    yield piece
                else:
                    yield await resting(lane, piece, looked_up)
    except EngineDown as fault:
        yield Failure(Code.UNAVAILABLE, fault.message)


async def resting(lane: Lane, outcome: Reply | Failure, looked_up: LookedUp) -> Reply | Failure:
    """Say of a reply what it rests on, and how much of its prompt that was."""
    if isinstance(outcome, Failure):
        return outcome
    bare_tokens = await _bare_tokens(lane, outcome.usage, looked_up)
    return grounded(outcome, looked_up.grounding, bare_tokens)


async def _bare_tokens(lane: Lane, usage: Usage, looked_up: LookedUp) -> int:
    """Count the tokens of a prompt without what was looked up for it.

    By the engine, where that costs no call to anybody; else by its share of the bytes, since a
    call more for each request would be felt in what a service allows.
    """
    if looked_up.prompt is looked_up.bare:
        return usage.prompt_tokens
    if lane.engine.counts_itself:
        with suppress(EngineFault):  # The answer is there, whatever became of the engine since.
            return await lane.engine.count_tokens(looked_up.bare)
    text_tokens = usage.prompt_tokens - sum(tokens for _, tokens in usage.media_tokens or ())
    added = 1 - size_bytes_of(looked_up.bare) / size_bytes_of(looked_up.prompt)
    return usage.prompt_tokens - round(text_tokens * added)


def size_bytes_of(prompt: Prompt) -> int:
    """Give the size of all texts of a prompt."""
    texts = (prompt.system or "", *(message.words for message in prompt.messages))
    return sum(len(text.encode(errors="replace")) for text in texts)


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
