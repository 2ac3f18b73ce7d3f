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

_CHILD = """
import signal, subprocess, sys
from nightrate.engines.kin import take_kin_along
take_kin_along()
started = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
print(started.pid, flush=True)
{then}
"""


@pytest.mark.parametrize("own_session", [True, False])
async def test_what_a_killed_process_started_is_killed_too(own_session: bool) -> None:  # noqa: FBT001
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _CHILD.format(then="signal.pause()")),
        stdout=subprocess.PIPE,
        start_new_session=own_session,
    )
    assert child.stdout
    grandchild = psutil.Process(int(await child.stdout.readline()))
    os.kill(child.pid, signal.SIGKILL)
    await child.wait()
    _, alive = await asyncio.to_thread(psutil.wait_procs, [grandchild], 20)
    assert not alive


async def test_an_orderly_end_takes_it_along_as_well() -> None:
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _CHILD.format(then="import os; os._exit(0)")),
        stdout=subprocess.PIPE,
    )
    assert child.stdout
    # The output ends only with the last process that could write to it.
    assert (await child.stdout.read()).strip().isdigit()
    assert await child.wait() == 0
