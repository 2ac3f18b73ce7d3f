"""Embeddings become Gemini's responses."""

from __future__ import annotations

import json

from google.genai import types

from nightrate.dialects.gemini_items import ItemJoiner
from nightrate.dialects.gemini_profiles import Profile
from nightrate.dialects.gemini_vectors import render_embedding, render_embeddings
from nightrate.dialects.row import Echo
from nightrate.dialects.rows import hand_of
from nightrate.domain.batch import BatchForm, Kind, Method
from nightrate.domain.embedding import Embedding

VECTOR = Embedding.of((0.25, -0.012345679, 0.0), 7, "m")
RESPONSE = (
    b'{"embedding":{"values":[0.25,-0.012345679,0.0]},"tokenCount":"7",'
    b'"usageMetadata":{"promptTokenCount":7}}'
)


def test_a_vector_in_a_result_file_comes_before_the_key() -> None:
    line = hand_of(Kind(BatchForm.FILE, Method.EMBED)).render(
        Echo(b'"k"', b'{"n":1}'), VECTOR, Kind(BatchForm.FILE, Method.EMBED).form, "r1", 0
    )
    assert line == b'{"response":' + RESPONSE + b',"key":"k","metadata":{"n":1}}'


def test_a_vector_in_an_inline_item_has_metadata_of_strings() -> None:
    line = hand_of(Kind(BatchForm.INLINE, Method.EMBED)).render(
        Echo(None, b'{"n":1}'), VECTOR, Kind(BatchForm.INLINE, Method.EMBED).form, "r1", 0
    )
    shown = ItemJoiner(Profile.DOCUMENTED).feed(line + b"\n")
    assert shown == b'{"response":' + RESPONSE + b',"metadata":{"n":"1"}}'


def test_a_live_vector_comes_with_its_tokens() -> None:
    answer = json.loads(render_embedding(VECTOR))
    assert answer == {
        "embedding": {"values": [0.25, -0.012345679, 0.0]},
        "usageMetadata": {"promptTokenCount": 7},
    }


def test_several_live_vectors_stand_in_their_order() -> None:
    answer = json.loads(render_embeddings([VECTOR, Embedding.of((1.0,), 2, "m")]))
    assert answer == {
        "embeddings": [{"values": [0.25, -0.012345679, 0.0]}, {"values": [1.0]}],
        "usageMetadata": {"promptTokenCount": 9},
    }
    parsed = types.EmbedContentResponse.model_validate({"embeddings": answer["embeddings"]})
    assert parsed.embeddings is not None
    assert len(parsed.embeddings) == 2
