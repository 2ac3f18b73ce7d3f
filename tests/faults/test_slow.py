"""A quick run of the campaign with slow clients."""

from __future__ import annotations

from tests.faults.slow import slow_clients


def test_slow_clients_cost_nobody_anything() -> None:
    figures = slow_clients(10, 1)
    assert figures.violations == []
    assert figures.tried > 100
