"""Time jumps, and whoever never waits is found."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest

from nightrate.testing.simulation.loop import Standstill, VirtualLoop

T = TypeVar("T")


def run(main: Coroutine[Any, Any, T]) -> tuple[T, float]:
    """Run something, and tell how long it thinks that it took."""
    loop = VirtualLoop()
    try:
        return loop.run_until_complete(main), loop.time()
    finally:
        loop.close()


async def wait(seconds: float) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(seconds):
            await asyncio.Event().wait()


def test_a_long_wait_takes_no_time() -> None:
    _, seconds = run(wait(86_400 * 365))
    assert seconds == pytest.approx(86_400 * 365)


def test_waits_end_in_the_order_of_their_length() -> None:
    ended: list[float] = []

    async def one(seconds: float) -> None:
        await wait(seconds)
        ended.append(seconds)

    async def main() -> None:
        await asyncio.gather(one(3), one(1), one(2))

    _, seconds = run(main())
    assert ended == [1, 2, 3]
    assert seconds == pytest.approx(3)


def test_waiting_for_nobody_is_a_standstill() -> None:
    with pytest.raises(Standstill):
        run(asyncio.Event().wait())


def test_never_waiting_is_a_standstill(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nightrate.testing.simulation.loop.TURNS_AT_ONCE_MAX", 100)

    async def main() -> None:
        loop = asyncio.get_running_loop()

        def again() -> None:
            loop.call_soon(again)

        again()
        await asyncio.Event().wait()

    with pytest.raises(Standstill):
        run(main())
