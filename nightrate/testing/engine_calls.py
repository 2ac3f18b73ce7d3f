"""What an engine promises that calls functions; `engine_contract` includes these tests."""
# ruff: noqa: D102 - the names of the promises are sentences

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from msgspec import structs

from nightrate.domain.calling import Call, Calling, CallMode, CallResult, Function
from nightrate.domain.generation import (
    Candidate,
    Capability,
    FinishReason,
    Message,
    Prompt,
    Reply,
    Sampling,
)
from nightrate.domain.schema import Choice, Member, Number, Object, Reference, Schema
from nightrate.engines.base import Engine
from nightrate.testing.engine_samples import asked, pieces_of

ENOUGH_TOKENS = 200
"""Output limit of calls that must come to their end."""

FEW_TOKENS = 24
"""Output limit of answers that need not come to their end."""

CITIES = ("Oslo", "Bergen")
_WEATHER = Object(
    members=(
        Member("city", Choice(values=CITIES), required=True),
        Member("days", Reference(name="count"), required=True),
    )
)
WEATHER = Function(
    "weather",
    "Tells the weather.",
    Schema(_WEATHER, {"count": Number(whole=True, at_least=1, at_most=9)}),
)
CLOCK = Function("clock", "Tells the time.")
"""A function without arguments."""


class Arguments(msgspec.Struct, forbid_unknown_fields=True):
    """What arguments of `WEATHER` are read into."""

    city: str
    days: int


def calling(
    *functions: Function,
    mode: CallMode = CallMode.ANY,
    text: str = "How is the weather?",
    **sampling: Any,
) -> Prompt:
    """Make a prompt whose answer calls one of some functions, or may."""
    sampling.setdefault("max_output_tokens", ENOUGH_TOKENS)
    return structs.replace(
        asked(text, **sampling), calling=Calling(functions, mode, "tools", "mode")
    )


def call_of(reply: Reply) -> Call:
    """Give the call of a reply, once it is one of `WEATHER` or `CLOCK` and no word beside it."""
    (candidate,) = reply.candidates
    assert candidate.finish_reason is FinishReason.STOP
    assert not candidate.text
    (call,) = candidate.calls
    if call.name == CLOCK.name:
        assert msgspec.json.decode(call.arguments) == {}
        return call
    assert call.name == WEATHER.name
    arguments = msgspec.json.decode(call.arguments, type=Arguments)
    assert arguments.city in CITIES
    assert 1 <= arguments.days <= 9  # noqa: PLR2004 - as the schema says
    return call


class CallPromises:
    """Promises of an engine that calls functions where it must."""

    @pytest.mark.parametrize("functions", [(WEATHER,), (CLOCK,), (CLOCK, WEATHER)])
    async def test_a_demanded_call_is_one_of_a_function_with_arguments_that_fit(
        self, engine: Engine, functions: tuple[Function, ...]
    ) -> None:
        if Capability.CALLS not in engine.capabilities:
            return
        reply = await engine.generate(calling(*functions))
        assert call_of(reply).name in {function.name for function in functions}
        assert reply.usage.output_tokens > 0

    async def test_a_call_comes_with_the_reply_of_a_stream_and_without_words(
        self, engine: Engine
    ) -> None:
        if Capability.CALLS not in engine.capabilities:
            return
        prompt = calling(WEATHER, seed=3)
        texts, reply = await pieces_of(engine, prompt)
        assert texts == []
        whole = await engine.generate(prompt)
        first, again = call_of(reply), call_of(whole)
        assert (first.name, first.arguments) == (again.name, again.arguments)
        assert reply.usage.output_tokens == whole.usage.output_tokens

    async def test_a_call_that_is_cut_at_the_output_limit_is_not_handed_out(
        self, engine: Engine
    ) -> None:
        if Capability.CALLS not in engine.capabilities:
            return
        prompt = calling(WEATHER, max_output_tokens=2)
        _, streamed = await pieces_of(engine, prompt)
        for reply in (await engine.generate(prompt), streamed):
            assert reply.candidates == (Candidate("", FinishReason.LENGTH),)
            assert reply.usage.output_tokens == 2  # noqa: PLR2004 - as asked

    async def test_calls_forms_and_words_are_made_side_by_side(self, engine: Engine) -> None:
        if Capability.CALLS not in engine.capabilities:
            return
        free = [asked(f"Say {number}.", max_output_tokens=8) for number in range(3)]
        bound = [calling(WEATHER, CLOCK, text=f"Day {number}?") for number in range(3)]
        mixed = [prompt for pair in zip(free, bound, strict=True) for prompt in pair]
        replies = await asyncio.gather(*map(engine.generate, mixed))
        for reply in replies[::2]:
            assert not reply.candidates[0].calls
        for reply in replies[1::2]:
            call_of(reply)

    async def test_declared_functions_count_into_the_prompt_as_it_is_told(
        self, engine: Engine
    ) -> None:
        if Capability.CALLS not in engine.capabilities:
            return
        prompt = calling(WEATHER)
        reply = await engine.generate(prompt)
        assert await engine.count_tokens(prompt) == reply.usage.prompt_tokens
        if engine.capacity.tokens is not None:
            assert reply.usage.prompt_tokens + ENOUGH_TOKENS <= engine.cost(prompt)

    async def test_calls_and_results_of_earlier_turns_are_read(self, engine: Engine) -> None:
        question = Message("user", "How is the weather?")
        call = Message("model", "", calls=(Call("weather", '{"city":"Oslo","days":1}'),))
        result = Message("user", "", results=(CallResult("weather", '{"sky":"clear"}'),))
        sampling = Sampling(max_output_tokens=4)
        turns = (question, call, result)
        counts = [
            await engine.count_tokens(Prompt(messages=turns[:most], sampling=sampling))
            for most in (1, 2, 3)
        ]
        assert counts[0] < counts[1] < counts[2]
        reply = await engine.generate(Prompt(messages=turns, sampling=sampling))
        assert reply.usage.prompt_tokens == counts[2]
        assert reply.candidates[0].text

    async def test_who_decides_about_calls_can_be_made_to_call(self, engine: Engine) -> None:
        """One that answers in words or calls, as it likes, calls where it must as well."""
        if Capability.TOOLS not in engine.capabilities:
            return
        assert Capability.CALLS in engine.capabilities
        prompt = calling(WEATHER, mode=CallMode.AUTO, temperature=0)
        reply = await engine.generate(prompt)
        (candidate,) = reply.candidates
        if candidate.calls:
            call_of(reply)
        else:
            assert candidate.text

    async def test_what_was_decided_comes_in_a_stream_with_its_words_first(
        self, engine: Engine
    ) -> None:
        if Capability.TOOLS not in engine.capabilities:
            return
        few: dict[str, Any] = {"temperature": 0, "max_output_tokens": FEW_TOKENS}
        prompt = calling(WEATHER, mode=CallMode.AUTO, **few)
        texts, reply = await pieces_of(engine, prompt)
        whole = await engine.generate(prompt)
        assert "".join(texts) == reply.candidates[0].text == whole.candidates[0].text
        assert [(call.name, call.arguments) for call in reply.candidates[0].calls] == [
            (call.name, call.arguments) for call in whole.candidates[0].calls
        ]

    async def test_functions_that_may_be_called_are_counted_as_they_are_told(
        self, engine: Engine
    ) -> None:
        if Capability.TOOLS not in engine.capabilities:
            return
        prompt = calling(WEATHER, CLOCK, mode=CallMode.AUTO, max_output_tokens=2)
        reply = await engine.generate(prompt)
        assert await engine.count_tokens(prompt) == reply.usage.prompt_tokens
        if engine.capacity.tokens is not None:
            assert reply.usage.prompt_tokens + 2 <= engine.cost(prompt)
