"""Repeated ids are found whatever their order and number, in memory that has a bound."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightrate import planning_limits
from nightrate.work.repeats import Repeats


def repeats_of(names: list[bytes], most: int = 20) -> tuple[list[tuple[int, int]], int]:
    repeats = Repeats()
    for line, name in enumerate(names, 1):
        repeats.add(name, line)
    found = repeats.find(most)
    repeats.close()
    return found


def expected(names: list[bytes]) -> list[tuple[int, int]]:
    first: dict[bytes, int] = {}
    return [
        (line, first[name])
        for line, name in enumerate(names, 1)
        if first.setdefault(name, line) != line
    ]


@given(st.lists(st.binary(max_size=1)), st.sampled_from([24, 100, planning_limits.IDS_HELD_BYTES]))
def test_they_are_the_lines_whose_id_was_there_before(names: list[bytes], held: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(planning_limits, "IDS_HELD_BYTES", held)
        wanted = expected(names)
        assert repeats_of(names, 5) == (wanted[:5], len(wanted))


def test_what_does_not_fit_is_put_aside_in_the_folder_without_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning_limits, "IDS_HELD_BYTES", 240)
    repeats = Repeats(tmp_path)
    held = 0
    for line in range(1_000):
        repeats.add(str(line % 999).encode(), line)
        held = max(held, sum(map(len, repeats._heaps)))
    assert held < 240
    assert repeats._aside is not None
    assert Path(f"/proc/self/fd/{repeats._aside.fileno()}").readlink().is_relative_to(tmp_path)
    assert repeats.find(9) == ([(999, 0)], 1)
    assert list(tmp_path.iterdir()) == []
    repeats.close()
    assert repeats._aside.closed
