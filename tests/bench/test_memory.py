"""What a family of processes holds is measured over all its members."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from bench.memory import family, memory_of, sampled
from tests.acceptance.server import until

MIB = 1 << 20
HOLDER = """
import sys
held = bytearray(64 << 20)
for place in range(0, len(held), 4096):
    held[place] = 1
print("held", flush=True)
sys.stdin.read()
"""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def test_memory_of_a_child_counts_and_is_gone_with_it() -> None:
    with sampled(os.getpid(), seconds=0.01) as peak:
        before = memory_of(os.getpid())
        child = subprocess.Popen(
            [sys.executable, "-c", HOLDER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        with child:
            assert child.stdout is not None
            assert child.stdout.readline() == "held\n"
            assert child.pid in family(os.getpid())
            seen = peak.samples + 2  # the next one may have begun before
            until(lambda: peak.samples >= seen, seconds=60)
            during = memory_of(os.getpid())
            child.communicate("")
        after = memory_of(os.getpid())
    assert during.private > before.private + 60
    assert during.proportional > before.proportional + 60
    assert after.private < during.private - 60
    assert peak.private >= during.private - 4  # a sample may stand just before or after it
    assert peak.processes >= during.processes  # another test's child may have been there


def test_a_process_that_is_gone_holds_nothing() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        child.wait()
        assert memory_of(child.pid).private == 0
    assert family(child.pid) == []
