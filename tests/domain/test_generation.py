"""Prompts, sampling, replies."""

from __future__ import annotations

import msgspec
import pytest

from nightrate.domain.calling import Calling, CallMode, Function
from nightrate.domain.embedding import Embedding, EmbeddingTask, Passage
from nightrate.domain.generation import (
    DEFAULT_SAMPLING,
    Candidate,
    Capability,
    Failure,
    FinishReason,
    LogprobsWish,
    Message,
    Need,
    Prompt,
    Reply,
    Sampling,
    Usage,
    needs_of,
)
from nightrate.domain.picture import PictureWish
from nightrate.domain.schema import ChoiceForm, Form
from nightrate.errors import Code


@pytest.mark.parametrize(
    ("sampling", "reproducible"),
    [
        (Sampling(), False),
        (Sampling(seed=0), True),
        (Sampling(seed=7, temperature=1.0), True),
        (Sampling(temperature=0), True),
        (Sampling(temperature=0.0, top_p=0.5), True),
        (Sampling(temperature=0.1), False),
        (Sampling(top_k=1), False),
    ],
)
def test_a_seed_or_no_temperature_asks_for_the_same_answer_again(
    sampling: Sampling,
    reproducible: bool,  # noqa: FBT001 - given by name, by pytest
) -> None:
    assert sampling.reproducible is reproducible


def test_a_prompt_leaves_everything_to_the_engine() -> None:
    prompt = Prompt(messages=(Message("user", "hi"),))
    assert prompt.sampling is DEFAULT_SAMPLING
    assert prompt.system is None
    assert prompt.sampling == Sampling()


@pytest.mark.parametrize(
    "value",
    [
        Prompt(messages=(Message("user", "hi"),), system="s", sampling=Sampling(stop=("x",))),
        Reply((Candidate("a", FinishReason.LENGTH),), Usage(1, 2, 1), "v"),
        Failure(Code.UNAVAILABLE, "down"),
        Passage(text="t", task=EmbeddingTask.CLUSTERING, title="T", dimensions=3, truncate=False),
        Embedding.of((0.6, -0.8), 2, "v"),
    ],
)
def test_values_survive_the_way_to_another_process(value: msgspec.Struct) -> None:
    packed = msgspec.msgpack.encode(value)
    assert msgspec.msgpack.decode(packed, type=type(value)) == value


@pytest.mark.parametrize(
    ("form", "picture", "mode", "needs"),
    [
        (None, None, None, []),
        (ChoiceForm(("a",), "f"), None, None, [Need(Capability.SCHEMA, "f")]),
        (
            None,
            PictureWish(64, 64, with_text=True, field="p"),
            None,
            [Need(Capability.IMAGES, "p")],
        ),
        (None, None, CallMode.ANY, [Need(Capability.CALLS, "tools")]),
        (
            None,
            None,
            CallMode.AUTO,
            [Need(Capability.CALLS, "tools"), Need(Capability.TOOLS, "mode")],
        ),
    ],
)
def test_what_a_prompt_wants_beyond_text_is_a_need_with_its_path(
    form: Form | None, picture: PictureWish | None, mode: CallMode | None, needs: list[Need]
) -> None:
    calling = None if mode is None else Calling((Function("clock"),), mode, "tools", "mode")
    prompt = Prompt(messages=(), form=form, picture=picture, calling=calling)
    assert needs_of(prompt) == needs


def test_the_likelihood_of_other_tokens_is_a_need_of_its_own() -> None:
    needs = needs_of(Prompt(messages=(), logprobs=LogprobsWish(0, "f")))
    assert needs == [Need(Capability.LOGPROBS, "f")]
    needs = needs_of(Prompt(messages=(), logprobs=LogprobsWish(2, "f")))
    assert needs == [Need(Capability.LOGPROBS, "f"), Need(Capability.TOP_LOGPROBS, "f")]
