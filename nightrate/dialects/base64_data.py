"""Bytes that clients send in texts: Base64 in either alphabet, and addresses that hold it."""

from __future__ import annotations

import binascii
from typing import Final

_OTHER_ALPHABET: Final = str.maketrans("-_", "+/")
_SCHEME: Final = "data:"
_ENCODED: Final = ";base64"


def plain_base64(text: str) -> str | None:
    """Give Base64 in the usual alphabet and padded; None for what is none, or holds no byte.

    Clients write ``-_`` for ``+/`` and leave the padding out; servers are strict.
    """
    if "-" in text or "_" in text:
        text = text.translate(_OTHER_ALPHABET)
    text += "=" * (-len(text) % 4)
    try:
        # Decoding is the quickest way to look at each character.
        found = binascii.a2b_base64(text, strict_mode=True)
    except ValueError:
        return None
    return text if found else None


def in_address(address: str) -> tuple[str, str] | None:
    """Take a ``data:`` address apart: its media type, and its Base64 as it stands.

    None for an address of another kind; the type is empty where it names none.
    """
    head, comma, data = address.partition(",")
    if not comma or head[: len(_SCHEME)].lower() != _SCHEME or not head.endswith(_ENCODED):
        return None
    return head[len(_SCHEME) : -len(_ENCODED)], data
