"""The process that reads a fetched page, so that what a stranger wrote stalls nobody.

Started as ``python -m nightrate.tools.extraction_process KIND CHARSET`` with the page as its
standard input; it prints what the page says as JSON, and ends with status 1 when that is nothing.
"""

from __future__ import annotations

import resource
import sys

from msgspec import json

from nightrate import tool_limits
from nightrate.tools.documents import Unreadable, extract


def main(arguments: list[str]) -> int:
    """Run with the arguments of the command line."""
    kind, charset = arguments
    seconds = int(tool_limits.EXTRACTION_SECONDS)
    most = tool_limits.EXTRACTION_MEMORY_BYTES_MAX
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    try:
        found = extract(sys.stdin.buffer.read(), kind, charset or None)
    except Unreadable:
        return 1
    sys.stdout.buffer.write(json.encode(found))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
