"""Supervision: a child that dies, hangs, starts badly or loses its parent."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from nightrate import clock
from nightrate.domain.generation import Reply
from nightrate.engines.child import Patience
from nightrate.engines.frames import Answer, Trouble, frame
from nightrate.engines.supervised_child import SupervisedChild
from nightrate.errors import Code, EngineDown, RequestFailed
from nightrate.testing.engine_contract import asked, text_of
from tests.engines.fake_child import CLOSE, DIE, HANG, HOLD, LOAD, SEND

FAKE = (sys.executable, "-m", "tests.engines.fake_child")
QUICK = Patience(start_seconds=20.0, silence_seconds=0.2, backoff_seconds=0.001, starts=3)

Open = Callable[..., Coroutine[Any, Any, SupervisedChild]]


@pytest.fixture
async def opened() -> AsyncIterator[Open]:
    """Give a function that opens a child with a start order, and close it at the end."""
    async with AsyncExitStack() as stack:

        async def open_one(patience: Patience = QUICK, **start: object) -> SupervisedChild:
            child = SupervisedChild("The fake", FAKE, patience)
            stack.push_async_callback(child.close)
            await child.open(start)
            return child

        yield open_one


async def say(child: SupervisedChild, text: str) -> str:
    return text_of(await child.ask("generate", asked(text), Reply))


async def test_a_question_is_answered(opened: Open) -> None:
    child = await opened()
    assert await say(child, "hello") == "hello"


async def test_answers_find_their_questions(opened: Open) -> None:
    child = await opened()
    texts = [f"text {number}" for number in range(50)]
    assert await asyncio.gather(*(say(child, text) for text in texts)) == texts


async def test_a_large_question_and_answer_pass(opened: Open) -> None:
    child = await opened()
    blob = bytes(3_000_000)
    assert await child.ask("give it back", blob, bytes) == blob


async def test_a_refusal_keeps_its_code(opened: Open) -> None:
    child = await opened()
    with pytest.raises(RequestFailed) as failed:
        await say(child, "[[fail 3]]")
    assert failed.value.code is Code.INVALID_ARGUMENT
    assert await say(child, "hello") == "hello"


async def test_a_death_fails_what_is_in_flight_and_only_that(opened: Open) -> None:
    child = await opened()
    first = child.process_id
    outcomes = await asyncio.gather(
        say(child, HOLD), say(child, DIE), say(child, "later"), return_exceptions=True
    )
    for outcome in outcomes:
        assert isinstance(outcome, EngineDown)
        assert outcome.in_flight
        assert "SIGKILL" in outcome.message
        assert "a last word" in outcome.message
    await child.ready()
    assert child.process_id != first
    assert child.restarts == 1
    assert await say(child, "hello") == "hello"


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGTERM, signal.SIGABRT])
async def test_a_child_ended_by_any_signal_comes_back(opened: Open, number: signal.Signals) -> None:
    child = await opened()
    held = asyncio.create_task(say(child, HOLD))
    await say(child, "hello")
    assert child.process_id
    os.kill(child.process_id, number)
    with pytest.raises(EngineDown, match=number.name):
        await held
    await child.ready()
    assert await say(child, "hello") == "hello"


async def test_while_it_restarts_a_question_is_not_in_flight(opened: Open) -> None:
    child = await opened()
    with pytest.raises(EngineDown):
        await say(child, DIE)
    with pytest.raises(EngineDown) as down:
        await say(child, "hello")
    assert not down.value.in_flight


async def test_a_child_that_closed_its_line_is_not_asked_while_it_is_reaped(opened: Open) -> None:
    child = await opened()
    closing = asyncio.create_task(say(child, CLOSE))
    process = child._child
    assert process is not None
    while not process._line_ended:  # noqa: ASYNC110 - nobody tells when the end is seen
        await asyncio.sleep(0)
    assert not closing.done(), "it is being reaped"
    with pytest.raises(EngineDown, match="starting again") as down:
        await say(child, "hello")
    assert not down.value.in_flight
    with pytest.raises(EngineDown) as down:
        await closing
    assert down.value.in_flight
    await child.ready()
    assert await say(child, "hello") == "hello"


async def test_a_child_that_hangs_at_work_is_killed_and_comes_back(opened: Open) -> None:
    child = await opened()
    with pytest.raises(EngineDown, match="no sign of life") as down:
        await say(child, HANG)
    assert down.value.in_flight
    await child.ready()
    assert await say(child, "hello") == "hello"


async def test_one_that_loads_may_be_silent_for_as_long_as_a_start_may_take(opened: Open) -> None:
    child = await opened()  # its silence is borne for a fifth of a second, and 20 s of loading
    question = asyncio.ensure_future(say(child, LOAD))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(question), 0.6)
    assert child.restarts == 0
    child.hung(clock.monotonic())
    with pytest.raises(EngineDown):
        await question
    await child.ready()
    with pytest.raises(EngineDown, match="no sign of life"):
        await say(child, HANG)


@pytest.mark.parametrize(
    "rubbish",
    [b"\x05\0\0\0hello", b"\xff\xff\xff\xff", b"\x04\0\0\0\x91\x91\x01\xc1", b"\x02\0\0\0\xa1\xff"],
    ids=["no list", "absurd length", "not MessagePack", "not UTF-8"],
)
async def test_a_child_that_sends_rubbish_is_killed_and_comes_back(
    opened: Open, rubbish: bytes
) -> None:
    child = await opened(Patience(backoff_seconds=0.001))
    neighbour = asyncio.create_task(say(child, HOLD))
    with pytest.raises(EngineDown, match="sent what is no answer") as down:
        await say(child, SEND + rubbish.hex())
    assert down.value.in_flight
    with pytest.raises(EngineDown):
        await neighbour
    await child.ready()
    assert child.restarts == 1
    assert await say(child, "hello") == "hello"


async def test_an_answer_of_the_wrong_shape_counts_as_a_death_over_its_question(
    opened: Open,
) -> None:
    child = await opened()
    with pytest.raises(EngineDown, match="cannot be read") as down:
        await child.ask("give it back", "no reply", Reply)
    assert down.value.in_flight
    assert child.restarts == 0


async def test_a_trouble_with_an_unknown_code_is_an_internal_one(opened: Open) -> None:
    child = await opened()
    trouble = frame([Answer(1, trouble=Trouble("Odd.", 999))])
    with pytest.raises(RequestFailed, match="Odd") as failed:
        await say(child, SEND + trouble.hex())
    assert failed.value.code is Code.INTERNAL


async def test_a_child_that_does_not_greet_is_a_bad_start(opened: Open) -> None:
    with pytest.raises(EngineDown, match="no greeting"):
        await opened(how="babbles")


async def test_a_child_that_hung_is_killed_unless_it_was_started_since(opened: Open) -> None:
    child = await opened(Patience(backoff_seconds=0.001))
    child.hung(0.0)
    held = asyncio.create_task(say(child, HOLD))
    assert await child.ask("echo", 1, int) == 1, "it is too young to be blamed"
    child.hung(clock.monotonic())
    with pytest.raises(EngineDown, match="did not answer in time"):
        await held
    await child.ready()
    assert await say(child, "hello") == "hello"


async def test_one_that_stands_still_is_not_taken_for_hung(opened: Open) -> None:
    child = await opened()  # its silence is borne for a fifth of a second
    child.pause()
    question = asyncio.ensure_future(say(child, "hello"))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(question), 0.6)
    child.resume()
    assert await question == "hello"
    assert child.restarts == 0


async def test_silence_without_work_is_no_hang(opened: Open) -> None:
    child = await opened(Patience(silence_seconds=0.01, backoff_seconds=0.001))
    first = child.process_id
    other = await asyncio.create_subprocess_exec(sys.executable, "-c", "")
    await other.wait()  # It takes longer than the silence.
    assert await child.ask("echo", 1, int) == 1
    assert child.process_id == first


async def test_a_cancelled_question_is_withdrawn(opened: Open) -> None:
    child = await opened(Patience(), requests=1)
    held = asyncio.create_task(say(child, HOLD))
    queued = asyncio.create_task(say(child, "queued"))
    assert await child.ask("echo", 1, int) == 1
    assert not queued.done()
    held.cancel()
    assert await queued == "queued"


async def test_bad_starts_are_tried_again(opened: Open, tmp_path: Path) -> None:
    starts = tmp_path / "starts"
    child = await opened(starts_file=str(starts), good_after=2)
    assert await say(child, "hello") == "hello"
    assert starts.read_bytes() == b"..."


async def test_too_many_bad_starts_end_it_with_the_last_words(opened: Open, tmp_path: Path) -> None:
    starts = tmp_path / "starts"
    with pytest.raises(EngineDown, match="no luck today") as down:
        await opened(starts_file=str(starts), good_after=9)
    assert "status 3" in down.value.message
    assert starts.read_bytes() == b"." * QUICK.starts


async def test_bad_starts_count_only_in_a_row(opened: Open) -> None:
    child = await opened()
    for _ in range(QUICK.starts + 1):
        with pytest.raises(EngineDown):
            await say(child, DIE)
        await child.ready()
    assert await say(child, "hello") == "hello"


async def test_a_fault_that_will_not_pass_ends_it_at_once(opened: Open, tmp_path: Path) -> None:
    starts = tmp_path / "starts"
    with pytest.raises(EngineDown, match="no legs"):
        await opened(how="broken", starts_file=str(starts))
    assert starts.read_bytes() == b"."


async def test_a_start_that_takes_too_long_is_a_bad_one(opened: Open) -> None:
    with pytest.raises(EngineDown, match="not ready after"):
        await opened(Patience(start_seconds=0.3, backoff_seconds=0.001, starts=1), how="silent")


async def test_a_child_that_cannot_be_spawned_is_given_up() -> None:
    child = SupervisedChild("It", ("/there/is/no/such/program",), QUICK)
    with pytest.raises(EngineDown, match="could not be started"):
        await child.open(None)
    with pytest.raises(EngineDown):
        await child.ready()
    await child.close()


async def test_closing_while_it_starts_ends_the_process(tmp_path: Path) -> None:
    greets = tmp_path / "greets"
    os.mkfifo(greets)
    child = SupervisedChild("It", FAKE, QUICK)
    opening = asyncio.create_task(child.open({"how": "silent", "greets": str(greets)}))
    end = os.pidfd_open(int(await asyncio.to_thread(greets.read_text)))
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    await asyncio.to_thread(wait_for_end, end)


def wait_for_end(process: int) -> None:
    """Wait until the process behind a descriptor has ended, and close that."""
    poll = select.poll()
    poll.register(process, select.POLLIN)
    assert poll.poll(10_000)
    os.close(process)


ORPHANING = """
import asyncio, os, signal, sys
from tests.engines.test_child import FAKE, QUICK
from nightrate.engines.supervised_child import SupervisedChild

async def main():
    child = SupervisedChild("It", FAKE, QUICK)
    await child.open({"how": sys.argv[1]})
    print(child.process_id, flush=True)
    sys.stdin.readline()
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


@pytest.mark.parametrize("how", ["well", "deaf"])
def test_a_child_dies_with_its_parent(how: str) -> None:
    command = [sys.executable, "-c", ORPHANING, how]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdin
        assert parent.stdout
        child = os.pidfd_open(int(parent.stdout.readline()))
        parent.stdin.write(b"\n")
        parent.stdin.close()
        assert parent.wait() == -signal.SIGKILL
    wait_for_end(child)
