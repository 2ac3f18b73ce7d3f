"""The child process of the troubled engine: echoes, and does the harm that a text orders.

A text is ``NAME``, then a ``[[harm]]`` or none. ``[[once harm]]`` does it only the first time that
this name is asked, whichever child was asked then.
"""

from __future__ import annotations

import os
import re
import resource
import signal
import struct
import sys
import threading
from pathlib import Path
from typing import Any

import msgspec

from nightrate.engines.frames import CANCEL, Answer, ParentGone, ParentLine, Question, frame, raw

_HARM = re.compile(r"\[\[(once )?(\w+)\]\]")
_BEAT_SECONDS = 0.1
_PAUSE = threading.Event()
"""Never set: waiting for it is how this process takes its time."""


class Setup(msgspec.Struct):
    """What the parent's first frame says."""

    tally: str
    delay_seconds: float
    memory_bytes: int


def reply(text: Any) -> dict[str, Any]:
    """Give a reply in the shape of the domain, which is not imported: this starts quickly."""
    return {
        "candidates": [{"text": text}],
        "usage": {"prompt_tokens": 1, "output_tokens": 1},
        "model_version": "troubled-1",
    }


class Child:
    """Answers questions."""

    def __init__(self, line: ParentLine, setup: Setup) -> None:
        self._line = line
        self._delay_seconds = setup.delay_seconds
        self._tally = os.open(setup.tally, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._path = Path(setup.tally)
        self._stuck: set[int] = set()

    def run(self) -> None:
        """Answer until the parent is gone."""
        while True:
            questions = self._line.questions(wait=not self._stuck)
            asked = [question for question in questions if question.verb != CANCEL]
            self._stuck -= {question.number for question in questions if question.verb == CANCEL}
            texts = [self._text(question) for question in asked]
            if self._delay_seconds and asked:
                _PAUSE.wait(self._delay_seconds)
            for question, text in zip(asked, texts, strict=True):
                self._answer(question, text)
            if self._stuck:
                _PAUSE.wait(_BEAT_SECONDS)
                self._line.send([])

    def _note(self, mark: str, text: str) -> None:
        os.write(self._tally, f"{mark}{_name(text)}\n".encode())

    def _text(self, question: Question) -> str:
        body = msgspec.msgpack.decode(question.body)
        text = str(body["text"] if question.verb == "embed" else body["messages"][-1]["text"])
        self._note("?", text)
        return text

    def _answer(self, question: Question, text: str) -> None:
        number = question.number
        harm = _HARM.search(text)
        if harm is not None:
            times = self._path.read_text().splitlines().count(f"?{_name(text)}")
            if not harm[1] or times == 1:
                self._harm(harm[2], number)
                return
        self._note("=", text)
        if question.verb == "embed":
            body: Any = {"values": [0.6, 0.8], "prompt_tokens": 1, "model_version": "t"}
        else:
            body = reply(text)
        self._line.send([Answer(number, raw(body))])

    def _harm(self, harm: str, number: int) -> None:
        """Do harm instead of an answer."""
        if harm in _SIGNALS:
            os.kill(os.getpid(), _SIGNALS[harm])
        elif harm == "exit":
            sys.exit(1)
        elif harm == "hang":
            signal.pause()
        elif harm == "memory":
            held: list[bytearray] = []
            while True:  # until the kernel refuses
                held.append(bytearray(1 << 26))
        elif harm == "truncated":
            self._line._socket.sendall(rubbish("good", number)[:20])
            sys.exit(0)
        else:
            if harm in {"stuck", "misnumbered"}:
                self._stuck.add(number)
            self._line._socket.sendall(rubbish(harm, number))


def rubbish(harm: str, number: int) -> bytes:
    """Give what goes over the line instead of an answer."""
    vector = {"values": [float("nan"), 1.0], "prompt_tokens": 1, "model_version": "t"}
    broken = raw(reply("broken")).replace(b"broken", b"\xff\xfe\xfd\xfc\xfb\xfa")
    return {
        "stuck": frame([]),
        "good": frame([Answer(number, raw(reply("good")))]),
        "misnumbered": frame([Answer(number + 10**6, raw(reply("good")))]),
        "vector": frame([Answer(number, raw(vector))]),
        "shape": frame([Answer(number, raw({"candidates": float("nan")}))]),
        "text": frame([Answer(number, msgspec.Raw(broken))]),
        "length": struct.pack("<I", 0xFFFF_FFFF),
        "garbage": os.urandom(4096),
    }[harm]


def _name(text: str) -> str:
    return text.partition(" ")[0]


_SIGNALS = {"kill": signal.SIGKILL, "segfault": signal.SIGSEGV, "terminate": signal.SIGTERM}


def main() -> None:
    """Start, then answer."""
    line = ParentLine.from_arguments()
    setup = line.setup(Setup)
    resource.setrlimit(resource.RLIMIT_AS, (setup.memory_bytes, setup.memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    line.started(None)
    try:
        Child(line, setup).run()
    except ParentGone:
        sys.exit(0)


if __name__ == "__main__":
    main()
