"""The process that plans a large input, so that parsing never stalls the server.

Started as ``python -m nightrate.work.planning_process INPUT OUTPUT MODEL KIND``, where
KIND is the batch's `Kind` as JSON. It ends with status 0 when the plan file is written and synced,
and with `DISK_FULL` when there was no room for it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from nightrate import clock, limits
from nightrate.domain.batch import Kind
from nightrate.store.disk import is_full, sync_file, sync_folder
from nightrate.work.plan import Readable, plan_input

DISK_FULL = 28
"""The status that says so; the number of the error, on Linux."""


_LOOK_BYTES = 64 * limits.KIB
"""After so many the time is looked at, where it is short. What is shorter is read in any case, so
that a machine in distress starts no processes for nothing."""


class TooSlow(Exception):
    """An input is not planned in the time that there was."""


class _Hurried:
    """An input that can be read for some seconds only.

    Args:
        file: the input.
        seconds_max: how long.
    """

    def __init__(self, file: Readable, seconds_max: float) -> None:
        self._file = file
        self._until = clock.monotonic() + seconds_max
        self._size_bytes = 0

    def read(self, size: int, /) -> bytes:
        """Read on.

        Raises:
            TooSlow: the time is over.
        """
        if self._size_bytes >= _LOOK_BYTES and clock.monotonic() > self._until:
            raise TooSlow
        block = self._file.read(min(size, _LOOK_BYTES))
        self._size_bytes += len(block)
        return block


def plan_file(
    source: Path, output: Path, model: str, kind: Kind, seconds_max: float | None = None
) -> None:
    """Plan one input into a file, whatever an earlier try left there.

    Args:
        source: the input.
        output: where the plan goes.
        model: of the batch.
        kind: how its rows are written.
        seconds_max: how long it may be read; None for as long as that takes.

    Raises:
        TooSlow: it is not read by then; what is written is no plan.
    """
    with source.open("rb", buffering=0) as input_file, output.open("wb") as plan:
        read = input_file if seconds_max is None else _Hurried(input_file, seconds_max)
        plan_input(read, plan, model, kind, output.parent)
        plan.flush()
        sync_file(plan.fileno())
    # Its name outlives the planning: as long as it is there, the batch is still to be tidied.
    sync_folder(output.parent)


def main(arguments: list[str]) -> int:
    """Run with the arguments of the command line."""
    source, output, model, kind = arguments
    try:
        plan_file(Path(source), Path(output), model, msgspec.json.decode(kind, type=Kind))
    except OSError as error:
        if not is_full(error):
            raise
        return DISK_FULL
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
