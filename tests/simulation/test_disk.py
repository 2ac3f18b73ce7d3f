"""A power cut takes what was not synced, and nothing else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nightrate.testing.simulation.chance import Chance
from nightrate.testing.simulation.disk import Disk

TIMES = 30


def write(path: Path, data: bytes, disk: Disk | None = None) -> None:
    """Append to a file, and sync it and its name where there is a disk to do so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        file.write(data)
        file.flush()
        if disk is not None:
            disk.sync_file(file.fileno())
    if disk is not None:
        for folder in (path.parent, *path.parent.parents):
            if folder == disk.root or disk.root in folder.parents:
                disk.sync_folder(folder)


def test_what_was_synced_stays(tmp_path: Path) -> None:
    disk = Disk(tmp_path, Chance(1, "disk"), lambda _where: False)
    write(tmp_path / "a" / "b", b"synced", disk)
    assert disk.is_durable("a/b", 6)
    for _ in range(TIMES):
        disk.cut_power()
        assert (tmp_path / "a" / "b").read_bytes() == b"synced"


def test_what_was_not_synced_is_cut_somewhere(tmp_path: Path) -> None:
    found = set()
    for time in range(TIMES):
        disk = Disk(tmp_path, Chance(time, "disk"), lambda _where: False)
        path = tmp_path / str(time)
        write(path, b"synced", disk)
        write(path, b" and not")
        assert not disk.is_durable(str(time), 7)
        disk.cut_power()
        data = path.read_bytes()
        assert data.startswith(b"synced")
        found.add(data)
    assert len(found) > 3
    assert any(b"\0" in data for data in found)  # the length made it, the bytes did not


def test_a_name_that_was_not_synced_may_go(tmp_path: Path) -> None:
    gone = 0
    for time in range(TIMES):
        disk = Disk(tmp_path, Chance(time, "disk"), lambda _where: False)
        path = tmp_path / f"{time}" / "file"
        write(path, b"bytes")
        assert not disk.is_durable(f"{time}/file", 0)
        disk.cut_power()
        gone += not path.exists()
    assert 0 < gone < TIMES


def test_a_refused_sync_is_forgotten_by_the_next_one_and_not_by_a_power_cut(tmp_path: Path) -> None:
    refuses = [False, False, True, False, False]
    disk = Disk(tmp_path, Chance(1, "disk"), lambda _where: refuses.pop(0))
    path = tmp_path / "file"
    write(path, b"good", disk)
    with pytest.raises(OSError, match="refuses"):
        write(path, b"lost", disk)
    with path.open("rb") as file:
        disk.sync_file(file.fileno())
    assert os.stat(path).st_size == 8  # noqa: PTH116 - as the file system says
    assert disk.is_durable("file", 4)
    assert not disk.is_durable("file", 8)
    disk.cut_power()
    assert path.read_bytes() == b"good\0\0\0\0"


def test_what_is_cut_off_takes_its_holes_with_it(tmp_path: Path) -> None:
    refuses = [False, False, True, False, False]
    disk = Disk(tmp_path, Chance(1, "disk"), lambda _where: refuses.pop(0))
    with (tmp_path / "a").open("ab", buffering=0) as file:
        file.write(b"0123")
        disk.sync_file(file.fileno())
        disk.sync_folder(tmp_path)
        file.write(b"4567")
        with pytest.raises(OSError, match="refuses"):
            disk.sync_file(file.fileno())
        disk.cut_file(file.fileno(), 4)
        assert disk.is_durable("a", 4)
        file.write(b"abcd")
        assert not disk.is_durable("a", 8)
        disk.sync_file(file.fileno())
    assert disk.is_durable("a", 8)
