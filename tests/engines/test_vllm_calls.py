"""A model that decides about calls, over vLLM where that is installed; it recites its answer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from msgspec import structs

from nightrate.domain.calling import Call, Calling, CallMode
from nightrate.domain.generation import Candidate, Capability, FinishReason, Prompt
from nightrate.engines.vllm import VLLMEngine
from nightrate.testing.engine_calls import WEATHER
from nightrate.testing.engine_contract import asked, pieces_of, text_of
from tests.engines.test_vllm import opened, real_vllm
from tests.engines.tiny_vllm import write_reciting_model
from tests.engines.trained import TAGGED

WEATHER_IN_OSLO = Call("weather", '{"city": "Oslo", "days": 7}')
CALL_OF_WEATHER = f'{{"name": "weather", "arguments": {WEATHER_IN_OSLO.arguments}}}'
SAID = ["I look it up.", " At once.", "<tool_call>", CALL_OF_WEATHER, "</tool_call>"]
CALLED = Candidate("I look it up. At once.", calls=(WEATHER_IN_OSLO,))


def deciding(**sampling: Any) -> Prompt:
    """Ask a model that may call a function."""
    calling = Calling((WEATHER,), CallMode.AUTO, "tools", "mode")
    return structs.replace(asked("Oslo?", temperature=0.0, **sampling), calling=calling)


@pytest_asyncio.fixture(
    scope="module", loop_scope="session", params=[True, False], ids=["control", "plain"]
)
async def reciting(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[VLLMEngine]:
    """Give that model open: with control words that mark calls, and with plain ones."""
    folder = tmp_path_factory.mktemp("models") / "reciting"
    write_reciting_model(folder, TAGGED, SAID, control=request.param)
    engine = opened(folder, functions=True)
    await engine.open()
    yield engine
    await engine.close()


class TestDeciding:
    """What such a model says is taken for words and for a call."""

    pytestmark = real_vllm

    async def test_it_says_words_and_calls(self, reciting: VLLMEngine) -> None:
        assert Capability.TOOLS in reciting.capabilities
        (candidate,) = (await reciting.generate(deciding())).candidates
        assert candidate == CALLED

    async def test_its_words_are_streamed_and_then_comes_the_call(
        self, reciting: VLLMEngine
    ) -> None:
        texts, reply = await pieces_of(reciting, deciding())
        assert texts == ["I look it up.", " At once."]
        assert reply.candidates == (CALLED,)

    async def test_no_half_call_is_handed_out(self, reciting: VLLMEngine) -> None:
        for most in (2, 3, 4):
            texts, reply = await pieces_of(reciting, deciding(max_output_tokens=most))
            assert "".join(texts) == CALLED.text
            assert reply.candidates == (Candidate(CALLED.text, FinishReason.LENGTH),)

    async def test_a_stop_sequence_ends_the_words_before_a_call(self, reciting: VLLMEngine) -> None:
        texts, reply = await pieces_of(reciting, deciding(stop=(" At",)))
        assert "".join(texts) == "I look it up."
        assert reply.candidates == (Candidate("I look it up."),)

    async def test_functions_are_told_and_only_where_it_decides(self, reciting: VLLMEngine) -> None:
        bare = structs.replace(deciding(), calling=None)
        counts = [await reciting.count_tokens(one) for one in (bare, deciding())]
        assert counts[0] < counts[1]
        text = text_of(await reciting.generate(bare))
        assert text.startswith(f"{CALLED.text}")
        assert CALL_OF_WEATHER in text
