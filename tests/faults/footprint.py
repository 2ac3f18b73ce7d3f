"""What a server and all the processes that it started hold: private memory and descriptors."""

from __future__ import annotations

import contextlib
import threading
from typing import Self

import psutil

from nightrate.limits import MIB
from tests.acceptance.server import Server


class Footprint:
    """Watches the private memory of a server's whole family while the block runs."""

    def __init__(self, server: Server, every_seconds: float = 0.1) -> None:
        self.peak_bytes = 0
        self._server = server
        self._every_seconds = every_seconds
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    @property
    def peak(self) -> str:
        """The most that was seen, for a person."""
        return f"{self.peak_bytes / MIB:.0f} MiB"

    def _run(self) -> None:
        while not self._stop.wait(self._every_seconds):
            self.peak_bytes = max(self.peak_bytes, private_bytes(self._server))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def private_bytes(server: Server) -> int:
    """Sum up the memory that would be free without the server."""
    total = 0
    for process in _family(server):
        with contextlib.suppress(psutil.NoSuchProcess):
            total += process.memory_full_info().uss
    return total


def descriptors(server: Server) -> int:
    """Count what the server has open."""
    return int(psutil.Process(server.pid).num_fds())


def _family(server: Server) -> list[psutil.Process]:
    with contextlib.suppress(psutil.NoSuchProcess):
        return [psutil.Process(server.pid), *server.process.descendants()]
    return []
