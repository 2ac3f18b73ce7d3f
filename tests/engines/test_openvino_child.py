"""Which pipeline a request of the embedded engine goes to, and that all are stepped."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, ClassVar, cast

import msgspec
import pytest
from msgspec import structs

from nightrate.domain.generation import Message, Prompt, Sampling
from nightrate.engines import openvino_child
from nightrate.engines.frames import Answer, Question, raw
from nightrate.engines.openvino_child import Worker
from nightrate.engines.openvino_lane import Job
from nightrate.engines.openvino_model import Model, ModelSetup


class Pipeline:
    """A lane that only remembers: its jobs, and how often it was stepped."""

    made: ClassVar[list[Pipeline]] = []

    def __init__(self, _model: Model, mode: str, seats: int) -> None:
        self.mode, self.seats = mode, seats
        self.cache_tokens = 1000
        self.jobs: list[int] = []
        self.live: list[bool] = []
        self.busy = False
        self.steps = 0
        self.made.append(self)

    def add(self, job: Job) -> None:
        self.jobs.append(job.number)
        self.live.append(job.live)
        self.busy = True

    def turn(self) -> list[Answer]:
        self.steps += 1
        return []


IDS = SimpleNamespace(data=SimpleNamespace(itemsize=8, tobytes=lambda: b""))
"""Token ids as the library has them, of no length."""


SETUP = ModelSetup(
    path="",
    model_version="m",
    context_tokens=None,
    kv_cache_gib=1,
    threads=None,
    requests=32,
    reproducible="auto",
    ignore_eos=False,
)


def model() -> Model:
    setup = SimpleNamespace(requests=32, reproducible="auto")

    def mode_of(sampling: Sampling) -> str:
        return "exact" if sampling.reproducible else "fast"

    stub: Any = SimpleNamespace(
        setup=setup,
        mode_of=mode_of,
        tokens_max=lambda _tokens: 1000,
        encode=lambda _prompt: SimpleNamespace(ids=IDS, tokens=3),
        config=lambda *_args: None,
        decoder=lambda _prompt: None,
        syntax=None,
    )
    return cast("Model", stub)


@pytest.fixture(autouse=True)
def pipelines(monkeypatch: pytest.MonkeyPatch) -> list[Pipeline]:
    monkeypatch.setattr(openvino_child, "Lane", Pipeline)
    Pipeline.made = []
    return Pipeline.made


class Desk:
    """Asks a worker."""

    def __init__(self) -> None:
        self.worker = Worker(model())
        self._number = 0

    def ask(self, *, live: bool = False, seed: int | None = None) -> int:
        self._number += 1
        prompt = Prompt(messages=(Message("user", "x"),), sampling=Sampling(seed=seed), live=live)
        body = raw(prompt)
        self.worker.take(Question(self._number, "generate", msgspec.Raw(bytes(body))))
        return self._number


def test_each_mode_has_a_pipeline_of_its_own_loaded_when_it_is_needed() -> None:
    desk = Desk()
    assert [one.mode for one in Pipeline.made] == ["fast"]
    plain, seeded = desk.ask(), desk.ask(seed=1)
    fast, exact = Pipeline.made
    assert (fast.jobs, exact.jobs, exact.mode) == ([plain], [seeded], "exact")
    assert fast.seats == exact.seats == 32


def test_the_parent_is_told_before_a_pipeline_is_loaded_and_not_else() -> None:
    desk = Desk()
    made: list[int] = []
    desk.worker.loading = lambda: made.append(len(Pipeline.made))
    for seed in (None, 1, 1, None):
        desk.ask(seed=seed)
    assert made == [1]


@pytest.mark.parametrize(
    ("reproducible", "modes"),
    [
        ("auto", ["fast", "exact", "exact"]),
        ("always", ["exact", "exact", "exact"]),
        ("never", ["fast", "fast", "fast"]),
    ],
)
def test_the_setting_moves_the_line_between_the_pipelines(
    reproducible: str, modes: list[str]
) -> None:
    real = Model.__new__(Model)
    real.setup = structs.replace(SETUP, reproducible=reproducible)
    wishes = (Sampling(temperature=0.5), Sampling(temperature=0), Sampling(seed=7))
    assert [real.mode_of(sampling) for sampling in wishes] == modes
    stub = model()
    stub.setup = real.setup
    stub.mode_of = real.mode_of  # type: ignore[method-assign]
    worker = Worker(stub)
    for number, sampling in enumerate(wishes, 1):
        prompt = Prompt(messages=(Message("user", "x"),), sampling=sampling)
        worker.take(Question(number, "generate", raw(prompt)))
    assert {one.mode for one in Pipeline.made} == set(modes)
    assert len(Pipeline.made) == len(set(modes)), "only what is needed is loaded"


def test_pipelines_with_work_take_turns() -> None:
    desk = Desk()
    desk.ask()
    desk.ask(seed=1)
    fast, exact = Pipeline.made
    desk.worker.turn()
    fast.busy = False
    desk.worker.turn()
    assert (fast.steps, exact.steps) == (1, 2)


def test_who_waits_for_an_answer_is_known_in_the_pipeline() -> None:
    desk = Desk()
    desk.ask()
    desk.ask(live=True)
    (only,) = Pipeline.made
    assert only.live == [False, True]
