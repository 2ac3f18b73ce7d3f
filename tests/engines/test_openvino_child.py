"""Which pipeline a request of the embedded engine goes to, and which of them is stepped."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, ClassVar, cast

import msgspec
import pytest

from nightrate import clock
from nightrate.domain.generation import Message, Prompt, Sampling
from nightrate.engines import openvino_child
from nightrate.engines.frames import Answer, Question, raw
from nightrate.engines.openvino_child import HURRY_SECONDS_MAX, Worker
from nightrate.engines.openvino_lane import Job
from nightrate.engines.openvino_model import Model


class Pipeline:
    """A lane that only remembers: its jobs, and how often it was stepped."""

    made: ClassVar[list[Pipeline]] = []

    def __init__(self, _model: Model, mode: str, seats: int) -> None:
        self.mode, self.seats = mode, seats
        self.cache_tokens = 1000
        self.jobs: list[int] = []
        self.busy = self.awaited = False
        self.steps = 0
        self.made.append(self)

    def add(self, job: Job) -> None:
        self.jobs.append(job.number)
        self.busy = self.awaited = True

    def turn(self) -> list[Answer]:
        self.steps += 1
        return []


IDS = SimpleNamespace(data=SimpleNamespace(itemsize=8, tobytes=lambda: b""))
"""Token ids as the library has them, of no length."""


def model(live_requests: int) -> Model:
    setup = SimpleNamespace(requests=32, live_requests=live_requests, reproducible="auto")

    def mode_of(sampling: Sampling) -> str:
        return "exact" if sampling.reproducible else "fast"

    stub: Any = SimpleNamespace(
        setup=setup,
        mode_of=mode_of,
        tokens_max=lambda _tokens: 1000,
        encode=lambda _prompt: SimpleNamespace(ids=IDS, tokens=3),
        config=lambda *_args: None,
    )
    return cast("Model", stub)


@pytest.fixture(autouse=True)
def pipelines(monkeypatch: pytest.MonkeyPatch) -> list[Pipeline]:
    monkeypatch.setattr(openvino_child, "Lane", Pipeline)
    Pipeline.made = []
    return Pipeline.made


class Desk:
    """Asks a worker."""

    def __init__(self, live_requests: int = 4) -> None:
        self.worker = Worker(model(live_requests))
        self._number = 0

    def ask(self, *, live: bool = False, seed: int | None = None) -> int:
        self._number += 1
        prompt = Prompt(messages=(Message("user", "x"),), sampling=Sampling(seed=seed), live=live)
        body = raw(prompt)
        self.worker.take(Question(self._number, "generate", msgspec.Raw(bytes(body))))
        return self._number


def test_a_live_request_that_meets_nobody_needs_no_pipeline_of_its_own() -> None:
    desk = Desk()
    number = desk.ask(live=True)
    (only,) = Pipeline.made
    assert (only.jobs, only.seats) == ([number], 32)


def test_live_requests_have_a_pipeline_of_their_own_once_one_has_met_a_batch() -> None:
    desk = Desk()
    batch = desk.ask()
    live = desk.ask(live=True)
    first, own = Pipeline.made
    assert (first.jobs, own.jobs, own.seats, own.mode) == ([batch], [live], 4, "fast")
    first.busy = False
    assert desk.ask(live=True) in own.jobs
    assert desk.ask() in first.jobs


def test_each_mode_has_pipelines_of_its_own() -> None:
    desk = Desk()
    desk.ask(seed=1)
    desk.ask(seed=1, live=True)
    assert [one.mode for one in Pipeline.made] == ["fast", "exact", "exact"]


def test_without_places_for_them_live_requests_share() -> None:
    desk = Desk(live_requests=0)
    desk.ask()
    desk.ask(live=True)
    (only,) = Pipeline.made
    assert only.jobs == [1, 2]


def test_whose_first_token_is_waited_for_is_stepped_alone_for_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 100.0
    monkeypatch.setattr(clock, "monotonic", lambda: now)
    desk = Desk()
    desk.ask()
    desk.worker.turn()
    desk.ask(live=True)
    batch, live = Pipeline.made
    for _ in range(3):
        desk.worker.turn()
    assert (batch.steps, live.steps) == (1, 3)
    now += HURRY_SECONDS_MAX
    desk.worker.turn()
    assert (batch.steps, live.steps) == (2, 4)
    live.awaited = False
    desk.worker.turn()
    assert (batch.steps, live.steps) == (3, 5)
