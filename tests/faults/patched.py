"""The command line of Nightrate in another world: with other limits, and a wall clock that jumps.

``python -m tests.faults.patched NAME=NUMBER ... clock=FILE -- serve ...``: each name is one of
`nightrate.limits` or of a part of it; the file holds how many seconds the wall clock is wrong, and
is looked at each time that somebody asks for the time.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from nightrate import clock, limits, planning_limits, upkeep_limits, webhook_limits

_BOUNDS = limits, planning_limits, upkeep_limits, webhook_limits


def command(*changes: str) -> Sequence[str]:
    """Give what starts the command line in such a world."""
    return (sys.executable, "-m", "tests.faults.patched", *changes, "--")


def change(changes: Sequence[str]) -> None:
    """Make the world so; nothing else has been imported yet."""
    for one in changes:
        name, _, value = one.partition("=")
        if name == "clock":
            _let_jump(Path(value))
        else:
            (module,) = [one for one in _BOUNDS if hasattr(one, name)]
            setattr(module, name, float(value))


def _let_jump(file: Path) -> None:
    real = clock.now

    def now() -> clock.Instant:
        return clock.later(real(), float(file.read_text()))

    clock.now = now


def main() -> None:
    """Change the world, then run the command."""
    end = sys.argv.index("--")
    change(sys.argv[1:end])
    sys.argv = ["nightrate", *sys.argv[end + 1 :]]
    from nightrate.cli import main as run  # noqa: PLC0415 - what it imports sees the change

    run()


if __name__ == "__main__":
    main()
