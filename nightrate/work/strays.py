"""What lies among the blobs and is named by no row: garbage, whatever it holds.

A crash leaves some, and the server removes what it finds in its way. The rest does no harm but
take room.
"""

from __future__ import annotations

import hashlib
import os
from array import array
from bisect import bisect_left
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from nightrate import clock, limits

_DIGEST_BYTES = 8


class Names:
    """Many names, held in eight bytes each; they are all added before one is looked for.

    Two names that share a digest are one; of a million, the chance of any is under one in ten
    million, and would hide an orphan, nothing else.
    """

    def __init__(self) -> None:
        self._digests = array("Q")
        self._sorted = False

    def add(self, name: str) -> None:
        """Remember a name."""
        self._digests.append(_digest(name))
        self._sorted = False

    def __contains__(self, name: str) -> bool:
        """Tell whether a name was added."""
        if not self._sorted:
            self._digests = array("Q", sorted(self._digests))
            self._sorted = True
        digest = _digest(name)
        place = bisect_left(self._digests, digest)
        return place < len(self._digests) and self._digests[place] == digest


def _digest(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=_DIGEST_BYTES).digest(), "big")


class Strays(Struct, kw_only=True):
    """How much nothing names."""

    count: int = 0
    bytes: int = 0
    young: int = 0
    """Those written in the last two lease times: a server that was just killed had them in hand."""
    names: list[str]
    """The first of them."""

    def add(self, name: str, path: Path) -> None:
        """Count one."""
        status = path.stat()
        self.count += 1
        self.bytes += status.st_size
        age_seconds = clock.now() / 1_000_000 - status.st_mtime
        self.young += age_seconds < 2 * limits.LEASE_SECONDS
        if len(self.names) < limits.FAULTS_LISTED_MAX:
            self.names.append(name)


def walk(root: Path, folder: str) -> Iterator[tuple[str, Path]]:
    """Give the name and the path of every file below a folder of blobs."""
    for place, _, files in os.walk(root / folder):
        for file in files:
            path = Path(place) / file
            yield str(path.relative_to(root)), path
