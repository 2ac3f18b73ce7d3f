"""``make bench``: every benchmark, as ratios measured in one run."""

from __future__ import annotations

import argparse

from bench import batch, data_path, embeddings, large_results, polling


def main() -> None:
    """Measure everything and print it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=batch.ROUNDS)
    parser.add_argument("--requests", type=int, default=100_000, help="of the data path")
    wanted = parser.parse_args()
    data_path.report(wanted.requests, text_bytes=2_000)
    print()
    polling.report(polling.REQUESTS, polling.RATE)
    print()
    large_results.report(large_results.ITEMS, large_results.ITEM_BYTES)
    print()
    batch.report(concurrency=32, requests=256, rounds=wanted.rounds)
    print()
    embeddings.report(batch=32, requests=3_000, rounds=wanted.rounds)


if __name__ == "__main__":
    main()
