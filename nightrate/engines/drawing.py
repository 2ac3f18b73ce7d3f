"""Pictures without a model: the same words make the same picture, and it is a real PNG file.

Two colours and a mirrored pattern come from the digest of the words. From 4K on, most of a picture
is noise, which no compression makes smaller: such files have the size of photographs, for those who
want to know how the way of large answers behaves.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from itertools import chain, repeat

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CELLS = 8
_NOISE_FROM_PIXELS = 12_000_000
_ROW_FILTER = b"\0"


def draw(words: str, width: int, height: int) -> bytes:
    """Draw a picture of some words.

    Args:
        words: whatever; equal ones make equal pictures.
        width: in pixels, a multiple of 16.
        height: in pixels.
    """
    digest = hashlib.sha256(words.encode("utf-8", "surrogatepass")).digest()
    header = struct.pack(">IIBBBBB", width, height, 1, 3, 0, 0, 0)  # one bit a pixel, a palette
    return b"".join(
        (
            _SIGNATURE,
            _chunk(b"IHDR", header),
            _chunk(b"PLTE", digest[:6]),
            _chunk(b"IDAT", _pixels(digest, width, height)),
            _chunk(b"IEND", b""),
        )
    )


def _chunk(kind: bytes, content: bytes) -> bytes:
    crc = zlib.crc32(content, zlib.crc32(kind))
    return b"".join((struct.pack(">I", len(content)), kind, content, struct.pack(">I", crc)))


def _pixels(digest: bytes, width: int, height: int) -> bytes:
    """Compress the rows: a pattern, and under it noise in a large picture."""
    noisy_rows = height * 3 // 4 if width * height >= _NOISE_FROM_PIXELS else 0
    pattern = b"".join(_rows(digest, width, height - noisy_rows))
    noise = hashlib.shake_256(digest).digest(noisy_rows * (width // 8 + 1)) if noisy_rows else b""
    noise = _unfiltered(noise, width // 8 + 1)
    # Two pieces of one stream: the first is pressed, the second would only cost time.
    first = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS)
    second = zlib.compressobj(0, zlib.DEFLATED, -zlib.MAX_WBITS)
    check = struct.pack(">I", zlib.adler32(noise, zlib.adler32(pattern)))
    return b"".join(
        (
            b"\x78\x01",
            first.compress(pattern),
            first.flush(zlib.Z_SYNC_FLUSH),
            second.compress(noise),
            second.flush(),
            check,
        )
    )


def _rows(digest: bytes, width: int, height: int) -> chain[bytes]:
    """Give the rows of a pattern of 8 by 8 cells whose halves mirror each other."""
    across = width // _CELLS
    rows = []
    for line in range(_CELLS):
        bits = digest[6 + line] >> 4
        cells = [bits >> cell & 1 for cell in (0, 1, 2, 3, 3, 2, 1, 0)]
        on = (1 << across) - 1
        value = 0
        for cell in cells:
            value = value << across | (on if cell else 0)
        row = value << (-width % 8)
        rows.append(_ROW_FILTER + row.to_bytes((width + 7) // 8, "big"))
    return chain.from_iterable(
        repeat(row, (index + 1) * height // _CELLS - index * height // _CELLS)
        for index, row in enumerate(rows)
    )


def _unfiltered(noise: bytes, row_bytes: int) -> bytes:
    """Make every row of noise begin with the filter that leaves it alone."""
    rows = bytearray(noise)
    rows[::row_bytes] = bytes(len(rows[::row_bytes]))
    return bytes(rows)
