"""How soon a document of gigabytes begins, and what it costs the server's memory.

A real server runs an inline batch of 1,000 requests whose answers have 1.5 MB each, the size of a
generated picture: small requests that the echo engine answers at length. Then a client asks for the
batch, whose document holds all answers three times, and throws the bytes away as they come. The
first call reads and checks every segment; the second finds them checked; the third is made by a
server that was started anew. Run with ``python -m bench.large_results``.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from msgspec import Struct

from bench.server import Served, served

ITEMS = 1_000
ITEM_BYTES = 1_500_000
PIECE_BYTES = 1 << 20
WANTED_SECONDS = 1.0


class Read(Struct, frozen=True):
    """One document as a client saw it come."""

    first_byte_seconds: float
    longest_pause_seconds: float
    seconds: float
    size_bytes: int


def item(number: int, item_bytes: int) -> dict[str, object]:
    """Write a small request with a large answer."""
    text = f"{number:07} picture [[repeat {item_bytes // 64}]] ".ljust(64, ".")
    return {
        "request": {"contents": [{"parts": [{"text": text}]}]},
        "metadata": {"key": f"request-{number}"},
    }


def read(server: Served, name: str) -> Read:
    """Ask for the document of a batch, and throw it away piece by piece."""
    connection = server.connect()
    began = last = time.perf_counter()
    connection.request("GET", f"/v1beta/{name}")
    answer = connection.getresponse()
    size, first, longest = 0, 0.0, 0.0
    while piece := answer.read1(PIECE_BYTES):
        now = time.perf_counter()
        first = first or now - began
        longest, last = max(longest, now - last), now
        size += len(piece)
    connection.close()
    return Read(first, longest, time.perf_counter() - began, size)


def _show(title: str, found: Read, memory_mib: float) -> None:
    print(
        f"  {title:22} first byte {found.first_byte_seconds * 1000:6.0f} ms,"
        f" longest pause {found.longest_pause_seconds * 1000:6.0f} ms,"
        f" {found.size_bytes / 1e9:.1f} GB in {found.seconds:5.1f} s;"
        f" server's peak {memory_mib:.0f} MiB"
    )


def report(items: int, item_bytes: int) -> None:
    """Measure and print."""
    print(
        f"Large results: one inline batch of {items} answers of {item_bytes} bytes, echo engine"
        f"   (wanted: first byte within {WANTED_SECONDS:.0f} s, memory flat)"
    )
    with tempfile.TemporaryDirectory(prefix="nightrate-bench-") as temporary:
        data = Path(temporary) / "data"
        with served(data) as server:
            idle_mib = server.memory_mib()
            began = time.perf_counter()
            asked = [item(number, item_bytes) for number in range(items)]
            name = server.create({"requests": {"requests": asked}})
            server.finish(name)
            took = time.perf_counter() - began
            print(
                f"  {'the job':22} {took:.1f} s, {items * item_bytes / took / 1e6:.0f} MB/s;"
                f" server's peak {server.memory_mib():.0f} MiB, idle {idle_mib:.0f} MiB"
            )
            for title in ("checked on the way", "checked before"):
                _show(title, read(server, name), server.memory_mib())
        with served(data) as server:
            _show("after a restart", read(server, name), server.memory_mib())


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--items", type=int, default=ITEMS)
    parser.add_argument("--bytes", type=int, default=ITEM_BYTES, help="of each answer")
    wanted = parser.parse_args()
    report(wanted.items, wanted.bytes)


if __name__ == "__main__":
    main()
