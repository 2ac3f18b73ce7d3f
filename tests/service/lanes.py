"""A lane that is at work, for tests of what goes through it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from nightrate.engines.base import Engine
from nightrate.engines.echo import EchoEngine, EchoOptions
from nightrate.service.lane import Lane


@asynccontextmanager
async def lane_of(engine: Engine | None = None, name: str = "echo") -> AsyncGenerator[Lane]:
    """Open an engine, `EchoEngine` if none is given, in a lane of its own; close it at the end."""
    lane = Lane(name, engine or EchoEngine(EchoOptions()))
    task = asyncio.create_task(lane.keep_open())
    try:
        await lane.settled.wait()
        yield lane
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
