"""A socket in a directory: private, however long the path, and in nobody's way."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest

from nightrate import limits
from nightrate.store import local_socket
from nightrate.store.local_socket import NAME, connect, listen, remove
from tests.service.home import open_descriptors


def heard(folder: Path) -> bytes:
    """Speak through the socket in a folder, and give what came out at the other end."""
    with listen(folder) as listening, connect(folder, 5) as speaking:
        speaking.sendall(b"hello")
        listening.settimeout(5)
        accepted, _ = listening.accept()
        with accepted:
            return accepted.recv(5)


@pytest.fixture
def deep(tmp_path: Path) -> Path:
    """Give a folder whose path is too long for the address of a socket."""
    folder = tmp_path / ("d" * 100) / ("e" * 100)
    folder.mkdir(parents=True)
    return folder


def test_one_end_hears_the_other(tmp_path: Path) -> None:
    assert heard(tmp_path) == b"hello"


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs names for descriptors")
def test_a_long_path_is_no_hindrance_and_leaves_nothing_open(deep: Path) -> None:
    before = open_descriptors()
    assert heard(deep) == b"hello"
    assert open_descriptors() == before


def test_a_path_that_is_too_long_for_this_system_is_told(
    deep: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_socket, "_DESCRIPTORS", deep / "none")
    for call in (listen, lambda folder: connect(folder, 5)):
        with pytest.raises(OSError, match="too long"):
            call(deep)


def test_the_longest_path_that_is_taken_as_it_is_fits(tmp_path: Path) -> None:
    folder = tmp_path / ("d" * (limits.SOCKET_PATH_BYTES_MAX - len(f"{tmp_path}//{NAME}")))
    folder.mkdir()
    assert len(os.fsencode(folder / NAME)) == limits.SOCKET_PATH_BYTES_MAX
    assert heard(folder) == b"hello"


def test_only_its_owner_may_use_it(tmp_path: Path) -> None:
    umask = os.umask(0)
    try:
        with listen(tmp_path):
            assert stat.S_IMODE((tmp_path / NAME).stat().st_mode) == 0o600
    finally:
        os.umask(umask)


def test_what_a_killed_process_left_is_replaced(tmp_path: Path) -> None:
    listen(tmp_path).close()
    with pytest.raises(ConnectionRefusedError):
        connect(tmp_path, 5)
    assert heard(tmp_path) == b"hello"


def test_where_nobody_listens_nobody_is_reached(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        connect(tmp_path, 5)
    remove(tmp_path)
    with listen(tmp_path):
        remove(tmp_path)
        with pytest.raises(FileNotFoundError):
            connect(tmp_path, 5)


def test_a_socket_that_cannot_be_made_leaves_nothing_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / NAME).mkdir()  # in its place lies something that is not a socket
    opened = []
    make = socket.socket

    def noted(*kind: int) -> socket.socket:
        opened.append(make(*kind))
        return opened[-1]

    monkeypatch.setattr(socket, "socket", noted)
    with pytest.raises(OSError, match=r"[Dd]irectory|permitted"):
        listen(tmp_path)
    (tmp_path / NAME).rmdir()
    monkeypatch.setattr(Path, "chmod", _refuse)
    with pytest.raises(PermissionError):
        listen(tmp_path)
    assert [one.fileno() for one in opened] == [-1]


def _refuse(path: Path, mode: int) -> None:
    raise PermissionError(f"{path} {mode}")
