"""How soon a server works again that is started over a half-done batch of ten million requests.

The state is made by the server's own verbs, in this process: a real input, planned; half of its
shards claimed, their segments written and sealed; some more claimed, with half of their answers in
their journals, and never handed back, as after a SIGKILL. Only syncs are left out while it is made.
Then ``nightrate serve`` is started over it, again and again, by `bench.restart_child`, which tells
when it did what, and killed when it has asked its engine. Run with ``python -m bench.restart``.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from unittest import mock

import msgspec
import uvloop

from bench.data_path import PIECE_BYTES, TENANT, write_input
from bench.restart_child import STEPS
from bench.server import pause
from nightrate import clock
from nightrate.domain.batch import Batch, Order
from nightrate.domain.shard import Answer, Beat, Claim, Tally, taken_over
from nightrate.runtime import House, open_house
from nightrate.settings import Settings
from nightrate.work.journal import Journal
from nightrate.work.segments import write_segment

REQUESTS = 10_000_000
TEXT_BYTES = 60
OPEN_SHARDS = 24
ROUNDS = 5
WANTED_SECONDS = 2.0
CLAIM = "first claim"
LAST_STEP = "first ask"

_ANSWER = b'{"response":{"candidates":[{"content":{"parts":[{"text":"%s"}]}}]},"key":"k%d"}'
_PATIENCE_SECONDS = 60.0


async def _pieces(path: Path) -> AsyncIterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(PIECE_BYTES):
            yield piece


async def _submit(house: House, source: Path) -> Batch:
    """Upload the input, make a batch of it and plan it."""
    upload = await house.files.start_upload(
        TENANT, display_name="bench", mime_type="jsonl", file_id=None
    )
    await house.files.append(upload.upload_id, 0, _pieces(source))
    file = await house.files.finalize(upload.upload_id)
    order = Order(display_name="bench", priority=0, file_name=file.file_id, inline=None)
    batch = await house.batches.submit(TENANT, "gemini-bench", order)
    assert await house.planner.plan_ended(batch), "nobody else plans it"
    return await house.batches.get(TENANT, batch.batch_id)


async def _claim(house: House, batch: Batch) -> Claim:
    now = clock.now()
    lease_until = clock.later(now, 3_600)
    claim = await house.store.claim(batch.tenant, batch.batch_id, "bench", now, lease_until)
    assert claim is not None, "there are enough shards"
    return claim


def _journal(house: House, claim: Claim, count: int) -> Journal:
    """Record so many answers of a shard."""
    journal, text, first = Journal(house.blobs, claim), b"x" * TEXT_BYTES, claim.plan.first_request
    tally = Tally(succeeded=1, prompt_tokens=16, output_tokens=16)
    for index in range(count):
        journal.add(index, Answer(_ANSWER % (text, first + index), tally))
    return journal


async def _seal_one(house: House, batch: Batch) -> None:
    """Do with one shard what a runner does, but for asking an engine."""
    claim = await _claim(house, batch)
    journal = _journal(house, claim, claim.plan.request_count)
    segment = await write_segment(house.blobs, claim, journal)
    await house.store.seal(claim, segment, journal.tally, clock.now())
    await journal.close()


async def _leave_open(house: House, batch: Batch) -> None:
    """Leave a shard as a killed runner does: claimed, half of its answers journaled and counted."""
    claim = await _claim(house, batch)
    await house.store.freeze(claim, (parts := taken_over((), claim.epoch, 0)))
    claim = msgspec.structs.replace(claim, parts=parts)
    journal = _journal(house, claim, claim.plan.request_count // 2)
    await journal.flush()
    beat = Beat(claim=claim, byte_length=journal.counted_bytes, tally=journal.counted)
    now = clock.now()
    assert not await house.store.beat([beat], now, clock.later(now, 3_600))
    await journal.close()


async def build(data: Path, source: Path, open_shards: int) -> tuple[int, int]:
    """Make the state; gives how many shards there are, and how many of them are sealed."""
    house = open_house(Settings(data=str(data), engine="echo"))
    try:
        batch = await _submit(house, source)
        assert batch.request_count is not None, "planned"
        shards = -(-(batch.request_count - 16) // 1_000) + 1
        for _ in range(shards // 2):
            await _seal_one(house, batch)
        for _ in range(open_shards):
            await _leave_open(house, batch)
    finally:
        await house.close()
    return shards, shards // 2


def start_once(data: Path) -> dict[str, float]:
    """Start a server, wait until it asks its engine and kill it; gives seconds by step."""
    stamps = data.parent / "stamps"
    stamps.unlink(missing_ok=True)
    command = [sys.executable, "-m", "bench.restart_child", str(stamps), "serve", "--port", "0"]
    command += ["--engine", "echo", "--data", str(data)]
    started = time.monotonic()
    with (data.parent / "server.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        found: dict[str, float] = {}
        while LAST_STEP not in found:
            assert time.monotonic() - started < _PATIENCE_SECONDS, found
            assert process.poll() is None, (data.parent / "server.log").read_text("utf-8")
            pause(0.02)
            if stamps.exists():
                rows = (row.split(maxsplit=1) for row in stamps.read_text("utf-8").splitlines())
                found = {step: float(at) - started for at, step in rows}
        return found
    finally:
        process.kill()
        process.wait()


def report(requests: int, open_shards: int, rounds: int) -> None:
    """Build, measure and print."""
    with tempfile.TemporaryDirectory(prefix="nightrate-bench-") as temporary:
        folder = Path(temporary)
        source = folder / "requests.jsonl"
        write_input(source, requests, TEXT_BYTES)
        began = time.perf_counter()
        with _without_syncs():
            shards, sealed = uvloop.run(build(folder / "data", source, open_shards))
        source.unlink()
        took = time.perf_counter() - began
        print(
            f"Restart over a batch of {requests} requests: {shards} shards, {sealed} sealed,"
            f" {open_shards} in the hands of a killed server;"
            f" made in {took:.0f} s; {rounds} rounds"
        )
        found = [start_once(folder / "data") for _ in range(rounds)]
    before = 0.0
    for step in STEPS:
        at = [one[step] for one in found if step in one]
        if at:
            middle = statistics.median(at)
            print(f"  {middle:6.2f} s  (+{middle - before:5.2f})  {step}")
            before = middle
    first = [one[CLAIM] for one in found]
    each = "  ".join(f"{seconds:.2f}" for seconds in first)
    print(f"  first claim (rounds: {each})   (wanted: within {WANTED_SECONDS:.0f} s)")


def _without_syncs() -> contextlib.AbstractContextManager[Any]:
    """Let the disk keep what is written when it likes: what is made here can be made again."""
    return mock.patch.object(os, "fdatasync", return_value=None)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--requests", type=int, default=REQUESTS)
    parser.add_argument("--open", type=int, default=OPEN_SHARDS, help="shards left half-done")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    wanted = parser.parse_args()
    report(wanted.requests, wanted.open, wanted.rounds)


if __name__ == "__main__":
    main()
