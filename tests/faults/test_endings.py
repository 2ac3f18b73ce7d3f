"""A quick run of the campaign with bad endings."""

from __future__ import annotations

from tests.faults.endings import bad_endings


def test_an_end_at_a_bad_moment_loses_nothing() -> None:
    figures = bad_endings(4, 1)
    assert figures.violations == []
    assert figures.tried == 4
