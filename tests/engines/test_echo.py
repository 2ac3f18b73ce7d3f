"""The echo engine keeps the promises of engines, and plays its scripts."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from nightrate.domain.generation import Prompt
from nightrate.engines.base import Engine
from nightrate.engines.registry import create_engine
from nightrate.errors import Code, EngineDown, RequestFailed, SettingsFault
from nightrate.testing.engine_contract import EngineContract, EngineLifeContract, asked, text_of


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


class TestEchoEngineLife(EngineLifeContract):
    """The contract about opening and closing."""

    @pytest.fixture
    def fresh(self) -> Engine:
        return create_engine("echo", {})

    def lasting(self, number: int) -> Prompt:
        return asked(f"{number} [[delay 3600]]")


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


def test_an_unknown_option_is_refused() -> None:
    with pytest.raises(SettingsFault, match=r"engines\.echo"):
        create_engine("echo", {"colour": "red"})
