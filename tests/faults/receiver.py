"""A receiver of webhooks that misbehaves, in a process of its own.

``python -m tests.faults.receiver PORT MANNER NOTES [CERTIFICATE KEY]``; it writes a line into the
notes for each call that reached it.
"""

from __future__ import annotations

import contextlib
import http.server
import socket
import ssl
import subprocess
import sys
import threading
from pathlib import Path

import msgspec
from msgspec import Struct

MANNERS = ("well", "slowly", "hang", "reset", "fail", "redirect", "endless", "drip")
"""How it answers. Those after the second give no answer that counts, but for the endless one, whose
status does."""

_PAUSE = threading.Event()


class Heard(Struct, frozen=True):
    """One call that reached the receiver."""

    path: str
    manner: str
    message_id: str
    batch: str


class _Handler(http.server.BaseHTTPRequestHandler):
    server: _Server

    def do_POST(self) -> None:
        """Note the call, and answer in the manner of the day."""
        body = self.rfile.read(int(self.headers["content-length"]))
        manner = self.server.manner
        heard = Heard(
            self.path,
            manner,
            self.headers["webhook-id"],
            msgspec.json.decode(body)["data"]["id"],
        )
        with self.server.notes.open("ab") as notes:
            notes.write(msgspec.json.encode(heard) + b"\n")
        if manner == "hang":
            _PAUSE.wait()
        elif manner == "reset":
            self.connection.shutdown(socket.SHUT_RDWR)
        elif manner == "drip":
            for byte in b"HTTP/1.1 200 OK\r\nx-drip: " + b"y" * 10_000:
                self.wfile.write(bytes([byte]))
                _PAUSE.wait(0.1)
        else:
            self._answer(manner)

    def _answer(self, manner: str) -> None:
        if manner == "slowly":
            _PAUSE.wait(0.3)
        self.send_response({"fail": 500, "redirect": 301}.get(manner, 200))
        if manner == "redirect":
            self.send_header("location", "/elsewhere")
        self.end_headers()
        while manner == "endless":
            self.wfile.write(b"more and more " * 1000)

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, port: int, manner: str, notes: Path) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.manner = manner
        self.notes = notes

    def handle_error(self, *_arguments: object) -> None:
        """Say nothing: a client that leaves is what we want."""


class Receiver:
    """Starts and ends that process; its port stays."""

    def __init__(self, folder: Path, certificate: tuple[Path, Path] | None = None) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = int(free.getsockname()[1])
        self._notes = folder / f"heard-{self.port}"
        self._notes.touch()
        self._certificate = certificate
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it is called."""
        return f"{'https' if self._certificate else 'http'}://127.0.0.1:{self.port}/hook"

    def behave(self, manner: str, certificate: tuple[Path, Path] | None = None) -> None:
        """Be there, and answer so from now on."""
        self.end()
        files = certificate or self._certificate or ()
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "tests.faults.receiver"),
                *(str(self.port), manner, str(self._notes), *map(str, files)),
            ],
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline(), "it did not start"

    def end(self) -> None:
        """Be down."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._process = None

    def heard(self) -> list[Heard]:
        """Give every call that reached it."""
        return [
            msgspec.json.decode(line, type=Heard) for line in self._notes.read_bytes().splitlines()
        ]


def main() -> None:
    """Serve until killed."""
    port, manner, notes, *files = sys.argv[1:]
    server = _Server(int(port), manner, Path(notes))
    if files:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*files)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    with contextlib.suppress(KeyboardInterrupt):
        server.serve_forever()


if __name__ == "__main__":
    main()
