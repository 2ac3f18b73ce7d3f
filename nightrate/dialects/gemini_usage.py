"""What a server that speaks Gemini's protocol says that an answer used.

Nobody asks for it, so a count that cannot be understood is reckoned, and the answer stands.
"""

from __future__ import annotations

from typing import Final

from msgspec import Raw, Struct, json

from nightrate.dialects.other_servers import (
    all_understood,
    is_told,
    reckoned_usage,
    told,
    understood,
)
from nightrate.domain.generation import Prompt, Usage


class _Kind(Struct, rename="camel"):
    modality: str = ""
    token_count: int = 0


class _Used(Struct, rename="camel"):
    """What is 0 may be missing."""

    prompt_token_count: int | None = None
    candidates_token_count: int | None = None
    thoughts_token_count: int | None = None
    cached_content_token_count: int | None = None
    tool_use_prompt_token_count: int | None = None
    prompt_tokens_details: Raw = Raw()
    candidates_tokens_details: Raw = Raw()


_USED: Final = json.Decoder(_Used, strict=False)
_KIND: Final = json.Decoder(_Kind, strict=False)
_MODALITIES: Final = frozenset({"IMAGE", "AUDIO", "VIDEO", "DOCUMENT"})


class GeminiUsage:
    """What was used, as the documents of an answer say one after the other; the last one counts."""

    def __init__(self) -> None:
        self._used: _Used | None = None

    def take(self, said: Raw) -> None:
        """Take in what one document says, or nothing if it says nothing."""
        if is_told(said):
            self._used = understood(_USED, said)

    def told(self, prompt: Prompt, text: str) -> Usage:
        """Give it; reckoned from lengths where the server does not say, or not so that it can be.

        Args:
            prompt: what was asked.
            text: what was answered.
        """
        used = self._used
        if used is None or used.prompt_token_count is None:
            return reckoned_usage(prompt, text)
        tool_tokens, thought_tokens = (
            max(0, count or 0)
            for count in (used.tool_use_prompt_token_count, used.thoughts_token_count)
        )
        prompt_tokens = told(used.prompt_token_count + tool_tokens)
        output_tokens = told((used.candidates_token_count or 0) + thought_tokens)
        if prompt_tokens is None or output_tokens is None:
            return reckoned_usage(prompt, text)
        cached_tokens = max(0, min(used.cached_content_token_count or 0, prompt_tokens))
        seen = _media_tokens(used.prompt_tokens_details, prompt_tokens) or None
        made = _media_tokens(used.candidates_tokens_details, output_tokens)
        return Usage(
            *(prompt_tokens, output_tokens, cached_tokens, min(thought_tokens, output_tokens)),
            seen if prompt.media else (),
            made if prompt.picture else (),
            min(tool_tokens, prompt_tokens - cached_tokens),
        )


def prompt_tokens_of(said: Raw) -> int | None:
    """Give the tokens of what was asked; None where that is not told."""
    used = understood(_USED, said)
    return None if used is None else told(used.prompt_token_count)


def _media_tokens(said: Raw, most: int) -> tuple[tuple[str, int], ...] | None:
    """Give the tokens that are not of text, by kind; None if that is not told, or cannot be."""
    details = all_understood(_KIND, said)
    if not details:
        return None
    kinds = tuple(
        (kind.modality, kind.token_count)
        for kind in details
        if kind.modality in _MODALITIES and kind.token_count >= 0
    )
    return kinds if sum(tokens for _, tokens in kinds) <= most else None
