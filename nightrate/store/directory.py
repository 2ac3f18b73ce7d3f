"""The data directory: one server at a time, on a disk that keeps what it was told."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

from nightrate.errors import InUse, StoreFault
from nightrate.store.disk import sync_file, sync_folder

FORMAT = "nightrate data, format 1\n"

COPY = "nightrate backup, format 1\n"
COPY_MARK = "backup"
"""The file that marks a copy."""

DATABASE = "state.sqlite"
INDEX = "search.sqlite"
"""Of the operator's documents: whoever damages or loses it can make it again from these."""

NETWORK_FILE_SYSTEMS = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "fuse.sshfs", "afs"}
)


class DataDirectory:
    """A locked data directory. The lock is the kernel's, so it ends with the process."""

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self._lock = lock

    @property
    def database(self) -> Path:
        """Where the state database lies."""
        return self.path / DATABASE

    @property
    def index(self) -> Path:
        """Where the index of the operator's documents lies, if there are any."""
        return self.path / INDEX

    @property
    def blobs(self) -> Path:
        """Where the blobs lie."""
        return self.path / "blobs"

    @property
    def keys(self) -> Path:
        """Where the server's own keys lie."""
        return self.path / "keys"

    def unlock(self) -> None:
        """Let another server in."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def open_directory(path: Path) -> DataDirectory:
    """Make and lock a data directory.

    Raises:
        InUse: another process holds it.
        StoreFault: its format is unknown, or it lies on a network file system, where neither the
            lock nor SQLite's write-ahead log can be trusted.
    """
    path = path.resolve()  # a link may lead to another file system
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    system = file_system(path)
    if system in NETWORK_FILE_SYSTEMS:
        message = (
            f"{path} lies on a network file system ({system}); use a directory on a local disk"
        )
        raise StoreFault(message)
    lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(lock)
        message = f"{path} is in use by another nightrate; stop that one or choose another --data"
        raise InUse(message) from error
    directory = DataDirectory(path, lock)
    try:
        sync_folder(path.parent)  # the directory itself survives a power cut, too
        _check_format(path / "format")
    except BaseException:
        directory.unlock()
        raise
    return directory


def mark_copy(path: Path) -> None:
    """Mark a directory as a copy, which nobody is to work in."""
    _write(path / COPY_MARK, COPY.encode(), 0o600)


def unmark_copy(path: Path) -> None:
    """Let a whole copy be worked in."""
    (path / COPY_MARK).unlink()
    sync_folder(path)


def write_format(path: Path) -> None:
    """Say which layout a directory has."""
    _write_format(path / "format")


def require_format(path: Path) -> None:
    """Refuse a directory of an unknown layout.

    Raises:
        StoreFault: it is that, or says nothing.
    """
    if not (path / "format").exists():
        raise StoreFault(f"{path} is not whole: it does not say its format")
    _require_known(path / "format")


def _check_format(path: Path) -> None:
    if (path.parent / COPY_MARK).exists():
        message = (
            f"{path.parent} is a backup, or a restore that was not finished; restore into an empty"
            " directory: nightrate restore BACKUP --data DIRECTORY"
        )
        raise StoreFault(message)
    if not path.exists():
        _write_format(path)
        return
    _require_known(path)


def _require_known(path: Path) -> None:
    if (found := path.read_bytes()) != FORMAT.encode():
        message = f"{path.parent} was written by another version ({found[:80]!r})"
        raise StoreFault(message)


def _write_format(path: Path) -> None:
    """Write it whole or not at all: half a line would lock the owner out for ever."""
    _write(path, FORMAT.encode(), 0o666)


def keep_private(path: Path, make: Callable[[], bytes]) -> bytes:
    """Give the content of a small file that only its owner can read, made if it is not there.

    Raises:
        OSError: it can be neither read nor made.
    """
    if not path.exists():
        _write(path, make(), 0o600)
    return path.read_bytes()


def _write(path: Path, content: bytes, mode: int) -> None:
    """Make a file appear whole and synced, or not at all."""
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        sync_file(file.fileno())
    new.replace(path)
    sync_folder(path.parent)


def file_system(path: Path, mounts: Path = Path("/proc/self/mounts")) -> str:
    """Name the type of file system a path lies on; ``unknown`` where the system does not tell."""
    if not mounts.exists():
        return "unknown"
    best, kind = "", "unknown"
    for line in mounts.read_text(encoding="utf-8").splitlines():
        _, point, system, *_ = line.split()
        point = point.replace("\\040", " ")
        inside = path.is_relative_to(point)
        if inside and len(point) >= len(best):
            best, kind = point, system
    return kind
