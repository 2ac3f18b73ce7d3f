"""What the embedded engine's child makes of an answer's tokens while they come."""

from __future__ import annotations

from collections import deque
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from nightrate.domain.generation import Reply
from nightrate.engines.frames import Answer
from nightrate.engines.openvino_lane import Draft, Job, Lane
from nightrate.engines.openvino_model import Encoded, Model
from nightrate.errors import Code, RequestFailed


class Spelling:
    """A model whose tokens are the code points of its text; some tokens may change the others."""

    def decode(self, ids: list[int]) -> str:
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


def draft(*stops: str, streamed: bool = True) -> Draft:
    return Draft(cast("Model", Spelling()), stops, streamed=streamed)


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


def test_a_tokenizer_that_changes_what_was_told_fails_the_answer() -> None:
    one = draft()
    assert grown(one, "ab", "c!") == [["ab"], []]
    with pytest.raises(RequestFailed, match="changed a text") as failed:
        one.end(7, "ABC!")
    assert failed.value.code is Code.INTERNAL


class Full:
    """A pipeline that never ends what it was given."""

    def __init__(self) -> None:
        self.numbers: list[int] = []

    def add_request(self, number: int, _ids: object, _config: object) -> SimpleNamespace:
        self.numbers.append(number)
        return SimpleNamespace(can_read=lambda: False, get_status=lambda: "running")

    def has_non_finished_requests(self) -> bool:
        return bool(self.numbers)

    def step(self) -> None:
        """Compute nothing."""


def test_who_waits_is_let_in_where_a_batch_has_taken_every_seat() -> None:
    pipeline = Full()
    model: Any = SimpleNamespace(pipeline=lambda _mode: (pipeline, 10_000), running="running")
    lane = Lane(model, "fast", seats=2)

    def job(number: int, *, live: bool = False) -> Job:
        encoded, config = Encoded(None, 10), SimpleNamespace(max_new_tokens=10)
        return Job(number, encoded, config, finish=_never, beginnings=[], live=live)

    for number in range(1, 5):
        lane.add(job(number))
    lane.turn()
    lane.add(job(5, live=True))
    lane.turn()
    lane.turn()
    assert pipeline.numbers == [1, 2, 5]


def _never(*_said: object) -> Reply:
    raise AssertionError("nothing ends here")
