"""What a person at a terminal sees while something takes longer than two seconds."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from nightrate import clock, limits
from nightrate.domain import backup
from nightrate.domain.batch import Batch

LONG_SECONDS = 2.0

PLAIN_LINE_SECONDS = 10.0
"""Without a terminal: how often a line is written."""


class _Shown:
    """What is shown while a block runs."""

    _progress: Progress

    def __enter__(self) -> Self:
        """Show it."""
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave its last state on the screen."""
        self._progress.stop()


class Steps:
    """Tells the steps of an opening engine, each once, with its share in tenths."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._status = self._console.status("")
        self._last = ""

    def tell(self, doing: str, share: float | None) -> None:
        """Show a step; on a terminal it is a line that moves."""
        done = "" if share is None else f" {share:.0%}"
        if self._console.is_terminal:
            self._status.update(f"{doing}{done}")
            self._status.start()
        elif doing != self._last:
            self._last = doing
            self._console.print(doing, highlight=False)

    def done(self) -> None:
        """Take the moving line away."""
        self._status.stop()


class Pace:
    """Tells how much has been read, and how fast, of something that takes its time."""

    def __init__(self, title: str, things: str = "blobs") -> None:
        self._console = Console(stderr=True)
        self._status = self._console.status("")
        self._title = title
        self._things = things
        self._began = self._spoke_at = clock.monotonic()

    def tell(self, things: int, count: int) -> None:
        """Show how far it has come; on a terminal it is a line that moves."""
        now = clock.monotonic()
        seconds = now - self._began
        terminal = self._console.is_terminal
        if seconds < LONG_SECONDS or (not terminal and now - self._spoke_at < PLAIN_LINE_SECONDS):
            return
        mebibytes = count / limits.MIB
        line = f"{self._title}: {things} {self._things}, {mebibytes:.0f} MiB"
        line += f", {mebibytes / seconds:.0f} MiB/s"
        self._spoke_at = now
        if terminal:
            self._status.update(line)
            self._status.start()
        else:
            self._console.print(line, highlight=False, markup=False, soft_wrap=True)

    def done(self) -> None:
        """Take the moving line away."""
        self._status.stop()


class Bar(_Shown):
    """The progress of a run: done, failed, rate and the time that is left."""

    def __init__(self, title: str) -> None:
        self._console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[failed]} failed, {task.fields[rate]}"),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task = self._progress.add_task(title, total=None, failed=0, rate="")
        self._title = title
        self._first: tuple[float, int] | None = None
        self._spoke_at = clock.monotonic()

    def tell(self, doing: str, share: float | None) -> None:
        """Show what an opening engine is doing."""
        done = "" if share is None else f" {share:.0%}"
        self._progress.update(self._task, description=f"{doing}{done}")
        if not self._console.is_terminal and share in {None, 0.0}:
            self._console.print(doing, highlight=False, markup=False, soft_wrap=True)

    def watch(self, batch: Batch) -> None:
        """Show a batch's counters."""
        tally = batch.tally
        self.count(batch.request_count, tally.succeeded + tally.failed, tally.failed)

    def count(self, whole: int | None, done: int, failed: int) -> None:
        """Show counters. The rate counts from when this process began to watch."""
        now = clock.monotonic()
        if self._first is None and whole is not None:
            self._first = (now, done)
        rate = 0.0
        if self._first is not None and now > self._first[0]:
            rate = (done - self._first[1]) / (now - self._first[0])
        self._progress.update(
            self._task,
            description=self._title,
            total=whole,
            completed=done,
            failed=failed,
            rate=f"{rate:.1f} requests/s",
        )
        if not self._console.is_terminal and now - self._spoke_at >= PLAIN_LINE_SECONDS:
            self._spoke_at = now
            self._speak(whole, done, failed, rate)

    def _speak(self, whole: int | None, done: int, failed: int, rate: float) -> None:
        left = f", {(whole - done) / rate:.0f} s left" if whole is not None and rate > 0 else ""
        line = (
            f"{self._title}: {done} of {'?' if whole is None else whole} done,"
            f" {failed} failed, {rate:.1f} requests/s{left}"
        )
        self._console.print(line, highlight=False, markup=False, soft_wrap=True)


class Copying(_Shown):
    """The progress of a backup or a restore: bytes, rate and the time that is left."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(binary_units=True),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task = self._progress.add_task(title, total=None)
        self._began_at = self._spoke_at = clock.monotonic()

    def tell(self, so_far: backup.Progress) -> None:
        """Show how far it is."""
        self._progress.update(
            self._task,
            description=f"{self._title}: {so_far.doing}",
            total=so_far.whole_bytes or None,
            completed=so_far.done_bytes,
        )
        now = clock.monotonic()
        if not self._console.is_terminal and now - self._spoke_at >= PLAIN_LINE_SECONDS:
            self._spoke_at = now
            rate = so_far.done_bytes / (now - self._began_at) / 1e6
            line = (
                f"{self._title}: {so_far.doing}, {so_far.done_bytes / 1e6:.0f} of"
                f" {so_far.whole_bytes / 1e6:.0f} MB, {rate:.0f} MB/s"
            )
            self._console.print(line, highlight=False, markup=False, soft_wrap=True)
