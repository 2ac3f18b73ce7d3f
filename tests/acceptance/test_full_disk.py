"""A disk that is nearly full, and one that is full, with a real file system of a few MiB."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from nightrate import limits
from tests.acceptance.server import COMMAND, Process, Server, counters, request_line, text_of, until

SIZE_MIB = 48
RESERVE = int(SIZE_MIB * limits.MIB * limits.DISK_RESERVE_SHARE)
MOUNT = f'mount -t tmpfs -o size={SIZE_MIB}m tmpfs "$0" && exec "$@"'


def unshared(place: Path, *command: str) -> list[str]:
    """Give a command that sees a small file system of its own at a place."""
    alone = ("unshare", "--user", "--map-root-user", "--mount")
    return [*alone, "sh", "-c", MOUNT, str(place), *command]


class SmallDisk(Server):
    """A server whose data lie on a small file system, which only its own process sees."""

    def __init__(self, place: Path) -> None:
        super().__init__(place / "data", "--engine", "echo")
        self.place = place

    def spawn(self) -> None:
        self.starts += 1
        self.process = Process(self._arguments, command=unshared(self.place, *COMMAND))

    @property
    def seen(self) -> Path:
        """The same file system, from outside."""
        return Path(f"/proc/{self.pid}/root{self.place}")

    def fill(self, leave_bytes: int) -> None:
        """Leave only so many bytes free."""
        wanted = max(0, shutil.disk_usage(self.seen).free - leave_bytes)
        with (
            contextlib.suppress(OSError),  # the server writes, too
            (self.seen / "filler").open("ab", buffering=0) as filler,
        ):
            while wanted > 0:
                wanted -= filler.write(bytes(min(wanted, limits.MIB)))

    def free(self) -> None:
        (self.seen / "filler").unlink()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    place = tmp_path / "small"
    place.mkdir()
    tried = (
        subprocess.run(unshared(place, "true"), capture_output=True, check=False)
        if shutil.which("unshare")
        else None
    )
    if tried is None or tried.returncode:
        pytest.skip("a small file system needs user namespaces with mounts (unshare, tmpfs)")
    server = SmallDisk(place)
    server.start()
    yield server
    server.close()


def job(first: int, requests: int, seconds: float) -> bytes:
    return b"".join(
        request_line(f"key-{i}", f"[[delay {seconds}]] {'y' * 3_000} {i}")
        for i in range(first, first + requests)
    )


def assert_whole(server: Server, name: str, first: int, requests: int) -> None:
    lines = server.results(name)
    assert [line["key"] for line in lines] == [f"key-{i}" for i in range(first, first + requests)]
    assert all(text_of(line).endswith(f" {first + i}") for i, line in enumerate(lines))


def refused(server: Server, file_name: str) -> None:
    """Check that nothing new is taken, in words."""
    for answer in (
        server.create(file_name),
        server.ask(
            "POST",
            "/upload/v1beta/files",
            b"{}",
            {"x-goog-upload-protocol": "resumable", "x-goog-upload-command": "start"},
        ),
    ):
        assert answer.json["error"]["status"] == "RESOURCE_EXHAUSTED"
        assert "disk is nearly full" in answer.message
    ready = server.ask("GET", "/readyz")
    assert ready.status == 503
    assert b"full up to its reserve" in ready.body


def test_what_was_accepted_is_finished_from_the_reserve_and_nothing_new_is_taken(
    disk: SmallDisk,
) -> None:
    file_name = disk.upload(request_line("a", "x"))
    name = disk.submit(job(0, 300, 1))
    until(lambda: counters(disk.batch(name))[2] > 0, 30)
    disk.fill(RESERVE - 100_000)
    refused(disk, file_name)
    disk.finish(name)
    assert_whole(disk, name, 0, 300)
    refused(disk, file_name)
    disk.free()
    assert disk.ask("GET", "/readyz").status == 200
    assert disk.create(file_name).status == 200


def test_work_pauses_on_a_full_disk_and_goes_on_by_itself(disk: SmallDisk) -> None:
    file_name = disk.upload(request_line("a", "x"))
    names = [disk.submit(job(number * 1_000, 600, 1)) for number in range(2)]
    until(lambda: counters(disk.batch(names[0]))[2] > 0, 30)
    disk.fill(0)
    assert disk.process.stderr.wait_for("the disk refused shard", 60)
    disk.fill(0)
    refused(disk, file_name)
    disk.free()
    for number, name in enumerate(names):
        disk.finish(name, 100)
        assert_whole(disk, name, number * 1_000, 600)
    assert "Traceback" not in disk.process.said
    assert disk.terminate() == 0
