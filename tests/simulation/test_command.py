"""The command says how to repeat what it found."""

from __future__ import annotations

import re

import pytest

from nightrate.testing.simulation import __main__ as command
from nightrate.testing.simulation.kept import KEPT
from tests.simulation.plants import PLANTS


def test_the_kept_seeds_come_first(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--seeds", "1-2"]) == 0
    said = capsys.readouterr().out
    assert f"0 of {len(KEPT.keys() | {1, 2})} seeds broke a promise" in said
    assert list(command._seeds("5-6"))[: len(KEPT)] == list(KEPT)


def test_a_failing_seed_is_printed_with_what_repeats_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "KEPT", {})
    plant, seed = PLANTS["an event outside the transaction"]
    plant(monkeypatch)
    assert command.main(["--seeds", f"{seed}-{seed}", "--requests", "30"]) == 1
    said = capsys.readouterr().out
    again = re.search(r"again: python -m nightrate.testing.simulation (.*)", said)
    assert again is not None
    assert again[1] == f"--seed {seed} --requests 30"
    assert command.main(again[1].split()) == 1
    assert "events" in capsys.readouterr().out
