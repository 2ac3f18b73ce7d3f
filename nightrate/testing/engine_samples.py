"""Prompts for tests of an engine, and how to look at its answers."""

from __future__ import annotations

from contextlib import aclosing
from typing import Any

from nightrate.domain.generation import Message, Prompt, Reply, Sampling
from nightrate.engines.base import Engine


def asked(text: str, **sampling: Any) -> Prompt:
    """Make a prompt of one user turn."""
    return Prompt(messages=(Message("user", text),), sampling=Sampling(**sampling))


def text_of(reply: Reply) -> str:
    """Give the text of a reply's first candidate."""
    return reply.candidates[0].text


async def pieces_of(engine: Engine, prompt: Prompt) -> tuple[list[str], Reply]:
    """Stream an answer to its end; give its texts and its reply."""
    texts: list[str] = []
    replies: list[Reply] = []
    async with aclosing(engine.stream(prompt)) as pieces:
        async for piece in pieces:
            assert not replies, "nothing comes after the reply"
            if isinstance(piece, str):
                texts.append(piece)
            else:
                replies.append(piece)
    (reply,) = replies
    return texts, reply
