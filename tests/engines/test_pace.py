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


@given(
    st.integers(1, 10_000),
    st.lists(st.tuples(st.floats(0, 100), st.floats(0, 1000), st.booleans()), max_size=30),
)
def test_it_stays_between_one_and_the_most(
    most: int, events: list[tuple[float, float, bool]]
) -> None:
    time = Time()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nightrate.clock.monotonic", lambda: time.now)
        pace = Pace(most)
        for passed, asked, refused in events:
            time.now += passed
            if refused:
                pace.pause(time.now, asked)
            else:
                pace.slow(time.now)
            assert 1 <= pace.capacity.requests <= most
        time.now += pace.pause_seconds() + limits.PACE_RECOVERY_SECONDS
        assert pace.capacity.requests == most
