"""From OpenAI's request for embeddings to passages, and from vectors to its answer."""

from __future__ import annotations

import base64
import struct
from collections.abc import Sequence
from typing import Final, Literal

from msgspec import Raw, Struct, json, structs

from nightrate import limits
from nightrate.dialects.gemini_prompts import bare_model
from nightrate.dialects.openai_reading import Reader
from nightrate.dialects.openai_shapes import EmbeddingBody
from nightrate.dialects.openai_turns import read_turn
from nightrate.dialects.refusals import unserved, within, wrong
from nightrate.dialects.spelling import quoted
from nightrate.domain.embedding import Embedding, Passage
from nightrate.errors import Refused

HINTS: Final = {"user": "who asks, for the abuse checks of a service"}
"""Members that mean nothing here, and what they are elsewhere."""

REMEDIES: Final = {
    "content": 'Use "input".',
    "contents": 'Use "input".',
    "text": 'Use "input".',
    "output_dimensionality": 'Use "dimensions".',
    "outputDimensionality": 'Use "dimensions".',
}

_ENCODINGS: Final = {"float": False, "base64": True}
"""By their names: whether vectors are packed."""

PACKED: Final = "packed"
"""Stands beside the id of a line whose vectors shall be packed."""

_READER: Final = Reader(EmbeddingBody, REMEDIES)


class EmbeddingCall(Struct, frozen=True):
    """Texts whose vectors are asked for, and how these shall be written."""

    model: str
    """Without ``models/``."""
    passages: tuple[Passage, ...]
    packed: bool
    """Whether a vector comes as the base64 of its 32-bit numbers, the lowest byte first."""


class _Vector(Struct):
    object: Literal["embedding"] = "embedding"
    index: int = 0
    embedding: Raw | str = ""


class _Usage(Struct):
    prompt_tokens: int
    total_tokens: int


class EmbeddingList(Struct, kw_only=True):
    """The answer to a request for embeddings."""

    object: Literal["list"] = "list"
    data: list[_Vector]
    model: str
    usage: _Usage


def parse_embeddings(body: bytes) -> EmbeddingCall:
    """Read the body of a live ``embeddings``.

    Raises:
        BadRequest: it is malformed or a value is wrong.
        NotSupported: it asks for something this server does not do.
    """
    return embedding_call(read_embeddings(body))


def read_embeddings(body: bytes) -> EmbeddingBody:
    """Read the shape of a body.

    Raises:
        BadRequest: it has not that shape.
    """
    return _READER.read(body)


def embedding_call(body: EmbeddingBody) -> EmbeddingCall:
    """Make the call of a typed body, or refuse with the path of the member that is to blame."""
    if not body.model:
        raise wrong("model", "it is empty.")
    encoding = body.encoding_format or "float"
    if encoding not in _ENCODINGS:
        raise wrong("encoding_format", f'"{quoted(encoding)}" is not known.')
    dimensions, most = body.dimensions, limits.EMBEDDING_DIMENSIONS_MAX
    if dimensions is not None and not 1 <= dimensions <= most:
        raise wrong("dimensions", f"{dimensions} is not between 1 and {most}.")
    texts = _texts(body)
    passages = tuple(Passage(text=text) for text in texts)
    if dimensions is not None:
        passages = tuple(
            structs.replace(passage, dimensions=dimensions, dimensions_field="dimensions")
            for passage in passages
        )
    return EmbeddingCall(bare_model(body.model), passages, _ENCODINGS[encoding])


def _texts(body: EmbeddingBody) -> list[str]:
    given = body.input
    if given is None and body.messages:  # as a page of Google's documentation has it
        return ["".join(_said(body))]
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list) or not texts:
        raise wrong("input", "it is no text, and no list of texts.")
    most = limits.EMBEDDING_INPUTS_MAX
    if len(texts) > most:
        raise wrong("input", f"it has {len(texts)} texts; a call takes {most}.")
    for index, text in enumerate(texts):
        at = "input" if isinstance(given, str) else f"input[{index}]"
        if isinstance(text, int | list):
            raise unserved(at, "Send texts: tokens belong to another model.")
        if not isinstance(text, str):
            raise wrong(at, "it is no text.")
        if not text:
            raise wrong(at, "it is empty.")
    return texts


def _said(body: EmbeddingBody) -> list[str]:
    said = []
    for index, turn in enumerate(body.messages or ()):
        try:
            said.append(read_turn(turn)[1])
        except Refused as error:
            raise within(error, f"messages[{index}]") from error
    return said


def embeddings_of(embeddings: Sequence[Embedding], *, packed: bool) -> EmbeddingList:
    """Give vectors their shape on the wire, in the order of their texts."""
    tokens = sum(embedding.prompt_tokens for embedding in embeddings)
    data = [
        _Vector(index=index, embedding=_packed(one.values) if packed else Raw(one.written))
        for index, one in enumerate(embeddings)
    ]
    return EmbeddingList(data=data, model=embeddings[0].model_version, usage=_Usage(tokens, tokens))


def render_embeddings(embeddings: Sequence[Embedding], *, packed: bool) -> bytes:
    """Write the answer to a live request."""
    return json.encode(embeddings_of(embeddings, packed=packed))


def _packed(values: tuple[float, ...]) -> str:
    return base64.b64encode(struct.pack(f"<{len(values)}f", *values)).decode()
