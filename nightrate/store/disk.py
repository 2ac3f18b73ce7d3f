"""Calls to the local disk that do what they say: whole writes, whole reads, syncs that reach it."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import sys
from collections.abc import Callable, Sequence
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


def begin_writing(descriptor: int, offset: int, length: int) -> bool:
    """Have the kernel begin to write a range to the disk, so that a sync soon has less to wait for.

    A length of 0 reaches to the end of the file. Gives whether it has begun; that
    promises nothing, and what goes wrong is told by the sync.
    Linux only, sync_file_range(2); elsewhere nothing begins.
    """
    if _sync_file_range is None:
        return False
    return _sync_file_range(descriptor, offset, length, _SYNC_FILE_RANGE_WRITE) == 0


def _find_sync_file_range() -> Callable[[int, int, int, int], int] | None:
    call = getattr(ctypes.CDLL(None), "sync_file_range", None)
    if call is not None:
        call.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    return call


_SYNC_FILE_RANGE_WRITE = 2
_sync_file_range = _find_sync_file_range()


def sync_folder(path: Path) -> None:
    """Return when the names in a folder are on the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
