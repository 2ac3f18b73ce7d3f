"""Stored items of an inline batch, put into its document.

An item whose metadata holds something else than strings is stored as it is sent back in the exact
profile, and *marked*: its line begins with a space, which no other line does. The other profile
makes strings of such values while it reads, because Google's clients break at anything else.
"""

from __future__ import annotations

from typing import Final

from msgspec import Raw, json

from nightrate.dialects.gemini_profiles import Profile

MARK: Final = b" "

_decode = json.Decoder().decode
_decode_members = json.Decoder(dict[str, Raw]).decode
_decode_strings = json.Decoder(dict[str, str]).decode
_encode = json.Encoder().encode


def are_strings(metadata: bytes) -> bool:
    """Tell whether every value is a string, as nearly always."""
    try:
        _decode_strings(metadata)
    except ValueError:
        return False
    return True


class ItemJoiner:
    """Turns sealed lines, however they are cut into pieces, into JSON values with commas between.

    No more than one marked line is held. A raw line end never stands inside a JSON value.
    """

    def __init__(self, profile: Profile) -> None:
        self._as_sent = profile is Profile.EXACT
        self._held = b""  # a line end, which becomes a comma only when something follows it
        self._at_line_start = True

    def feed(self, piece: bytes) -> bytes:
        """Give what can be sent after this piece."""
        text = self._held + piece
        if self._as_sent or not self._has_mark(text):
            values = text.removesuffix(b"\n")
            self._held = text[len(values) :]
            self._at_line_start = self._at_line_start and not text
            return values.replace(b"\n", b",\n")
        first_is_whole = self._at_line_start
        *lines, last = text.split(b"\n")
        whole = lines if first_is_whole else lines[1:]
        done = [*lines[: len(lines) - len(whole)], *map(_respelled, whole)]
        unfinished = last.startswith(MARK) and (bool(lines) or first_is_whole)
        if last and not unfinished:
            done.append(last)
        self._at_line_start = first_is_whole and not lines
        self._held = b"" if last and not unfinished else (b"\n" + last if lines else last)
        return b",\n".join(done)

    def _has_mark(self, text: bytes) -> bool:
        return b"\n" + MARK in text or (self._at_line_start and text.startswith(MARK))


def _respelled(line: bytes) -> bytes:
    """Make strings of the metadata of a marked line."""
    if not line.startswith(MARK):
        return line
    members = {name: bytes(raw) for name, raw in _decode_members(line).items()}
    members["metadata"] = _strings(members["metadata"])
    texts = (_encode(name) + b":" + text for name, text in members.items())
    return b"{" + b",".join(texts) + b"}"


def _strings(metadata: bytes) -> bytes:
    """Make every value a string: what is none becomes its JSON text."""
    values = _decode_members(metadata).items()
    return _encode(
        {
            name: _decode(raw) if bytes(raw).startswith(b'"') else bytes(raw).decode()
            for name, raw in values
        }
    )
