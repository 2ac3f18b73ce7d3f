"""The process that looks at a large input, so that parsing never stalls the server.

Started as ``python -m nightrate.work.inspection_process WISH`` with the input as its standard
input; WISH is the model, the kind and the budget as JSON. It prints what it found as JSON.
"""

from __future__ import annotations

import sys

from msgspec import json

from nightrate.domain.batch import Kind
from nightrate.domain.inspection import Budget
from nightrate.work.inspector import inspect_input


def main(arguments: list[str]) -> int:
    """Run with the arguments of the command line."""
    (wish,) = arguments
    model, kind, budget = json.decode(wish, type=tuple[str, Kind, Budget])
    with open(sys.stdin.fileno(), "rb", buffering=0, closefd=False) as source:
        found = inspect_input(source, model, kind, budget)
    sys.stdout.buffer.write(json.encode(found))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
