"""What a child process starts itself dies with it, however it ends.

A library that keeps its weights in further processes leaves them behind, and with them the memory
of the graphics card, when its own process is killed. So a watcher, forked before anything is
loaded, waits for the end of the process, asks its whole group to end, and kills what does not.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys

PATIENCE_SECONDS = 20
"""Between being asked and being killed, so that what the library keeps elsewhere is given back:
shared memory has no owner that the kernel would clean up after. Ten were measured."""

_LOOKS_A_SECOND = 10

_DESCRIPTORS_MAX = 4096


def take_kin_along(patience_seconds: int = PATIENCE_SECONDS) -> None:
    """Have all that this process starts from now on die with it; elsewhere than on Linux, not.

    Called early: the watcher is a copy of this process as it is now.
    """
    if sys.platform != "linux":
        return
    if os.getpgrp() != os.getpid():
        os.setpgid(0, 0)  # Whoever is in the group of our parent is not ours to end.
    group = os.getpgrp()
    ended = os.pidfd_open(os.getpid())
    if os.fork():
        os.close(ended)
        return
    os.setpgid(0, 0)
    # Nobody shall think that the process lives because its lines are open here.
    os.closerange(0, ended)
    os.closerange(ended + 1, _DESCRIPTORS_MAX)
    select.select([ended], [], [])
    with contextlib.suppress(ProcessLookupError):  # Once nobody is left.
        os.killpg(group, signal.SIGTERM)
        for _ in range(patience_seconds * _LOOKS_A_SECOND):
            select.select([], [], [], 1 / _LOOKS_A_SECOND)
            os.killpg(group, 0)
        os.killpg(group, signal.SIGKILL)
    os._exit(0)
