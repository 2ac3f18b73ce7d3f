"""Who waits for an answer for too long: their calls are cancelled.

This stands in the way of every request, so it costs two entries of a table and no timer each: the
table is in the order of age, and one timer looks at its oldest entries.
"""

from __future__ import annotations

import asyncio
from typing import Any

from nightrate import clock

Worker = asyncio.Task[Any]


class Overdue:
    """The calls that are open, and a limit for each.

    Args:
        seconds: how long a call may take.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._since: dict[Worker, float] = {}
        self._cancelled: set[Worker] = set()
        self._looks = False

    def begin(self, worker: Worker | None, now: float) -> Worker:
        """Take note of a call of a task: of the current one, unless the caller knows its own.

        Before Python 3.12, asking for the current one costs as much as the rest of a call's way
        through an engine that answers at once.

        Args:
            worker: the task, if it is known.
            now: the monotonic clock, which the caller has just asked.
        """
        if worker is None:
            worker = asyncio.current_task()
            assert worker is not None, "called by a task"
        self._since[worker] = now
        if not self._looks:
            self._look_in(self._seconds)
        return worker

    def since(self, worker: Worker) -> float:
        """Tell when the call of a task began (`clock.monotonic`)."""
        return self._since[worker]

    def end(self, worker: Worker) -> None:
        """Forget the call of a task."""
        del self._since[worker]
        if self._cancelled:
            self._cancelled.discard(worker)

    def caused_cancel(self, worker: Worker) -> bool:
        """Tell a task that was cancelled whether this is why, and nothing else is."""
        return worker in self._cancelled and not worker.uncancel()

    def _look_in(self, seconds: float) -> None:
        self._looks = True
        asyncio.get_running_loop().call_later(seconds, self._look)

    def _look(self) -> None:
        """Cancel the calls that are too old, and look again when the next one will be."""
        self._looks = False
        now = clock.monotonic()
        for worker, since in self._since.items():
            left = since + self._seconds - now
            if left > 0:
                self._look_in(left)
                return
            if worker not in self._cancelled:
                self._cancelled.add(worker)
                worker.cancel()
