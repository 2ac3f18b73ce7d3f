"""Who stands still while somebody waits, and for how long at most."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import cast

import pytest

from nightrate import clock
from nightrate.engines.precedence import BREATH_SECONDS, STANDSTILL_SECONDS_MAX, Precedence


class Timer:
    """A call that comes later."""

    def __init__(self, at: float, call: Callable[[], None]) -> None:
        self.at = at
        self.call = call
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Street:
    """Somebody who stands or goes, and the time."""

    def __init__(self) -> None:
        self.now = 100.0
        self.standing = False
        self.stood_seconds = 0.0
        self._timers: list[Timer] = []
        self.precedence = Precedence(self.stop, self.go, self.later)

    def stop(self) -> None:
        assert not self.standing
        self.standing = True

    def go(self) -> None:
        assert self.standing
        self.standing = False

    def stands(self) -> bool:
        return self.standing

    def later(self, seconds: float, call: Callable[[], None]) -> asyncio.TimerHandle:
        assert seconds >= 0
        self._timers.append(Timer(self.now + seconds, call))
        return cast("asyncio.TimerHandle", self._timers[-1])

    def pass_(self, seconds: float) -> None:
        """Let time pass, a thousandth of a second a step."""
        for _ in range(round(seconds * 1000)):
            self.now += 0.001
            self.stood_seconds += 0.001 * self.standing
            due = [timer for timer in self._timers if timer.at <= self.now]
            self._timers = [timer for timer in self._timers if timer.at > self.now]
            for timer in due:
                if not timer.cancelled:
                    timer.call()

    @property
    def waits(self) -> bool:
        """Whether it is looked at again."""
        return any(not timer.cancelled for timer in self._timers)


@pytest.fixture
def street(monkeypatch: pytest.MonkeyPatch) -> Iterator[Street]:
    street = Street()
    monkeypatch.setattr(clock, "monotonic", lambda: street.now)
    yield street
    assert not street.stands()
    assert not street.waits


def test_it_stands_until_the_first_token(street: Street) -> None:
    with street.precedence.first() as begun:
        assert street.stands()
        street.pass_(0.4)
        begun()
        assert not street.stands()
        begun()  # twice is once
        street.pass_(5)
    assert street.stood_seconds == pytest.approx(0.4)


def test_it_goes_on_when_whoever_waited_has_left(street: Street) -> None:
    with pytest.raises(KeyError), street.precedence.first():
        raise KeyError
    assert not street.stands()


def test_it_stands_until_the_last_of_several_has_its_token(street: Street) -> None:
    with street.precedence.first() as first:
        with street.precedence.first():
            first()
            assert street.stands()
        assert not street.stands()


def test_it_never_stands_for_long_without_a_breath(street: Street) -> None:
    with street.precedence.first():
        street.pass_(STANDSTILL_SECONDS_MAX + 0.002)
        assert not street.stands()
        street.pass_(BREATH_SECONDS - 0.01)
        assert not street.stands()
        street.pass_(0.02)
        assert street.stands()
        street.pass_(8.75)
    share = street.stood_seconds / 10
    assert share == pytest.approx(
        STANDSTILL_SECONDS_MAX / (STANDSTILL_SECONDS_MAX + BREATH_SECONDS), abs=0.03
    )


def test_many_who_wait_shortly_one_after_the_other_leave_it_its_breath(street: Street) -> None:
    for _ in range(100):
        with street.precedence.first():
            street.pass_(0.09)
        street.pass_(0.01)
    assert street.stood_seconds < 0.82 * 10


def test_who_comes_during_the_breath_waits_for_its_end(street: Street) -> None:
    with street.precedence.first():
        street.pass_(STANDSTILL_SECONDS_MAX + 0.1)
    with street.precedence.first():
        assert not street.stands()
        street.pass_(BREATH_SECONDS)
        assert street.stands()


def test_after_a_calm_while_all_begins_anew(street: Street) -> None:
    with street.precedence.first():
        street.pass_(0.9)
    street.pass_(BREATH_SECONDS + 0.01)
    with street.precedence.first():
        street.pass_(0.9)
        assert street.stands()
