"""Counting the tokens of a prompt: the body of the call and its answer."""

from __future__ import annotations

from typing import Final

from msgspec import json, structs

from nightrate.dialects.bodies import Body
from nightrate.dialects.gemini_answer_shapes import CountTokensResponse, ModalityTokenCount
from nightrate.dialects.gemini_prompts import REMEDIES, prompt_of
from nightrate.dialects.gemini_shapes import (
    CountTokensBody,
    GenerateContentRequest,
)
from nightrate.dialects.refusals import within
from nightrate.domain.generation import Prompt
from nightrate.errors import Refused

_WHOLE: Final = "generateContentRequest"
_INTO_WHOLE = f'Put it inside "{_WHOLE}", beside "contents".'
_BODY: Final = Body(
    CountTokensBody,
    {
        **REMEDIES,
        CountTokensBody: {
            **{
                member.encode_name: _INTO_WHOLE for member in structs.fields(GenerateContentRequest)
            },
            **REMEDIES[GenerateContentRequest],
        },
    },
)


def parse_count(body: bytes, model: str) -> Prompt:
    """Read the body of ``:countTokens``; a whole request in it overrides turns beside it.

    Args:
        body: JSON in either spelling, read leniently.
        model: the model in the path, without ``models/``.

    Raises:
        BadRequest: it is malformed or a value is wrong.
        NotSupported: it asks for something this server does not do.
    """
    return _BODY.make(body, lambda counted: _prompt(counted, model))


def _prompt(body: CountTokensBody, model: str) -> Prompt:
    whole = body.generate_content_request
    if whole is None:
        return prompt_of(GenerateContentRequest(contents=body.contents), model)
    try:
        return prompt_of(whole, model)
    except Refused as error:
        raise within(error, _WHOLE) from error


def render_count(tokens: int, cached_tokens: int = 0) -> bytes:
    """Write how many tokens a prompt has, and how many of them are cached; all are text."""
    details = (ModalityTokenCount("TEXT", tokens),)
    count = CountTokensResponse(tokens, details, cached_tokens)
    return json.format(json.encode(count), indent=2)
