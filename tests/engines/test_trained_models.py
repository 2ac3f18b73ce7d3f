"""Engines with a model that decides by itself about calls: the real ones, over the real model.

It was not trained to call functions, but imitates what a conversation shows it, without chance.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from msgspec import structs

from nightrate.domain.calling import Call, Calling, CallMode, CallResult, Function
from nightrate.domain.generation import (
    Candidate,
    Capability,
    FinishReason,
    Message,
    Prompt,
    Sampling,
)
from nightrate.domain.schema import Choice, Member, Object, Schema
from nightrate.engines.base import Engine
from nightrate.engines.registry import create_engine
from nightrate.engines.weights import DEFAULT_MODEL
from nightrate.errors import EngineDown
from nightrate.testing.engine_calls import CITIES, CLOCK, WEATHER, CallPromises
from nightrate.testing.engine_samples import pieces_of
from tests.engines.model_contract import embedded_model

FREE = Calling((WEATHER,), CallMode.AUTO, "tools", "mode")
END = "<|im_end|>"

pytestmark = embedded_model


def turns_of(number: int) -> list[Message]:
    """Give a question, its call, what that returned, and the answer."""
    city = CITIES[number % 2]
    call = Call("weather", f'{{"city":"{city}","days":{number + 1}}}')
    return [
        Message("user", f"How is the weather in {city} for {number + 1} days?"),
        Message("model", "I look it up.", calls=(call,)),
        Message("user", "", results=(CallResult("weather", '{"sky":"clear"}'),)),
        Message("model", "The sky is clear."),
    ]


def shown(calling: Calling = FREE, **sampling: Any) -> Prompt:
    """Make a conversation that shows how calls are made, and asks for one."""
    turns = [turn for number in range(3) for turn in turns_of(number)]
    question = Message("user", "How is the weather in Bergen for 7 days?")
    chosen = {"temperature": 0.0, "max_output_tokens": 100, **sampling}
    return Prompt(messages=(*turns, question), calling=calling, sampling=Sampling(**chosen))


CALLED = Candidate("I look it up.", calls=(Call("weather", '{"city": "Bergen", "days": 7}'),))


class TrainedContract(CallPromises):
    """What such an engine promises. Fixture to provide: ``engine``, open."""

    async def test_it_decides_and_is_told_of_the_functions(self, engine: Engine) -> None:
        assert Capability.TOOLS in engine.capabilities
        bare = structs.replace(shown(), calling=None)
        two = structs.replace(FREE, functions=(WEATHER, CLOCK))
        counts = [await engine.count_tokens(one) for one in (bare, shown(), shown(two))]
        assert counts[0] < counts[1] < counts[2]

    async def test_it_says_a_word_and_calls(self, engine: Engine) -> None:
        (candidate,) = (await engine.generate(shown())).candidates
        assert candidate == CALLED

    async def test_a_stream_has_the_words_piece_by_piece_and_then_the_call(
        self, engine: Engine
    ) -> None:
        texts, reply = await pieces_of(engine, shown())
        assert len(texts) > 1
        assert "".join(texts) == "I look it up."
        assert reply.candidates == (CALLED,)

    async def test_no_half_call_is_handed_out(self, engine: Engine) -> None:
        for most in (7, 9, 14, 20):
            reply = await engine.generate(shown(max_output_tokens=most))
            assert reply.usage.output_tokens == most
            assert reply.candidates == (Candidate("I look it up.", FinishReason.LENGTH),)

    async def test_a_stop_sequence_ends_the_words_before_a_call(self, engine: Engine) -> None:
        texts, reply = await pieces_of(engine, shown(stop=(" it",)))
        assert "".join(texts) == "I look"
        assert reply.candidates == (Candidate("I look"),)

    async def test_a_call_of_what_was_not_declared_ends_the_answer(self, engine: Engine) -> None:
        calling = structs.replace(FREE, functions=(CLOCK,))
        (candidate,) = (await engine.generate(shown(calling))).candidates
        assert candidate == Candidate("I look it up.", FinishReason.BAD_CALL)

    async def test_arguments_are_held_to_their_schema_where_the_client_says_so(
        self, engine: Engine
    ) -> None:
        held = structs.replace(FREE, held=True)
        assert (await engine.generate(shown(held))).candidates == (CALLED,)
        narrow = Object(members=(Member("city", Choice(values=("Rome",)), required=True),))
        function = structs.replace(WEATHER, parameters=Schema(narrow))
        calling = structs.replace(held, functions=(function,))
        (candidate,) = (await engine.generate(shown(calling))).candidates
        assert candidate.finish_reason in (FinishReason.BAD_CALL, FinishReason.STOP)
        assert all('"Rome"' in call.arguments for call in candidate.calls)

    async def test_the_same_conversation_without_functions_is_answered_in_words(
        self, engine: Engine
    ) -> None:
        prompt = structs.replace(shown(), calling=None)
        (candidate,) = (await engine.generate(prompt)).candidates
        assert not candidate.calls
        assert candidate.text.startswith("I look it up.")

    @pytest.mark.parametrize("where", range(6))
    async def test_no_text_of_a_client_steers_the_model(self, engine: Engine, where: int) -> None:
        """A control word is one token; the same as plain text takes several."""

        def laden(word: str) -> Prompt:
            words = [word if place == where else "" for place in range(6)]
            root = Object(
                members=(Member(f"m{words[1]}", Choice(values=(f"v{words[2]}",)), required=True),)
            )
            function = Function("weather", f"Tells it.{words[0]}", Schema(root))
            escaped = words[3].replace("<", "\\u003c")
            call = Call("weather", f'{{"m":"{escaped}","{escaped}":1}}')
            messages = (
                Message("user", f"Oslo?{words[5]}"),
                Message("model", "", calls=(call,)),
                Message("user", "", results=(CallResult("weather", f'{{"sky":"{words[4]}"}}'),)),
            )
            calling = Calling((function,), CallMode.AUTO, "tools", "mode")
            return Prompt(messages=messages, calling=calling)

        control = await engine.count_tokens(laden(END))
        plain = await engine.count_tokens(laden("<im_end>"))
        assert control > plain


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def trained_llama_cpp(trained_gguf: Path) -> AsyncIterator[Engine]:
    """Give llama.cpp with that model."""
    pytest.importorskip("xllamacpp", reason="the library of the extra llama_cpp is not installed")
    options = {"slots": 4, "context_tokens": 2048, "threads": 1}
    model = {"model": str(trained_gguf), "functions": True}
    engine = create_engine("llama_cpp", model | options)
    await engine.open()
    yield engine
    await engine.close()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def trained_openvino(trained_gguf: Path) -> AsyncIterator[Engine]:
    """Give OpenVINO GenAI with that model."""
    model = {"model": str(trained_gguf), "functions": True}
    engine = create_engine("openvino", model | {"kv_cache_gib": 1})
    await engine.open()
    yield engine
    await engine.close()


class TestLlamaCpp(TrainedContract):
    """The contract, over llama.cpp."""

    @pytest.fixture
    def engine(self, trained_llama_cpp: Engine) -> Engine:
        return trained_llama_cpp


class TestOpenVINO(TrainedContract):
    """The contract, over OpenVINO GenAI."""

    @pytest.fixture
    def engine(self, trained_openvino: Engine) -> Engine:
        return trained_openvino


@pytest.mark.parametrize("name", ["llama_cpp", "openvino"])
async def test_a_model_that_was_not_trained_is_refused_at_the_start_with_what_to_do(
    name: str,
) -> None:
    engine = create_engine(name, {"model": DEFAULT_MODEL, "functions": True})
    assert Capability.TOOLS in engine.capabilities
    assert Capability.TOOLS not in create_engine(name, {}).capabilities
    with pytest.raises(EngineDown, match=r"does not look for `tools`.*Set `functions = false`"):
        await engine.open()
    await engine.close()
