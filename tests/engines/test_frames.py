"""Frames: cutting a stream, and the child's end of the line."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightrate.engines.frames import (
    Answer,
    Greeting,
    ParentGone,
    ParentLine,
    Question,
    Unframer,
    frame,
    raw,
)


@given(st.lists(st.binary(max_size=50)), st.integers(1, 40))
def test_values_come_out_whole_however_the_stream_is_cut(values: list[bytes], cut: int) -> None:
    stream = b"".join(frame(value) for value in values)
    unframer = Unframer()
    payloads = [
        payload
        for start in range(0, len(stream), cut)
        for payload in unframer.feed(stream[start : start + cut])
    ]
    assert [msgspec.msgpack.decode(payload) for payload in payloads] == values


Ends = tuple[socket.socket, ParentLine]


@pytest.fixture
def ends() -> Iterator[Ends]:
    """Give both ends of a line, the parent's bare."""
    ours, theirs = socket.socketpair()
    line = ParentLine(theirs.detach())
    yield ours, line
    ours.close()
    line.close()


def received(ours: socket.socket) -> list[bytes]:
    return list(Unframer().feed(ours.recv(1 << 16)))


def test_a_child_reads_its_setup_and_then_questions(ends: Ends) -> None:
    ours, line = ends
    ours.sendall(frame({"a": 1}) + frame(Question(7, "sing", raw("la"))))
    assert line.setup(dict[str, int]) == {"a": 1}
    (question,) = line.questions(wait=True)
    assert (question.number, question.verb) == (7, "sing")
    assert msgspec.msgpack.decode(question.body) == "la"
    assert line.questions(wait=False) == []


def test_what_a_child_sends_arrives(ends: Ends) -> None:
    ours, line = ends
    line.started({"seats": 3})
    (payload,) = received(ours)
    assert msgspec.msgpack.decode(msgspec.msgpack.decode(payload, type=Greeting).body) == {
        "seats": 3
    }
    line.send([Answer(7, raw("lo"))])
    (payload,) = received(ours)
    (answer,) = msgspec.msgpack.decode(payload, type=list[Answer])
    assert (answer.number, msgspec.msgpack.decode(answer.body)) == (7, "lo")


def test_a_child_notices_that_its_parent_is_gone(ends: Ends) -> None:
    ours, line = ends
    ours.close()
    with pytest.raises(ParentGone):
        line.questions(wait=False)
    with pytest.raises(ParentGone):
        line.started(None)


FORKS = """
import os, signal
from nightrate.engines.frames import ParentLine
line = ParentLine.from_arguments()
forked = os.fork()
if forked:
    print(forked, flush=True)
    os._exit(0)
signal.pause()
"""
"""A child with a library that forks, and ends; what was forked does not."""


async def test_what_a_child_forked_does_not_keep_its_line_open() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)  # noqa: FBT003 - the library takes it so
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", FORKS, str(theirs.fileno())),
            pass_fds=(theirs.fileno(),),
            stdout=subprocess.PIPE,
        )
        theirs.close()
        assert child.stdout
        forked = int(await child.stdout.readline())
        try:
            assert await asyncio.get_running_loop().sock_recv(ours, 1) == b""
            os.kill(forked, 0)  # It lives.
        finally:
            os.kill(forked, signal.SIGKILL)
        # What was forked holds the output, too: it ends some time after it was killed.
        said, _ = await child.communicate()
        assert said == b""
