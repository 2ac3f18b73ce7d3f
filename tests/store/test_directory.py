"""One server at a time, on a disk that keeps what it was told."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from nightrate.errors import StoreFault
from nightrate.store import directory as directory_module
from nightrate.store.directory import FORMAT, file_system, open_directory

OPEN_IT = """
import sys
from pathlib import Path
from nightrate.errors import StoreFault
from nightrate.store.directory import open_directory
try:
    directory = open_directory(Path(sys.argv[1]))
except StoreFault as fault:
    print(fault.message)
    raise SystemExit(3)
print("open", flush=True)
sys.stdin.read()
"""


def other_process(path: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", OPEN_IT, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_a_directory_is_made_with_its_format_and_for_its_owner_only(tmp_path: Path) -> None:
    directory = open_directory(tmp_path / "new" / "data")
    assert (tmp_path / "new/data/format").read_text("utf-8") == FORMAT
    assert directory.path == tmp_path / "new/data"
    assert directory.database.parent == directory.blobs.parent == directory.path
    assert directory.path.stat().st_mode & 0o077 == 0
    directory.unlock()
    directory.unlock()


def test_a_directory_can_be_opened_again_after_it_was_unlocked(tmp_path: Path) -> None:
    open_directory(tmp_path).unlock()
    open_directory(tmp_path).unlock()


def test_a_second_process_is_refused_while_the_first_one_lives(tmp_path: Path) -> None:
    directory = open_directory(tmp_path)
    with other_process(tmp_path) as second:
        said, _ = second.communicate()
    assert second.returncode == 3
    assert "is in use by another nightrate" in said
    directory.unlock()


def test_a_killed_process_leaves_no_lock_behind(tmp_path: Path) -> None:
    with other_process(tmp_path) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "open\n"
        with pytest.raises(StoreFault, match="is in use"):
            open_directory(tmp_path)
        first.kill()
        first.wait()
    open_directory(tmp_path).unlock()


@pytest.mark.parametrize("found", [b"nightrate data, format 2\n", b"", b"\xff\xfe"])
def test_an_unknown_format_is_refused_and_not_locked(tmp_path: Path, found: bytes) -> None:
    (tmp_path / "format").write_bytes(found)
    with pytest.raises(StoreFault, match="was written by another version"):
        open_directory(tmp_path)
    (tmp_path / "format").write_text(FORMAT, "utf-8")
    open_directory(tmp_path).unlock()


def test_a_format_that_a_crash_kept_from_being_written_is_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def power_cut(_descriptor: int) -> None:
        raise OSError(5, "power cut")

    with monkeypatch.context() as patch:
        patch.setattr(directory_module, "sync_file", power_cut)
        with pytest.raises(OSError, match="power cut"):
            open_directory(tmp_path)
    open_directory(tmp_path).unlock()
    assert (tmp_path / "format").read_text("utf-8") == FORMAT


def test_the_format_is_synced_and_so_is_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = []

    def note(descriptor: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))

    monkeypatch.setattr(os, "fdatasync", note)
    monkeypatch.setattr(os, "fsync", note)
    open_directory(tmp_path).unlock()
    assert synced == [str(tmp_path.parent), str(tmp_path / "format.new"), str(tmp_path)]


def test_a_network_file_system_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory_module, "file_system", lambda _path: "nfs4")
    with pytest.raises(StoreFault, match=r"network file system \(nfs4\)"):
        open_directory(tmp_path)
    assert not (tmp_path / "lock").exists()


def test_the_file_system_is_that_of_the_innermost_mount(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(
        "/dev/a / ext4 rw 0 0\n"
        "server:/x /srv nfs4 rw 0 0\n"
        "/dev/b /srv/disk xfs rw 0 0\n"
        "//pc/my\\040share /mnt/my\\040share cifs rw 0 0\n",
        "utf-8",
    )
    assert file_system(Path("/home/me"), mounts) == "ext4"
    assert file_system(Path("/srv"), mounts) == "nfs4"
    assert file_system(Path("/srv/data"), mounts) == "nfs4"
    assert file_system(Path("/srv/disk/data"), mounts) == "xfs"
    assert file_system(Path("/srvx"), mounts) == "ext4"
    assert file_system(Path("/mnt/my share/data"), mounts) == "cifs"
    assert file_system(Path("/home"), tmp_path / "no such file") == "unknown"


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell")
def test_the_system_tells_where_a_directory_lies(tmp_path: Path) -> None:
    assert file_system(tmp_path) != "unknown"
