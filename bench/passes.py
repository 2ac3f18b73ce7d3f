"""What a long benchmark says while it measures: each pass, once it is made."""

from __future__ import annotations

import sys


def tell(turn: int, turns: int, name: str, found: str) -> None:
    """Say on standard error what a pass came to; standard output is for the results.

    Args:
        turn: which of them, from 0.
        turns: how many there will be.
        name: what was measured.
        found: how fast it was, with its unit.
    """
    print(f"  round {turn + 1} of {turns}: {name} {found}", file=sys.stderr, flush=True)
