"""Answers in their plainest form, which almost all have: one text to one line of a file.

The form is cut from a specimen that the full writing made (`gemini_results`), so the two agree; a
test compares them.
"""

from __future__ import annotations

import functools
from json.encoder import encode_basestring_ascii
from typing import Final

from msgspec import json

from nightrate.dialects.ascii import escaped
from nightrate.dialects.gemini_replies import response_of
from nightrate.domain.generation import Candidate, FinishReason, Reply, Usage

_MODELS_REMEMBERED: Final = 64

_encode = json.Encoder().encode


def _form(finish_reason: FinishReason) -> bytes:
    """Make the form of a response: places for its text, its tokens, its model and its id."""
    tokens = 1111, 2222, 3333  # what the full writing adds up; found again by their digits
    reply = Reply((Candidate("TEXT", finish_reason),), Usage(*tokens[:2]), "MODEL")
    form = _encode(response_of(reply, "ID")).replace(b"%", b"%%")
    for specimen, place in (
        *((b'"TEXT"', b"%b"), (b'"MODEL"', b"%b"), (b'"ID"', b'"%b"')),
        *((b"%d" % number, b"%d") for number in (*tokens, *tokens[:2])),
    ):
        before, found, after = form.partition(specimen)
        assert found, "the specimen is written as it is"
        form = before + place + after
    return b'{"response":' + form


_FORMS: Final = {reason: _form(reason) for reason in (FinishReason.STOP, FinishReason.LENGTH)}


@functools.lru_cache(_MODELS_REMEMBERED)
def _model(name: str) -> bytes:
    return escaped(_encode(name))


def plain_response(reply: Reply, response_id: str) -> bytes | None:
    """Write the response to a line of a file, as far as the key; None for one that is not plain.

    Args:
        reply: what the engine answered.
        response_id: an opaque id, of characters that JSON leaves alone.
    """
    candidates, usage = reply.candidates, reply.usage
    candidate = candidates[0]
    text, prompt_tokens, output_tokens = candidate.text, usage.prompt_tokens, usage.output_tokens
    form = _FORMS.get(candidate.finish_reason)
    if form is None or len(candidates) > 1 or reply.grounding is not None:
        return None
    if usage != Usage(prompt_tokens, output_tokens) or not prompt_tokens or not output_tokens:
        return None
    if candidate != Candidate(text, candidate.finish_reason):
        return None
    return form % (
        _encode(text) if text.isascii() else encode_basestring_ascii(text).encode("ascii"),
        prompt_tokens,
        output_tokens,
        prompt_tokens + output_tokens,
        prompt_tokens,
        output_tokens,
        _model(reply.model_version),
        response_id.encode("ascii"),
    )
