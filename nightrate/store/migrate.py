"""Numbered schema steps: read from files, applied once each, forward only."""

from __future__ import annotations

import hashlib
from importlib import resources

from msgspec import Struct


class Step(Struct, frozen=True):
    """One schema step."""

    number: int
    sql: str
    sha256: str
    """Of the text, recorded when applied: a step that changed afterwards is refused."""


def steps() -> list[Step]:
    """Read every step in order."""
    found = []
    for entry in resources.files("nightrate.store.migrations").iterdir():
        if entry.name.endswith(".sql"):
            sql = entry.read_text(encoding="utf-8")
            digest = hashlib.sha256(sql.encode()).hexdigest()
            found.append(Step(int(entry.name.partition("_")[0]), sql, digest))
    return sorted(found, key=lambda step: step.number)
