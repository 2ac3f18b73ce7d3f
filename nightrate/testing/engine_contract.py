"""What every engine promises, as tests: subclass `EngineContract`, provide an engine, run pytest.

::

    class TestMyEngine(EngineContract):
        @pytest.fixture
        async def engine(self) -> AsyncIterator[Engine]:
            engine = create_engine("mine", {})
            await engine.open()
            yield engine
            await engine.close()

The tests need pytest-asyncio in its auto mode. They leave the engine as they found it, so that one
engine that is slow to open can serve them all. `EngineLifeContract` needs an engine for each test.
"""
# ruff: noqa: D102 - the names of the promises are sentences

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest
from msgspec import structs

from nightrate.domain.embedding import Passage
from nightrate.domain.generation import Capability, FinishReason, Message, Prompt, Reply, Sampling
from nightrate.engines.base import Engine
from nightrate.errors import Code, EngineDown, RequestFailed
from nightrate.testing.engine_calls import CallPromises
from nightrate.testing.engine_media import MediaPromises
from nightrate.testing.engine_samples import asked, pieces_of, text_of
from nightrate.testing.engine_wishes import FormPromises, LogprobPromises, PicturePromises

__all__ = ["EngineContract", "EngineLifeContract", "asked", "pieces_of", "text_of"]

NEIGHBOURS = 8
"""Prompts that run beside the one a test looks at."""

FEW_TOKENS = 24
"""Output limit of answers whose text is looked at."""

QUESTION = "Tell me three things about rivers, in a few sentences."


async def _drained(pieces: AsyncIterator[object]) -> None:
    async for _ in pieces:
        pass


class EngineContract(FormPromises, LogprobPromises, PicturePromises, CallPromises, MediaPromises):
    """Promises of an open engine. Fixture to provide: ``engine``.

    What it promises beyond text is tested where its capabilities say that it can.
    """

    unanswerable: Prompt | None = None
    """A prompt that this engine must refuse with `RequestFailed`; None if it takes anything."""

    finished_first_max = 0
    """How many prompts of a batch, which it is at already, it may finish before a live one."""

    def lasting(self, number: int) -> Prompt:
        """Make a prompt that is still being answered while the test goes on."""
        return asked(f"{number}. Write a story of two thousand words.", max_output_tokens=4000)

    def telling(self, number: int) -> Prompt:
        """Make a prompt that lasts like `lasting` does, and has its first text soon."""
        return self.lasting(number)

    async def test_it_can_answer_text_and_wants_work(self, engine: Engine) -> None:
        assert engine.name
        assert Capability.TEXT in engine.capabilities
        assert engine.capacity.requests >= 1

    async def test_it_makes_vectors_or_says_that_it_does_not(self, engine: Engine) -> None:
        if Capability.EMBEDDINGS in engine.capabilities:
            return  # See `embedding_contract`.
        with pytest.raises(RequestFailed) as refused:
            await engine.embed(Passage(text=QUESTION))
        assert refused.value.code is Code.UNIMPLEMENTED
        assert not refused.value.retriable

    async def test_an_open_engine_is_ready(self, engine: Engine) -> None:
        await engine.ready()

    async def test_a_reply_has_text_usage_and_the_name_of_the_model(self, engine: Engine) -> None:
        reply = await engine.generate(asked(QUESTION, max_output_tokens=FEW_TOKENS, temperature=0))
        assert len(reply.candidates) == 1
        assert text_of(reply)
        assert reply.usage.prompt_tokens > 0
        assert 0 < reply.usage.output_tokens <= FEW_TOKENS
        assert 0 <= reply.usage.cached_tokens <= reply.usage.prompt_tokens
        assert reply.model_version

    async def test_the_output_limit_cuts_an_answer_and_the_reply_says_so(
        self, engine: Engine
    ) -> None:
        reply = await engine.generate(asked(QUESTION, max_output_tokens=1, temperature=0))
        assert reply.usage.output_tokens == 1
        assert reply.candidates[0].finish_reason is FinishReason.LENGTH

    async def test_an_answer_ends_before_its_stop_sequence(self, engine: Engine) -> None:
        whole = text_of(
            await engine.generate(asked(QUESTION, max_output_tokens=FEW_TOKENS, temperature=0))
        )
        stop = whole[len(whole) // 2 :][:5]
        reply = await engine.generate(
            asked(QUESTION, max_output_tokens=FEW_TOKENS, temperature=0, stop=(stop,))
        )
        assert text_of(reply) == whole[: whole.index(stop)]
        assert reply.candidates[0].finish_reason is FinishReason.STOP

    async def test_text_is_unicode_that_can_be_sent(self, engine: Engine) -> None:
        prompts = [
            asked(f"Copy these: é 漢字 😀 नमस्ते {number}", max_output_tokens=number + 1)
            for number in range(NEIGHBOURS)
        ]
        for reply in await asyncio.gather(*map(engine.generate, prompts)):
            assert text_of(reply).encode("utf-8").decode("utf-8") == text_of(reply)

    async def test_the_system_text_and_all_turns_are_read(self, engine: Engine) -> None:
        turns = (Message("user", "Hello."), Message("model", "Hi!"), Message("user", "Go on."))
        sampling = Sampling(max_output_tokens=4)
        short = Prompt(messages=turns[2:], sampling=sampling)
        full = Prompt(messages=turns, system="You are a laconic poet.", sampling=sampling)
        assert await engine.count_tokens(full) > await engine.count_tokens(short)
        assert (await engine.generate(full)).usage.output_tokens > 0

    async def test_counted_tokens_are_those_that_a_reply_reports(self, engine: Engine) -> None:
        prompt = asked(QUESTION, max_output_tokens=1)
        reply = await engine.generate(prompt)
        assert await engine.count_tokens(prompt) == reply.usage.prompt_tokens

    async def test_the_beginning_of_a_prompt_is_counted_too(self, engine: Engine) -> None:
        turn = Message("user", QUESTION)
        beginnings = [
            Prompt(messages=(), system="Be brief."),
            Prompt(messages=(turn,), system="Be brief."),
            Prompt(messages=(turn, turn), system="Be brief."),
        ]
        first, second, whole = [await engine.count_tokens(one) for one in beginnings]
        assert 0 < first < second < whole

    async def test_a_prompt_costs_no_less_than_it_uses(self, engine: Engine) -> None:
        if engine.capacity.tokens is None:
            return  # The engine does not bound tokens, so nobody asks for the cost.
        prompt = asked(QUESTION, max_output_tokens=FEW_TOKENS)
        usage = (await engine.generate(prompt)).usage
        cost = engine.cost(prompt)
        assert usage.prompt_tokens + usage.output_tokens <= cost <= engine.capacity.tokens

    @pytest.mark.parametrize("sampling", [{"seed": 11}, {"temperature": 0}])
    async def test_a_reproducible_answer_is_the_same_alone_and_among_others(
        self, engine: Engine, sampling: dict[str, Any]
    ) -> None:
        prompt = asked(QUESTION, max_output_tokens=FEW_TOKENS, **sampling)
        alone = await engine.generate(prompt)
        others = [
            asked(f"{number} and what?", max_output_tokens=FEW_TOKENS, seed=number)
            for number in range(4)
        ]
        among, *_ = await asyncio.gather(*map(engine.generate, [prompt, *others, prompt]))
        again = await engine.generate(prompt)
        assert text_of(alone) == text_of(among) == text_of(again)

    async def test_more_prompts_than_it_wants_are_all_answered(self, engine: Engine) -> None:
        many = engine.capacity.requests + NEIGHBOURS
        prompts = [asked(f"Say {number}.", max_output_tokens=2) for number in range(many)]
        replies = await asyncio.gather(*map(engine.generate, prompts))
        assert all(reply.usage.prompt_tokens > 0 for reply in replies)

    async def test_a_refused_prompt_does_not_hurt_its_neighbours(self, engine: Engine) -> None:
        if self.unanswerable is None:
            return  # The engine takes anything.
        good = [asked(f"Say {number}.", max_output_tokens=4) for number in range(NEIGHBOURS)]
        half = NEIGHBOURS // 2
        outcomes = await asyncio.gather(
            *map(engine.generate, [*good[:half], self.unanswerable, *good[half:]]),
            return_exceptions=True,
        )
        assert isinstance(outcomes.pop(half), RequestFailed)
        assert all(isinstance(outcome, Reply) for outcome in outcomes)

    async def test_cancelled_prompts_free_their_places(self, engine: Engine) -> None:
        lasting = [
            asyncio.create_task(engine.generate(self.lasting(number)))
            for number in range(2 * engine.capacity.requests)
        ]
        await engine.count_tokens(asked("Are you there?"))  # They have reached the engine now.
        for task in lasting:
            task.cancel()
        outcomes = await asyncio.gather(*lasting, return_exceptions=True)
        assert all(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes)
        reply = await engine.generate(asked("Say hello.", max_output_tokens=2))
        assert reply.usage.output_tokens > 0

    async def test_a_live_prompt_is_answered_while_a_batch_fills_the_engine(
        self, engine: Engine
    ) -> None:
        batch = [
            asyncio.create_task(engine.generate(self.lasting(number)))
            for number in range(engine.capacity.requests)
        ]
        await engine.count_tokens(asked("Are you there?"))  # They have reached the engine now.
        live = structs.replace(asked("Say hello.", max_output_tokens=2), live=True)
        reply = await engine.generate(live)
        finished = sum(one.done() for one in batch)
        for one in batch:
            one.cancel()
        await asyncio.gather(*batch, return_exceptions=True)
        assert reply.usage.output_tokens > 0
        assert finished <= self.finished_first_max

    @pytest.mark.parametrize("sampling", [{"seed": 11}, {"temperature": 0}])
    async def test_a_stream_is_the_reply_in_pieces(
        self, engine: Engine, sampling: dict[str, Any]
    ) -> None:
        prompt = asked(QUESTION, max_output_tokens=FEW_TOKENS, **sampling)
        texts, reply = await pieces_of(engine, prompt)
        whole = await engine.generate(prompt)
        assert "".join(texts) == text_of(reply) == text_of(whole)
        assert all(texts)
        assert reply.candidates == whole.candidates
        assert reply.usage.output_tokens == whole.usage.output_tokens
        assert reply.usage.prompt_tokens == whole.usage.prompt_tokens
        assert reply.model_version == whole.model_version
        if Capability.STREAM in engine.capabilities:
            assert len(texts) > 1

    async def test_a_stream_has_nothing_of_its_stop_sequence(self, engine: Engine) -> None:
        sampling = {"max_output_tokens": FEW_TOKENS, "temperature": 0}
        whole = text_of(await engine.generate(asked(QUESTION, **sampling)))
        for start in range(1, len(whole) - 5, max(1, len(whole) // 6)):
            stop = whole[start : start + 5]
            texts, reply = await pieces_of(
                engine, asked(QUESTION, stop=(stop, "?\x00"), **sampling)
            )
            assert "".join(texts) == text_of(reply) == whole[: whole.index(stop)]
            assert reply.candidates[0].finish_reason is FinishReason.STOP

    async def test_a_stream_has_whole_characters_only(self, engine: Engine) -> None:
        texts_asked = [
            f"Copy these: é 漢字 😀 नमस्ते 👩‍👩‍👧 {number}" for number in range(NEIGHBOURS)
        ]
        prompts = [asked(text, max_output_tokens=FEW_TOKENS, seed=1) for text in texts_asked]
        streamed = await asyncio.gather(*(pieces_of(engine, prompt) for prompt in prompts))
        for texts, reply in streamed:
            assert [text.encode("utf-8").decode("utf-8") for text in texts] == texts
            assert "".join(texts) == text_of(reply)

    async def test_a_refused_stream_has_no_text(self, engine: Engine) -> None:
        if self.unanswerable is None:
            return  # The engine takes anything.
        with pytest.raises(RequestFailed):
            await anext(engine.stream(self.unanswerable))

    async def test_a_stream_begins_before_its_answer_ends_and_closing_frees_its_place(
        self, engine: Engine
    ) -> None:
        if Capability.STREAM not in engine.capabilities:
            return  # Its answers come in one piece.
        for number in range(engine.capacity.requests + 1):  # One more than there are places.
            async with aclosing(engine.stream(self.telling(number))) as pieces:
                assert isinstance(await anext(pieces), str)
        reply = await engine.generate(asked("Say hello.", max_output_tokens=2))
        assert reply.usage.output_tokens > 0


class EngineLifeContract:
    """Promises about opening and closing. Fixture to provide: ``fresh``, an engine not yet open."""

    def lasting(self, number: int) -> Prompt:
        """Make a prompt that is still being answered while the test goes on."""
        return asked(f"{number}. Write a story of two thousand words.", max_output_tokens=4000)

    def telling(self, number: int) -> Prompt:
        """Make a prompt that lasts like `lasting` does, and has its first text soon."""
        return self.lasting(number)

    def answerable(self) -> Prompt:
        """Make a prompt that the engine answers while it is open."""
        return asked("Are you there?")

    async def test_an_engine_that_was_not_opened_is_down(self, fresh: Engine) -> None:
        with pytest.raises(EngineDown):
            await fresh.ready()
        with pytest.raises(EngineDown) as down:
            await fresh.generate(self.answerable())
        assert not down.value.in_flight
        with pytest.raises(EngineDown):
            await anext(fresh.stream(self.answerable()))

    async def test_a_closed_engine_is_down(self, fresh: Engine) -> None:
        await fresh.open()
        await fresh.close()
        with pytest.raises(EngineDown):
            await fresh.ready()
        with pytest.raises(EngineDown):
            await fresh.generate(self.answerable())

    async def test_closing_fails_what_is_in_flight(self, fresh: Engine) -> None:
        await fresh.open()
        lasting = [asyncio.create_task(fresh.generate(self.lasting(number))) for number in range(3)]
        await fresh.count_tokens(asked("Are you there?"))  # They have reached the engine now.
        await fresh.close()
        outcomes = await asyncio.gather(*lasting, return_exceptions=True)
        assert all(isinstance(outcome, EngineDown) for outcome in outcomes)

    async def test_closing_breaks_a_stream_off(self, fresh: Engine) -> None:
        await fresh.open()
        if Capability.STREAM in fresh.capabilities:
            async with aclosing(fresh.stream(self.telling(1))) as pieces:
                assert isinstance(await anext(pieces), str)
                await fresh.close()
                with pytest.raises(EngineDown):
                    await _drained(pieces)
        await fresh.close()

    async def test_closing_twice_is_closing(self, fresh: Engine) -> None:
        await fresh.open()
        await fresh.close()
        await fresh.close()
