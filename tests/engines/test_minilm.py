"""The embedded embedding engine: its child's worker over a made-up model, and all over the real."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import numpy as np
import pytest
import pytest_asyncio
from numpy.typing import NDArray

from nightrate.domain.embedding import Embedding, EmbeddingTask, Passage
from nightrate.domain.generation import Capability
from nightrate.engines import minilm_child
from nightrate.engines.base import Engine
from nightrate.engines.frames import CANCEL, Answer, ParentGone, Question, raw
from nightrate.engines.minilm import MODEL_VERSION, MiniLMEngine, MiniLMOptions
from nightrate.engines.minilm_child import BATCHES_MAX, STREAMS, TOKENS_MAX, Setup, Worker
from nightrate.engines.registry import create_engine
from nightrate.engines.wordpiece import WordPieces
from nightrate.errors import Code, EngineDown, RequestFailed, SettingsFault
from nightrate.testing.embedding_contract import (
    EmbeddingContract,
    EmbeddingLifeContract,
    nearness,
    passage,
)

WRONG = (
    "from nightrate.engines import minilm_child as child\n"
    "child.SENTENCE_OUTPUT = 2\n"
    "def end(self, request, kept=child.Model.end):\n"
    "    return kept(self, request)[:, 0]\n"
    "child.Model.end = end\n"
    "child.main()\n"
)
"""A child that takes the first token's vector for that of the sentence."""


# the child's worker ---------------------------------------------------------------------------


class PuppetModel:
    """Gives the number of tokens of a text in each direction; remembers what came together."""

    dimensions = 4

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.computes: list[list[int]] = []
        self.whole: list[list[int]] = []
        self.busy = False

    def begin(self, many: list[list[int]], *, whole: bool = False) -> list[int]:
        lengths = [len(ids) for ids in many]
        if whole:
            self.whole.append(lengths)
            return lengths
        assert len(self.computes) < BATCHES_MAX, "more than the model takes"
        self.computes.append(lengths)
        self.batches.append(lengths)
        return lengths

    def ended(self, begun: list[int], seconds: float) -> bool:
        assert self.computes[0] is begun, "the first one is waited for"
        assert seconds > 0
        return not self.busy

    def end(self, begun: list[int]) -> NDArray[np.float32]:
        if begun not in self.whole:
            assert self.computes.pop(0) is begun, "the first one is waited for"
        return np.array([[length] * 4 for length in begun], np.float32)


@pytest.fixture
def model() -> PuppetModel:
    return PuppetModel()


@pytest.fixture
def worker(model: PuppetModel) -> Worker:
    setup = Setup(weights="", vocabulary="", model_version="m", threads=None, requests=3)
    pieces = WordPieces(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a"])
    return Worker(model, pieces, setup)  # type: ignore[arg-type]


def ask(worker: Worker, number: int, text: str, **more: Any) -> None:
    worker.take(Question(number, "embed", raw(Passage(text=text, **more))))


def answers_of(worker: Worker) -> list[Answer]:
    """Let a worker do all that it has."""
    answers = []
    while worker.busy:
        answers += worker.turn()
    return answers


def embedding(answer: Answer) -> Embedding:
    assert answer.trouble is None
    return msgspec.msgpack.decode(answer.body, type=Embedding)


def test_texts_of_like_length_are_computed_together(worker: Worker, model: PuppetModel) -> None:
    for number, words in enumerate((9, 1, 8, 2, 7)):
        ask(worker, number, "a " * words)
    answers = answers_of(worker)
    assert model.batches == [[9, 10, 11], [3, 4]]
    assert {answer.number: embedding(answer).prompt_tokens for answer in answers} == {
        0: 11,
        1: 3,
        2: 10,
        3: 4,
        4: 9,
    }
    assert not worker.busy
    assert embedding(answers[-1]) == Embedding.of((0.5,) * 4, 4, "m")


def test_a_text_of_an_unusual_length_does_not_wait_for_all_others(
    worker: Worker, model: PuppetModel
) -> None:
    ask(worker, 0, "a " * 30)
    for number in range(1, 9):
        ask(worker, number, "a")
    worker.turn()
    assert model.batches[0] == [3, 3, 32], "the longest came first, so it is in the first batch"
    ask(worker, 9, "a")
    ask(worker, 10, "a " * 20)
    answers_of(worker)
    assert model.batches[1:] == [[3, 3, 3], [3, 3, 3], [3, 22]], "filled up with longer ones"


def test_a_text_that_somebody_waits_for_waits_for_no_batch(
    worker: Worker, model: PuppetModel
) -> None:
    for number in range(10):
        ask(worker, number, "a " * 30)
    model.busy = True
    assert worker.turn() == []
    assert len(model.computes) == BATCHES_MAX
    for number in range(10, 15):
        ask(worker, number, "a", live=True)
    worker.take(Question(14, CANCEL))
    assert [answer.number for answer in worker.turn()] == [10, 11, 12]
    assert [answer.number for answer in worker.turn()] == [13]
    assert model.whole == [[3, 3, 3], [3]]
    assert worker.turn() == [], "none of the batches has ended"
    model.busy = False
    assert len(answers_of(worker)) == 10
    assert model.batches == [[32, 32, 32]] * 3 + [[32]]


def test_long_texts_share_a_computation_only_as_far_as_its_bound(
    worker: Worker, model: PuppetModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(minilm_child, "_BATCH_CELLS_MAX", 20)
    for number, words in enumerate((30, 8, 8, 9)):
        ask(worker, number, "a " * words)
    answers = answers_of(worker)
    assert model.batches == [[32], [10, 10], [11]]
    assert len(answers) == 4


def test_each_vector_is_as_long_as_asked(worker: Worker) -> None:
    ask(worker, 1, "a", dimensions=2)
    ask(worker, 2, "a")
    ask(worker, 3, "a", dimensions=5)
    answers = {answer.number: answer for answer in answers_of(worker)}
    assert [len(embedding(answers[number]).values) for number in (1, 2)] == [2, 4]
    trouble = answers[3].trouble
    assert trouble is not None
    assert trouble.code == Code.INVALID_ARGUMENT
    assert "have 4 numbers" in trouble.message


def test_a_long_text_is_cut_or_refused(worker: Worker, model: PuppetModel) -> None:
    ask(worker, 1, "a " * 600)
    ask(worker, 2, "a " * 600, truncate=False)
    ask(worker, 3, "a " * (TOKENS_MAX - 2), truncate=False)
    answers = {answer.number: answer for answer in answers_of(worker)}
    assert model.batches == [[TOKENS_MAX, TOKENS_MAX]]
    trouble = answers[2].trouble
    assert trouble is not None
    assert "602 tokens; the model reads 512" in trouble.message


def test_a_title_stands_before_the_text(worker: Worker) -> None:
    ask(worker, 1, "a", title="a a")
    assert embedding(answers_of(worker)[0]).prompt_tokens == 5


def test_a_withdrawn_question_is_not_computed(worker: Worker, model: PuppetModel) -> None:
    ask(worker, 1, "a")
    ask(worker, 2, "a a")
    worker.take(Question(1, CANCEL))
    assert [answer.number for answer in answers_of(worker)] == [2]
    assert model.batches == [[4]]
    assert worker.turn() == []


def test_batches_are_computed_while_the_last_one_is_answered(
    worker: Worker, model: PuppetModel
) -> None:
    for number in range(13):
        ask(worker, number, "a " * (number + 1))
    answers = worker.turn()
    assert [answer.number for answer in answers] == [0, 1, 2]
    assert model.batches == [[3, 4, 5], [6, 7, 8], [9, 10, 11], [12, 13, 14]]
    assert len(model.computes) == BATCHES_MAX, "the fourth was begun before these were written"
    worker.take(Question(3, CANCEL))
    answers = worker.turn()
    assert [answer.number for answer in answers] == [3, 4, 5], "too late to be withdrawn"
    assert len(model.computes) == STREAMS, "one text alone waits for more, or for a free stream"
    assert [answer.number for answer in answers_of(worker)] == list(range(6, 13))


class Line:
    """The line to the parent, who asks one thing and leaves after some looks."""

    def __init__(self, looks: int) -> None:
        self.sent: list[list[Answer]] = []
        self._looks = looks
        self._asked = [Question(1, "embed", raw(Passage(text="a")))]

    def questions(self, *, wait: bool) -> list[Question]:
        del wait
        if not self._looks:
            raise ParentGone
        self._looks -= 1
        asked, self._asked = self._asked, []
        return asked

    def send(self, answers: list[Answer]) -> None:
        self.sent.append(answers)


@pytest.mark.parametrize("hangs", [False, True])
def test_a_model_that_hangs_gives_no_sign_of_life(
    worker: Worker, model: PuppetModel, *, hangs: bool
) -> None:
    model.busy = hangs
    line = Line(5)
    with pytest.raises(ParentGone):
        minilm_child.serve(line, worker)  # type: ignore[arg-type]
    assert [[answer.number for answer in answers] for answers in line.sent] == (
        [] if hangs else [[1]]
    )


def test_a_verb_that_there_is_not_is_refused(worker: Worker) -> None:
    worker.take(Question(1, "generate"))
    (answer,) = worker.turn()
    assert answer.trouble is not None
    assert answer.trouble.code == Code.UNIMPLEMENTED


# the engine without its child -----------------------------------------------------------------


def test_it_is_opened_on_demand_unless_the_settings_say_otherwise() -> None:
    assert create_engine("minilm", {}).on_demand
    assert not create_engine("minilm", {"at_start": True}).on_demand
    assert create_engine("minilm", {}).capabilities == {Capability.EMBEDDINGS}
    with pytest.raises(SettingsFault, match=r"engines\.minilm\.requests: "):
        create_engine("minilm", {"requests": 0})


async def test_a_text_beyond_all_measure_is_refused_before_it_is_cut_into_tokens() -> None:
    engine = MiniLMEngine(MiniLMOptions())
    huge = Passage(text="x" * 1_000_000, truncate=False)
    with pytest.raises(RequestFailed, match="far more than fit") as refused:
        await engine.embed(huge)
    assert refused.value.code is Code.INVALID_ARGUMENT
    with pytest.raises(EngineDown):
        await engine.embed(msgspec.structs.replace(huge, truncate=True))


# the real model -------------------------------------------------------------------------------


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def minilm() -> AsyncIterator[MiniLMEngine]:
    engine = MiniLMEngine.from_options({"requests": 8})
    await engine.open()
    yield engine
    await engine.close()


@pytest.mark.embedded
@pytest.mark.xdist_group("embedded")
@pytest.mark.asyncio(loop_scope="session")
class TestMiniLM(EmbeddingContract):
    """The contract."""

    unembeddable = passage("too long a vector", 385)

    @pytest_asyncio.fixture(loop_scope="session")
    async def engine(self, minilm: MiniLMEngine) -> Engine:
        return minilm


@pytest.mark.embedded
@pytest.mark.xdist_group("embedded")
class TestMiniLMLife(EmbeddingLifeContract):
    """The contract about opening and closing."""

    @pytest.fixture
    def fresh(self) -> Engine:
        return create_engine("minilm", {})


@pytest.mark.embedded
@pytest.mark.xdist_group("embedded")
@pytest.mark.asyncio(loop_scope="session")
async def test_the_model_is_computed_rightly(minilm: MiniLMEngine) -> None:
    (finding,) = await minilm.self_check()
    assert finding.ok, finding


@pytest.mark.embedded
@pytest.mark.xdist_group("embedded")
@pytest.mark.asyncio(loop_scope="session")
async def test_a_wrong_output_of_the_model_does_not_pass() -> None:
    """The reason for the check: another output gives vectors of the same length, but nonsense."""
    engine = MiniLMEngine(MiniLMOptions(), (sys.executable, "-c", WRONG))
    await engine.open()
    try:
        (finding,) = await engine.self_check()
    finally:
        await engine.close()
    assert not finding.ok
    assert "remove the cached file" in finding.remedy


@pytest.mark.embedded
@pytest.mark.xdist_group("embedded")
@pytest.mark.asyncio(loop_scope="session")
async def test_tasks_make_no_difference_and_broken_text_is_refused(minilm: MiniLMEngine) -> None:
    plain = await minilm.embed(passage("a text"))
    task = Passage(text="a text", task=EmbeddingTask.CLUSTERING)
    assert nearness(plain.values, (await minilm.embed(task)).values) == pytest.approx(1)
    assert plain.model_version == MODEL_VERSION
    with pytest.raises(RequestFailed, match="not valid Unicode"):
        await minilm.embed(passage("\ud800"))


@pytest.mark.embedded
@pytest.mark.xdist_group("embedded")
async def test_a_child_that_is_killed_is_started_again() -> None:
    engine = MiniLMEngine.from_options({})
    await engine.open()
    try:
        asked = [
            asyncio.create_task(engine.embed(passage(f"a text {'and more ' * 150}{number}")))
            for number in range(64)
        ]
        await asyncio.sleep(0)
        assert engine.child_pid is not None
        os.kill(engine.child_pid, signal.SIGKILL)
        outcomes = await asyncio.gather(*asked, return_exceptions=True)
        assert any(isinstance(one, EngineDown) and one.in_flight for one in outcomes)
        await engine.ready()
        assert (await engine.embed(passage("again"))).values
    finally:
        await engine.close()
