"""Which characters a font has, read from its table of them."""

from __future__ import annotations

import struct
from pathlib import Path

_WHOLE_UNICODE = 12
"""The format of a table that covers all of Unicode in runs; every font of pictograms has one."""


def characters_of(path: Path) -> frozenset[int]:
    """Give the code points that a TrueType or OpenType font has a glyph for.

    Raises:
        ValueError: it is no such font, or covers nothing beyond the first plane of Unicode.
    """
    data = path.read_bytes()
    try:
        start = _table(data, b"cmap")
        (count,) = struct.unpack_from(">H", data, start + 2)
        found: set[int] = set()
        for index in range(count):
            (offset,) = struct.unpack_from(">I", data, start + 4 + 8 * index + 4)
            (kind,) = struct.unpack_from(">H", data, start + offset)
            if kind == _WHOLE_UNICODE:
                found.update(*_runs(data, start + offset))
    except struct.error as error:
        raise ValueError(f"{path.name} is no font, or breaks off") from error
    if not found:
        raise ValueError(f"{path.name} has no table of all its characters")
    return frozenset(found)


def _table(data: bytes, tag: bytes) -> int:
    """Give where a table of the font begins."""
    (count,) = struct.unpack_from(">H", data, 4)
    for index in range(count):
        name, _, offset, _ = struct.unpack_from(">4sIII", data, 12 + 16 * index)
        if name == tag:
            return int(offset)
    raise ValueError(f"the font has no table {tag.decode()}")


def _runs(data: bytes, start: int) -> list[range]:
    (count,) = struct.unpack_from(">I", data, start + 12)
    runs = (struct.unpack_from(">II", data, start + 16 + 12 * index) for index in range(count))
    return [range(first, last + 1) for first, last in runs]
