"""JSON as short as it can be written, piece by piece as it comes from a server."""

from __future__ import annotations

import re
from typing import Final

_PIECES: Final = re.compile(r'["\\]|[^"\\]+')
_SPACES: Final = dict.fromkeys(map(ord, " \t\n\r"))


class Compactor:
    """Leaves out the white space that means nothing: that outside of strings."""

    def __init__(self) -> None:
        self._inside = self._escaped = False
        """Whether the last piece ended in a string, and with the beginning of an escape."""

    def feed(self, text: str) -> str:
        """Give what is left of the next piece; what is no JSON loses its spaces likewise."""
        kept = []
        for piece in _PIECES.findall(text):
            if not self._inside:
                self._inside = piece == '"'
                kept.append(piece.translate(_SPACES))
                continue
            kept.append(piece)
            if self._escaped:
                self._escaped = False
            elif piece == '"':
                self._inside = False
            else:
                self._escaped = piece == "\\"
        return "".join(kept)
