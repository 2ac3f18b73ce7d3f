"""How far a copy of a data directory is."""

from __future__ import annotations

from msgspec import Struct


class Progress(Struct):
    """What has been done of a backup or a restore; one value that grows."""

    doing: str = "copying the database"
    whole_bytes: int = 0
    """Of all blobs, as the database counts them; 0 until that is known."""
    done_bytes: int = 0
    copied: int = 0
    """Blobs whose bytes were copied."""
    linked: int = 0
    there: int = 0
    """Blobs that an earlier copy into the same place had brought."""
    damaged: int = 0
    """Blobs that are missing, or shorter than they were written."""
    first_damaged: str = ""
    done: bool = False
