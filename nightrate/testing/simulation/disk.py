"""A disk that knows what was synced, so that a power cut can take the rest.

Bytes and names are durable once they were synced. After a sync that failed the kernel takes the
pages for clean: they can still be read, a later sync succeeds, and a power cut takes them all the
same.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from nightrate.testing.simulation.chance import Chance


class Disk:
    """What lies below one folder.

    Args:
        root: the folder.
        strike: asked before and after each sync of a file whether the disk refuses it; it may also
            raise what ends the process.
    """

    def __init__(self, root: Path, chance: Chance, strike: Callable[[str], bool]) -> None:
        self.root = root
        self.cuts = 0
        self._chance = chance
        self._strike = strike
        self._synced: dict[str, int] = {}
        self._holes: dict[str, list[tuple[int, int]]] = {}
        self._names: set[str] = {str(root)}

    def sync_file(self, descriptor: int) -> None:
        """See `store.disk.sync_file`."""
        path = _path(descriptor)
        size = os.fstat(descriptor).st_size
        known = min(self._synced.get(path, 0), size)
        if self._strike("before a sync"):
            self._holes.setdefault(path, []).append((known, size))
            raise OSError(errno.EIO, "the disk refuses")
        self._synced[path] = size
        self._strike("after a sync")

    def cut_file(self, descriptor: int, size: int) -> None:
        """See `store.disk.cut_file`: what is written there anew is in no page that was lost."""
        path = _path(descriptor)
        os.ftruncate(descriptor, size)
        self._synced[path] = min(self._synced.get(path, 0), size)
        holes = [(start, min(stop, size)) for start, stop in self._holes.get(path, ())]
        self._holes[path] = [(start, stop) for start, stop in holes if start < stop]

    def sync_folder(self, path: Path) -> None:
        """See `store.disk.sync_folder`."""
        self._names.add(str(path))
        self._names.update(entry.path for entry in os.scandir(path))

    def is_durable(self, blob: str, size: int) -> bool:
        """Tell whether a power cut leaves the first bytes of a blob."""
        path = f"{self.root}/{blob}"
        if self._synced.get(path, 0) < size or not os.path.exists(path):  # noqa: PTH110 - often
            return False
        if any(start < size for start, _ in self._holes.get(path, ())):
            return False
        while path != str(self.root):
            if path not in self._names:
                return False
            path = path.rpartition("/")[0]
        return True

    def cut_power(self) -> None:
        """Take what was not synced, or some of it."""
        self.cuts += 1
        for path in list(self._below(self.root)):
            if str(path) not in self._names and self._chance.happens(0.5):
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)
            elif path.is_file():
                self._tear(path)
        self._holes.clear()
        survivors = [path for path in self._below(self.root) if path.exists()]
        self._names.update(map(str, survivors))
        self._synced = {str(path): path.stat().st_size for path in survivors if path.is_file()}

    def _tear(self, path: Path) -> None:
        size = path.stat().st_size
        kept = min(self._synced.get(str(path), 0), size)
        end = self._chance.whole(kept, size)
        os.truncate(path, end)
        lost = [(start, min(stop, end)) for start, stop in self._holes.get(str(path), ())]
        if end > kept and self._chance.happens(0.3):  # the length made it, the bytes did not
            lost.append((self._chance.whole(kept, end), end))
        with path.open("r+b") as file:
            for start, stop in lost:
                if start < stop:
                    file.seek(start)
                    file.write(bytes(stop - start))

    def _below(self, folder: Path) -> Iterator[Path]:
        for entry in sorted(folder.iterdir()):
            yield entry
            if entry.is_dir():
                yield from self._below(entry)


def _path(descriptor: int) -> str:
    if sys.platform == "darwin":
        found = fcntl.fcntl(descriptor, fcntl.F_GETPATH, bytes(1024))
        return os.fsdecode(found.rstrip(b"\0"))
    return os.readlink(f"/proc/self/fd/{descriptor}")  # noqa: PTH115 - often
