"""What durability costs: the whole server with the echo engine against the bare data path.

The same file of requests, in one run and alternating: `bench.straight_line` in a process of its
own, then a batch over the uploaded file in a real server, timed by the server's own clock from the
batch's creation to its final state, planning included. Run with ``python -m bench.data_path
[--requests N] [--bytes N] [--rounds N]``; ``--requests 10000000 --bytes 130`` is the largest job
that is documented, of lines of 200 bytes: it takes a quarter of an hour and 12 GB of disk.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

from msgspec import Struct

from bench.memory import sampled
from bench.server import pause, served

TENANT = "default"
PIECE_BYTES = 1 << 20
ROUNDS = 2
WATCH_SECONDS = 0.5
WANTED_SHARE = 0.4
WANTED_PRIVATE_MIB = 300


def write_input(path: Path, requests: int, text_bytes: int) -> None:
    """Write so many requests, each with a text of so many bytes."""
    filler = b"x" * text_bytes
    with path.open("wb") as file:
        for number in range(requests):
            file.write(
                b'{"key":"k%d","request":{"contents":[{"parts":[{"text":"%d %s"}]}]}}\n'
                % (number, number, filler)
            )


class Run(Struct):
    """What one run of the server gave."""

    uploaded_bytes_per_second: float
    planning_seconds: float
    requests_per_second: float
    private_mib: float


def _moment(document: dict[str, str], name: str) -> float:
    return datetime.fromisoformat(document[name]).timestamp()


def run_batch(source: Path, data: Path, requests: int) -> Run:
    """Upload and run a file in a server of its own."""
    with served(data) as server, sampled(server.pid) as peak:
        started = time.perf_counter()
        file_name = server.upload(source)
        uploaded = time.perf_counter()
        name = server.create({"fileName": file_name})
        planned = 0.0
        while not (document := server.batch(name))["done"]:
            if not planned and not document["metadata"]["state"].endswith("PENDING"):
                planned = time.perf_counter()
            pause(WATCH_SECONDS)
        metadata = document["metadata"]
        stats = metadata["batchStats"]
        assert int(stats["successfulRequestCount"]) == requests, stats
        seconds = _moment(metadata, "endTime") - _moment(metadata, "createTime")
    return Run(
        source.stat().st_size / (uploaded - started),
        max(0.0, planned - uploaded),
        requests / seconds,
        peak.private,
    )


def _bare(source: Path) -> float:
    command = [sys.executable, "-m", "bench.straight_line", str(source)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def report(requests: int, text_bytes: int, rounds: int = ROUNDS) -> None:
    """Measure both ways and print the ratio."""
    bare: list[float] = []
    ours: list[Run] = []
    with tempfile.TemporaryDirectory(prefix="nightrate-bench-") as temporary:
        folder = Path(temporary)
        source = folder / "requests.jsonl"
        write_input(source, requests, text_bytes)
        line_bytes = source.stat().st_size // requests
        for number in range(rounds):
            bare.append(_bare(source))
            with tempfile.TemporaryDirectory(dir=folder) as data:
                ours.append(run_batch(source, Path(data) / "data", requests))
            print(
                f"  round {number + 1}: bare {bare[-1]:.0f}, batch"
                f" {ours[-1].requests_per_second:.0f} requests/s",
                flush=True,
            )
        bare.append(_bare(source))
    around = [(before + after) / 2 for before, after in itertools.pairwise(bare)]
    shares = [run.requests_per_second / one for run, one in zip(ours, around, strict=True)]
    rate = statistics.median(run.requests_per_second for run in ours)
    planning = statistics.median(run.planning_seconds for run in ours)
    upload = statistics.median(run.uploaded_bytes_per_second for run in ours)
    private = max(run.private_mib for run in ours)
    listed = ", ".join(f"{share:.2f}" for share in shares)
    print(f"Data path: {requests:,} requests of {line_bytes} bytes a line, echo engine")
    print(f"  bare line {statistics.median(bare):10.0f} requests/s")
    print(f"  batch     {rate:10.0f} requests/s, {planning:.1f} s of planning included")
    print(f"  upload    {upload / 1e6:10.0f} MB/s, synced and digested")
    print(f"  private memory {private:.0f} MiB in all processes (wanted {WANTED_PRIVATE_MIB})")
    print(f"  batch / bare line  {statistics.median(shares):.2f} ({listed}; wanted {WANTED_SHARE})")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--bytes", type=int, default=2_000, help="of the text of a request")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    wanted = parser.parse_args()
    report(wanted.requests, wanted.bytes, wanted.rounds)


if __name__ == "__main__":
    main()
