"""What a child process starts itself dies with it, however it ends.

A library that keeps its weights in further processes leaves them behind, and with them the memory
of the graphics card, when its own process is killed. So a watcher, forked before anything is
loaded, waits for the end of the process and then kills its whole group, itself included.
"""

from __future__ import annotations

import os
import select
import signal
import sys


def take_kin_along() -> None:
    """Have all that this process starts from now on die with it; elsewhere than on Linux, not.

    Called early: the watcher is a copy of this process as it is now.
    """
    if sys.platform != "linux":
        return
    if os.getpgrp() != os.getpid():
        os.setpgid(0, 0)  # Whoever is in the group of our parent is not ours to kill.
    group = os.getpgrp()
    ended = os.pidfd_open(os.getpid())
    if os.fork():
        os.close(ended)
        return
    select.select([ended], [], [])
    os.killpg(group, signal.SIGKILL)
