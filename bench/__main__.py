"""``make bench``: every benchmark, as ratios measured in one run."""

from __future__ import annotations

from bench import batch

if __name__ == "__main__":
    batch.main()
