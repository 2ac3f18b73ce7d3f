"""Seeds of the simulation hold every promise, repeat exactly, and find the mistakes we plant."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from nightrate.testing.simulation.kept import KEPT
from nightrate.testing.simulation.place import Workplace, workplace
from nightrate.testing.simulation.play import Report, play
from tests.simulation.plants import PLANTS

pytestmark = pytest.mark.no_cover  # It would take twice as long, over rooms that have tests.

SEEDS = 200
BLOCK = 25


@pytest.fixture(scope="module")
def place() -> Iterator[Workplace]:
    with workplace() as place:
        yield place


def told(report: Report) -> str:
    """Say what is wrong with a seed, as whoever reads the log of a test wants it."""
    tail = "\n".join(report.trace[-40:])
    again = f"python -m nightrate.testing.simulation --seed {report.seed}"
    return f"{tail}\nseed {report.seed}: {report.violation}\nagain: {again}"


@pytest.mark.timeout(600)
@pytest.mark.parametrize("first", range(0, SEEDS, BLOCK))
def test_no_seed_breaks_a_promise(place: Workplace, first: int) -> None:
    reports = [play(seed, place) for seed in range(first, first + BLOCK)]
    broken = [told(report) for report in reports if report.violation]
    assert not broken, "\n\n".join(broken)
    # It was not quiet: processes died, others took over, batches ended.
    assert sum(report.crashes for report in reports) > BLOCK
    assert sum(report.takeovers for report in reports) > BLOCK
    assert sum(report.batches for report in reports) > BLOCK


@pytest.mark.parametrize("seed", KEPT)
def test_what_was_found_once_stays_away(place: Workplace, seed: int) -> None:
    report = play(seed, place)
    assert report.violation is None, told(report)


def test_a_seed_repeats_itself_whatever_python_hashes_to() -> None:
    command = [sys.executable, "-m", "nightrate.testing.simulation", "--seed", "3", "--trace", "0"]
    said = {
        subprocess.run(
            command,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ("1", "2")
    }
    assert len(said) == 1
    assert "digest" in said.pop()


def test_seeds_differ(place: Workplace) -> None:
    assert play(1, place).digest != play(2, place).digest


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", PLANTS)
def test_a_planted_mistake_is_found(
    place: Workplace, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    plant, likely = PLANTS[name]
    plant(monkeypatch)
    seeds = (likely, *(seed for seed in range(SEEDS) if seed != likely))
    assert any(play(seed, place).violation for seed in seeds)
