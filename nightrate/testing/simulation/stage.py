"""What the production code meets in place of the real time, chance, disk and bounds."""

from __future__ import annotations

import contextlib
import gc
import logging
from collections.abc import Iterator
from typing import Any, Final

from nightrate import clock, limits, planning_limits
from nightrate.store import blobs, sqlite
from nightrate.store.migrate import steps
from nightrate.testing.simulation.world import World
from nightrate.work import planning_process

BOUNDS: Final[dict[str, float]] = {
    "OPEN_SHARDS_MAX": 3,
    "LEASE_SECONDS": 8.0,
    "ENGINE_REOPEN_SECONDS": 5.0,
    "DRAIN_SECONDS": 5.0,
    "JOURNAL_SYNC_BYTES": 1_500,
    "JOURNAL_HELD_BYTES_MAX": 3_000,
    "READ_BYTES": 400,
    "WRITE_BYTES": 400,
    "SEGMENT_WRITE_BYTES": 1_000,
    "LINES_HELD_BYTES_MAX": 3_000,
    "CHECK_BYTES": 300,
    "UPLOAD_SYNC_BYTES": 300,
    "UPLOADS_OPEN_MAX": 2,
    "SEGMENTS_PAGE_SIZE": 2,
    "SWEEP_ROWS_MAX": 3,
    "SCAN_NAMES": 3,
    "ORPHAN_SECONDS": 16.0,
}
"""Bounds as small as a few requests need to meet them; the code has no other way for large ones."""

PLANNING_BOUNDS: Final[dict[str, float]] = {"SHARD_REQUESTS_MAX": 4, "FIRST_SHARD_REQUESTS": 2}
"""The same of planning."""


@contextlib.contextmanager
def staged(world: World) -> Iterator[None]:
    """Play in a world: time and chance are its own, syncs go to its disk, and what is logged too.

    Garbage is not collected meanwhile, which could happen at any moment.
    """
    scribe = _Scribe(world)
    log = logging.getLogger("nightrate")
    silent = log.level, log.propagate
    log.addHandler(scribe)
    log.setLevel(logging.INFO)
    log.propagate = False
    gc.disable()
    try:
        with contextlib.ExitStack() as stack:
            for module, bounds in ((limits, BOUNDS), (planning_limits, PLANNING_BOUNDS)):
                for name, value in bounds.items():
                    stack.enter_context(_replaced(module, name, value))
            for name, member in {
                "now": world.now,
                "monotonic": world.monotonic,
                "sleep": world.sleep,
                "new_id": lambda length: world.own_chance().new_id(length),
                "secret_bytes": lambda length: world.own_chance().secret_bytes(length),
                "jitter": lambda: world.own_chance().share(),
            }.items():
                stack.enter_context(_replaced(clock, name, member))
            known = steps()  # read once, not at each of a hundred starts
            stack.enter_context(_replaced(sqlite, "steps", lambda: known))
            stack.enter_context(_replaced(blobs, "cut_file", world.disk.cut_file))
            for module in (blobs, planning_process):
                stack.enter_context(_replaced(module, "sync_file", world.disk.sync_file))
                stack.enter_context(_replaced(module, "sync_folder", world.disk.sync_folder))
            yield
    finally:
        gc.enable()
        log.removeHandler(scribe)
        log.setLevel(silent[0])
        log.propagate = silent[1]


@contextlib.contextmanager
def _replaced(holder: Any, name: str, value: object) -> Iterator[None]:
    assert hasattr(holder, name), f"{holder} has no {name}"
    real = getattr(holder, name)
    setattr(holder, name, value)
    try:
        yield
    finally:
        setattr(holder, name, real)


class _Scribe(logging.Handler):
    """Writes log lines into the trace of a world."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler.emit`."""
        self._world.note(f"{record.levelname.lower()}: {record.getMessage()}")
