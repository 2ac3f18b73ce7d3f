"""How closely answers follow the original service."""

from __future__ import annotations

from enum import StrEnum


class Profile(StrEnum):
    """Two readings of one protocol, for the places where documentation and service differ."""

    DOCUMENTED = "documented"
    """What Google's documentation shows and its samples read, the original's spelling beside it."""
    EXACT = "exact"
    """What the original service sends, and nothing else."""
