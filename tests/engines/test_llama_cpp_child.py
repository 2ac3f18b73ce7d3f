"""The child of the llama.cpp engine without its library: slots, waiting, what becomes of each."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any, cast

import msgspec
import pytest

from nightrate.domain.calling import Calling, CallMode, Function
from nightrate.domain.generation import FinishReason, LogprobsWish, Prompt, Reply
from nightrate.domain.schema import ChoiceForm
from nightrate.engines.call_syntaxes import CallSyntax, syntax_of
from nightrate.engines.frames import CANCEL, Answer, ParentLine, Question, raw
from nightrate.engines.likelihood import Measured
from nightrate.engines.llama_cpp_child import Draft, Outbox, Worker
from nightrate.engines.llama_cpp_model import Model, ModelSetup, Piece, Refused
from nightrate.errors import Code, RequestFailed
from nightrate.testing.engine_samples import asked
from tests.engines.trained import TAGGED

WAIT_SECONDS = 30.0


class Scripted:
    """A model that says one piece whenever it is told to; with one slot, if not said otherwise."""

    def __init__(self, slots: int = 1, live_slots: int = 0) -> None:
        self.setup = ModelSetup(
            path="p",
            model_version="scripted",
            slots=slots,
            live_slots=live_slots,
            context_tokens=100,
            threads=None,
            reproducible=True,
        )
        self.syntax: CallSyntax | None = None
        self.begun: list[str] = []
        self.begins = threading.Semaphore(0)
        self.turn = threading.Semaphore(0)
        self.refusal: Refused | None = None

    def encode(self, prompt: Prompt) -> list[int]:
        if not prompt.messages:
            raise RequestFailed("no turns", code=Code.INVALID_ARGUMENT)
        return list(prompt.messages[0].text.encode())

    def encode_text(self, text: str, *, begins: bool) -> list[int]:
        assert not begins
        return list(text.encode())[:3]

    def order(self, prompt: Prompt, _ids: list[int]) -> dict[str, Any]:
        return {"text": prompt.messages[0].text}

    def answer(
        self,
        order: dict[str, Any],
        _wish: LogprobsWish | None,
        look: Callable[[Piece], bool],
    ) -> None:
        self.begun.append(order["text"])
        self.begins.release()
        if self.refusal is not None:
            raise self.refusal
        words = order["text"].split(" ")
        for number, word in enumerate(words, 1):
            assert self.turn.acquire(timeout=WAIT_SECONDS)
            last = FinishReason.LENGTH if number == len(words) else None
            if look(Piece(f"{word} ", number, 1, finish_reason=last)):
                return

    def likelihood(self, ids: list[int], beat: Callable[[], None]) -> Measured:
        beat()
        return Measured(1.0, len(ids))


class Line:
    """A line to a parent that gathers what is sent."""

    def __init__(self) -> None:
        self._sent: list[Answer] = []
        self._changed = threading.Condition()

    def send(self, answers: list[Answer]) -> None:
        with self._changed:
            self._sent += answers
            self._changed.notify_all()

    def get(self, count: int) -> list[Answer]:
        """Wait for so many answers, and give all that were sent."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self._sent) >= count, WAIT_SECONDS)
            return list(self._sent)


class Desk:
    """Asks a worker."""

    def __init__(self, slots: int = 1, live_slots: int = 0) -> None:
        self.model = Scripted(slots, live_slots)
        self.line = Line()
        outbox = Outbox(cast("ParentLine", self.line))
        self.worker = Worker(cast("Model", self.model), outbox)

    def ask(self, number: int, prompt: object, verb: str = "generate") -> None:
        self.worker.take(Question(number, verb, msgspec.Raw(bytes(raw(prompt)))))

    def begun(self, more: int) -> list[str]:
        """Wait until so many more have a slot, and give all that have had one."""
        for _ in range(more):
            assert self.model.begins.acquire(timeout=WAIT_SECONDS)
        return list(self.model.begun)

    def go(self, pieces: int) -> None:
        self.model.turn.release(pieces)


@pytest.fixture
def desk() -> Desk:
    return Desk()


def reply_of(answer: Answer) -> Reply:
    return msgspec.msgpack.decode(answer.body, type=Reply)


def test_an_answer_has_all_pieces_and_counts_its_tokens(desk: Desk) -> None:
    desk.ask(1, asked("a b c"))
    desk.go(3)
    reply = reply_of(desk.line.get(1)[0])
    assert reply.candidates[0].text == "a b c "
    assert reply.candidates[0].finish_reason is FinishReason.LENGTH
    usage = reply.usage
    assert (usage.prompt_tokens, usage.output_tokens, usage.cached_tokens) == (5, 3, 1)


def test_a_stream_holds_back_what_may_become_a_stop_sequence(desk: Desk) -> None:
    desk.ask(1, asked("a b c d", stop=("b c",)), "stream")
    desk.go(3)
    first, *rest, last = desk.line.get(3)
    assert msgspec.msgpack.decode(first.body) == "a"
    assert [msgspec.msgpack.decode(one.body) for one in rest] == [" "]
    assert reply_of(last).candidates[0].text == "a "
    assert reply_of(last).candidates[0].finish_reason is FinishReason.STOP
    assert reply_of(last).usage.output_tokens == 3
    assert [one.more for one in (first, *rest, last)] == [True, True, False]


def test_what_waits_for_a_slot_and_is_taken_back_is_never_begun(desk: Desk) -> None:
    desk.ask(1, asked("a b"))
    desk.ask(2, asked("never"))
    desk.ask(3, asked("c"))
    desk.ask(2, None, CANCEL)
    desk.go(3)
    assert [answer.number for answer in desk.line.get(2)] == [1, 3]
    assert desk.model.begun == ["a b", "c"]


def test_what_somebody_waits_for_comes_before_others_that_wait(desk: Desk) -> None:
    desk.ask(1, asked("a"))
    desk.ask(2, asked("b"))
    desk.ask(3, msgspec.structs.replace(asked("c"), live=True))
    desk.go(3)
    numbers = [answer.number for answer in desk.line.get(3)]
    assert numbers.index(3) < numbers.index(2)


def test_those_that_somebody_waits_for_come_in_their_order(desk: Desk) -> None:
    desk.ask(1, asked("a"))
    desk.ask(2, asked("b"))
    for number, text in enumerate("cd", 3):
        desk.ask(number, msgspec.structs.replace(asked(text), live=True))
    desk.go(4)
    assert [answer.number for answer in desk.line.get(4) if answer.number > 1][-1] == 2
    assert [text for text in desk.model.begun if text in "cd"] == ["c", "d"]


def test_no_batch_takes_the_slot_that_is_kept_for_those_that_somebody_waits_for() -> None:
    desk = Desk(slots=2, live_slots=1)
    for number, text in enumerate("abc", 1):
        desk.ask(number, asked(text))
    assert desk.begun(1) == ["a"]
    desk.ask(4, msgspec.structs.replace(asked("y"), live=True))
    assert desk.begun(1) == ["a", "y"]
    desk.ask(5, msgspec.structs.replace(asked("z"), live=True))
    desk.go(1)  # whichever of the two it is that ends
    assert desk.begun(1) == ["a", "y", "z"]
    desk.go(4)
    desk.line.get(5)
    assert desk.begun(2) == ["a", "y", "z", "b", "c"]


def test_what_somebody_waits_for_takes_every_slot() -> None:
    desk = Desk(slots=2, live_slots=1)
    for number, text in enumerate("yz", 1):
        desk.ask(number, msgspec.structs.replace(asked(text), live=True))
    assert sorted(desk.begun(2)) == ["y", "z"]
    desk.ask(3, asked("a"))
    desk.go(3)
    desk.line.get(3)
    assert desk.begun(1)[2:] == ["a"]


def test_what_is_answered_and_taken_back_gives_its_slot_to_the_next_one(desk: Desk) -> None:
    desk.ask(1, asked("a b c d e f"), "stream")
    desk.go(1)
    desk.line.get(1)
    desk.ask(1, None, CANCEL)
    desk.ask(2, asked("z"))
    desk.go(2)  # one that ends the first, and one for the second
    answers = desk.line.get(2)
    assert [(answer.number, answer.more) for answer in answers] == [(1, True), (2, False)]


def test_a_question_that_is_refused_while_it_is_read_is_answered_at_once(desk: Desk) -> None:
    desk.ask(1, Prompt(messages=()))
    desk.ask(2, None, "sing")
    first, second = desk.line.get(2)
    assert first.trouble is not None
    assert (first.trouble.message, first.trouble.code) == ("no turns", Code.INVALID_ARGUMENT)
    assert second.trouble is not None
    assert second.trouble.code == Code.UNIMPLEMENTED


def test_tokens_are_counted_and_likelihoods_measured(desk: Desk) -> None:
    desk.ask(1, asked("four"), "count_tokens")
    desk.ask(2, None, "likelihood")
    counted, measured = desk.line.get(2)
    assert msgspec.msgpack.decode(counted.body) == 4
    found = msgspec.msgpack.decode(measured.body, type=dict[str, Measured])
    assert found == {name: Measured(1.0, 3) for name in ("short", "long")}


CALLING = Calling((Function("f"),), CallMode.ANY, "tools", "mode")
FORM = ChoiceForm(("x",), "schema")


@pytest.mark.parametrize(
    ("prompt", "grammar", "begins", "code", "retriable"),
    [
        (msgspec.structs.replace(asked("x"), form=FORM), True, "schema: ", 12, False),
        (msgspec.structs.replace(asked("x"), calling=CALLING), True, "tools: ", 12, False),
        (msgspec.structs.replace(asked("x"), form=FORM), False, "llama.cpp refused", 13, True),
    ],
)
def test_what_the_library_does_not_take_is_told_by_its_field_if_it_is_the_grammar(
    desk: Desk, prompt: Prompt, *, grammar: bool, begins: str, code: int, retriable: bool
) -> None:
    desk.model.refusal = Refused(400, grammar=grammar)
    desk.ask(1, prompt)
    (answer,) = desk.line.get(1)
    assert answer.trouble is not None
    assert answer.trouble.message.startswith(begins)
    assert (answer.trouble.code, answer.trouble.retriable) == (code, retriable)


def test_a_call_comes_whole_in_a_stream_and_is_not_handed_out_half() -> None:
    prompt = msgspec.structs.replace(asked("x"), calling=CALLING)
    draft = Draft(1, prompt, 1, streamed=True)
    assert draft.grow(Piece('{"name":"f","arguments":', 5)) == []
    whole = Piece("{}}", 6, finish_reason=FinishReason.STOP)
    assert draft.grow(whole) == []
    (answer,) = draft.end("v")
    (candidate,) = reply_of(answer).candidates
    assert (candidate.text, candidate.calls[0].name) == ("", "f")
    half = Draft(1, prompt, 1, streamed=True)
    half.grow(Piece('{"name":"f"', 5, finish_reason=FinishReason.LENGTH))
    (answer,) = half.end("v")
    assert reply_of(answer).candidates[0].calls == ()


def test_words_before_a_call_are_streamed_and_the_call_comes_whole() -> None:
    desk = Desk()
    desk.model.syntax = syntax_of(TAGGED)
    free = msgspec.structs.replace(CALLING, mode=CallMode.AUTO)
    call = '<tool_call>{"name":"f"}</tool_call>'
    for number, (text, verb) in enumerate(
        [(f"I look. {call}", "stream"), ("It is noon.", "stream"), ("It is noon.", "generate")], 1
    ):
        desk.ask(number, msgspec.structs.replace(asked(text), calling=free), verb)
        desk.go(len(text.split(" ")))
        desk.begun(1)
    answers = desk.line.get(5)
    told = [[one for one in answers if one.number == number] for number in (1, 2, 3)]
    assert [len(each) for each in told] == [3, 5, 1]  # The last piece is the white space behind it.
    # The script ends each answer at its limit, so that its call is not handed out.
    words = ["".join(msgspec.msgpack.decode(one.body) for one in each[:-1]) for each in told]
    assert words[0] == reply_of(told[0][-1]).candidates[0].text == "I look."
    assert words[1] == reply_of(told[1][-1]).candidates[0].text
    assert words[1] == reply_of(told[2][-1]).candidates[0].text
    draft = Draft(
        *(1, msgspec.structs.replace(asked("x"), calling=free), 1),
        streamed=True,
        syntax=desk.model.syntax,
    )
    (told_first,) = draft.grow(Piece("I look.\n<tool", 5))
    assert (msgspec.msgpack.decode(told_first.body), told_first.more) == ("I look.", True)
    assert draft.grow(Piece(call.removeprefix("<tool"), 9, finish_reason=FinishReason.STOP)) == []
    (answer,) = draft.end("v")
    (candidate,) = reply_of(answer).candidates
    assert (candidate.text, candidate.calls[0].name) == ("I look.", "f")


def test_a_fault_in_the_thread_of_a_slot_ends_the_process_with_its_last_words() -> None:
    program = (
        "import socket\n"
        "from nightrate.engines.frames import ParentLine, Question, frame, raw\n"
        "from nightrate.engines.llama_cpp_child import serve\n"
        "from nightrate.testing.engine_samples import asked\n"
        "from tests.engines.test_llama_cpp_child import Scripted\n"
        "ours, theirs = socket.socketpair()\n"
        "ours.sendall(frame(Question(1, 'generate', raw(asked('x')))))\n"
        "model = Scripted()\n"
        "model.refusal = MemoryError('the last word')\n"
        "serve(ParentLine(theirs.detach()), model)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program],
        check=False,
        capture_output=True,
        text=True,
        timeout=WAIT_SECONDS,
    )
    assert ended.returncode == 1
    assert ended.stderr.rstrip().endswith("MemoryError: the last word")
