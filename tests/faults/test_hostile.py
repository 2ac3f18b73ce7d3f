"""A quick run of the campaign with hostile files: all kinds, the large ones smaller."""

from __future__ import annotations

from tests.faults.hostile import FILES, LINES, hostile_files


def test_each_hostile_line_gets_its_answer_in_little_memory() -> None:
    figures = hostile_files(len(LINES), 1)
    assert figures.violations == []
    assert figures.tried > len(LINES) + len(FILES)
