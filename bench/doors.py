"""How fast files come in and results go out, against a bare Starlette handler, in turns.

The same file goes to a real server and to `bench.bare_doors`, each a process of its own, from a
client that costs next to nothing. Uploads: in one call, and in resumable pieces of 8 MiB of which
each is synced before it is acknowledged; the bare handler syncs once at the end, and as often as
ours for comparison. Downloads: the result file of an echo batch, which is many segments whose
checksums are checked when they are read first; the bare handler reads one file of the same bytes.

A ratio is the median over the rounds of two speeds in the same round. Run with
``python -m bench.doors``.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import http.client
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from http import HTTPStatus
from pathlib import Path

import psutil

from bench.data_path import write_input
from bench.server import Served, served

FILE_BYTES = 512 << 20
PIECE_BYTES = 8 << 20
SYNC_BYTES = 64 << 20
"""How often our server syncs a body that comes in one call."""

READ_BYTES = 1 << 20
TEXT_BYTES = 2_000
ROUNDS = 5
WANTED = 0.7

Speeds = dict[str, list[float]]


class Meter:
    """Speeds by name, in MB/s, with the processor time that the server took for them."""

    def __init__(self) -> None:
        self.speeds: Speeds = {}
        self._processor: Speeds = {}

    def time(self, name: str, process_id: int, move: Callable[[], int]) -> None:
        """Move bytes and take note of how fast."""
        process = psutil.Process(process_id)
        before, started = process.cpu_times(), time.perf_counter()
        moved = move()
        seconds, after = time.perf_counter() - started, process.cpu_times()
        self.speeds.setdefault(name, []).append(moved / seconds / 1e6)
        used = after.user + after.system - before.user - before.system
        self._processor.setdefault(name, []).append(used / moved * 1e9)

    def show(self, against: str, *, wanted: float | None = WANTED) -> None:
        """Print every name that is not shown yet, with its ratio to one of them."""
        for name, speeds in self.speeds.items():
            pairs = zip(speeds, self.speeds[against], strict=True)
            ratio = statistics.median(ours / bare for ours, bare in pairs)
            end = f"   (wanted: at least {wanted})" if name.startswith("ours") and wanted else ""
            print(
                f"  {name:38} {statistics.median(speeds):6.0f} MB/s, processor"
                f" {statistics.median(self._processor[name]):.2f} s/GB;  / bare {ratio:.2f}{end}"
            )


def send(
    connection: http.client.HTTPConnection,
    path: str,
    source: Path,
    headers: dict[str, str],
    span: tuple[int, int],
) -> http.client.HTTPResponse:
    """Post a part of a file; the kernel copies it to the socket."""
    start, stop = span
    connection.putrequest("POST", path)
    for name, value in {**headers, "content-length": str(stop - start)}.items():
        connection.putheader(name, value)
    connection.endheaders()
    with source.open("rb") as file:
        assert connection.sock is not None
        connection.sock.sendfile(file, start, stop - start)
    answer = connection.getresponse()
    said = answer.read()
    assert answer.status == HTTPStatus.OK, said
    return answer


def receive(connection: http.client.HTTPConnection, path: str) -> int:
    """Get a body and throw it away; gives its length."""
    buffer = memoryview(bytearray(READ_BYTES))
    connection.request("GET", path)
    answer = connection.getresponse()
    assert answer.status == HTTPStatus.OK
    expected, size_bytes = int(answer.headers["content-length"]), 0
    while count := answer.readinto(buffer):
        size_bytes += count
    connection.close()
    assert size_bytes == expected
    return size_bytes


@contextlib.contextmanager
def bare(folder: Path) -> Iterator[tuple[int, int]]:
    """Run the bare handlers over a folder; gives their process and port."""
    command = [sys.executable, "-m", "bench.bare_doors", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.pid, int(process.stdout.readline())
        finally:
            process.terminate()
            process.wait()


def _connect(port: int) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", port, timeout=600)


def upload_raw(server: Served, source: Path) -> int:
    """Upload a file in one call, and delete it again."""
    size_bytes = source.stat().st_size
    headers = {"x-goog-upload-protocol": "raw", "content-type": "application/jsonl"}
    connection = server.connect()
    send(connection, "/upload/v1beta/files", source, headers, (0, size_bytes))
    connection.close()
    return size_bytes


def upload_in_pieces(server: Served, source: Path, piece_bytes: int) -> int:
    """Upload a file as Google's clients do it."""
    size_bytes = source.stat().st_size
    headers = {
        "x_goog_upload_protocol": "resumable",
        "x_goog_upload_command": "start",
        "x_goog_upload_header_content_length": str(size_bytes),
    }
    _, told = server.ask("POST", "/upload/v1beta/files", b"{}", **headers)
    url = told["x-goog-upload-url"].removeprefix(server.base_url)
    connection = server.connect()
    for start in range(0, size_bytes, piece_bytes):
        stop = min(size_bytes, start + piece_bytes)
        command = "upload, finalize" if stop == size_bytes else "upload"
        piece = {"x-goog-upload-command": command, "x-goog-upload-offset": str(start)}
        send(connection, url, source, piece, (start, stop))
    connection.close()
    return size_bytes


def upload_bare(port: int, source: Path, sync_bytes: int | None) -> int:
    """Give a file to the bare handler."""
    size_bytes = source.stat().st_size
    path = "/upload" if sync_bytes is None else f"/upload?sync={sync_bytes}"
    connection = _connect(port)
    send(connection, path, source, {}, (0, size_bytes))
    connection.close()
    return size_bytes


def _forget_files(server: Served) -> None:
    """Delete what was uploaded, so that the disk holds one copy at most."""
    for file in server.ask("GET", "/v1beta/files")[0].get("files", []):
        server.ask("DELETE", f"/v1beta/{file['name']}")


def report_uploads(file_bytes: int, rounds: int) -> None:
    """Measure uploads and print."""
    meter = Meter()
    with tempfile.TemporaryDirectory(prefix="nightrate-bench-") as temporary:
        folder = Path(temporary)
        source = folder / "source"
        with source.open("wb") as file:
            for _ in range(0, file_bytes, READ_BYTES):
                file.write(os.urandom(READ_BYTES))
        with served(folder / "data") as server, bare(folder) as (process_id, port):
            for _ in range(rounds):
                for name, sync_bytes in (
                    ("bare, synced at the end", None),
                    ("bare, synced every 64 MiB", SYNC_BYTES),
                    ("bare, synced every 8 MiB", PIECE_BYTES),
                ):
                    once = functools.partial(upload_bare, port, source, sync_bytes)
                    meter.time(name, process_id, once)
                meter.time("ours, one call", server.pid, lambda: upload_raw(server, source))
                meter.time(
                    "ours, pieces of 8 MiB",
                    server.pid,
                    lambda: upload_in_pieces(server, source, PIECE_BYTES),
                )
                _forget_files(server)
    print(f"Uploads of {file_bytes / 1e6:.0f} MB, {rounds} rounds in turns")
    meter.show("bare, synced at the end")


def report_downloads(file_bytes: int, rounds: int) -> None:
    """Measure downloads of a result and print."""
    meter = Meter()
    with tempfile.TemporaryDirectory(prefix="nightrate-bench-") as temporary:
        folder = Path(temporary)
        source = folder / "requests.jsonl"
        requests = file_bytes // TEXT_BYTES
        write_input(source, requests, TEXT_BYTES)
        with served(folder / "data") as server:
            batch = server.create({"fileName": server.upload(source)})
            document = server.finish(batch)
            result = document["response"]["responsesFile"]
            path = f"/download/v1beta/{result}:download?alt=media"
            _keep(server.connect(), path, folder / "downloaded")
        for _ in range(rounds):
            with served(folder / "data") as server, bare(folder) as (process_id, port):
                meter.time("bare", process_id, lambda: receive(_connect(port), "/download"))
                for name in ("ours, checked on the way", "ours, checked before"):
                    meter.time(name, server.pid, lambda: receive(server.connect(), path))
    segments = 1 + (requests - 16) // 1_000
    print(f"Downloads of a result of {segments} segments, {rounds} rounds in turns")
    meter.show("bare")


def _keep(connection: http.client.HTTPConnection, path: str, place: Path) -> None:
    connection.request("GET", path)
    answer = connection.getresponse()
    assert answer.status == HTTPStatus.OK, answer.read()
    with place.open("wb") as file:
        while piece := answer.read(READ_BYTES):
            file.write(piece)
    connection.close()


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--bytes", type=int, default=FILE_BYTES)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--only", choices=("uploads", "downloads"))
    wanted = parser.parse_args()
    if wanted.only != "downloads":
        report_uploads(wanted.bytes, wanted.rounds)
    if wanted.only != "uploads":
        report_downloads(wanted.bytes, wanted.rounds)


if __name__ == "__main__":
    main()
