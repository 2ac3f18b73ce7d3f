"""The process that plans a large input, so that parsing never stalls the server.

Started as ``python -m nightrate.work.planning_process INPUT OUTPUT MODEL KIND``, where
KIND is the batch's `Kind` as JSON. It ends with status 0 when the plan file is written and synced,
and with `DISK_FULL` when there was no room for it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from nightrate.domain.batch import Kind
from nightrate.store.disk import is_full, sync_file, sync_folder
from nightrate.work.plan import plan_input

DISK_FULL = 28
"""The status that says so; the number of the error, on Linux."""


def plan_file(source: Path, output: Path, model: str, kind: Kind) -> None:
    """Plan one input into a file, whatever an earlier try left there."""
    with source.open("rb", buffering=0) as input_file, output.open("wb") as plan:
        plan_input(input_file, plan, model, kind, output.parent)
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
