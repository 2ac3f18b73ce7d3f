"""Runs a campaign of this folder with few points, in a process of its own, as `make faults` does.

Of its own, because lives are forked: a process with the threads of pytest's workers cannot.
"""

from __future__ import annotations

import re
import subprocess
import sys


def quick(name: str, points: int, seed: int = 1) -> str:
    """Run so many points of a campaign, which must find nothing; give what it printed.

    Lives differ a little: a call with a high number may not come, and so is no point.
    """
    command = (sys.executable, "-m", "tests.faults", name)
    numbers = ("--points", str(points), "--seed", str(seed))
    done = subprocess.run((*command, *numbers), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]
    found = re.search(rf"^{name}: (\d+) points tried, 0 violations", done.stdout, re.MULTILINE)
    assert found is not None, done.stdout
    assert int(found[1]) >= 0.9 * points, done.stdout
    return done.stdout
