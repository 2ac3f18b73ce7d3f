"""What a server and all its children hold in memory, sampled while something runs.

Private bytes (USS) are those that would come back if the process ended: what it shares with nobody.
Proportional bytes (PSS) add its part of what several processes share. Both are sums over the family
at one moment; the page cache of files that are only read and written belongs to nobody.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
from msgspec import Struct

SAMPLE_SECONDS = 0.1

_KIB_PER_MIB = 1024
_PRIVATE = ("Private_Clean:", "Private_Dirty:", "Private_Hugetlb:")


class Memory(Struct):
    """Memory of a family of processes, in MiB."""

    private: float = 0.0
    proportional: float = 0.0
    processes: int = 0


class Peak(Memory):
    """The highest of each figure that was seen, not all at the same moment."""

    samples: int = 0

    def take(self, now: Memory) -> None:
        """Take note of a sample."""
        self.private = max(self.private, now.private)
        self.proportional = max(self.proportional, now.proportional)
        self.processes = max(self.processes, now.processes)
        self.samples += 1


def family(process_id: int) -> list[int]:
    """Give the ids of a process and of all that descend from it and live."""
    try:
        parent = psutil.Process(process_id)
        return [process_id, *(child.pid for child in parent.children(recursive=True))]
    except psutil.NoSuchProcess:
        return []


def memory_of(process_id: int) -> Memory:
    """Measure a family now; a member that ends meanwhile counts for nothing."""
    found = Memory()
    for member in family(process_id):
        try:
            rollup = Path(f"/proc/{member}/smaps_rollup").read_text("ascii")
        except (FileNotFoundError, ProcessLookupError):
            continue
        found.processes += 1
        for line in rollup.splitlines():
            name, *value = line.split()
            if name in _PRIVATE:
                found.private += int(value[0]) / _KIB_PER_MIB
            elif name == "Pss:":
                found.proportional += int(value[0]) / _KIB_PER_MIB
    return found


@contextlib.contextmanager
def sampled(process_id: int, seconds: float = SAMPLE_SECONDS) -> Iterator[Peak]:
    """Sample a family while a block runs; the peak is complete when the block has ended.

    Args:
        process_id: the oldest of the family.
        seconds: between two samples. What comes and goes in between is not seen.
    """
    peak, over = Peak(), threading.Event()

    def sample() -> None:
        while True:
            peak.take(memory_of(process_id))
            if over.wait(seconds):
                return

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        over.set()
        thread.join()
