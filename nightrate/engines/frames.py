"""What travels between an engine and its child process, and the child's end of the line.

Both directions carry frames: four bytes of length, then MessagePack. The parent's first frame
configures the child, and the child's first frame is its `Greeting`. From then on the parent sends
one `Question` a frame and the child lists of `Answer`; an empty list is a sign of life, and one to
the number `LOADING` asks for patience. A question may have several answers: all but the last say
that there are more.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import socket
import struct
import sys
from collections.abc import Callable, Iterator
from typing import NoReturn, TypeVar

import msgspec
from msgspec import Raw, Struct

from nightrate import limits
from nightrate.errors import Code

CANCEL = "cancel"
"""The verb that withdraws the question of the same number; it is never answered."""

LOADING = 0
"""The number of an answer to nobody: the child loads, and is silent as long as a start may take."""

_LENGTH = struct.Struct("<I")
_READ_BYTES = 1 << 20
_SET_PARENT_DEATH_SIGNAL = 1
"""PR_SET_PDEATHSIG of Linux's prctl(2)."""

Setup = TypeVar("Setup")


class Question(Struct, frozen=True, array_like=True, gc=False):
    """Something the child is asked; ``body`` is MessagePack that the verb gives a type."""

    number: int
    verb: str
    body: Raw = Raw(b"\xc0")


class Trouble(Struct, frozen=True, array_like=True, gc=False):
    """Why one question has no answer."""

    message: str
    code: int = int(Code.INTERNAL)
    retriable: bool = False


class Answer(Struct, frozen=True, array_like=True, gc=False):
    """The child's answer to the question of the same number, or why there is none."""

    number: int
    body: Raw = Raw(b"\xc0")
    trouble: Trouble | None = None
    more: bool = False


class Greeting(Struct, frozen=True, array_like=True, gc=False):
    """The child's first frame: what it has to offer, or why it cannot work.

    ``permanent`` means that another try on this machine with these settings would end the same.
    """

    body: Raw = Raw(b"\xc0")
    fault: str | None = None
    permanent: bool = False


class Rubbish(Exception):
    """What came is no frame of ours."""


class ParentGone(Exception):
    """The parent closed its end; there is nobody left to work for."""


def raw(value: object) -> Raw:
    """Encode a value as the body of a question or an answer."""
    return Raw(msgspec.msgpack.encode(value))


def frame(value: object) -> bytes:
    """Encode a value with its length in front."""
    payload = msgspec.msgpack.encode(value)
    return _LENGTH.pack(len(payload)) + payload


class Unframer:
    """Cuts a stream of bytes into the payloads of its frames."""

    def __init__(self) -> None:
        self._pending = bytearray()

    def feed(self, received: bytes) -> Iterator[bytes]:
        """Add bytes and give every payload that is whole now.

        Raises:
            Rubbish: a length that no frame has; what follows it is not gathered.
        """
        self._pending += received
        start = 0
        while len(self._pending) >= start + _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._pending, start)
            if length > limits.ENGINE_FRAME_BYTES_MAX:
                raise Rubbish(f"a frame of {length} bytes")
            end = start + _LENGTH.size + length
            if len(self._pending) < end:
                break
            yield bytes(self._pending[start + _LENGTH.size : end])
            start = end
        del self._pending[:start]


class ParentLine:
    """The child's end: reads questions without a thread, writes answers."""

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=descriptor)
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLIN)
        self._unframer = Unframer()
        self._early: list[bytes] = []
        self._decode = msgspec.msgpack.Decoder(Question).decode

    @classmethod
    def from_arguments(cls) -> ParentLine:
        """Take the socket that the last command line argument names, and die with the parent."""
        line = cls(int(sys.argv[-1]))
        # The line ends with this process, whatever a library has forked from it.
        os.register_at_fork(after_in_child=line.close)
        die_with_parent()
        return line

    def fileno(self) -> int:
        """Give the descriptor that can be read when questions have come."""
        return self._socket.fileno()

    def setup(self, shape: type[Setup]) -> Setup:
        """Wait for the first frame.

        Raises:
            ParentGone: the parent closed its end.
        """
        while not self._early:
            self._early += self._receive(wait=True)
        return msgspec.msgpack.decode(self._early.pop(0), type=shape)

    def started(self, offer: object) -> None:
        """Tell that questions are welcome."""
        self._write(Greeting(raw(offer)))

    def broken(self, fault: str, *, permanent: bool) -> None:
        """Tell why this child cannot work."""
        self._write(Greeting(fault=fault, permanent=permanent))

    def questions(self, *, wait: bool) -> list[Question]:
        """Give the questions that have come; with ``wait``, at least one.

        Raises:
            ParentGone: the parent closed its end.
        """
        payloads, self._early = self._early, []
        payloads += self._receive(wait=wait and not payloads)
        while wait and not payloads:
            payloads += self._receive(wait=True)
        return [self._decode(payload) for payload in payloads]

    def send(self, answers: list[Answer]) -> None:
        """Give answers back in one frame; an empty list shows that the child is alive."""
        self._write(answers)

    def close(self) -> None:
        """Close this end."""
        self._socket.close()

    def _receive(self, *, wait: bool) -> list[bytes]:
        """Read what is there. A level-triggered poll costs a microsecond between two steps."""
        payloads: list[bytes] = []
        timeout_milliseconds = None if wait else 0
        while self._poll.poll(timeout_milliseconds):
            received = self._socket.recv(_READ_BYTES)
            if not received:
                raise ParentGone
            payloads += self._unframer.feed(received)
            timeout_milliseconds = 0
        return payloads

    def _write(self, value: object) -> None:
        try:
            self._socket.sendall(frame(value))
        except (BrokenPipeError, ConnectionResetError) as error:
            raise ParentGone from error


def troubled(number: int, message: str, code: Code, *, retriable: bool = False) -> Answer:
    """Say why a question has no answer."""
    return Answer(number, trouble=Trouble(message, int(code), retriable))


def lead_life(
    shape: type[Setup],
    begin: Callable[[Setup], tuple[object, Callable[[ParentLine], None]]],
    *,
    library: str,
    loaded: Callable[[Setup], str],
    troubles: tuple[type[Exception], ...] = (RuntimeError,),
) -> NoReturn:
    """Be a child: load what the parent's first frame says, serve until the parent is gone, and end.

    Args:
        shape: of the first frame.
        begin: loads; gives the offer that the parent is told, and what serves from then on.
        library: what loads, for people.
        loaded: names what it loads.
        troubles: what it raises when it cannot.
    """
    line = ParentLine.from_arguments()
    try:
        setup = line.setup(shape)
        try:
            offer, serve = begin(setup)
        except ImportError as error:
            line.broken(f"{library} cannot be used on this machine: {error}", permanent=True)
        except troubles as error:
            line.broken(f"{library} cannot load {loaded(setup)}: {error}", permanent=True)
        else:
            line.started(offer)
            serve(line)
    except ParentGone:
        pass
    sys.stdout.flush()
    sys.stderr.flush()
    # Not an orderly exit: what is unfinished is nobody's any more, and libraries complain about it.
    os._exit(0)


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent dies; elsewhere the closed line tells."""
    if not sys.platform.startswith("linux"):
        return
    library = ctypes.CDLL(None, use_errno=True)
    if library.prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
