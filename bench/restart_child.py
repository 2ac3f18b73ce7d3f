"""``nightrate serve`` with a stopwatch: what has happened by when, from its start to the first ask.

Run as ``python -m bench.restart_child STAMPS serve ...``: appends a line to the file of stamps for
the first time that each step has been taken, with the time of the monotonic clock, which all
processes share.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import Any

STEPS = (
    "python runs",
    "modules are imported",
    "database is checked",
    "rooms are wired",
    "old claims are freed",
    "first claim",
    "first ask",
)


class Stopwatch:
    """Writes down the first time of each step."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._seen: set[str] = set()

    def stamp(self, step: str) -> None:
        """Write the time of a step, if it is the first of its kind."""
        assert step in STEPS, step
        if step not in self._seen:
            self._seen.add(step)
            os.write(self._file, f"{time.monotonic()} {step}\n".encode())

    def after(self, owner: Any, name: str, step: str) -> None:
        """Stamp a step whenever a function has returned."""
        inner: Callable[..., Any] = getattr(owner, name)

        def outer(*values: Any, **named: Any) -> Any:
            result = inner(*values, **named)
            self.stamp(step)
            return result

        setattr(owner, name, outer)

    def after_awaiting(self, owner: Any, name: str, step: str, *, before: bool = False) -> None:
        """Stamp a step whenever a coroutine has ended with something, or when it begins."""
        inner: Callable[..., Any] = getattr(owner, name)

        async def outer(*values: Any, **named: Any) -> Any:
            if before:
                self.stamp(step)
            result = await inner(*values, **named)
            if result is not None:
                self.stamp(step)
            return result

        setattr(owner, name, outer)


def main(path: str, arguments: list[str]) -> None:
    """Serve."""
    watch = Stopwatch(path)
    watch.stamp("python runs")
    from nightrate import cli, serving  # noqa: PLC0415 - their time is measured
    from nightrate.engines.echo import EchoEngine  # noqa: PLC0415
    from nightrate.store.sqlite import SQLiteStore  # noqa: PLC0415

    watch.stamp("modules are imported")
    watch.after(SQLiteStore, "_prepare", "database is checked")
    watch.after(serving, "open_house", "rooms are wired")
    watch.after_awaiting(SQLiteStore, "release_all", "old claims are freed")
    watch.after_awaiting(SQLiteStore, "claim", "first claim")
    watch.after_awaiting(EchoEngine, "generate", "first ask", before=True)
    sys.argv = ["nightrate", *arguments]
    cli.main()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
