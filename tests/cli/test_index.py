"""``nightrate index``: with a server running and without, and what searches make of it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from nightrate import manage_index
from nightrate.manage_index import Added
from nightrate.store.directory import open_directory
from tests.acceptance.server import Server
from tests.cli.conftest import Commands, Ended
from tests.tools.papers import pdf_of


class Site:
    """A data directory with a folder of documents beside it."""

    def __init__(self, commands: Commands) -> None:
        self.commands = commands
        self.data = commands.folder / "data"
        self.papers = commands.folder / "papers"
        (self.papers / "deep").mkdir(parents=True)
        (self.papers / ".git").mkdir()
        self.write("euro.md", "# The Euro 2025\n\nEngland won the final in Basel.")
        self.write("deep/trains.html", "<title>Trains</title><p>The train leaves at noon.</p>")
        self.write("deep/Zürich 1.txt", "Zürich has a lake.")
        self.write("prices.pdf", pdf_of("A batch costs half.", title="Prices"))
        self.write("program.exe", b"\0")
        self.write(".git/notes.txt", "hidden")
        self.write(".hidden.txt", "hidden")

    def write(self, name: str, content: str | bytes) -> None:
        data = content.encode() if isinstance(content, str) else content
        (self.papers / name).write_bytes(data)

    def index(self, *arguments: str) -> Ended:
        return self.commands.run("index", *arguments, "--data", str(self.data))

    def listed(self) -> dict[str, dict[str, Any]]:
        shown = self.index("list", "--json")
        assert shown.status == 0, shown.complaint
        return {one["uri"]: one for one in shown.json}

    def serve(self) -> Server:
        server = Server(self.data, "--engine", "echo")
        self.commands.servers.append(server)
        return server.start()


@pytest.fixture
def site(commands: Commands) -> Site:
    return Site(commands)


def searched(server: Server, question: str) -> dict[str, Any]:
    """Ask with the search tool, and give what the answer rests on."""
    body = {"contents": question, "tools": [{"googleSearch": {}}]}
    answer = server.ask(
        "POST", "/v1beta/models/gemini-2.5-flash:generateContent", msgspec.json.encode(body)
    )
    (candidate,) = answer.json["candidates"]
    metadata: dict[str, Any] = candidate["groundingMetadata"]
    return metadata


def check_the_life_of_documents(site: Site) -> None:
    added = site.index("add", "papers")
    assert (added.status, added.err) == (0, [])
    assert added.out == [
        "4 documents with 4 excerpts are in the index; 1 files of other kinds were passed over."
    ]
    found = site.listed()
    assert {uri.removeprefix(site.papers.as_uri()): one["title"] for uri, one in found.items()} == {
        "/deep/Z%C3%BCrich%201.txt": "Zürich 1",
        "/deep/trains.html": "Trains",
        "/euro.md": "The Euro 2025",
        "/prices.pdf": "Prices",
    }
    euro = (site.papers / "euro.md").as_uri()
    assert found[euro]["excerpts"] == 1
    assert found[euro]["textBytes"] == 48
    site.write("euro.md", "# Changed\n\nSpain won.")
    again = site.index("add", "papers/euro.md", "--json").json
    assert again == {"documents": 1, "excerpts": 1, "textBytes": 21, "skipped": 0, "failed": []}
    assert site.listed()[euro]["title"] == "Changed"
    removed = site.index("remove", euro)
    assert removed.out == [f"{euro} is not in the index any more."]
    assert euro not in site.listed()
    missing = site.index("remove", euro)
    assert missing.status == 1
    assert f"There is no document {euro} in the index." in missing.complaint


def test_documents_are_added_listed_and_removed_without_a_server(site: Site) -> None:
    check_the_life_of_documents(site)
    assert {"search.sqlite", "lock"} <= {path.name for path in site.data.iterdir()}


def test_a_running_server_does_all_that_and_finds_them_at_once(site: Site) -> None:
    server = site.serve()
    nothing = searched(server, "When does the train leave?")
    assert nothing.keys() == {"webSearchQueries", "searchEntryPoint"}
    check_the_life_of_documents(site)
    found = searched(server, "When does the train leave?")
    (chunk,) = found["groundingChunks"]
    uri = (site.papers / "deep" / "trains.html").as_uri()
    assert chunk["web"] == {"uri": uri, "title": "Trains"}
    assert server.terminate() == 0
    # What was added outlives the server, and the command reaches it without one.
    assert uri in site.listed()
    assert site.index("remove", uri).status == 0
    assert "groundingChunks" not in searched(site.serve(), "When does the train leave?")


def test_a_file_that_cannot_be_read_does_not_keep_the_others_out(site: Site) -> None:
    site.write("bad.txt", b"\xff\xfe")
    site.write("bad.pdf", "no pdf")
    os.mkfifo(site.papers / "pipe.txt")
    added = site.index("add", "papers", "none.txt", "papers/program.exe")
    assert added.status == 1
    assert added.out[0].startswith("4 documents with 4 excerpts are in the index;")
    told = dict(line.removeprefix("error: ").split(": ", 1) for line in added.err)
    assert told["papers/bad.txt"] == "it is no UTF-8 text (byte 0)"
    assert told["papers/bad.pdf"].startswith("it is no PDF that can be read")
    assert told["papers/pipe.txt"] == "it is no file"
    assert told["none.txt"] == "No such file or directory"
    assert told["papers/program.exe"].startswith("its kind is not known by its name")
    as_json = site.index("add", "papers/bad.txt", "--json")
    assert as_json.status == 1
    (failed,) = as_json.json["failed"]
    assert failed == {"path": "papers/bad.txt", "message": told["papers/bad.txt"]}


def test_addresses_may_begin_with_those_of_a_web_site(site: Site) -> None:
    base = "https://docs.example.com/v1/"
    assert site.index("add", "papers", "--base-uri", base).status == 0
    assert f"{base}deep/Z%C3%BCrich%201.txt" in site.listed()
    assert site.index("add", "papers/euro.md", "--base-uri", base).status == 0
    assert len(site.listed()) == 4


def test_the_list_is_a_table(site: Site) -> None:
    site.index("add", "papers/euro.md")
    head, row = site.index("list").out
    assert head.split() == ["ADDED", "BYTES", "EXCERPTS", "TITLE", "URI"]
    assert row.endswith((site.papers / "euro.md").as_uri())


def test_nothing_is_made_by_looking(site: Site) -> None:
    for arguments in (("list",), ("remove", "file:///x")):
        looked = site.index(*arguments)
        assert looked.status == 1
        assert "There is no data directory" in looked.complaint
    assert not site.data.exists()


async def test_what_the_index_refuses_is_told_for_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paper = tmp_path / "a.txt"
    paper.write_text("text")
    long = "https://example.com/" + "x" * 3_000
    told: list[int] = []

    def tell(added: Added) -> None:
        told.append(added.documents)

    added = await manage_index.add(tmp_path / "data", [paper], long, tell)
    (trouble,) = added.failed
    assert trouble.path == str(paper)
    assert trouble.message.startswith("uri: it must have 1 to")
    monkeypatch.setattr("nightrate.tool_limits.DOCUMENT_FILE_BYTES_MAX", 3)
    added = await manage_index.add(tmp_path / "data", [paper], None, tell)
    assert added.failed[0].message == "it has 4 bytes, and 3 is the most; split it"
    assert told == [0, 0]
    open_directory(tmp_path / "data").unlock()


def test_a_running_server_refuses_alike(site: Site) -> None:
    site.serve()
    long = "https://example.com/" + "x" * 3_000
    told = site.index("add", "papers/euro.md", "--base-uri", long)
    assert told.status == 1
    assert "papers/euro.md: uri: it must have 1 to" in told.complaint
