"""The bounds of what upkeep and backups do at once; see `limits`, of which they are a part."""

from __future__ import annotations

from nightrate.limits import MIB

SWEEP_STEPS_MAX = 20
"""Ours: such sweeps of batches in a row; a batch may have 10,000 shard rows."""

ORPHAN_NAMES = 2_500
"""Ours: names that one turn of upkeep looks at, so that a million take half an hour of turns."""

ORPHANS_HELD_MAX = 10_000
"""Ours: suspected orphans that are held in memory, about 2 MB; more wait for the next pass."""

BACKUP_PAGES = 256
"""Ours: pages of the database that one step of a backup copies, a MiB."""

BACKUP_BYTES = 8 * MIB
"""Ours: bytes of blobs that one step of a backup copies, some ten milliseconds of a thread."""

BACKUP_BLOBS = 64
"""Ours: or how many blobs it looks at."""

BACKUP_TOLD_SECONDS = 0.5
"""Ours: how often it is told how far a backup is."""

HELD_DELETIONS_MAX = 100_000
"""Ours: deletions that wait for the end of a backup, about 20 MB of names."""
