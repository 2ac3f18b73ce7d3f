"""What durability costs: the whole server with the echo engine against the bare data path.

The same file of requests, in one run: first `bench.straight_line` in a process of its own, then a
batch over the uploaded file, from its submission to its final state, planning included. Run with
``python -m bench.data_path [--requests N] [--bytes N]``.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

import uvloop

from nightrate.domain.batch import Order
from nightrate.domain.states import FINAL_STATES, BatchState
from nightrate.runtime import House, open_house
from nightrate.settings import Settings

TENANT = "default"
PIECE_BYTES = 1 << 20


def write_input(path: Path, requests: int, text_bytes: int) -> None:
    """Write so many requests, each with a text of so many bytes."""
    filler = b"x" * text_bytes
    with path.open("wb") as file:
        for number in range(requests):
            file.write(
                b'{"key":"k%d","request":{"contents":[{"parts":[{"text":"%d %s"}]}]}}\n'
                % (number, number, filler)
            )


async def _pieces(path: Path) -> AsyncIterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(PIECE_BYTES):
            yield piece


async def run_batch(house: House, source: Path) -> tuple[float, float]:
    """Upload and run a file; gives bytes a second of the upload and requests a second after it."""
    started = time.perf_counter()
    upload = await house.files.start_upload(
        TENANT, display_name="bench", mime_type="jsonl", file_id=None
    )
    await house.files.append(upload.upload_id, 0, _pieces(source))
    file = await house.files.finalize(upload.upload_id)
    uploaded = time.perf_counter()
    order = Order(display_name="bench", priority=0, file_name=file.file_id, inline=None)
    batch = await house.batches.submit(TENANT, "gemini-bench", order)
    while batch.state not in FINAL_STATES:
        await asyncio.sleep(0.05)
        batch = await house.batches.get(TENANT, batch.batch_id)
    ended = time.perf_counter()
    assert batch.state is BatchState.SUCCEEDED, batch.failure
    return file.size_bytes / (uploaded - started), batch.tally.succeeded / (ended - uploaded)


async def measure(source: Path, data: Path) -> tuple[float, float]:
    """Run the server's rooms in this process."""
    house = open_house(Settings(data=str(data), engine="echo"))
    try:
        async with house.working():
            await house.engines_settled()
            return await run_batch(house, source)
    finally:
        await house.close()


def report(requests: int, text_bytes: int) -> None:
    """Measure both ways and print the ratio."""
    with tempfile.TemporaryDirectory(prefix="nightrate-bench-") as temporary:
        folder = Path(temporary)
        source = folder / "requests.jsonl"
        write_input(source, requests, text_bytes)
        command = [sys.executable, "-m", "bench.straight_line", str(source)]
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        bare = float(said)
        upload, ours = uvloop.run(measure(source, folder / "data"))
    memory_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"Data path: {requests} requests of {text_bytes} bytes, echo engine")
    print(f"  bare line {bare:10.0f} requests/s")
    print(f"  batch     {ours:10.0f} requests/s, planning included; peak {memory_mib:.0f} MiB")
    print(f"  upload    {upload / 1e6:10.0f} MB/s, synced and digested")
    print(f"  batch / bare line  {ours / bare:.2f}")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--bytes", type=int, default=2_000)
    wanted = parser.parse_args()
    report(wanted.requests, wanted.bytes)


if __name__ == "__main__":
    main()
