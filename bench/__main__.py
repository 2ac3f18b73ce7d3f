"""``make bench``: every benchmark, as ratios measured in one run; ``--long``: slow ones, too."""

from __future__ import annotations

import argparse

from bench import (
    alternatives,
    batch,
    data_path,
    doors,
    embeddings,
    large_results,
    live,
    llama_cpp,
    planning,
    polling,
    prefixes,
    restart,
    schemas,
)
from bench.engine import USUAL


def main() -> None:
    """Measure everything and print it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=batch.ROUNDS)
    parser.add_argument("--requests", type=int, default=100_000, help="of the data path")
    parser.add_argument(
        "--long", action="store_true", help="also what takes minutes and gigabytes of disk"
    )
    wanted = parser.parse_args()
    for line_bytes in planning.LINE_BYTES:
        planning.report(line_bytes, planning.FILE_BYTES, planning.ROUNDS)
    print()
    data_path.report(wanted.requests, text_bytes=2_000)
    print()
    doors.report_uploads(doors.FILE_BYTES, doors.ROUNDS)
    print()
    doors.report_downloads(doors.FILE_BYTES, doors.ROUNDS)
    print()
    polling.report(polling.REQUESTS, polling.RATE)
    print()
    large_results.report(large_results.ITEMS, large_results.ITEM_BYTES)
    print()
    if wanted.long:
        restart.report(restart.REQUESTS, restart.OPEN_SHARDS, restart.ROUNDS)
        print()
        alternatives.report(alternatives.REQUESTS, alternatives.ROUNDS)
        print()
        llama_cpp.report(llama_cpp.CONCURRENCY, llama_cpp.REQUESTS, wanted.rounds, USUAL)
        print()
    batch.report(concurrency=32, requests=256, rounds=wanted.rounds)
    print()
    batch.report(concurrency=32, requests=64, rounds=wanted.rounds, load=batch.LONG)
    print()
    prefixes.report(prefixes.SHARED, wanted.rounds)
    print()
    prefixes.report(prefixes.INTERLEAVED, 1)
    print()
    schemas.report(schemas.REQUESTS, wanted.rounds)
    print()
    live.report(live.REQUESTS, live.LIVE)
    print()
    embeddings.report(batch=32, requests=12_000, rounds=wanted.rounds)


if __name__ == "__main__":
    main()
