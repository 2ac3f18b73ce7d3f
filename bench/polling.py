"""How quickly a busy server answers, and what the asking costs the job.

A real server runs a batch of a million requests with the echo engine, which never waits: nothing
keeps a server busier. Meanwhile a client asks for that batch 200 times a second over connections
that it keeps. The calls are due at fixed times, whatever became of the ones before (an open loop),
and each is timed from the moment it was due: a server that stalls pays for every call that had to
wait, not only for the one that it was busy with. Phases with and without calls take turns, so that
a noisy machine hurts both alike. Run with ``python -m bench.polling``.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from http import HTTPStatus
from pathlib import Path

import aiohttp
import uvloop
from msgspec import Struct

from bench.data_path import write_input
from bench.server import Served, served

REQUESTS = 1_000_000
TEXT_BYTES = 500
RATE = 200
PHASE_SECONDS = 4.0
WARM_SECONDS = 2.0
WANTED_SECONDS = 0.020


class Phase(Struct, frozen=True):
    """A stretch of the job: what it did, and the latencies of the calls that it answered."""

    requests_per_second: float
    seconds: list[float]
    late_seconds: list[float]
    """How late the client itself was in sending: what its own machine adds."""


class _Poller:
    """A client with connections that it keeps."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url
        self.seconds: list[float] = []
        self.late_seconds: list[float] = []

    async def call(self, due: float) -> None:
        self.late_seconds.append(time.perf_counter() - due)
        async with self._session.get(self._url) as answer:
            await answer.read()
            assert answer.status == HTTPStatus.OK, answer.status
        self.seconds.append(time.perf_counter() - due)

    async def calls(self, rate: int, seconds: float) -> None:
        began = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for number in range(int(rate * seconds)):
                due = began + number / rate
                if (wait := due - time.perf_counter()) > 0:
                    await asyncio.sleep(wait)
                group.create_task(self.call(due))


async def _phase(
    server: Served, session: aiohttp.ClientSession, name: str, rate: int, seconds: float
) -> Phase:
    """Measure one stretch; with rate 0 the job runs undisturbed."""
    poller = _Poller(session, f"{server.base_url}/v1beta/{name}")
    before, began = await asyncio.to_thread(server.done, name), time.perf_counter()
    if rate:
        await poller.calls(rate, seconds)
    else:
        await asyncio.sleep(seconds)
    after, ended = await asyncio.to_thread(server.done, name), time.perf_counter()
    return Phase((after - before) / (ended - began), poller.seconds, poller.late_seconds)


async def measure(server: Served, name: str, rate: int) -> tuple[list[Phase], list[Phase]]:
    """Measure phases with calls and phases without, in turns, until the job is nearly done."""
    polled: list[Phase] = []
    alone: list[Phase] = []
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        await _phase(server, session, name, rate, WARM_SECONDS)  # connections are made here
        while True:
            for found, calls in ((alone, 0), (polled, rate)):
                phase = await _phase(server, session, name, calls, PHASE_SECONDS)
                if (await asyncio.to_thread(server.listed, name))["done"]:
                    return polled, alone  # a phase that the job did not fill is no measurement
                found.append(phase)


def percentile(values: list[float], share: float) -> float:
    """Give the value that so large a share of all values does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def report(requests: int, rate: int) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory(prefix="nightrate-bench-") as temporary:
        folder = Path(temporary)
        source = folder / "requests.jsonl"
        write_input(source, requests, TEXT_BYTES)
        with served(folder / "data") as server:
            name = server.create({"fileName": server.upload(source)})
            while not server.done(name):
                time.sleep(0.05)
            polled, alone = uvloop.run(measure(server, name, rate))
            memory_mib = server.memory_mib()
    print(
        f"Polling: batches.get {rate} times a second of a running job of {requests} requests,"
        f" echo engine; {len(polled)} phases of {PHASE_SECONDS:g} s"
    )
    seconds = [each for phase in polled for each in phase.seconds]
    late = [each for phase in polled for each in phase.late_seconds]
    for title, values in (("answered", seconds), ("sent late", late)):
        shown = "  ".join(
            f"{word} {percentile(values, share) * 1000:6.1f}"
            for word, share in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("max", 1.0))
        )
        print(f"  {title:10} {shown}  ms   ({len(values)} calls)")
    each = "  ".join(f"{percentile(phase.seconds, 0.99) * 1000:.1f}" for phase in polled)
    print(f"  p99 of each phase: {each} ms   (wanted: at most {WANTED_SECONDS * 1000:.0f})")
    speeds = [statistics.median(p.requests_per_second for p in found) for found in (polled, alone)]
    print(f"  job with the calls {speeds[0]:8.0f} requests/s, without {speeds[1]:8.0f} requests/s")
    print(f"  with / without {speeds[0] / speeds[1]:.2f};  server's peak {memory_mib:.0f} MiB")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--requests", type=int, default=REQUESTS)
    parser.add_argument("--rate", type=int, default=RATE, help="calls a second")
    wanted = parser.parse_args()
    report(wanted.requests, wanted.rate)


if __name__ == "__main__":
    main()
