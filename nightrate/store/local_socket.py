"""A socket in the data directory, through which commands reach the server that holds it.

The system takes addresses of about a hundred bytes. A directory with a longer path is reached by
the number of an open descriptor of it, where the system has names for those.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from nightrate import limits

NAME = "administration.sock"

_DESCRIPTORS = Path("/proc/self/fd")


def listen(folder: Path) -> socket.socket:
    """Make the socket, readable and writable by this user only, and listen on it.

    Only for the process that has locked the directory: one that was killed left its own behind.

    Raises:
        OSError: there can be none here.
    """
    with _reachable(folder) as path:
        path.unlink(missing_ok=True)
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listening.bind(str(path))
            path.chmod(0o600)  # nobody can connect before the next line
            listening.listen()
            listening.setblocking(False)  # noqa: FBT003 - the name says it
        except OSError:
            listening.close()
            raise
    return listening


def connect(folder: Path, timeout_seconds: float) -> socket.socket:
    """Connect to the server that listens in a directory.

    Raises:
        OSError: nobody listens, or this user may not speak to whoever does.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(timeout_seconds)
    try:
        with _reachable(folder) as path:
            connection.connect(str(path))
    except OSError:
        connection.close()
        raise
    return connection


def remove(folder: Path) -> None:
    """Take the socket out of the directory again."""
    (folder / NAME).unlink(missing_ok=True)


@contextlib.contextmanager
def _reachable(folder: Path) -> Iterator[Path]:
    """Give a path of the socket that is short enough."""
    path = folder.resolve() / NAME
    if len(os.fsencode(path)) <= limits.SOCKET_PATH_BYTES_MAX:
        yield path
        return
    if not _DESCRIPTORS.is_dir():
        raise OSError(errno.ENAMETOOLONG, "the path is too long for a socket", str(path))
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield _DESCRIPTORS / str(descriptor) / NAME
    finally:
        os.close(descriptor)
