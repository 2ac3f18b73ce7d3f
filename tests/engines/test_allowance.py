"""What may be asked in a minute: never more than that, and hardly less."""

from __future__ import annotations

from bisect import bisect_left

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nightrate import endpoint_limits
from nightrate.engines.allowance import Allowance

MINUTE = 60.0
HOUR = 3600.0


class Time:
    """The monotonic clock, set by hand."""

    now = 1000.0


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    time = Time()
    monkeypatch.setattr("nightrate.clock.monotonic", lambda: time.now)
    return time


def most_in_a_minute(times: list[float], amounts: list[int]) -> int:
    """Give the most that was used within any sixty seconds, the last moment not among them."""
    sums = [0]
    for amount in amounts:
        sums.append(sums[-1] + amount)
    return max(
        sums[bisect_left(times, since + MINUTE)] - sums[index] for index, since in enumerate(times)
    )


def greedy(time: Time, allowance: Allowance, costs: list[int], seconds: float) -> list[float]:
    """Ask as soon as it is allowed, as long as there is something to ask; give the times."""
    begun: list[float] = []
    ends = time.now + seconds
    for cost in costs:
        while wait := allowance.wait_seconds(cost):
            time.now += wait
        if time.now >= ends:
            break
        allowance.spend(cost)
        begun.append(time.now)
    return begun


@pytest.mark.parametrize("limit", [1, 2, 5, 15, 60, 1000, 10_000])
def test_an_hour_has_no_minute_with_more_requests_than_are_allowed_and_wastes_hardly_any(
    time: Time, limit: int
) -> None:
    begun = greedy(time, Allowance(limit, None), [7] * (limit * 61), HOUR)
    assert most_in_a_minute(begun, [1] * len(begun)) <= limit
    assert len(begun) >= 0.95 * limit * 60


@pytest.mark.parametrize("late_seconds", [0.005, 0.05, 1.0])
def test_late_timers_waste_nothing(time: Time, late_seconds: float) -> None:
    allowance, begun = Allowance(600, None), 0
    ends = time.now + HOUR
    while time.now < ends:
        while not allowance.wait_seconds(1):
            allowance.spend(1)
            begun += 1
        time.now += allowance.wait_seconds(1) + late_seconds
    assert begun >= 0.95 * 600 * 60


@settings(max_examples=60, deadline=None)
@given(st.integers(1000, 10**6), st.data())
def test_no_minute_has_more_tokens_than_are_allowed_and_a_large_request_waits_its_time(
    limit: int, data: st.DataObject
) -> None:
    slack = int(limit * endpoint_limits.ALLOWANCE_SLACK_SHARE)
    costs = data.draw(st.lists(st.integers(1, 2 * limit), min_size=50, max_size=300))
    time = Time()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nightrate.clock.monotonic", lambda: time.now)
        begun = greedy(time, Allowance(None, limit), costs, 100 * HOUR)
        took = time.now - 1000.0
    assert len(begun) == len(costs), "nothing is refused, however large"
    beyond = max(0, max(costs) - slack)
    assert most_in_a_minute(begun, costs) <= limit + beyond
    if beyond == 0:
        assert most_in_a_minute(begun, costs) <= limit
    # What was used before the last request began, and no faster than is allowed.
    assert sum(costs[:-1]) <= slack + 1 + took * limit / MINUTE
    if took > MINUTE:
        assert sum(costs) >= 0.95 * (limit * took / MINUTE) - slack


@settings(max_examples=60, deadline=None)
@given(st.integers(50_000, 10**6), st.data())
def test_small_requests_never_exceed_a_minute_of_tokens(limit: int, data: st.DataObject) -> None:
    largest = int(limit * endpoint_limits.ALLOWANCE_SLACK_SHARE)
    costs = data.draw(st.lists(st.integers(largest // 4, largest), min_size=100, max_size=300))
    time = Time()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nightrate.clock.monotonic", lambda: time.now)
        begun = greedy(time, Allowance(None, limit), costs, 100 * HOUR)
    assert most_in_a_minute(begun, costs) <= limit


def test_both_limits_hold_and_the_tighter_one_is_waited_for(time: Time) -> None:
    costs = [100] * 10_000
    begun = greedy(time, Allowance(60, 3000), costs, HOUR)
    assert most_in_a_minute(begun, costs[: len(begun)]) <= 3000
    assert len(begun) == pytest.approx(0.97 * 30 * 60, rel=0.02)
    begun = greedy(time, Allowance(10, 3000), costs, HOUR)
    assert most_in_a_minute(begun, [1] * len(begun)) <= 10


def test_what_was_reckoned_too_high_may_be_used_at_once_and_what_was_too_low_is_waited_for(
    time: Time,
) -> None:
    del time
    allowance = Allowance(None, 6000)
    assert not allowance.wait_seconds(5000), "larger than the slack, and goes all the same"
    allowance.spend(5000)
    long = allowance.wait_seconds(100)
    assert long == pytest.approx((5000 - 241 + 100) / 96, rel=0.01)
    allowance.settle(5000, 200)
    assert not allowance.wait_seconds(41)
    allowance.spend(41)
    allowance.settle(41, 141)
    assert allowance.wait_seconds(1) == pytest.approx(101 / 96, rel=0.02)


def test_what_did_not_begin_is_not_spent(time: Time) -> None:
    del time
    allowance = Allowance(1, 100)
    allowance.spend(5)
    assert allowance.wait_seconds(5)
    allowance.unspend(5)
    assert not allowance.wait_seconds(5)


def test_a_calm_hour_saves_nothing_up_beyond_the_slack(time: Time) -> None:
    allowance = Allowance(100, None)
    time.now += 10 * HOUR
    begun = greedy(time, allowance, [1] * 1000, MINUTE)
    assert len(begun) <= 100


def test_without_limits_nothing_waits() -> None:
    allowance = Allowance(None, None)
    allowance.spend(10**9)
    allowance.settle(10**9, 1)
    allowance.unspend(10**9)
    assert not allowance.wait_seconds(10**9)
