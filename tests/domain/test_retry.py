"""When to try again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightrate import limits
from nightrate.domain.retry import retry_delay_seconds

CHANCES = st.floats(0, 1)


@pytest.mark.parametrize(
    ("attempt", "whole"), [(1, 0.5), (2, 1.0), (5, 8.0), (8, 60.0), (40, 60.0), (10**6, 60.0)]
)
def test_the_wait_doubles_up_to_the_longest_and_is_spread_over_its_second_half(
    attempt: int, whole: float
) -> None:
    assert retry_delay_seconds(attempt, None, 0.0) == whole / 2
    assert retry_delay_seconds(attempt, None, 1.0) == whole


@given(st.integers(1, 100), st.floats(-10, 1_000), CHANCES)
def test_nobody_comes_back_before_the_engine_asked_or_later_than_the_longest(
    attempt: int, after_seconds: float, chance: float
) -> None:
    wait = retry_delay_seconds(attempt, after_seconds, chance)
    assert min(max(after_seconds, 0), limits.RETRY_LONGEST_SECONDS) <= wait
    assert wait <= limits.RETRY_LONGEST_SECONDS


@given(st.integers(1, 100), CHANCES)
def test_a_wait_is_never_longer_than_the_longest(attempt: int, chance: float) -> None:
    assert 0 < retry_delay_seconds(attempt, None, chance) <= limits.RETRY_LONGEST_SECONDS
