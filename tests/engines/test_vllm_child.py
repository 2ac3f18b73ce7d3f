"""What runs in the vLLM engine's child process, over a model that does what a test says."""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, closing
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest
from msgspec import structs

from nightrate import clock
from nightrate.domain.calling import Call, Calling, CallMode, Function
from nightrate.domain.generation import (
    Candidate,
    FinishReason,
    LogprobsWish,
    Prompt,
    Reply,
    Token,
    Usage,
)
from nightrate.engines import vllm_child
from nightrate.engines.call_syntaxes import syntax_of
from nightrate.engines.frames import (
    CANCEL,
    Answer,
    ParentGone,
    ParentLine,
    Question,
    Unframer,
    frame,
    raw,
)
from nightrate.engines.vllm_child import work
from nightrate.engines.vllm_model import EngineStopped, Model
from nightrate.errors import Code, RequestFailed
from nightrate.testing.engine_contract import asked
from tests.engines.trained import TAGGED


def piece(text: str, reason: str | None = None, *, ids: tuple[int, ...] = (1,)) -> Any:
    """Give what vLLM gives after a step."""
    one = SimpleNamespace(text=text, token_ids=ids, logprobs=None, finish_reason=reason)
    return SimpleNamespace(outputs=[one], num_cached_tokens=16)


CALLS = "calls: "
"""A prompt that begins so is answered with the rest of it, but not in what vLLM takes for text."""


class Stub:
    """A model: each prompt's text names what it gives, and a hold has no end."""

    def __init__(self, requests: int = 2) -> None:
        self.setup = SimpleNamespace(requests=requests, model_version="stub")
        self.syntax = syntax_of(TAGGED)
        self.running: list[int] = []
        self.begun = asyncio.Event()
        self.pulses = 0
        self.stopped = False

    async def encode(self, prompt: Prompt) -> list[int]:
        text = prompt.messages[-1].text
        if text == "refuse":
            raise RequestFailed("No.", code=Code.INVALID_ARGUMENT)
        return [ord(letter) for letter in text]

    def params(self, prompt: Prompt, prompt_tokens: int, *, streamed: bool) -> Any:
        del prompt, prompt_tokens
        return streamed

    async def outputs(
        self, number: int, ids: list[int], params: Any, *, live: bool
    ) -> AsyncGenerator[Any, None]:
        text = "".join(map(chr, ids))
        del live
        self.running.append(number)
        self.begun.set()
        try:
            if text == "hold":
                await asyncio.get_running_loop().create_future()
            if text == "stop":
                raise EngineStopped
            if text == "drop":
                yield piece("", "abort")
            elif text.startswith(CALLS):
                said = tuple(ids[len(CALLS) :])
                for one in said[:-1] if params else ():
                    yield piece("", ids=(one,))
                yield piece("", "stop", ids=said[-1:] if params else said)
            elif params:
                for letter in text[:-1]:
                    yield piece(letter)
                yield piece(text[-1], "stop")
            else:
                yield piece(text, "length", ids=tuple(range(len(text))))
        finally:
            self.running.remove(number)

    def text_with_calls(self, ids: list[int], text: str) -> str:
        return text or "".join(map(chr, ids))

    def tokens(self, ids: list[int], _logs: Any, _others: int) -> tuple[Token, ...]:
        return tuple(Token("x", -1.0, number) for number in ids)

    async def pulse(self) -> None:
        self.pulses += 1
        if self.stopped:
            raise EngineStopped


class Desk:
    """The parent's end of the line."""

    def __init__(self, stub: Stub, ours: socket.socket, line: ParentLine) -> None:
        self.model = stub
        self._ours = ours
        self._numbers = itertools.count(1)
        self._unframer = Unframer()
        self._answers: list[Answer] = []
        self.beats = 0
        self.work = asyncio.create_task(work(line, cast("Model", stub)))

    async def ask(self, verb: str, prompt: Prompt) -> int:
        number = next(self._numbers)
        await self.say(Question(number, verb, msgspec.Raw(bytes(raw(prompt)))))
        return number

    async def say(self, question: Question) -> None:
        await asyncio.get_running_loop().sock_sendall(self._ours, frame(question))

    async def answers(self, number: int) -> list[Answer]:
        """Wait for all answers to a question."""
        while True:
            mine = [one for one in self._answers if one.number == number]
            if mine and not mine[-1].more:
                return mine
            await self.hear()

    async def hear(self) -> None:
        received = await asyncio.get_running_loop().sock_recv(self._ours, 1 << 16)
        for payload in self._unframer.feed(received):
            answers = msgspec.msgpack.decode(payload, type=list[Answer])
            self.beats += not answers
            self._answers += answers

    async def reply(self, number: int) -> Reply:
        return msgspec.msgpack.decode((await self.answers(number))[-1].body, type=Reply)


@asynccontextmanager
async def opened() -> AsyncIterator[Desk]:
    """Give a desk whose line is closed at the end: that ends the work, if nothing else has."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)  # noqa: FBT003 - the library takes it so
    line = ParentLine(theirs.detach())
    desk = Desk(Stub(), ours, line)
    with closing(line):
        with closing(ours):
            yield desk
        with pytest.raises((ParentGone, EngineStopped)):
            await desk.work


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    async with opened() as desk:
        yield desk


async def test_a_reply_says_what_was_used_and_why_it_ended(desk: Desk) -> None:
    reply = await desk.reply(await desk.ask("generate", asked("hello")))
    assert reply == Reply((Candidate("hello", FinishReason.LENGTH),), Usage(5, 5, 16), "stub")


async def test_a_stream_tells_what_is_certain_and_its_reply_is_all_of_it(desk: Desk) -> None:
    number = await desk.ask("stream", asked("one two", stop=("twist",)))
    *pieces, last = await desk.answers(number)
    texts = [msgspec.msgpack.decode(one.body, type=str) for one in pieces]
    assert "".join(texts) == "one two"
    assert texts[:3] == ["o", "n", "e"]
    assert "tw" not in texts[-1][:-2] + "".join(texts[:-1])  # Held back: a stop begins so.
    assert msgspec.msgpack.decode(last.body, type=Reply).candidates[0].text == "one two"


async def test_nothing_of_a_stop_sequence_is_told(desk: Desk) -> None:
    number = await desk.ask("stream", asked("one two three", stop=("two",)))
    *pieces, last = await desk.answers(number)
    assert "".join(msgspec.msgpack.decode(one.body, type=str) for one in pieces) == "one "
    reply = msgspec.msgpack.decode(last.body, type=Reply)
    assert reply.candidates == (Candidate("one "),)


async def test_a_stop_at_the_limit_is_a_stop(desk: Desk) -> None:
    reply = await desk.reply(await desk.ask("generate", asked("one two", stop=("two",))))
    assert reply.candidates == (Candidate("one ", FinishReason.STOP),)


async def test_a_call_comes_whole_with_the_reply(desk: Desk) -> None:
    calling = Calling((Function("clock"),), CallMode.ANY, "tools", "mode")
    said = '{"name":"clock","arguments":{}}'
    demanding = structs.replace(asked(said), calling=calling)
    number = await desk.ask("stream", demanding)
    (last,) = await desk.answers(number)
    reply = msgspec.msgpack.decode(last.body, type=Reply)
    assert reply.candidates == (Candidate("", calls=(Call("clock", "{}"),)),)
    # The stub ends what is not streamed at its limit, and half a call is never handed out.
    cut = await desk.reply(await desk.ask("generate", demanding))
    assert cut.candidates == (Candidate("", FinishReason.LENGTH),)


async def test_words_before_a_call_are_streamed_and_the_call_comes_whole(desk: Desk) -> None:
    calling = Calling((Function("clock"),), CallMode.AUTO, "tools", "mode")
    said = 'I look.\n<tool_call>{"name":"clock"}</tool_call>'
    prompt = structs.replace(asked(CALLS + said), calling=calling)
    *words, last = await desk.answers(await desk.ask("stream", prompt))
    assert [msgspec.msgpack.decode(one.body) for one in words] == ["I", " l", "o", "o", "k", "."]
    reply = msgspec.msgpack.decode(last.body, type=Reply)
    assert reply.candidates == (Candidate("I look.", calls=(Call("clock", "{}"),)),)
    assert (await desk.reply(await desk.ask("generate", prompt))).candidates == reply.candidates
    stopped = structs.replace(prompt, sampling=structs.replace(prompt.sampling, stop=("look",)))
    found = await desk.reply(await desk.ask("generate", stopped))
    assert found.candidates == (Candidate("I "),)


async def test_how_likely_tokens_were_is_told_where_it_was_wished(desk: Desk) -> None:
    wishing = structs.replace(asked("ab"), logprobs=LogprobsWish(0, "logprobs"))
    reply = await desk.reply(await desk.ask("generate", wishing))
    assert [token.token_id for token in reply.candidates[0].tokens] == [0, 1]


async def test_tokens_are_counted_and_unknown_words_refused(desk: Desk) -> None:
    (counted,) = await desk.answers(await desk.ask("count_tokens", asked("four")))
    assert msgspec.msgpack.decode(counted.body) == 4
    (refused,) = await desk.answers(await desk.ask("dance", asked("x")))
    assert refused.trouble is not None
    assert refused.trouble.code == Code.UNIMPLEMENTED


@pytest.mark.parametrize(
    ("text", "code", "retriable"),
    [("refuse", Code.INVALID_ARGUMENT, False), ("drop", Code.INTERNAL, True)],
)
async def test_one_that_fails_fails_alone(
    desk: Desk, text: str, code: Code, *, retriable: bool
) -> None:
    (failed,) = await desk.answers(await desk.ask("generate", asked(text)))
    assert failed.trouble is not None
    assert (failed.trouble.code, failed.trouble.retriable) == (code, retriable)
    assert (await desk.reply(await desk.ask("generate", asked("well")))).candidates


async def test_a_question_that_is_withdrawn_leaves_the_model(desk: Desk) -> None:
    number = await desk.ask("generate", asked("hold"))
    await desk.model.begun.wait()
    await desk.say(Question(number, CANCEL))
    await desk.say(Question(99, CANCEL))  # One that has been answered already.
    await desk.reply(await desk.ask("generate", asked("after")))
    assert desk.model.running == []


async def test_batches_wait_for_places_and_those_who_are_waited_for_do_not(desk: Desk) -> None:
    held = [await desk.ask("generate", asked("hold")) for _ in range(2)]
    late = await desk.ask("generate", asked("late"))
    live = await desk.ask("generate", structs.replace(asked("live"), live=True))
    assert (await desk.reply(live)).candidates[0].text == "live"
    assert desk.model.running == held
    await desk.say(Question(held[0], CANCEL))
    assert (await desk.reply(late)).candidates[0].text == "late"


async def test_it_ends_when_the_processes_of_vllm_are_gone(desk: Desk) -> None:
    await desk.ask("generate", asked("stop"))
    with pytest.raises(EngineStopped):
        await asyncio.shield(desk.work)


async def test_it_ends_when_they_are_gone_and_nobody_asks(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vllm_child, "BEAT_SECONDS", 0.0)
    desk.model.stopped = True
    await desk.reply(await desk.ask("generate", asked("x")))
    with pytest.raises(EngineStopped):
        await asyncio.shield(desk.work)


async def test_a_sign_of_life_is_given_while_vllm_goes_on_and_somebody_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    turns: asyncio.Queue[None] = asyncio.Queue()
    monkeypatch.setattr(clock, "sleep", lambda _seconds: turns.get())
    async with opened() as desk:
        turns.put_nowait(None)
        await desk.reply(await desk.ask("generate", asked("x")))
        assert (desk.model.pulses, desk.beats) == (1, 0)
        desk.model.begun.clear()
        await desk.ask("generate", asked("hold"))
        await desk.model.begun.wait()
        turns.put_nowait(None)
        await desk.hear()
        assert (desk.model.pulses, desk.beats) == (2, 1)
