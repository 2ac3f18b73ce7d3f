"""Start a second program on a data directory that a server holds: alive, stopped, killed, starting.

One holds it, whatever happens; the others say so and leave at once, and the holder is unharmed.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.acceptance.server import Process, Server, request_line, text_of
from tests.faults.campaign import Campaign, Figures

IN_USE = "is in use by another nightrate; stop that one or choose another --data"
LEAVES_SECONDS_MAX = 60.0
AT_ONCE = 3


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Server]:
    """Give a server at work on a batch that takes a while."""
    server = Server(folder / "data", "--engine", "echo")
    try:
        yield server.start()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(server.pid, signal.SIGCONT)
        server.close()


def second(server: Server) -> Process:
    """Start another server on the same directory."""
    return Process(("serve", "--engine", "echo", "--port", "0", "--data", str(server.data)))


def refused(process: Process) -> list[str]:
    """Wait for a program that cannot have the directory; it must say so."""
    try:
        status = process.wait(LEAVES_SECONDS_MAX)
    finally:
        process.close()
    said = "\n".join(process.stderr.lines)
    return [] if status == 1 and IN_USE in said else [f"it left with {status}, saying {said!r}"]


def unharmed(server: Server, name: str) -> list[str]:
    """Let the holder finish its batch and do another."""
    wrong = []
    for batch in (name, server.submit(request_line("b", "after"))):
        server.finish(batch)
        texts = [text_of(one) for one in server.results(batch)]
        if texts not in (["[[delay 2]] before"], ["after"]):
            wrong.append(f"{batch} holds {texts}")
    return wrong


def alive(folder: Path) -> list[str]:
    """A server holds it, and commands about keys go through that server."""
    with running(folder) as server:
        name = server.submit(request_line("a", "[[delay 2]] before"))
        wrong = refused(second(server))
        keys = Process(("keys", "list", "--data", str(server.data)))
        status = keys.wait(LEAVES_SECONDS_MAX)
        wrong += [f"keys list left with {status}: {keys.said}"] if status else []
        return wrong + unharmed(server, name)


def stopped(folder: Path) -> list[str]:
    """A server that is stopped with SIGSTOP holds it still, and goes on where it was."""
    with running(folder) as server:
        name = server.submit(request_line("a", "[[delay 2]] before"))
        os.kill(server.pid, signal.SIGSTOP)
        wrong = refused(second(server))
        os.kill(server.pid, signal.SIGCONT)
        return wrong + unharmed(server, name)


def killed(folder: Path) -> list[str]:
    """The lock of a server ends with it: the next one begins at once."""
    with running(folder) as server:
        name = server.submit(request_line("a", "[[delay 2]] before"))
        server.kill()
        server.restart()
        return unharmed(server, name)


def race(folder: Path) -> list[str]:
    """Of several that start at once on an empty directory, one gets it."""
    servers = [Server(folder / "data", "--engine", "echo") for _ in range(AT_ONCE)]
    try:
        for server in servers:
            server.spawn()
        ready = [server for server in servers if _became_ready(server)]
        if len(ready) != 1:
            return [f"{len(ready)} servers hold one directory"]
        (holder,) = ready
        wrong = [one for other in servers if other is not holder for one in refused(other.process)]
        name = holder.submit(request_line("a", "[[delay 2]] before"))
        return wrong + unharmed(holder, name)
    finally:
        for server in servers:
            server.close()


def _became_ready(server: Server) -> bool:
    with contextlib.suppress(AssertionError):
        server.ready()
        return True
    return False


POINTS: tuple[Callable[[Path], list[str]], ...] = (stopped, race, alive, killed)


def run(count: int | None, _seed: int) -> Figures:
    """Go through the points, so many in all or each once."""
    figures = Figures.none()
    for number in range(count or len(POINTS)):
        point = POINTS[number % len(POINTS)]
        folder = Path(tempfile.mkdtemp(prefix="nightrate-faults-"))
        try:
            wrong = point(folder)
        finally:
            shutil.rmtree(folder)
        figures.tried += 1
        figures.violations += [f"{point.__name__}: {sentence}" for sentence in wrong]
    return figures


CAMPAIGNS = (
    Campaign(
        name="two-servers",
        what="a second program begins on a directory that a server holds, stopped or killed",
        run=run,
    ),
)
