"""The bounds of looks into inputs and of planning; see `limits`, of which they are a part."""

from __future__ import annotations

from nightrate.limits import MIB

CHECK_BYTES_MAX = 64 * MIB
"""Ours: how much of a strict batch's input is read before the answer: a second of long lines;
of short ones the time is up first."""

CHECK_SECONDS = 5.0
"""Ours: and for how long; what is not seen by then is judged when the batch is planned."""

DRY_RUN_SECONDS = 20.0
"""Ours: a dry run may read longer, but most clients give up after 30 to 60 seconds."""

DRY_RUN_FAULTS_MAX = 1_000
"""Ours: faults that a dry run lists, about 200 KB; it counts all."""

REPEATED_KEYS_LISTED_MAX = 100
"""Ours: repeated keys that a dry run lists; it counts all."""

KEYS_COMPARED_MAX = 1_000_000
"""Ours: keys that a dry run remembers to find repeated ones; about 80 MB, in its own process."""

INSPECTIONS_AT_ONCE_MAX = 2
"""Ours: processes that look into inputs; what is over it waits."""

IDS_HELD_BYTES = 8 * MIB
"""Ours: digests of the ids of a planned input, 24 bytes each, that are held before they are put
aside in a file; telling repeats apart then takes about a twelfth of their memory again."""

SHARD_REQUESTS_MAX = 1_000
"""Ours, measured: 10,000 shard rows for 10 million requests are created in 22 ms."""

SHARD_BYTES_MAX = 16 * MIB
"""Ours: the input of one shard, or one line if that is longer."""

FIRST_SHARD_REQUESTS = 16
"""Ours: a small first shard gives early answers, an error rate and an ETA."""

PLAN_IN_PLACE_BYTES_MAX = 4 * MIB
"""Ours: inputs below this are planned by a thread of the server, 5 to 30 ms for each MiB of plain
lines; larger ones in a process, whose start takes 0.3 to 0.6 s."""

PLAN_IN_PLACE_SECONDS_MAX = 0.25
"""Ours: an input of other lines goes to a process then: it would hold the interpreter for long."""

CHECK_IN_PLACE_BYTES_MAX = MIB
"""Ours: how much of an input is looked at before its batch is made, by a thread of the server."""

PLAN_TOTAL_BYTES_MAX = MIB
"""Ours: the last line of a plan file, with its listed faults; about 20 KB in practice."""

PLAN_ATTEMPTS_MAX = 3
"""Ours: a planning process that dies this often fails its batch."""
