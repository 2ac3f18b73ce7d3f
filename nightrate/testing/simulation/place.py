"""Where seeds are played: a folder in memory, and what takes too long to make for each of them."""

from __future__ import annotations

import gc
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar

from nightrate.service.vault import Vault
from nightrate.store.sqlite import SQLiteStore

T = TypeVar("T")

PLAYS_BETWEEN_COLLECTIONS: Final = 10


class Workplace:
    """What seeds share: a vault, whose keys take long to make, and an empty database to copy."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.vault = Vault(folder / "keys")
        self._plays = 0
        store = SQLiteStore(folder / "empty.sqlite", _inline)
        store._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # noqa: SLF001 - to copy it
        store._connection.close()  # noqa: SLF001
        self._empty = (folder / "empty.sqlite").read_bytes()

    def new_folder(self) -> Path:
        """Make a folder for a seed, with an empty database in it."""
        self._plays += 1
        if self._plays % PLAYS_BETWEEN_COLLECTIONS == 0:
            gc.collect()
        root = self.folder / str(self._plays)
        (root / "blobs").mkdir(parents=True)
        (root / "state.sqlite").write_bytes(self._empty)
        return root


@contextmanager
def workplace() -> Iterator[Workplace]:
    """Have a place in memory, where the system offers one: nothing there has to last."""
    memory = Path("/dev/shm")  # noqa: S108 - below it comes a folder with a name of its own
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        place = Workplace(Path(folder).resolve())
        gc.collect()
        gc.freeze()  # what is there by now stays, and need not be looked through again
        try:
            yield place
        finally:
            gc.unfreeze()


async def _inline(call: Callable[[], T], /) -> T:
    return call()
