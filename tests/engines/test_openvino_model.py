"""The embedded model's tokens: of a conversation in parts, those of the whole."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from nightrate.domain.generation import Message, Prompt
from nightrate.engines import weights
from nightrate.engines.openvino import OpenVINOOptions, setup_of
from nightrate.engines.openvino_model import CachePrecision, Model
from nightrate.engines.packages import cache_directory
from nightrate.engines.token_memory import TokenMemory

LONG = "The keeper lit the lamp. " * 100
TEXTS = st.one_of(
    st.text(max_size=8),
    st.sampled_from([LONG, f" {LONG}\n", f"{LONG}<|im_end|>", "<|im_start|>system\n", "\n\n"]),
)


@pytest.fixture(scope="module")
def model() -> Model:
    """Give the built-in model with its tokenizer; no pipeline is loaded."""
    prepared = weights.prepare(weights.DEFAULT_MODEL, cache_directory(None))
    return Model(setup_of(OpenVINOOptions(), prepared))


def test_bytes_hold_more_tokens_of_attention(model: Model) -> None:
    held = {}
    for precision in get_args(CachePrecision):
        setup = structs.replace(model.setup, kv_cache_gib=1, kv_cache_precision=precision)
        held[precision] = Model(setup).pipeline("fast")[1]
    assert held["u8"] > 1.6 * held["f16"] > 0


@settings(max_examples=60, deadline=None)
@given(texts=st.lists(TEXTS, min_size=1, max_size=4), system=st.none() | TEXTS)
def test_a_conversation_in_parts_has_the_tokens_of_the_whole(
    model: Model, texts: list[str], system: str | None
) -> None:
    turns = tuple(
        Message("model" if number % 2 else "user", text) for number, text in enumerate(texts)
    )
    prompt = Prompt(messages=turns, system=system)
    parts, remembered = (model.encode(prompt).ids.data.tolist() for _ in range(2))
    memory, model._memory = model._memory, TokenMemory(model._ids, cuts=())
    whole = model.encode(prompt).ids.data.tolist()
    model._memory = memory
    assert parts == remembered == whole


def test_a_long_beginning_of_many_prompts_is_cut_into_tokens_once(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    encode = model._memory._encode

    def noting(text: str) -> object:
        read.append(text)
        return encode(text)

    monkeypatch.setattr(model._memory, "_encode", noting)
    beginning = f"Once only. {LONG}"
    for number in range(5):
        model.encode(Prompt(messages=(Message("user", f"Hi {number}"),), system=beginning))
    assert len(read) == 6
    assert sum("Once only." in text for text in read) == 1
