"""A quick run of the campaign with clocks that jump."""

from __future__ import annotations

from tests.faults.clocks import clock_jumps


def test_a_jump_of_the_clock_loses_and_doubles_nothing() -> None:
    figures = clock_jumps(2, 1)
    assert figures.violations == []
    assert figures.tried == 2
