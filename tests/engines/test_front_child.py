"""A second child for those who wait: the first one stands still for them, and goes on."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing

import psutil
import pytest

from nightrate import clock
from nightrate.domain.generation import Reply
from nightrate.engines.child import Patience, read_answer
from nightrate.engines.frames import frame
from nightrate.engines.front_child import FrontChild
from nightrate.engines.supervised_child import SupervisedChild
from nightrate.errors import EngineDown
from nightrate.testing.engine_contract import asked, text_of
from tests.engines.fake_child import HOLD

FAKE = (sys.executable, "-m", "tests.engines.fake_child")
PATIENCE = Patience(start_seconds=20.0, silence_seconds=20.0, backoff_seconds=0.001, starts=3)


@pytest.fixture
async def behind() -> AsyncIterator[SupervisedChild]:
    child = SupervisedChild("The first", FAKE, PATIENCE)
    await child.open({})
    yield child
    await child.close()


@pytest.fixture
async def front(behind: SupervisedChild) -> AsyncIterator[FrontChild]:
    front = FrontChild("The second", FAKE, PATIENCE, behind)
    yield front
    await front.close()


async def opened(front: FrontChild) -> None:
    front.open_soon({})
    front.open_soon({})  # twice is once
    assert front._opening is not None
    await asyncio.wait([front._opening])


def answering(child: FrontChild | SupervisedChild) -> bool:
    return child.answering


def stopped(child: SupervisedChild) -> None:
    """Return when a child stands still."""
    assert child.process_id is not None
    os.waitid(os.P_PID, child.process_id, os.WSTOPPED | os.WNOWAIT)


def continued(child: SupervisedChild) -> None:
    """Return when a child goes on."""
    assert child.process_id is not None
    os.waitid(os.P_PID, child.process_id, os.WCONTINUED | os.WNOWAIT)


async def say(child: SupervisedChild, text: str) -> str:
    return text_of(await child.ask("generate", asked(text), Reply))


async def test_it_answers_once_it_is_there(front: FrontChild, behind: SupervisedChild) -> None:
    assert not answering(front)
    await opened(front)
    assert answering(front)
    assert front.process_id not in (None, behind.process_id)
    async with aclosing(front.answers("generate", asked("hello"))) as answers:
        (body,) = [answer async for answer in answers]
    assert text_of(read_answer(body, Reply)) == "hello"
    assert await front.ask("give it back", 7, int) == 7
    assert await say(behind, "hello") == "hello"


async def test_the_first_one_stands_still_until_somebody_who_waited_is_answered(
    front: FrontChild, behind: SupervisedChild
) -> None:
    await opened(front)
    async with aclosing(front.answers("stream", asked(HOLD))) as answers:
        first = asyncio.ensure_future(anext(answers))
        await asyncio.sleep(0)  # it is asked
        stopped(behind)
        await first
        continued(behind)
        assert await say(behind, "hello") == "hello", "the stream goes on, and it works"


async def test_the_first_one_goes_on_when_whoever_waited_leaves(
    front: FrontChild, behind: SupervisedChild
) -> None:
    await opened(front)
    answers = front.answers("generate", asked(HOLD))
    waiting = asyncio.ensure_future(anext(answers))
    await asyncio.sleep(0)
    stopped(behind)
    waiting.cancel()
    await asyncio.wait([waiting])
    continued(behind)
    assert await say(behind, "hello") == "hello"


async def test_one_that_dies_while_it_stands_is_started_again_and_runs(
    front: FrontChild, behind: SupervisedChild
) -> None:
    await opened(front)
    async with aclosing(front.answers("generate", asked(HOLD))) as answers:
        waiting = asyncio.ensure_future(anext(answers))
        await asyncio.sleep(0)
        stopped(behind)
        assert behind.process_id is not None
        os.kill(behind.process_id, signal.SIGKILL)
        with pytest.raises(EngineDown):
            await say(behind, "hello")
        await behind.ready()
        assert await say(behind, "hello") == "hello"
        waiting.cancel()
        await asyncio.wait([waiting])
    assert behind.restarts == 1


async def test_one_that_cannot_start_is_told_and_tried_again_only_after_a_while(
    front: FrontChild, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    front.open_soon({"how": "broken"})
    await opened(front)
    assert not answering(front)
    assert "share the places of batches" in caplog.text
    assert "no legs" in caplog.text
    await opened(front)
    assert not answering(front)
    now = clock.monotonic()
    monkeypatch.setattr(clock, "monotonic", lambda: now + 61)
    await opened(front)
    assert answering(front)
    assert await front.ask("give it back", 7, int) == 7


async def test_one_that_was_given_up_later_is_tried_again_only_after_a_while(
    front: FrontChild, monkeypatch: pytest.MonkeyPatch
) -> None:
    await opened(front)
    assert front.process_id is not None
    monkeypatch.setattr(front._child, "_setup", frame({"how": "broken"}))
    os.kill(front.process_id, signal.SIGKILL)
    with pytest.raises(EngineDown):
        await front.ask("give it back", 7, int)
    with pytest.raises(EngineDown, match="no legs"):
        await front._child.ready()
    await opened(front)
    assert not answering(front)
    now = clock.monotonic()
    monkeypatch.setattr(clock, "monotonic", lambda: now + 61)
    await opened(front)
    assert answering(front)


async def test_one_that_hangs_is_started_again(front: FrontChild) -> None:
    await opened(front)
    first = front.process_id
    front.hung(float("inf"))
    with pytest.raises(EngineDown):
        await front.ask("give it back", 7, int)
    await front._child.ready()
    assert await front.ask("give it back", 7, int) == 7
    assert front.process_id != first


async def test_a_child_that_dies_in_the_moment_it_is_closed_stays_closed(
    behind: SupervisedChild,
) -> None:
    process_id = behind.process_id
    assert process_id is not None
    os.kill(process_id, signal.SIGKILL)
    while answering(behind):  # noqa: ASYNC110 - no event tells of it
        await asyncio.sleep(0)
    while psutil.pid_exists(process_id):
        pass  # Its line has ended; that it did, the loop is to hear in the turn of the closing.
    closing = asyncio.create_task(behind.close())
    assert (await asyncio.wait([closing], timeout=30))[0]
    assert behind.given_up


async def test_it_can_be_opened_again(front: FrontChild) -> None:
    await opened(front)
    await front.close()
    assert not answering(front)
    await opened(front)
    assert answering(front)
