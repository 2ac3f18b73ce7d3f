"""How many requests an endpoint gets: half after a refusal, all again after a calm."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightrate import limits
from nightrate.engines.pace import Pace


class Time:
    """The monotonic clock, set by hand."""

    now = 1000.0


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    time = Time()
    monkeypatch.setattr("nightrate.clock.monotonic", lambda: time.now)
    return time


def test_all_is_well_at_the_beginning(time: Time) -> None:
    del time
    pace = Pace(64)
    assert pace.capacity.requests == 64
    assert pace.pause_seconds() == 0


def test_a_round_of_refusals_halves_once_and_pauses(time: Time) -> None:
    pace = Pace(64)
    sent_at = time.now
    time.now += 0.1
    for _ in range(64):
        pace.pause(sent_at, None)
    assert pace.capacity.requests == 32
    assert pace.pause_seconds() == limits.RETRY_FIRST_SECONDS


def test_pauses_double_until_an_answer_comes(time: Time) -> None:
    pace = Pace(64)
    pauses = []
    for _ in range(7):
        pauses.append(pace.pause(time.now, None))
        time.now += pauses[-1]
    assert pauses == [0.5, 1, 2, 4, 8, 10, 10]
    assert pace.capacity.requests == 1
    pace.answered()
    assert pace.pause(time.now, None) == 0.5


def test_what_the_endpoint_asks_is_waited_up_to_an_hour(time: Time) -> None:
    pace = Pace(64)
    assert pace.pause(time.now, 7.5) == 7.5
    assert pace.pause(time.now - 1, 20) == 20, "late news of the same round count too"
    assert pace.pause(time.now - 1, 3) == 20, "and nobody shortens what another was told"
    assert pace.pause(time.now - 1, 10**9) == limits.PACE_PAUSE_ASKED_SECONDS_MAX
    assert pace.capacity.requests == 32


def test_a_slow_answer_halves_and_does_not_pause(time: Time) -> None:
    pace = Pace(64)
    pace.slow(time.now)
    assert pace.capacity.requests == 32
    assert pace.pause_seconds() == 0


def test_it_grows_back_by_time_alone_from_the_end_of_the_pause(time: Time) -> None:
    pace = Pace(64)
    for _ in range(8):
        time.now += pace.pause(time.now, None)
    assert pace.capacity.requests == 1
    time.now += limits.PACE_RECOVERY_SECONDS / 2
    assert pace.capacity.requests == 33
    time.now += limits.PACE_RECOVERY_SECONDS / 2
    assert pace.capacity.requests == 64
    pace.slow(time.now)
    assert pace.capacity.requests == 32


@pytest.mark.parametrize(
    ("live", "kept"),
    [(None, [8, 4, 2, 1, 1, 1, 0]), (0, [0] * 7), (3, [3, 3, 3, 3, 3, 1, 0])],
)
def test_what_is_kept_for_live_requests_is_a_part_of_the_pace_and_shrinks_with_it(
    time: Time, live: int | None, kept: list[int]
) -> None:
    pace = Pace(64, live)
    capacities = []
    for _ in range(7):
        capacities.append(pace.capacity)
        time.now += 0.001
        pace.slow(time.now)
    assert [capacity.live for capacity in capacities] == kept
    whole = [capacity.requests + capacity.live for capacity in capacities]
    assert whole == [64, 32, 16, 8, 4, 2, 1]
    time.now += limits.PACE_RECOVERY_SECONDS
    assert pace.capacity == capacities[0]


@given(
    st.integers(1, 10_000),
    st.none() | st.integers(0, 9_999),
    st.lists(st.tuples(st.floats(0, 100), st.floats(0, 1000), st.booleans()), max_size=30),
)
def test_it_stays_between_one_and_the_most(
    most: int, live: int | None, events: list[tuple[float, float, bool]]
) -> None:
    time = Time()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nightrate.clock.monotonic", lambda: time.now)
        pace = Pace(most, live)
        full = pace.capacity
        for passed, asked, refused in events:
            time.now += passed
            if refused:
                pace.pause(time.now, asked)
            else:
                pace.slow(time.now)
            capacity = pace.capacity
            assert 1 <= capacity.requests <= capacity.requests + capacity.live <= most
        time.now += pace.pause_seconds() + limits.PACE_RECOVERY_SECONDS
        assert pace.capacity == full
        assert full.requests + full.live == most
