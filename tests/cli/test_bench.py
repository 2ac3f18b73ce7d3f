"""``nightrate bench``: what a batch gains on this machine."""

from __future__ import annotations

import msgspec
import pytest

from nightrate.measure import Measured, Rate
from tests.cli.conftest import Commands

FEW = ("--engine", "echo", "--requests", "5", "--live", "2", "--rounds", "2", "--tokens", "8")


def test_both_ways_are_measured_and_nothing_stays(commands: Commands) -> None:
    ended = commands.run("bench", "--price", *FEW)
    assert ended.status == 0, ended.complaint
    model, live, batch, price = ended.out
    assert model == "gemini-flash-latest (echo)"
    assert live.split()[:5] == ["one", "at", "a", "time", "4"]
    assert batch.split()[:4] == ["as", "a", "batch", "10"]
    assert "of the time of a live one" in price
    assert commands.names() == set()


def test_a_script_gets_the_figures(commands: Commands) -> None:
    ended = commands.run("bench", "--json", *FEW)
    assert ended.status == 0, ended.complaint
    found = msgspec.json.decode(ended.out[0])
    assert (found["live"]["requests"], found["batch"]["requests"]) == (4, 10)
    assert found["live"]["outputTokens"] == 4 * 8
    assert found["batch"]["outputTokens"] == 10 * 8
    share = (found["batch"]["seconds"] / 80) / (found["live"]["seconds"] / 32)
    assert found["batchPrice"] == pytest.approx(share, abs=1e-3)


def test_a_model_that_nobody_serves_is_refused(commands: Commands) -> None:
    ended = commands.run("bench", "--model", "gemini-tts", *FEW)
    assert ended.status == 1
    assert "gemini-tts" in ended.complaint


def test_the_price_is_the_time_of_a_token_beside_that_of_a_live_one() -> None:
    live, batch = Rate(2, 20, 100, 10.0), Rate(20, 200, 1_000, 20.0)
    assert Measured("m", "v", live, batch).batch_price == pytest.approx(0.2)
