"""What an engine promises that can do more than text; `engine_contract` includes these tests."""
# ruff: noqa: D102 - the names of the promises are sentences

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from nightrate.domain.generation import (
    Capability,
    FinishReason,
    LogprobsWish,
    Message,
    Prompt,
    Sampling,
)
from nightrate.domain.picture import PictureWish
from nightrate.domain.schema import (
    Array,
    Choice,
    ChoiceForm,
    Form,
    JSONForm,
    Member,
    Number,
    Object,
    Schema,
    String,
)
from nightrate.engines.base import Engine
from nightrate.errors import RequestFailed
from nightrate.testing.engine_samples import asked, pieces_of, text_of

ENOUGH_TOKENS = 200
"""Output limit of answers that must come to their end."""

COLOURS = ("red", "green", "sky blue")
CARD = Object(
    members=(
        Member("second_name", Choice(values=("Ann", "Bo")), required=True),
        Member("age", Number(whole=True, at_least=1, at_most=120), required=True),
        Member(
            "Colours",
            Array(items=Choice(values=COLOURS), items_min=2, items_max=2),
            required=True,
        ),
    )
)
"""A form whose every answer is short, so that it comes to its end."""

LONG = Array(items=String(characters_min=50), items_min=10)
"""A form whose every answer is long."""


class Card(msgspec.Struct, forbid_unknown_fields=True):
    """What answers of the form `CARD` are read into."""

    second_name: str
    age: int
    colours: list[str] = msgspec.field(name="Colours")


def formed(text: str, form: Form, **sampling: Any) -> Prompt:
    """Make a prompt whose answer has a form."""
    sampling.setdefault("max_output_tokens", ENOUGH_TOKENS)
    return Prompt(messages=(Message("user", text),), sampling=Sampling(**sampling), form=form)


def _check_card(text: str) -> None:
    card = msgspec.json.decode(text, type=Card)
    assert card.second_name in {"Ann", "Bo"}
    assert 1 <= card.age <= 120  # noqa: PLR2004 - as the form says
    assert len(card.colours) == 2  # noqa: PLR2004 - as the form says
    assert set(card.colours) <= set(COLOURS)
    assert text == msgspec.json.encode(card).decode()  # no white space; members in their order


class FormPromises:
    """Promises of an engine that gives answers a form."""

    card = JSONForm(Schema(CARD), "schema")
    long_form = JSONForm(Schema(LONG), "schema")

    async def test_an_answer_has_its_form_compactly_and_in_order(self, engine: Engine) -> None:
        if Capability.SCHEMA not in engine.capabilities:
            return
        reply = await engine.generate(formed("Describe a person.", self.card))
        assert reply.candidates[0].finish_reason is FinishReason.STOP
        _check_card(text_of(reply))

    async def test_an_answer_is_one_of_the_choices_as_it_stands(self, engine: Engine) -> None:
        if Capability.SCHEMA not in engine.capabilities:
            return
        form = ChoiceForm(COLOURS, "schema")
        reply = await engine.generate(formed("Which colour has the sky?", form))
        assert text_of(reply) in COLOURS

    async def test_answers_with_and_without_a_form_are_made_side_by_side(
        self, engine: Engine
    ) -> None:
        if Capability.SCHEMA not in engine.capabilities:
            return
        free = [asked(f"Say {number}.", max_output_tokens=8) for number in range(4)]
        bound = [formed(f"Describe person {number}.", self.card) for number in range(4)]
        mixed = [prompt for pair in zip(free, bound, strict=True) for prompt in pair]
        replies = await asyncio.gather(*map(engine.generate, mixed))
        for reply in replies[1::2]:
            _check_card(text_of(reply))

    @pytest.mark.parametrize("seed", [None, 3])
    async def test_an_answer_with_a_form_can_be_streamed(
        self, engine: Engine, seed: int | None
    ) -> None:
        if Capability.SCHEMA not in engine.capabilities:
            return
        sampling = {} if seed is None else {"seed": seed}
        prompt = formed("Describe a person.", self.card, **sampling)
        texts, reply = await pieces_of(engine, prompt)
        assert "".join(texts) == text_of(reply)
        _check_card(text_of(reply))
        if seed is not None:
            assert text_of(reply) == text_of(await engine.generate(prompt))

    async def test_an_answer_with_a_form_is_cut_at_the_output_limit(self, engine: Engine) -> None:
        if Capability.SCHEMA not in engine.capabilities:
            return
        reply = await engine.generate(formed("Write.", self.long_form, max_output_tokens=5))
        assert reply.candidates[0].finish_reason is FinishReason.LENGTH
        assert reply.usage.output_tokens == 5  # noqa: PLR2004 - as asked
        assert text_of(reply).startswith('["')

    async def test_a_demanded_form_counts_into_the_prompt_as_it_is_told(
        self, engine: Engine
    ) -> None:
        if Capability.SCHEMA not in engine.capabilities:
            return
        prompt = formed("Describe a person.", self.card)
        reply = await engine.generate(prompt)
        assert await engine.count_tokens(prompt) == reply.usage.prompt_tokens
        if engine.capacity.tokens is not None:
            assert reply.usage.prompt_tokens + ENOUGH_TOKENS <= engine.cost(prompt)


def drawn(text: str, *, with_text: bool = True) -> Prompt:
    """Make a prompt whose answer has a picture."""
    wish = PictureWish(512, 512, with_text, "modalities")
    return Prompt(
        messages=(Message("user", text),), sampling=Sampling(max_output_tokens=20), picture=wish
    )


class PicturePromises:
    """Promises of an engine that draws."""

    async def test_an_answer_has_a_picture_and_the_text_that_was_asked_for(
        self, engine: Engine
    ) -> None:
        if Capability.IMAGES not in engine.capabilities:
            return
        for with_text in (True, False):
            reply = await engine.generate(drawn("A letter A.", with_text=with_text))
            (candidate,) = reply.candidates
            assert candidate.pictures
            for picture in candidate.pictures:
                assert picture.mime_type.startswith("image/")
                assert len(picture.data) > 100  # noqa: PLR2004 - no file of a picture is shorter
            assert bool(candidate.text) is with_text

    async def test_pictures_come_with_the_reply_of_a_stream(self, engine: Engine) -> None:
        if Capability.IMAGES not in engine.capabilities:
            return
        texts, reply = await pieces_of(engine, drawn("A letter A."))
        assert "".join(texts) == text_of(reply)
        assert reply.candidates[0].pictures

    async def test_an_answer_without_the_wish_has_no_picture(self, engine: Engine) -> None:
        if Capability.TEXT not in engine.capabilities:
            with pytest.raises(RequestFailed):
                await engine.generate(asked("A letter A."))
            return
        reply = await engine.generate(asked("A letter A.", max_output_tokens=4))
        assert not reply.candidates[0].pictures


class LogprobPromises:
    """Promises of an engine that says how likely tokens were."""

    async def test_an_answer_says_how_likely_each_of_its_tokens_was(self, engine: Engine) -> None:
        if Capability.LOGPROBS not in engine.capabilities:
            return
        plain = asked("Say hello.", max_output_tokens=6, temperature=0.0)
        wishing = msgspec.structs.replace(plain, logprobs=LogprobsWish(0, "logprobs"))
        for reply in (await engine.generate(wishing), (await pieces_of(engine, wishing))[1]):
            tokens = reply.candidates[0].tokens
            assert len(tokens) == reply.usage.output_tokens
            assert "".join(token.text for token in tokens) == text_of(reply)
            assert all(token.log_probability <= 0 for token in tokens)
        assert not (await engine.generate(plain)).candidates[0].tokens

    async def test_likely_others_are_told_as_many_as_asked_for(self, engine: Engine) -> None:
        if Capability.TOP_LOGPROBS not in engine.capabilities:
            return
        plain = asked("Say hello.", max_output_tokens=6, temperature=0.0)
        wishing = msgspec.structs.replace(plain, logprobs=LogprobsWish(3, "logprobs"))
        for token in (await engine.generate(wishing)).candidates[0].tokens:
            assert 1 <= len(token.others) <= 3  # noqa: PLR2004 - as asked
