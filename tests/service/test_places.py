"""Who may send a prompt now: capacity, live before batches, and one alone when it must be."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from nightrate.engines.base import Capacity
from nightrate.service.places import Places


def places(requests: int = 2, tokens: int | None = None) -> Places:
    return Places(lambda: Capacity(requests, tokens))


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


class Crowd:
    """People who come, leave and give up in any order."""

    def __init__(self, live_max: int) -> None:
        self.house = Places(lambda: Capacity(3, 100), live_max)
        self.live_max = live_max
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
        self.judge()

    async def visit(self, kind: str, cost: int) -> None:
        shared = await self.house.take(cost, live=kind == "live", alone=kind == "alone")
        self.inside.append(Guest(cost, kind, shared))

    def judge(self) -> None:
        together = self.house.requests - self.house.apart
        assert together <= 3
        assert self.house.apart <= self.live_max
        assert self.house.tokens <= 100 or together == 1
        alone = [guest for guest in self.inside if guest.kind == "alone"]
        assert not alone or self.inside == alone[:1]

    async def go_home(self) -> None:
        for _ in range(len(self.tasks) + 1):
            await self.step("wait", 0)
            while self.inside:
                await self.step("leave", 0)
        assert all(task.done() for task in self.tasks)
        assert (self.house.requests, self.house.tokens, self.house.apart) == (0, 0, 0)
        ends = await asyncio.gather(*self.tasks, return_exceptions=True)
        assert all(end is None or isinstance(end, asyncio.CancelledError) for end in ends)


KINDS = st.sampled_from(["batch", "live", "alone", "wait", "leave", "give up", "pass"])


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


async def test_live_requests_have_places_of_their_own_where_the_engine_has_some() -> None:
    visitors = Visitors(Places(lambda: Capacity(1), live_max=2))
    await visitors.come("batch")
    await visitors.come("next")
    for name in ("one", "two", "three"):
        await visitors.come(name, live=True)
    assert visitors.inside == ["batch", "one", "two"]
    assert visitors.house.apart == 2
    assert not visitors.house.try_take(1, live=True)
    await visitors.leave("one", live=True)
    assert visitors.inside == ["batch", "two", "three"]
    await visitors.leave("batch")
    assert visitors.inside == ["two", "three", "next"]
    await visitors.leave("two", live=True)
    assert visitors.house.try_take(1, live=True)
    assert visitors.house.requests == 3


async def test_live_requests_that_wait_for_places_of_their_own_keep_no_batch_waiting() -> None:
    visitors = Visitors(Places(lambda: Capacity(2), live_max=1))
    await visitors.come("one", live=True)
    await visitors.come("two", live=True)
    await visitors.come("batch")
    assert visitors.inside == ["one", "batch"]


async def test_alone_means_without_live_requests_too() -> None:
    visitors = Visitors(Places(lambda: Capacity(2), live_max=2))
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
    visitors = Visitors(Places(lambda: Capacity(1), live_max=1))
    await visitors.come("one", live=True)
    await visitors.come("two", live=True)
    await visitors.turn_away("two")
    await visitors.leave("one", live=True)
    assert (visitors.house.requests, visitors.house.apart) == (0, 0)
    assert visitors.house.try_take(1, live=True)
