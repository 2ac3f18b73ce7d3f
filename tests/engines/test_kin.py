"""What a child process started dies with it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys

import psutil
import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nobody watches")

_GRANDCHILD = "import os, signal; print(os.getpid(), flush=True); signal.pause()"
_STUBBORN = _GRANDCHILD.replace("print", "signal.signal(signal.SIGTERM, signal.SIG_IGN); print")
_CHILD = """
import os, signal, subprocess, sys
from nightrate.engines.kin import take_kin_along
take_kin_along(patience_seconds=1)
subprocess.Popen([sys.executable, "-c", sys.argv[1]])
{then}
"""
_WAITING = _CHILD.format(then="signal.pause()")


@pytest.mark.parametrize("grandchild", [_GRANDCHILD, _STUBBORN])
@pytest.mark.parametrize("own_session", [True, False])
async def test_what_a_killed_process_started_ends_too_or_is_killed(
    grandchild: str,
    own_session: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _WAITING, grandchild),
        stdout=subprocess.PIPE,
        start_new_session=own_session,
    )
    assert child.stdout
    started = psutil.Process(int(await child.stdout.readline()))
    os.kill(child.pid, signal.SIGKILL)
    await child.wait()
    _, alive = await asyncio.to_thread(psutil.wait_procs, [started], 60)
    assert not alive


async def test_an_orderly_end_takes_it_along_as_well() -> None:
    ends_once_it_has_heard = _CHILD.format(then="os.read(0, 1); os._exit(0)")
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", ends_once_it_has_heard, _GRANDCHILD),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert child.stdout
    assert child.stdin
    started = psutil.Process(int(await child.stdout.readline()))
    child.stdin.write(b".")
    # The output ends only with the last process that could write to it.
    assert await child.stdout.read() == b""
    assert await child.wait() == 0
    _, alive = await asyncio.to_thread(psutil.wait_procs, [started], 60)
    assert not alive
