"""What the embedded engine's child makes of an answer's tokens while they come."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import numpy as np
import pytest
from msgspec import structs

from nightrate.domain.calling import Calling, CallMode, Function
from nightrate.domain.generation import Candidate, Prompt, Reply, Usage
from nightrate.engines.call_syntaxes import syntax_of
from nightrate.engines.frames import Answer
from nightrate.engines.openvino_lane import Draft, Job, Lane
from nightrate.engines.openvino_model import Encoded, Model
from nightrate.engines.prefixes import BLOCK_TOKENS, WORTH_TOKENS, beginnings_of
from nightrate.errors import Code, RequestFailed
from nightrate.testing.engine_contract import asked as prompt_of
from tests.engines.trained import TAGGED


class Spelling:
    """A model whose tokens are the code points of its text; some tokens may change the others."""

    syntax = syntax_of(TAGGED)

    def decoder(self, _prompt: Prompt) -> Callable[[list[int]], str]:
        return self._decode

    def _decode(self, ids: list[int]) -> str:
        text = "".join(map(chr, ids))
        return text.upper() if "!" in text else text


class Output(msgspec.Struct):
    generated_ids: list[int]
    generated_log_probs: list[float] = []
    finish_reason: str = "none"


class Handle:
    """Gives the tokens of some steps."""

    def __init__(self) -> None:
        self.steps: deque[str] = deque()

    def can_read(self) -> bool:
        return bool(self.steps)

    def read(self) -> dict[int, Output]:
        return {0: Output(list(map(ord, self.steps.popleft())))}


def draft(*stops: str, streamed: bool = True, mode: CallMode | None = None) -> Draft:
    calling = Calling((Function("clock"),), mode, "tools", "mode") if mode is not None else None
    prompt = structs.replace(prompt_of("x", stop=stops), calling=calling)
    return Draft(cast("Model", Spelling()), prompt, streamed=streamed)


def grown(one: Draft, *steps: str) -> list[list[str]]:
    """Let a draft grow step by step; give what each step tells."""
    handle = Handle()
    told = []
    for step in steps:
        handle.steps.extend([step] if step else [])
        told.append(texts_of(one.grow(7, handle)))
    return told


def texts_of(answers: list[Answer]) -> list[str]:
    assert all(answer.number == 7 and answer.more for answer in answers)
    return [msgspec.msgpack.decode(answer.body, type=str) for answer in answers]


def test_each_step_tells_what_it_makes_certain() -> None:
    one = draft()
    assert grown(one, "a", "b ", "", "c", "\ufffd") == [["a"], ["b"], [], [" c"], []]
    assert not one.stopped
    assert texts_of(one.end(7, "ab c漢")) == ["漢"]


def test_several_outputs_of_one_step_are_read_together() -> None:
    one, handle = draft(), Handle()
    handle.steps.extend(["a", "b"])
    assert texts_of(one.grow(7, handle)) == ["ab"]
    assert one.ids == [ord("a"), ord("b")]
    assert texts_of(one.end(7, "ab")) == []


def test_a_stop_sequence_ends_the_answer_only_when_it_is_whole() -> None:
    one = draft(" and ")
    stopped = []
    for step, told in (("you", ["you"]), (" and", []), (" ", [])):
        assert grown(one, step) == [told]
        stopped.append(one.stopped)
    assert stopped == [False, False, True]
    assert texts_of(one.end(7, "you")) == []


def test_an_answer_that_is_not_streamed_is_watched_in_silence() -> None:
    one = draft("END", streamed=False)
    assert grown(one, "one ", "END") == [[], []]
    assert one.stopped
    assert one.end(7, "one ") == []


def test_words_are_told_until_something_may_be_a_call() -> None:
    one = draft("stop", mode=CallMode.AUTO)
    assert grown(one, "I < you. ", "<tool", "_call> ", "sto", "p") == [["I < you."], [], [], [], []]
    assert one.stopped
    assert texts_of(one.end(7, "I < you.\nSo.")) == ["\nSo."]


def test_an_answer_that_has_to_be_a_call_has_no_words() -> None:
    one = draft("stop", mode=CallMode.ANY)
    assert grown(one, '{"name":', "sto", "p") == [[], [], []]
    assert one.stopped
    assert one.end(7, "") == []


def test_a_tokenizer_that_changes_what_was_told_fails_the_answer() -> None:
    one = draft()
    assert grown(one, "ab", "c!") == [["ab"], []]
    with pytest.raises(RequestFailed, match="changed a text") as failed:
        one.end(7, "ABC!")
    assert failed.value.code is Code.INTERNAL


class Pipeline:
    """Takes requests, and reads what its test tells it to read."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.prompts: dict[int, list[int]] = {}
        self.read: set[int] = set()
        self.status: dict[int, str] = {}

    def add_request(self, number: int, ids: list[int], _config: object) -> SimpleNamespace:
        self.numbers.append(number)
        self.prompts[number] = ids
        output = SimpleNamespace(generated_ids=[65], generated_log_probs=[0.0], finish_reason="")
        return SimpleNamespace(
            can_read=lambda: number in self.read,
            get_status=lambda: self.status.get(number, "running"),
            read_all=lambda: [output],
        )

    def has_non_finished_requests(self) -> bool:
        return bool(self.numbers)

    def step(self) -> None:
        """Compute nothing."""

    def end(self, *numbers: int, status: str = "finished") -> None:
        """Have some requests come to their end, whose prompts are read then."""
        self.read |= set(numbers)
        self.status |= dict.fromkeys(numbers, status)


def lane_over(pipeline: Pipeline, seats: int = 8, cache_tokens: int = 10_000) -> Lane:
    model: Any = SimpleNamespace(
        pipeline=lambda _mode: (pipeline, cache_tokens),
        running="running",
        finished={"finished"},
        cut=lambda encoded, tokens: Encoded(encoded.ids[:tokens], tokens),
        reading_config=lambda: SimpleNamespace(max_new_tokens=1),
    )
    return Lane(model, "fast", seats)


def asked(number: int, *pieces: int, kept_tokens: int = 0, live: bool = False) -> Job:
    """Ask with a prompt made of pieces of a block each: one token, repeated."""
    ids = np.repeat(np.array(pieces or (0,), dtype=np.int64), BLOCK_TOKENS)
    return Job(
        number,
        Encoded(ids.tolist(), len(ids)),
        SimpleNamespace(max_new_tokens=10),
        _answer,
        beginnings_of(ids.tobytes(), ids.itemsize),
        kept_blocks=kept_tokens // BLOCK_TOKENS,
        live=live,
    )


def _answer(ids: list[int], _logs: object, _reason: object) -> Reply:
    return Reply((Candidate("A"),), Usage(0, len(ids)), "tiny")


def reused(answers: list[Answer]) -> dict[int, int]:
    """Say of each finished answer how much of its prompt was not computed again."""
    return {
        answer.number: msgspec.msgpack.decode(answer.body, type=Reply).usage.cached_tokens
        for answer in answers
        if not answer.more
    }


def test_who_waits_is_let_in_where_a_batch_has_taken_every_seat() -> None:
    pipeline = Pipeline()
    lane = lane_over(pipeline, seats=2)
    for number in range(1, 5):
        lane.add(asked(number, number))
    lane.turn()
    lane.add(asked(5, 5, live=True))
    lane.turn()
    lane.turn()
    assert pipeline.numbers == [1, 2, 5]


def test_those_who_wait_are_let_in_in_the_order_in_which_they_came() -> None:
    pipeline = Pipeline()
    lane = lane_over(pipeline, seats=1)
    lane.add(asked(1, 1))
    lane.turn()
    for number in (2, 3, 4):
        lane.add(asked(number, number, live=number > 2))
    lane.add(asked(5, 5, live=True))
    lane.turn()
    assert pipeline.numbers == [1, 3, 4, 5]


def test_a_cached_content_is_read_before_the_first_request_that_continues_it() -> None:
    pipeline = Pipeline()
    lane = lane_over(pipeline)
    lane.add(asked(1, 7, 7, 1, kept_tokens=2 * BLOCK_TOKENS + 3))
    lane.add(asked(2, 7, 7, 2, kept_tokens=2 * BLOCK_TOKENS + 3))
    lane.add(asked(3, 9))
    lane.turn()
    leader, other = pipeline.numbers
    assert other == 3
    assert pipeline.prompts[leader] == [7] * (2 * BLOCK_TOKENS)
    lane.turn()
    assert pipeline.numbers == [leader, 3]  # The others wait until it has been read.
    pipeline.end(leader)
    assert lane.turn() == []  # Nobody asked for what the leader says.
    lane.turn()
    assert pipeline.numbers == [leader, 3, 1, 2]
    pipeline.end(1, 2, 3)
    assert reused(lane.turn()) == {1: 2 * BLOCK_TOKENS, 2: 2 * BLOCK_TOKENS, 3: 0}
    lane.add(asked(4, 7, 7, 4, kept_tokens=2 * BLOCK_TOKENS))
    lane.turn()
    assert pipeline.numbers[-1] == 4  # It is there still.
    pipeline.end(4)
    assert reused(lane.turn()) == {4: 2 * BLOCK_TOKENS}
    assert not lane._live


def test_a_prompt_that_ends_with_its_cached_content_computes_its_last_token() -> None:
    pipeline = Pipeline()
    lane = lane_over(pipeline)
    lane.add(asked(1, 7, 7, kept_tokens=2 * BLOCK_TOKENS))
    lane.turn()
    pipeline.end(pipeline.numbers[0])
    lane.turn()
    lane.turn()
    pipeline.end(1)
    assert reused(lane.turn()) == {1: 2 * BLOCK_TOKENS - 1}


def test_what_cannot_be_read_before_its_requests_is_read_with_them() -> None:
    pipeline = Pipeline()
    lane = lane_over(pipeline)
    lane.add(asked(1, 7, 7, 1, kept_tokens=2 * BLOCK_TOKENS))
    lane.turn()
    (leader,) = pipeline.numbers
    pipeline.status[leader] = "ignored"  # The library had no room for it.
    assert lane.turn() == []
    lane.turn()
    assert pipeline.numbers == [leader, 1]
    pipeline.end(1)
    assert reused(lane.turn()) == {1: 0}


def test_a_leader_outlives_who_needed_it() -> None:
    pipeline = Pipeline()
    lane = lane_over(pipeline)
    lane.add(asked(1, 7, 1, kept_tokens=BLOCK_TOKENS))
    lane.turn()
    lane.cancel(1)
    assert lane.turn() == []
    pipeline.end(pipeline.numbers[0])
    assert lane.turn() == []
    lane.add(asked(2, 7, 2, kept_tokens=BLOCK_TOKENS))
    lane.turn()
    assert pipeline.numbers[1:] == [2]


def test_a_beginning_that_no_request_names_is_told_only_where_it_is_worth_it() -> None:
    pipeline = Pipeline()
    lane = lane_over(pipeline)
    worth = [7] * (WORTH_TOKENS // BLOCK_TOKENS)
    for number, pieces in enumerate((worth, [7, 1], [*worth, 2]), start=1):
        lane.add(asked(number, *pieces))
        lane.turn()
        pipeline.end(number)
        assert reused(lane.turn()) == {number: WORTH_TOKENS if number == 3 else 0}
