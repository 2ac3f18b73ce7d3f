"""Clients that take their time, and clients that vanish."""

from __future__ import annotations

import contextlib
import random
import resource
import socket
import struct
import tempfile
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

import psutil

from nightrate.limits import MIB
from tests.acceptance.server import Server, request_line, until
from tests.faults.campaign import Campaign, Figures
from tests.faults.footprint import Footprint, descriptors
from tests.faults.patched import command

RECEIVE_SECONDS = 1.5
"""In place of the documented 30 seconds."""
TAKE_SECONDS = 3.0
"""In place of two minutes."""

IDLE = 1_000
GROWTH_BYTES_MAX = 64 * MIB
GET_SECONDS_MAX = 2.0
"""The slowest get of a neighbour. Ordinary machines answer in milliseconds; the one that runs this
beside other work may not."""

FILE_BYTES = 16 * MIB
"""More than the kernel takes of an answer that nobody reads."""

_PAUSE = threading.Event()
_HEAD = b"%s %s HTTP/1.1\r\nhost: x\r\n%s\r\n"
_GENERATE = b"/v1beta/models/gemini-2.5-flash:"


class Place:
    """A server under slow clients."""

    def __init__(self, server: Server) -> None:
        self.server = server
        place = urllib.parse.urlsplit(server.base_url)
        self._address = (str(place.hostname), int(place.port or 0))
        self.file = server.upload(b"x" * FILE_BYTES, "application/octet-stream").encode()
        lines = [request_line(n, "x" if n < 16 else "[[delay 900]]") for n in range(40)]
        self.endless = server.submit(b"".join(lines)).removeprefix("batches/").encode()

    def connect(self, received_bytes: int | None = None) -> socket.socket:
        """Open a connection, with a small buffer for what is received if wanted."""
        connection = socket.socket()
        if received_bytes is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, received_bytes)
        connection.settimeout(60)
        connection.connect(self._address)
        return connection

    def serves(self, connection: socket.socket) -> bool:
        """Tell whether the server still holds its end of a connection."""
        port = connection.getsockname()[1]
        ends = psutil.Process(self.server.pid).net_connections("tcp")
        return any([*end.raddr][1:] == [port] for end in ends)

    def asks(self, method: bytes, path: bytes, headers: bytes = b"") -> socket.socket:
        """Send the head of a request."""
        connection = self.connect(4096)
        connection.sendall(_HEAD % (method, path, headers))
        return connection


def vanish(connection: socket.socket) -> None:
    """Be gone without a word: the peer hears a reset."""
    linger = struct.pack("ii", 1, 0)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    connection.close()


def drip(connection: socket.socket, data: bytes, seconds: float) -> bool:
    """Send a byte now and then; whether the server hung up meanwhile."""
    deadline = time.monotonic() + seconds
    connection.settimeout(0.1)
    for byte in data:
        if time.monotonic() > deadline:
            return False
        try:
            connection.sendall(bytes([byte]))
            if connection.recv(4096) == b"":
                return True
        except TimeoutError:
            continue
        except OSError:
            return True
    return False


def hangs_up(connection: socket.socket, seconds: float) -> bool:
    """Wait for the server to end a connection, taking next to nothing of what it sends."""
    deadline = time.monotonic() + seconds
    connection.settimeout(0.2)
    while time.monotonic() < deadline:
        try:
            if connection.recv(1) == b"":
                return True
        except TimeoutError:
            continue
        except OSError:
            return True
        _PAUSE.wait(0.1)
    return False


# what clients do ----------------------------------------------------------------------------------


def slow_head(place: Place) -> str | None:
    """Send a head so slowly that it never ends."""
    with place.connect() as connection:
        head = b"GET /v1beta/batches HTTP/1.1\r\nx-slow: " + b"y" * 1000
        return None if drip(connection, head, RECEIVE_SECONDS + 8) else "a slow head is awaited"


def no_head(place: Place) -> str | None:
    """Send nothing at all."""
    with place.connect() as connection:
        gone = hangs_up(connection, RECEIVE_SECONDS + 8)
    return None if gone else "a connection without a request is kept"


def endless_head(place: Place) -> str | None:
    """Send headers without end, as fast as can be."""
    with place.connect() as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n")
        try:
            for number in range(20_000):
                connection.sendall(b"x-%d: %s\r\n" % (number, b"y" * 1000))
        except OSError:
            return None
    return "20 MB of headers were taken"


def half_body(place: Place) -> str | None:
    """Announce a body, and send a part of it."""
    with place.asks(b"POST", _GENERATE + b"generateContent", b"content-length: 99\r\n") as one:
        one.sendall(b"{")
        said = one.recv(4096)
    return None if said.startswith(b"HTTP/1.1 504") else f"half a body is answered by {said[:60]!r}"


def slow_body(place: Place) -> str | None:
    """Send a small body a byte at a time: it is slow, and it is served."""
    body = b'{"contents":[{"parts":[{"text":"slow"}]}]}'
    length = b"content-length: %d\r\nconnection: close\r\n" % len(body)
    with place.asks(b"POST", _GENERATE + b"generateContent", length) as connection:
        for byte in body:
            connection.sendall(bytes([byte]))
            _PAUSE.wait(0.02)
        said = b"".join(iter(lambda: connection.recv(4096), b""))
    return None if b'"slow"' in said else f"a slow body is answered by {said[:100]!r}"


def slow_reader(place: Place) -> str | None:
    """Take a download a byte at a time."""
    path = b"/download/v1beta/" + place.file + b":download?alt=media"
    with place.asks(b"GET", path) as connection:
        deadline = time.monotonic() + TAKE_SECONDS + 8
        while time.monotonic() < deadline:
            connection.recv(1)
            _PAUSE.wait(0.2)
            if not place.serves(connection):  # the kernel goes on with what it has taken
                return None
    return "a reader of a few bytes a second is served for ever"


def _vanishing(method: bytes, path: bytes, headers: bytes, part: bytes) -> Callable[[Place], None]:
    def client(place: Place) -> None:
        connection = place.asks(method, path.replace(b"FILE", place.file), headers)
        connection.sendall(part)
        if not part or b"stream" in path:
            connection.recv(100)
        vanish(connection)

    return client


def vanishes_while_it_follows(place: Place) -> None:
    """Follow the results of a batch that does not end, and be gone."""
    path = b"/download/v1beta/files/batch-" + place.endless + b":download?follow=true"
    connection = place.asks(b"GET", path)
    connection.recv(100)
    vanish(connection)


_LATE = b'{"contents":[{"parts":[{"text":"abcdefgh[[pace 60]]"}]}]}'
_LENGTH = b"content-length: %d\r\n" % len(_LATE)

SLOW = (slow_head, no_head, endless_head, half_body, slow_body, slow_reader)

VANISHING: dict[str, Callable[[Place], None]] = {
    "upload": _vanishing(
        *(b"POST", b"/upload/v1beta/files"),
        b"x-goog-upload-protocol: raw\r\ncontent-length: 999999\r\n",
        b"x" * 1000,
    ),
    "download": _vanishing(b"GET", b"/download/v1beta/FILE:download?alt=media", b"", b""),
    "follow": vanishes_while_it_follows,
    "stream": _vanishing(b"POST", _GENERATE + b"streamGenerateContent?alt=sse", _LENGTH, _LATE),
    "live": _vanishing(b"POST", _GENERATE + b"generateContent", _LENGTH, _LATE),
}


class Neighbour:
    """A client as one would wish them all: asks again and again, and notes how long that took."""

    def __init__(self, server: Server) -> None:
        self.seconds: list[float] = []
        self._server = server
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self._stop.wait(0.05):
            began = time.monotonic()
            self._server.get("/v1beta/batches?pageSize=1")
            self.seconds.append(time.monotonic() - began)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


@contextlib.contextmanager
def _idle(place: Place, count: int) -> Iterator[None]:
    """Hold so many connections that say nothing."""
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            stack.enter_context(place.connect())
        yield


def _provoke(place: Place, figures: Figures, points: int, chance: random.Random) -> None:
    """Let many clients vanish, one of each slow kind at once, and a crowd say nothing."""
    kinds = sorted(VANISHING)
    for number in range(points):
        kind = kinds[number % len(kinds)]
        with contextlib.suppress(OSError):  # the server may refuse faster than we are gone
            VANISHING[kind](place)
        figures.tried += 1
    complaints: list[str] = []

    def act(client: Callable[[Place], str | None]) -> None:
        try:
            complaint = client(place)
        except (OSError, AssertionError) as error:
            complaint = f"{client.__name__}: {error!r}"
        complaints.extend([complaint] if complaint else [])

    clients = [*SLOW]
    chance.shuffle(clients)
    threads = [threading.Thread(target=act, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    figures.tried += len(clients)
    figures.violations += complaints


def slow_clients(points: int | None, seed: int) -> Figures:
    """Bother a server with slow clients, and see what it costs it and the others."""
    figures, chance = Figures.none(), random.Random(seed)
    points = points or 1_000
    idle = IDLE if points >= IDLE else 10 * points
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 4 * IDLE), most))
    world = command(
        f"RECEIVE_TIMEOUT_SECONDS={RECEIVE_SECONDS}", f"TAKE_TIMEOUT_SECONDS={TAKE_SECONDS}"
    )
    with tempfile.TemporaryDirectory(prefix="nightrate-faults-") as folder:
        server = Server(Path(folder) / "data", "--engine", "echo", command=world)
        try:
            place = Place(server.start())
            until(lambda: server.asked() == 24, 60)
            open_before = descriptors(server)
            with Footprint(server) as calm:
                until(lambda: calm.peak_bytes, 30)
            with Footprint(server) as footprint, Neighbour(server) as neighbour:
                with _idle(place, idle):
                    figures.tried += idle
                    # They are dropped in time, so how many stay together depends on the machine.
                    figures.notes["silent ones together"] = str(descriptors(server) - open_before)
                    _provoke(place, figures, points, chance)
                _settled(figures, server, open_before)
            _judge(figures, calm, footprint, neighbour)
            figures.violations += [
                line for line in server.process.stderr.lines if '"level":"error"' in line
            ]
        finally:
            server.close()
    return figures


def _settled(figures: Figures, server: Server, open_before: int) -> None:
    """Wait until nothing is left of the clients, or complain."""
    left: list[str] = []

    def nothing_left() -> bool:
        left[:] = []
        if (busy := server.asked()) != 24:
            left.append(f"{busy} prompts at the engine, not 24")
        if (now := descriptors(server)) > open_before + 3:
            left.append(f"{now} descriptors, {open_before} before")
        return not left

    with contextlib.suppress(AssertionError):
        until(nothing_left, 30, every=0.2)
    figures.violations += left
    figures.notes["descriptors before and after"] = f"{open_before}, {descriptors(server)}"


def _judge(figures: Figures, calm: Footprint, footprint: Footprint, neighbour: Neighbour) -> None:
    grown = footprint.peak_bytes - calm.peak_bytes
    if grown > GROWTH_BYTES_MAX:
        figures.violations.append(f"memory grew by {grown / MIB:.0f} MiB")
    ordered = sorted(neighbour.seconds)
    if ordered[-1] > GET_SECONDS_MAX:
        figures.violations.append(f"a get beside them took {ordered[-1]:.2f} s")
    figures.notes["memory before and at most"] = f"{calm.peak}, {footprint.peak}"
    middle, last = ordered[len(ordered) // 2] * 1e3, ordered[-1] * 1e3
    figures.notes[f"{len(ordered)} gets beside them"] = f"{middle:.0f} ms median, {last:.0f} most"


CAMPAIGNS = (
    Campaign(
        name="slow-clients",
        what="clients that send and take a byte at a time, say nothing, or vanish",
        run=slow_clients,
        points=1_000,
    ),
)
