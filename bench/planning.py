"""How fast an input is planned: the plan pass against loops that decode the same file, in turns.

* typed: every line is decoded into the structs of `bench.straight_line`;
* dicts: every line is decoded into dicts, for information;
* plan: the whole pass of `nightrate.work.plan`, in this process, its plan file synced.

A ratio is the median over the rounds of two speeds in the same round. Run with
``python -m bench.planning``.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from bench.data_path import write_input
from bench.straight_line import Line
from nightrate.domain.batch import Kind
from nightrate.work.planning_process import plan_file

LINE_BYTES = (200, 2_000, 50_000)
FILE_BYTES = 200_000_000
ROUNDS = 5
WANTED = 0.6

_ENVELOPE_BYTES = 68
"""What a line of `write_input` holds beside its filler."""

_decode_typed = msgspec.json.Decoder(Line).decode
_decode_dicts = msgspec.json.Decoder().decode


def _loop(decode: Callable[[bytes], object], source: Path) -> None:
    with source.open("rb") as file:
        for line in file:
            decode(line)


def _plan(source: Path) -> None:
    plan_file(source, source.with_suffix(".plan"), "gemini-bench", Kind())


def measure(source: Path, rounds: int) -> dict[str, list[float]]:
    """Read a file each way, in turns; gives bytes a second of every round."""
    ways: dict[str, Callable[[], None]] = {
        "typed": lambda: _loop(_decode_typed, source),
        "dicts": lambda: _loop(_decode_dicts, source),
        "plan": lambda: _plan(source),
    }
    speeds: dict[str, list[float]] = {name: [] for name in ways}
    size_bytes = source.stat().st_size
    for _ in range(rounds):
        for name, way in ways.items():
            started = time.perf_counter()
            way()
            speeds[name].append(size_bytes / (time.perf_counter() - started))
    return speeds


def report(line_bytes: int, file_bytes: int, rounds: int) -> float:
    """Measure lines of one length and print; gives the ratio of the plan to the typed loop."""
    requests = file_bytes // line_bytes
    with tempfile.TemporaryDirectory(prefix="nightrate-bench-") as folder:
        source = Path(folder) / "requests.jsonl"
        write_input(source, requests, line_bytes - _ENVELOPE_BYTES)
        speeds = measure(source, rounds)
    pairs = zip(speeds["plan"], speeds["typed"], strict=True)
    ratio = statistics.median(plan / typed for plan, typed in pairs)
    each = "  ".join(
        f"{name} {statistics.median(found) / 1e6:5.0f} MB/s" for name, found in speeds.items()
    )
    print(f"Planning {requests} lines of {line_bytes} bytes: {each}")
    print(f"  plan / typed  {ratio:.2f}   (wanted: at least {WANTED})")
    return ratio


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--bytes", type=int, default=FILE_BYTES, help="of each file")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    wanted = parser.parse_args()
    for line_bytes in LINE_BYTES:
        report(line_bytes, wanted.bytes, wanted.rounds)


if __name__ == "__main__":
    main()
