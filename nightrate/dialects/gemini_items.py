"""Stored items of an inline batch, put into its document.

An item whose metadata holds something else than strings is stored as it is sent back in the exact
profile, and *marked*: its line begins with a carriage return. To JSON that is white space, no line
holds one anywhere else, and one look at a piece tells that it has none. The other profile makes
strings of such values while it reads, because Google's clients break at anything else.
"""

from __future__ import annotations

from typing import Final

from msgspec import Raw, json

from nightrate.dialects.gemini_profiles import Profile

MARK: Final = b"\r"

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
        self._held = b""
        """A line end, which becomes a comma only when something follows it, or a marked line."""

    def feed(self, piece: bytes) -> bytes:
        """Give what can be sent after this piece."""
        text = self._held + piece
        if self._as_sent or MARK not in text:
            values = text.removesuffix(b"\n")
            self._held = text[len(values) :]
            return values.replace(b"\n", b",\n")
        *lines, last = text.split(b"\n")
        done = [*map(_respelled, lines)]
        if last and not last.startswith(MARK):
            done.append(last)
            self._held = b""
        else:
            self._held = b"\n" + last if lines else last
        return b",\n".join(done)


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
