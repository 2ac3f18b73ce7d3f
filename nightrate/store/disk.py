"""Calls to the local disk that do what they say: whole writes, whole reads, syncs that reach it."""

from __future__ import annotations

import errno
import fcntl
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from nightrate.errors import Damaged


def write_all(descriptor: int, piece: bytes) -> None:
    """Write all of a piece, however many calls that takes."""
    view = memoryview(piece)
    while view:
        view = view[os.write(descriptor, view) :]


def read_exactly(descriptor: int, offset: int, length: int, path: Path) -> bytes:
    """Read exactly so many bytes.

    Raises:
        Damaged: the file is shorter than that.
    """
    piece = os.pread(descriptor, length, offset)
    while len(piece) < length:  # a signal or a very large read may return less
        more = os.pread(descriptor, length - len(piece), offset + len(piece))
        if not more:
            raise Damaged(f"blob {path.name} ends before byte {offset + length}")
        piece += more
    return piece


def read_ranges(descriptor: int, ranges: Sequence[tuple[int, int]], path: Path) -> list[bytes]:
    """Read ranges that mostly lie side by side: one call for all, if little is read in vain.

    Raises:
        Damaged: the file is shorter than that.
    """
    first = min((offset for offset, _ in ranges), default=0)
    end = max((offset + length for offset, length in ranges), default=0)
    if end - first > 2 * sum(length for _, length in ranges):
        return [read_exactly(descriptor, offset, length, path) for offset, length in ranges]
    piece = read_exactly(descriptor, first, end - first, path)
    return [piece[offset - first : offset - first + length] for offset, length in ranges]


def cut_file(descriptor: int, size_bytes: int) -> None:
    """Drop what follows the first bytes, and with it what a failed sync may have lost of that."""
    os.ftruncate(descriptor, size_bytes)


def is_full(error: OSError) -> bool:
    """Tell whether a disk refused because it is full, and so may take the same again later."""
    return error.errno in {errno.ENOSPC, errno.EDQUOT}


def sync_file(descriptor: int) -> None:
    """Return when a file's bytes are on the disk."""
    if sys.platform == "darwin":  # its fsync leaves them in the drive's cache
        fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
    else:
        os.fdatasync(descriptor)


def sync_folder(path: Path) -> None:
    """Return when the names in a folder are on the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
