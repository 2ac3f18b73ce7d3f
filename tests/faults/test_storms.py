"""A minute of each storm upstream; `make faults` has ten minutes of each, again and again."""

from __future__ import annotations

import pytest
from msgspec import structs

from tests.faults.storms import STORMS, Storm, poison_lines, weather_all


@pytest.mark.parametrize("storm", STORMS, ids=lambda storm: storm.name)
def test_a_storm_loses_nothing_is_given_way_to_and_forgotten(storm: Storm) -> None:
    short = structs.replace(storm, seconds=60.0, concurrency=4)
    figures = weather_all([short], seed=1)
    assert figures.tried == 1
    assert figures.violations == []


def test_a_line_that_kills_the_endpoint_fails_alone() -> None:
    figures = poison_lines(2, seed=1)
    assert figures.tried == 2
    assert figures.violations == []
