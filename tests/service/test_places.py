"""Who may send a prompt now: capacity, live before batches, and one alone when it must be."""

from __future__ import annotations

import asyncio
from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from nightrate import limits
from nightrate.engines.base import Capacity
from nightrate.service.places import Places, _Waiter


def places(requests: int = 2, tokens: int | None = None, live: int = 0) -> Places:
    return Places(lambda: Capacity(requests, tokens, live))


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


class Visitors:
    """Tasks that wait for places, by name."""

    def __init__(self, house: Places) -> None:
        self.house = house
        self.inside: list[str] = []
        self.tasks: dict[str, asyncio.Task[None]] = {}

    async def come(
        self, name: str, cost: int = 1, *, live: bool = False, alone: bool = False
    ) -> None:
        async def visit() -> None:
            await self.house.take(cost, live=live, alone=alone)
            self.inside.append(name)

        self.tasks[name] = asyncio.create_task(visit())
        await settle()

    async def leave(
        self, name: str, cost: int = 1, *, live: bool = False, alone: bool = False
    ) -> None:
        self.inside.remove(name)
        self.house.give(cost, live=live, alone=alone)
        await settle()

    async def turn_away(self, *names: str) -> None:
        for name in names:
            self.tasks[name].cancel()
        await asyncio.gather(*(self.tasks[name] for name in names), return_exceptions=True)
        await settle()


async def test_no_more_requests_are_let_in_than_the_engine_wants() -> None:
    visitors = Visitors(places(2))
    for name in "abc":
        await visitors.come(name)
    assert visitors.inside == ["a", "b"]
    await visitors.leave("a")
    assert visitors.inside == ["b", "c"]


async def test_no_more_tokens_are_let_in_than_the_engine_wants() -> None:
    visitors = Visitors(places(10, tokens=100))
    await visitors.come("a", 60)
    await visitors.come("b", 50)
    await visitors.come("c", 10)  # it would fit, but it does not overtake
    assert visitors.inside == ["a"]
    await visitors.leave("a", 60)
    assert visitors.inside == ["b", "c"]


async def test_a_prompt_larger_than_the_whole_budget_gets_its_turn_with_nobody_else() -> None:
    visitors = Visitors(places(10, tokens=100))
    await visitors.come("small", 10)
    await visitors.come("giant", 500)
    assert visitors.inside == ["small"]
    await visitors.leave("small", 10)
    assert visitors.inside == ["giant"]
    await visitors.come("next", 1)
    assert visitors.inside == ["giant"]


async def test_live_requests_are_let_in_before_those_of_batches() -> None:
    visitors = Visitors(places(1))
    await visitors.come("first")
    await visitors.come("batch")
    await visitors.come("live", live=True)
    await visitors.leave("first")
    assert visitors.inside == ["live"]
    await visitors.leave("live")
    assert visitors.inside == ["batch"]


async def test_a_batch_request_does_not_overtake_a_live_one_that_does_not_fit_yet() -> None:
    visitors = Visitors(places(10, tokens=100))
    await visitors.come("first", 60)
    await visitors.come("live", 50, live=True)
    await visitors.come("batch", 1)
    assert visitors.inside == ["first"]
    assert not visitors.house.try_take(1)


async def test_one_alone_waits_for_all_and_keeps_all_out() -> None:
    visitors = Visitors(places(3))
    await visitors.come("a")
    await visitors.come("alone", alone=True)
    await visitors.come("live", live=True)
    assert visitors.inside == ["a"]
    assert not visitors.house.try_take(1)
    await visitors.leave("a")
    assert visitors.inside == ["alone"]
    assert not visitors.house.try_take(1)
    await visitors.leave("alone", alone=True)
    assert visitors.inside == ["live"]
    assert visitors.house.try_take(1)


async def test_two_alone_come_one_after_the_other() -> None:
    visitors = Visitors(places(3))
    await visitors.come("first", alone=True)
    await visitors.come("second", alone=True)
    assert visitors.inside == ["first"]
    await visitors.leave("first", alone=True)
    assert visitors.inside == ["second"]


async def test_a_place_is_taken_at_once_only_if_nobody_waits() -> None:
    house = places(2)
    assert house.try_take(1)
    assert house.try_take(1)
    assert not house.try_take(1)
    visitors = Visitors(house)
    await visitors.come("waiting")
    house.give(1)
    assert not house.try_take(1)


async def test_a_capacity_that_grows_is_seen() -> None:
    wanted = 1
    house = Places(lambda: Capacity(wanted))
    assert house.try_take(1)
    assert not house.try_take(1)
    wanted = 2
    assert house.try_take(1)


async def test_who_leaves_the_queue_lets_the_others_forward() -> None:
    visitors = Visitors(places(10, tokens=100))
    await visitors.come("first", 60)
    await visitors.come("large", 50)
    await visitors.come("small", 10)
    await visitors.turn_away("large")
    assert visitors.inside == ["first", "small"]
    assert (visitors.house.requests, visitors.house.tokens) == (2, 70)


async def test_who_was_let_in_and_cancelled_in_the_same_moment_gives_the_place_back() -> None:
    visitors = Visitors(places(1))
    await visitors.come("first")
    await visitors.come("second")
    visitors.house.give(1)  # lets the second in, whose task has not run yet
    await visitors.turn_away("second")
    assert visitors.house.requests == 0
    assert visitors.house.try_take(1)


@pytest.mark.parametrize("alone", [False, True])
async def test_a_place_given_back_while_a_waiter_is_being_cancelled_goes_to_the_next(
    alone: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    visitors = Visitors(places(1))
    await visitors.come("first")
    await visitors.come("leaving", alone=alone)
    await visitors.come("next")
    visitors.tasks["leaving"].cancel()
    await visitors.leave("first")  # before the task of the one who leaves has noticed
    assert visitors.inside == ["next"]
    assert visitors.house.requests == 1


class Guest(Struct):
    """Somebody inside, and what is due to them of the time."""

    cost: int
    kind: str
    shared_before: float
    due_seconds: float = 0.0


class Watched(Places):
    """Sees that nobody of a batch comes in while somebody waits."""

    @property
    def awaited(self) -> bool:
        return self._waits(self._live)

    def _let_in(self, queue: deque[_Waiter]) -> None:
        assert queue is self._alone or not self.awaited
        super()._let_in(queue)


class Crowd:
    """People who come, leave and give up in any order."""

    def __init__(self, live_max: int) -> None:
        self.capacity = Capacity(3, 100, live_max)
        self.house = Watched(lambda: self.capacity)
        self.inside: list[Guest] = []
        self.tasks: list[asyncio.Task[None]] = []
        self.now = 1000.0
        self.busy_seconds = self.shared_seconds = 0.0

    async def step(self, kind: str, number: int) -> None:
        if kind == "wait":
            await settle()
        elif kind == "pass":
            await settle()
            self.now += number
            self.busy_seconds += number if self.inside else 0
            for guest in self.inside:
                guest.due_seconds += number / len(self.inside)
        elif kind == "leave" and self.inside:
            guest = self.inside.pop(number % len(self.inside))
            live, alone = guest.kind == "live", guest.kind == "alone"
            shared = self.house.give(guest.cost, live=live, alone=alone) - guest.shared_before
            assert shared == pytest.approx(guest.due_seconds)
            self.shared_seconds += shared
        elif kind == "give up" and self.tasks:
            self.tasks[number % len(self.tasks)].cancel()
        elif kind in {"batch", "live", "alone"}:
            self.tasks.append(asyncio.create_task(self.visit(kind, number)))
        elif kind in {"batch at once", "live at once"}:
            self.hurry(kind.removesuffix(" at once"), number)
        self.judge()

    async def visit(self, kind: str, cost: int) -> None:
        shared = await self.house.take(cost, live=kind == "live", alone=kind == "alone")
        self.inside.append(Guest(cost, kind, shared))

    def hurry(self, kind: str, cost: int) -> None:
        """Come in only if there is a place at once."""
        awaited = self.house.awaited
        if self.house.try_take(cost, live=kind == "live"):
            assert not awaited
            self.inside.append(Guest(cost, kind, self.house.shared_seconds))

    def judge(self) -> None:
        house, capacity = self.house, self.capacity
        together = house.requests - house.apart
        assert house.requests <= capacity.requests + capacity.live
        assert house.requests - house.live <= capacity.requests
        assert house.apart <= min(house.live, capacity.live)
        assert house.tokens <= 100 or together == 1
        alone = [guest for guest in self.inside if guest.kind == "alone"]
        assert not alone or house.joined or self.inside == alone[:1]
        assert not alone or all(guest.kind != "batch" for guest in self.inside)

    async def go_home(self) -> None:
        for _ in range(len(self.tasks) + 1):
            await self.step("wait", 0)
            while self.inside:
                await self.step("leave", 0)
        assert all(task.done() for task in self.tasks)
        assert (self.house.requests, self.house.tokens) == (0, 0)
        assert (self.house.live, self.house.apart) == (0, 0)
        ends = await asyncio.gather(*self.tasks, return_exceptions=True)
        assert all(end is None or isinstance(end, asyncio.CancelledError) for end in ends)


KINDS = st.sampled_from(
    [
        *("batch", "batch at once", "live", "live at once", "alone"),
        *("wait", "leave", "give up", "pass"),
    ]
)


@given(st.lists(st.tuples(KINDS, st.integers(0, 60)), max_size=60), st.integers(0, 2))
def test_the_books_balance_whoever_comes_leaves_or_gives_up(
    steps: list[tuple[str, int]], live_max: int
) -> None:
    async def play() -> None:
        crowd = Crowd(live_max)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("nightrate.clock.monotonic", lambda: crowd.now)
            for kind, number in steps:
                await crowd.step(kind, number)
            await crowd.go_home()
        assert crowd.shared_seconds == pytest.approx(crowd.busy_seconds)

    asyncio.run(play())


async def test_a_share_begins_when_the_place_is_given_not_when_its_taker_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 10.0
    monkeypatch.setattr("nightrate.clock.monotonic", lambda: now)
    house = places(1)
    before = await house.take(1)
    waiting = asyncio.create_task(house.take(1))
    await settle()
    now = 13.0
    assert house.give(1) - before == 3.0
    now = 20.0  # a loop that is busy elsewhere
    before = await waiting
    now = 21.0
    assert house.give(1) - before == 8.0
    now = 50.0
    assert house.try_take(1)
    assert house.shared_seconds == 11.0  # nobody was inside meanwhile


async def test_whoever_waits_is_let_in_when_the_capacity_grows_by_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("nightrate.limits.IDLE_POLL_SECONDS", 0.001)
    most = 1
    house = Places(lambda: Capacity(most))
    await house.take(1)
    waiting = asyncio.create_task(house.take(1))
    await settle()
    assert not waiting.done()
    most = 2
    await waiting  # nobody has left
    assert house.requests == 2


async def test_no_batch_fills_the_places_that_are_kept_for_live_requests() -> None:
    visitors = Visitors(places(1, live=2))
    await visitors.come("batch")
    await visitors.come("next")
    for name in ("one", "two", "three"):
        await visitors.come(name, live=True)
    assert visitors.inside == ["batch", "one", "two"]
    assert visitors.house.apart == 2
    assert not visitors.house.try_take(1, live=True)
    await visitors.leave("one", live=True)
    assert visitors.inside == ["batch", "two", "three"]
    await visitors.leave("two", live=True)
    assert visitors.house.try_take(1, live=True)
    assert not visitors.house.try_take(1, live=True)
    await visitors.leave("batch")
    assert visitors.inside == ["three", "next"]
    assert visitors.house.requests == 3


async def test_live_requests_take_the_whole_engine_and_a_batch_what_is_left() -> None:
    visitors = Visitors(places(2, live=1))
    for name in ("one", "two", "three"):
        await visitors.come(name, live=True)
    assert visitors.inside == ["one", "two", "three"]
    await visitors.come("batch")
    assert "batch" not in visitors.inside
    await visitors.leave("one", live=True)
    assert visitors.inside == ["two", "three", "batch"]


async def test_a_batch_shrinks_as_long_as_live_requests_wait() -> None:
    visitors = Visitors(places(2, live=1))
    await visitors.come("first")
    await visitors.come("second")
    await visitors.come("third")
    for name in ("one", "two", "three"):
        await visitors.come(name, live=True)
    assert visitors.inside == ["first", "second", "one"]
    await visitors.leave("first")
    await visitors.leave("second")
    assert visitors.inside == ["one", "two", "three"]
    assert not visitors.house.try_take(1)


async def test_live_requests_beyond_the_kept_places_share_the_tokens_of_batches() -> None:
    visitors = Visitors(places(3, tokens=100, live=1))
    await visitors.come("kept", 90, live=True)
    await visitors.come("batch", 60)
    await visitors.come("large", 50, live=True)
    await visitors.come("small", 1)
    assert visitors.inside == ["kept", "batch"]
    await visitors.leave("kept", 90, live=True)
    assert visitors.inside == ["batch", "large", "small"]
    assert (visitors.house.apart, visitors.house.tokens) == (1, 61)


@pytest.mark.parametrize("first", ["kept", "sharing"])
async def test_tokens_are_given_back_in_whatever_order_live_requests_leave(first: str) -> None:
    visitors = Visitors(places(3, tokens=100, live=1))
    costs = {"kept": 20, "sharing": 30}
    for name, cost in costs.items():
        await visitors.come(name, cost, live=True)
    assert (visitors.house.apart, visitors.house.tokens) == (1, 30)
    await visitors.leave(first, costs.pop(first), live=True)
    assert visitors.house.tokens == (30 if first == "kept" else 0)
    ((last, cost),) = costs.items()
    await visitors.leave(last, cost, live=True)
    house = visitors.house
    assert (house.requests, house.live, house.apart, house.tokens) == (0, 0, 0, 0)


async def test_kept_places_that_become_fewer_are_seen() -> None:
    capacity = Capacity(6, live=2)
    visitors = Visitors(Places(lambda: capacity))
    for name in "abc":
        await visitors.come(name)
    await visitors.come("one", live=True)
    capacity = Capacity(3, live=1)
    assert not visitors.house.try_take(1)
    assert not visitors.house.try_take(1, live=True)
    await visitors.leave("one", live=True)
    assert not visitors.house.try_take(1)
    assert visitors.house.try_take(1, live=True)


async def test_alone_means_without_live_requests_too() -> None:
    visitors = Visitors(places(2, live=2))
    await visitors.come("live", live=True)
    await visitors.come("poison", alone=True)
    assert visitors.inside == ["live"]
    assert not visitors.house.try_take(1, live=True)
    await visitors.leave("live", live=True)
    assert visitors.inside == ["poison"]
    assert not visitors.house.try_take(1, live=True)
    await visitors.come("late", live=True)
    await visitors.leave("poison", alone=True)
    assert visitors.inside == ["late"]


async def test_a_live_request_that_leaves_the_queue_takes_nothing_with_it() -> None:
    visitors = Visitors(places(1, live=1))
    for name in ("one", "two", "three"):
        await visitors.come(name, live=True)
    await visitors.turn_away("three")
    await visitors.leave("one", live=True)
    await visitors.leave("two", live=True)
    assert (visitors.house.requests, visitors.house.live, visitors.house.apart) == (0, 0, 0)
    assert visitors.house.try_take(1, live=True)


class Suspect:
    """One that runs alone, and a clock that is set by hand."""

    def __init__(self, patch: pytest.MonkeyPatch, visitors: Visitors) -> None:
        self.now = 1000.0
        patch.setattr("nightrate.clock.monotonic", lambda: self.now)
        self.visitors = visitors

    async def passes(self, seconds: float) -> None:
        """Have time pass, and everybody looked at again."""
        self.now += seconds
        self.visitors.house._look_again()
        await settle()


async def test_a_live_request_waits_for_one_alone_so_long_and_comes_in_beside_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    visitors = Visitors(places(2, live=1))
    suspect = Suspect(monkeypatch, visitors)
    await visitors.come("suspect", alone=True)
    await visitors.come("live", live=True)
    await visitors.come("batch")
    await suspect.passes(limits.ALONE_SECONDS_MAX - 1)
    assert visitors.inside == ["suspect"]
    assert not visitors.house.joined
    await suspect.passes(1)
    assert visitors.inside == ["suspect", "live"]
    assert visitors.house.try_take(1, live=True), "it is alone no more"
    assert not visitors.house.try_take(1)
    await visitors.leave("suspect", alone=True)
    assert visitors.inside == ["live", "batch"]


async def test_a_live_request_passes_those_who_wait_to_be_alone_when_it_has_waited_so_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    visitors = Visitors(places(2, live=1))
    suspect = Suspect(monkeypatch, visitors)
    await visitors.come("long")
    await visitors.come("suspect", alone=True)
    await visitors.come("live", live=True)
    await suspect.passes(limits.ALONE_SECONDS_MAX - 1)
    await visitors.come("late", live=True)
    await suspect.passes(1)
    assert visitors.inside == ["long", "live"]
    assert not visitors.house.joined, "nobody was alone yet"
    await visitors.leave("long")
    await visitors.leave("live", live=True)
    assert visitors.inside == ["suspect"]
    await visitors.leave("suspect", alone=True)
    assert visitors.inside == ["late"]
