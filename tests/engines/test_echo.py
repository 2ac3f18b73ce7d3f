"""The echo engine keeps the promises of engines, and plays its scripts."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from nightrate import limits
from nightrate.domain.generation import Prompt
from nightrate.engines.base import Capacity, Engine
from nightrate.engines.registry import create_engine
from nightrate.errors import Code, EngineDown, RequestFailed, SettingsFault
from nightrate.testing.embedding_contract import (
    EmbeddingContract,
    EmbeddingLifeContract,
    nearness,
    passage,
)
from nightrate.testing.engine_contract import (
    EngineContract,
    EngineLifeContract,
    asked,
    pieces_of,
    text_of,
)


class TestEchoEngine(EngineContract):
    """The contract."""

    unanswerable = asked("[[fail 3]]")

    @pytest.fixture
    async def engine(self) -> AsyncIterator[Engine]:
        engine = create_engine("echo", {"requests": 4})
        await engine.open()
        yield engine
        await engine.close()

    def lasting(self, number: int) -> Prompt:
        return asked(f"{number} [[delay 3600]]")

    def telling(self, number: int) -> Prompt:
        return asked(f"{number} [[pace 3600]]")


class TestEchoEngineLife(EngineLifeContract):
    """The contract about opening and closing."""

    @pytest.fixture
    def fresh(self) -> Engine:
        return create_engine("echo", {})

    def lasting(self, number: int) -> Prompt:
        return asked(f"{number} [[delay 3600]]")

    def telling(self, number: int) -> Prompt:
        return asked(f"{number} [[pace 3600]]")


@pytest.fixture
async def echo() -> Engine:
    engine = create_engine("echo", {})
    await engine.open()
    return engine


async def test_it_gives_the_question_back(echo: Engine) -> None:
    assert text_of(await echo.generate(asked("hello"))) == "hello"


async def test_a_script_fails_a_request_with_its_code(echo: Engine) -> None:
    with pytest.raises(RequestFailed) as failed:
        await echo.generate(asked("[[fail 8]]"))
    assert failed.value.code is Code.RESOURCE_EXHAUSTED
    assert not failed.value.retriable


async def test_a_flaky_request_is_answered_in_the_end(echo: Engine) -> None:
    for _ in range(2):
        with pytest.raises(RequestFailed) as failed:
            await echo.generate(asked("[[flaky 2]] x"))
        assert failed.value.retriable
    assert text_of(await echo.generate(asked("[[flaky 2]] x"))) == "[[flaky 2]] x"


async def test_a_script_takes_the_engine_down(echo: Engine) -> None:
    with pytest.raises(EngineDown) as down:
        await echo.generate(asked("[[down]]"))
    assert down.value.in_flight


@pytest.mark.parametrize("options", [{"colour": "red"}, {"requests": 0}, {"live_requests": -1}])
def test_wrong_options_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(SettingsFault, match=r"engines\.echo"):
        create_engine("echo", options)


def test_it_keeps_places_for_live_requests_beside_those_of_batches() -> None:
    assert create_engine("echo", {}).capacity == Capacity(256, live=32)
    options = {"requests": 2, "live_requests": 1}
    assert create_engine("echo", options).capacity == Capacity(2, live=1)


async def test_a_script_paces_an_answer_streamed_or_not(
    echo: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr("nightrate.clock.sleep", sleep)
    texts, reply = await pieces_of(echo, asked("[[pace 7]]ab"))
    assert texts == ["[[pa", "ce 7", "]]ab"]
    assert slept == [7, 7]
    assert await echo.generate(asked("[[pace 7]]ab")) == reply
    assert slept == [7, 7, 7, 7]


async def test_a_script_breaks_an_answer_off(echo: Engine) -> None:
    pieces = echo.stream(asked("[[break 14]]"))
    assert await anext(pieces) == "[[br"
    with pytest.raises(RequestFailed) as failed:
        await anext(pieces)
    assert failed.value.code is Code.UNAVAILABLE
    with pytest.raises(RequestFailed):
        await echo.generate(asked("[[break 14]]"))


async def test_scripts_can_be_switched_off() -> None:
    echo = create_engine("echo", {"scripted": False})
    await echo.open()
    texts, _ = await pieces_of(echo, asked("[[break 14]]"))
    assert "".join(texts) == "[[break 14]]"


class TestEchoEmbeddings(EmbeddingContract):
    """The contract about vectors."""

    unembeddable = passage("[[fail 3]]")

    @pytest.fixture
    async def engine(self) -> AsyncIterator[Engine]:
        engine = create_engine("echo", {"requests": 4})
        await engine.open()
        yield engine
        await engine.close()


class TestEchoEmbeddingsLife(EmbeddingLifeContract):
    """The contract about opening and closing, for vectors."""

    @pytest.fixture
    def fresh(self) -> Engine:
        return create_engine("echo", {})


async def test_a_vector_is_as_long_as_the_settings_or_the_request_say() -> None:
    echo = create_engine("echo", {"dimensions": 96})
    await echo.open()
    assert len((await echo.embed(passage("a text"))).values) == 96
    assert len((await echo.embed(passage("a text", 3072))).values) == 3072


async def test_a_text_without_a_word_has_a_vector_too(echo: Engine) -> None:
    marks, others = [(await echo.embed(passage(text))).values for text in ("?!", "…")]
    assert nearness(marks, others) < 0.2
    assert nearness(marks, marks) == pytest.approx(1)


async def test_faults_of_the_script_strike_passages_too(echo: Engine) -> None:
    with pytest.raises(RequestFailed) as failed:
        await echo.embed(passage("this [[flaky 1]]"))
    assert failed.value.retriable
    assert (await echo.embed(passage("this [[flaky 1]]"))).prompt_tokens == 4
    with pytest.raises(EngineDown):
        await echo.embed(passage("[[down]]"))


# repeating ------------------------------------------------------------------------------------


async def test_a_text_can_order_its_own_repetition(echo: Engine) -> None:
    text = "ab [[repeat 3]]"
    assert text_of(await echo.generate(asked(text))) == text * 3


async def test_a_repetition_without_bounds_is_refused(echo: Engine) -> None:
    most = limits.ECHO_CHARACTERS_MAX
    with pytest.raises(RequestFailed, match=str(most)) as caught:
        await echo.generate(asked(f"[[repeat {most}]]"))
    assert caught.value.code is Code.INVALID_ARGUMENT


@pytest.mark.parametrize("order", ["fail", "flaky", "delay", "repeat"])
async def test_an_order_with_a_broken_number_fails_its_request_alone(
    echo: Engine, order: str
) -> None:
    with pytest.raises(RequestFailed) as caught:
        await echo.generate(asked(f"[[{order} 1.2.3]]"))
    assert caught.value.code is Code.INVALID_ARGUMENT


async def test_a_failure_with_an_unknown_code_is_a_failure(echo: Engine) -> None:
    with pytest.raises(RequestFailed):
        await echo.generate(asked("[[fail 99]]"))
