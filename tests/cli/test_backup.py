"""``nightrate backup`` and ``restore``: beside a server at work, after a kill, and without one."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import pytest

from tests.acceptance.server import Server, counters, request_line, text_of, until
from tests.cli.conftest import Commands

REQUESTS = 400
DELAY = 0.02


def job(first: int, requests: int = REQUESTS) -> bytes:
    """Write a batch file that the echo engine takes a while over."""
    return b"".join(
        request_line(f"key-{i}", f"[[delay {DELAY}]] {i}") for i in range(first, first + requests)
    )


class Site:
    """A data directory with a server in it."""

    def __init__(self, commands: Commands, tmp_path: Path) -> None:
        self.commands = commands
        self.data = commands.folder / "data"
        self.copy = tmp_path / "elsewhere" / "copy"

    def serve(self, data: Path | None = None) -> Server:
        server = Server(data or self.data, "--engine", "echo")
        self.commands.servers.append(server)
        return server.start()

    def back_up(self, *arguments: str) -> None:
        told = self.commands.run("backup", str(self.copy), "--data", str(self.data), *arguments)
        assert told.status == 0, told.complaint

    def restore(self, name: str) -> Path:
        data = self.commands.folder / name
        told = self.commands.run("restore", str(self.copy), "--data", str(data))
        assert told.status == 0, told.complaint
        assert told.out[-1] == f"Start a server in it: nightrate serve --data {data}"
        return data


@pytest.fixture
def site(commands: Commands, tmp_path: Path) -> Site:
    return Site(commands, tmp_path)


def inline(server: Server, texts: list[str]) -> str:
    requests = [
        {"request": {"contents": [{"parts": [{"text": text}]}]}, "metadata": {"key": text}}
        for text in texts
    ]
    order = {"batch": {"inputConfig": {"requests": {"requests": requests}}}}
    path = "/v1beta/models/gemini-2.5-flash:batchGenerateContent"
    return str(server.ask("POST", path, msgspec.json.encode(order)).json["name"])


def test_all_that_was_acknowledged_before_a_backup_is_there_after_a_restore_and_completes(
    site: Site,
) -> None:
    server = site.serve()
    done = server.submit(job(0, 3))
    server.finish(done)
    names = [server.submit(job(number * 1_000)) for number in range(1, 4)]
    names.append(inline(server, [f"[[delay {DELAY}]] x{i}" for i in range(30)]))
    content = b"x" * 5_000_000
    upload = server.start_upload("application/octet-stream")
    server.send(upload, 0, content[:3_000_000])
    until(lambda: counters(server.batch(names[0]))[2] > 20, 60)
    seen = server.download(f"files/batch-{names[0].removeprefix('batches/')}")
    counted = {name: counters(server.batch(name))[2] for name in names}
    site.back_up()
    after = server.submit(job(9_000, 3))
    server.kill()
    shutil.rmtree(site.data)
    restored = site.serve(site.restore("again"))
    assert {name: counters(restored.batch(name))[2] >= counted[name] for name in names} == (
        dict.fromkeys(names, True)
    ), "what was shown is still counted"
    restored.send(upload, 3_000_000, content[3_000_000:], "upload, finalize")
    assert restored.ask("GET", f"/v1beta/{after}").status == 404
    for number, name in enumerate(names[:3], 1):
        restored.finish(name, 120)
        lines = restored.results(name)
        keys = [f"key-{i}" for i in range(number * 1_000, number * 1_000 + REQUESTS)]
        assert [line["key"] for line in lines] == keys
        assert [text_of(line) for line in lines] == [
            f"[[delay {DELAY}]] {key.removeprefix('key-')}" for key in keys
        ]
    document = restored.finish(names[3])["response"]["inlinedResponses"]["inlinedResponses"]
    assert [item["metadata"]["key"] for item in document] == [
        f"[[delay {DELAY}]] x{i}" for i in range(30)
    ]
    assert len(restored.results(done)) == 3
    first = restored.download(f"files/batch-{names[0].removeprefix('batches/')}")
    assert first.startswith(seen), "what could be read does not change"


def test_a_stopped_directory_is_copied_too_and_again_into_the_same_place(site: Site) -> None:
    server = site.serve()
    name = server.submit(job(0, 3))
    server.finish(name)
    server.terminate()
    site.back_up()
    server.restart()
    more = server.submit(job(10, 3))
    server.finish(more)
    server.terminate()
    site.back_up()
    restored = site.serve(site.restore("again"))
    assert [len(restored.results(one)) for one in (name, more)] == [3, 3]


def test_a_backup_says_what_it_did(site: Site) -> None:
    server = site.serve()
    server.upload(b"x" * 1_000_000)
    arguments = ("backup", str(site.copy), "--data", str(site.data))
    told = site.commands.run(*arguments)
    assert told.out == [
        f"{site.copy}: the database, and 1.0 MB in 1 blobs (0 copied, 1 linked, 0 there already)"
    ]
    as_json = site.commands.run(*arguments, "--json").json
    assert (as_json["there"], as_json["done_bytes"], as_json["damaged"]) == (1, 1_000_000, 0)
    assert server.terminate() == 0


def test_what_cannot_be_is_refused_by_a_running_server_and_without_one(site: Site) -> None:
    server = site.serve()
    taken = site.commands.write("letter", "Dear aunt").parent
    for _ in range(2):
        told = site.commands.run("backup", str(taken), "--data", str(site.data))
        assert told.status == 1
        assert f"{taken} is not empty" in told.complaint
        server.terminate()
    nothing = site.commands.run("backup", str(site.copy), "--data", str(taken / "nowhere"))
    assert "There is no data directory" in nothing.complaint
    no_backup = site.commands.run("restore", str(site.data), "--data", str(taken / "new"))
    assert (no_backup.status, "is not a backup" in no_backup.complaint) == (1, True)
    site.back_up()
    over = site.commands.run("restore", str(site.copy), "--data", str(site.data))
    assert (over.status, "is not empty" in over.complaint) == (1, True)
    serve = ("serve", "--engine", "echo", "--port", "0", "--data", str(site.copy))
    refused = site.commands.run(*serve)
    assert (refused.status, "nightrate restore" in refused.complaint) == (1, True)


def test_missing_blobs_are_complained_of_and_all_others_are_copied(site: Site) -> None:
    server = site.serve()
    server.upload(b"gone")
    server.upload(b"kept")
    server.terminate()
    (gone,) = (path for path in site.data.glob("blobs/files/*/*") if path.read_bytes() == b"gone")
    gone.unlink()
    told = site.commands.run("backup", str(site.copy), "--data", str(site.data))
    assert told.status == 1
    assert "1 blobs are missing or too short, such as files/default/" in told.complaint
    assert [path.read_bytes() for path in site.copy.glob("blobs/files/*/*")] == [b"kept"]
