"""What engines that draw have in common: the text that they draw by, and texts beside pictures."""

from __future__ import annotations

import pytest

from nightrate.domain.drawing import held_to, one_text, prompt_tokens_of, tokens_of
from nightrate.domain.generation import FinishReason, Message, Prompt, Sampling
from nightrate.domain.medium import Medium
from nightrate.errors import Code, RequestFailed


def prompt_of(text: str, system: str | None = None, sampling: Sampling | None = None) -> Prompt:
    return Prompt(messages=(Message("user", text),), system=system, sampling=sampling or Sampling())


def test_instructions_stand_before_the_turn() -> None:
    assert one_text(prompt_of("a cat"), seeded=False) == "a cat"
    assert one_text(prompt_of("a cat", "In blue."), seeded=False) == "In blue.\n\na cat"


@pytest.mark.parametrize(
    ("sampling", "field"),
    [
        *((Sampling(temperature=0.0), "temperature"), (Sampling(top_p=0.5), "topP")),
        *((Sampling(top_k=1), "topK"), (Sampling(presence_penalty=0.0), "presencePenalty")),
        (Sampling(frequency_penalty=0.0), "frequencyPenalty"),
    ],
)
def test_settings_about_tokens_are_refused_by_their_name(sampling: Sampling, field: str) -> None:
    for seeded in (True, False):
        with pytest.raises(RequestFailed, match=f"^{field}: ") as refused:
            one_text(prompt_of("a", sampling=sampling), seeded=seeded)
        assert refused.value.code is Code.UNIMPLEMENTED


def test_a_seed_is_taken_where_there_is_one() -> None:
    prompt = prompt_of("a", sampling=Sampling(seed=0, max_output_tokens=1, stop=("b",)))
    assert one_text(prompt, seeded=True) == "a"
    with pytest.raises(RequestFailed, match=r"^seed: "):
        one_text(prompt, seeded=False)


def test_nothing_is_drawn_by_a_medium() -> None:
    medium = Medium(field="contents[0].parts[0].inlineData", data="eA==")
    prompt = Prompt(messages=(Message("user", "a"),), media=(medium,))
    with pytest.raises(RequestFailed, match=r"^contents\[0\]\.parts\[0\]\.inlineData: ") as refused:
        one_text(prompt, seeded=False)
    assert refused.value.code is Code.UNIMPLEMENTED


def test_a_conversation_is_refused() -> None:
    turns = (Message("user", "a"), Message("model", "b"), Message("user", "c"))
    with pytest.raises(RequestFailed, match=r"^contents: "):
        one_text(Prompt(messages=turns), seeded=False)


@pytest.mark.parametrize(
    ("sampling", "expected"),
    [
        (Sampling(), ("A grey cat.", FinishReason.STOP)),
        (Sampling(max_output_tokens=1), ("A gr", FinishReason.LENGTH)),
        (Sampling(max_output_tokens=3), ("A grey cat.", FinishReason.STOP)),
        (Sampling(stop=("cat", "e")), ("A gr", FinishReason.STOP)),
    ],
)
def test_a_text_ends_where_the_request_says(
    sampling: Sampling, expected: tuple[str, FinishReason]
) -> None:
    assert held_to("A grey cat.", sampling) == expected


def test_four_characters_are_a_token() -> None:
    assert [tokens_of(text) for text in ("", "a", "abcd", "abcde")] == [0, 1, 1, 2]
    assert prompt_tokens_of(prompt_of("12345", "1")) == 3
    assert prompt_tokens_of(prompt_of("")) == 1
