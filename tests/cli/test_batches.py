"""``nightrate batches``: against a server in a process of its own."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import pytest

from nightrate import remote
from nightrate.cli_batches import _span
from nightrate.errors import SettingsFault
from nightrate.remote import CallFailed, Remote
from nightrate.settings import server_of
from tests.acceptance.server import Server, request_line, until
from tests.cli.conftest import Commands, Ended

SLOW = "[[delay 600]] x"
CREATE = "/v1beta/models/gemini-2.5-flash:batchGenerateContent"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("batches") / "data", "--engine", "echo")
    try:
        yield server.start()
    finally:
        server.close()


class Terminal:
    """Runs ``nightrate batches`` against one server."""

    def __init__(self, commands: Commands, environment: Mapping[str, str]) -> None:
        self.commands = commands
        self.environment = environment

    def run(self, *arguments: str) -> Ended:
        return self.commands.run("batches", *arguments, environment=self.environment)


@pytest.fixture
def terminal(commands: Commands, server: Server) -> Terminal:
    return Terminal(commands, {"GOOGLE_GEMINI_BASE_URL": server.base_url, "GEMINI_API_KEY": "k"})


def lines(*texts: str) -> bytes:
    return b"".join(request_line(str(number), text) for number, text in enumerate(texts))


def inline(server: Server, *texts: str, name: str = "items") -> str:
    items = [{"request": {"contents": [{"parts": [{"text": text}]}]}} for text in texts]
    order = {"batch": {"displayName": name, "inputConfig": {"requests": {"requests": items}}}}
    return str(server.ask("POST", CREATE, msgspec.json.encode(order)).json["name"])


# what is shown --------------------------------------------------------------------------------


def test_batches_are_listed_newest_first(terminal: Terminal, server: Server) -> None:
    first, second = server.submit(lines("a", "b")), inline(server, SLOW, name="slow one")
    server.finish(first)
    told = terminal.run("list")
    assert told.status == 0, told.complaint
    assert told.out[0].split() == [second, server.batch(second)["state"][10:], "0/1", "slow", "one"]
    assert told.out[1].split() == [first, "SUCCEEDED", "2/2", "test"]
    assert len(terminal.run("list", "--limit", "1").out) == 1
    found = terminal.run("list", "--state", "SUCCEEDED", "--limit", "1001", "--json").json
    assert {document["metadata"]["state"] for document in found} == {"JOB_STATE_SUCCEEDED"}
    assert first in {document["name"] for document in found}
    none = terminal.run("list", "--state", "EXPIRED")
    assert (none.status, none.out, none.err) == (0, [], ["There are no such batches."])
    wrong = terminal.run("list", "--state", "NONSENSE")
    assert wrong.status == 1
    assert "PENDING, RUNNING" in wrong.complaint


def test_a_batch_is_shown_with_its_counters_and_what_to_do_next(
    terminal: Terminal, server: Server
) -> None:
    name = server.submit(lines("a", "[[fail 3]]"))
    server.finish(name)
    told = terminal.run("get", name.removeprefix("batches/"))
    assert told.out[0] == f"{name}: SUCCEEDED"
    assert "  2 of 2 requests done, 1 failed" in told.out
    receipt = told.out.index("  receipt of 2 lines")
    assert [line.split() for line in told.out[receipt + 1 :][:3]] == [
        ["tokens"],
        ["input", "1"],
        ["output", "1"],
    ]
    assert told.out[receipt + 4].startswith("    engine 0.")
    assert told.out[-1] == f"  its answers: nightrate batches results {name}"
    assert terminal.run("get", name, "--json").json == server.batch(name)
    exact = terminal.run("get", name, "--base-url", f"{server.base_url}/exact/")
    assert exact.out[0] == told.out[0]
    assert not [line for line in exact.out if "receipt" in line]


def test_a_batch_at_work_says_why_it_is_where_it_is(terminal: Terminal, server: Server) -> None:
    name = inline(server, SLOW)
    until(lambda: server.batch(name)["metadata"]["state"] == "JOB_STATE_RUNNING", 60)
    told = terminal.run("get", name)
    assert "  Its requests are being answered." in told.out
    ours = server.batch(name)["metadata"]["nightrate"]
    assert (ours["reason"], ours["queuePosition"]) == ("Its requests are being answered.", 0)
    terminal.run("cancel", name)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (119, "119 s"), (120, "2 min"), (3599, "60 min"), (7200, "2 h"), (90_000, "25 h")],
)
def test_a_time_is_told_in_the_unit_that_fits(seconds: int, words: str) -> None:
    assert _span(seconds) == words


def test_a_batch_that_failed_says_why(terminal: Terminal, server: Server) -> None:
    name = server.submit(b"no json\n" * 200_000)
    server.finish(name)
    assert "no valid request" in "\n".join(terminal.run("get", name).out)
    results = terminal.run("results", name)
    assert results.status == 1
    assert "is FAILED: The input holds no valid request" in results.complaint


# what is changed ------------------------------------------------------------------------------


@pytest.mark.parametrize("as_json", [True, False])
def test_a_batch_is_cancelled_and_deleted(
    terminal: Terminal, server: Server, *, as_json: bool
) -> None:
    name = inline(server, SLOW)
    more = ["--json"] if as_json else []
    told = terminal.run("cancel", name, *more)
    assert told.status == 0, told.complaint
    state = told.json["state"][10:] if as_json else told.out[0].partition(": ")[2]
    assert state == "CANCELLED"
    told = terminal.run("delete", name, *more)
    assert told.out == ([f'{{"deleted":"{name}"}}'] if as_json else [f"{name} is deleted."])
    gone = terminal.run("get", name)
    assert gone.status == 1
    assert "does not exist" in gone.complaint
    assert "`nightrate batches list`" in gone.complaint


# results --------------------------------------------------------------------------------------


def keys(told: list[str]) -> list[Any]:
    return [msgspec.json.decode(line).get("key") for line in told]


def test_answers_are_written_line_by_line(terminal: Terminal, server: Server) -> None:
    name = server.submit(lines("a", "b", "c"))
    server.finish(name)
    assert keys(terminal.run("results", name).out) == ["0", "1", "2"]
    told = terminal.run("results", name, "-o", "out.jsonl")
    assert told.status == 0
    written = (terminal.commands.folder / "out.jsonl").read_text()
    assert keys(written.splitlines()) == ["0", "1", "2"]
    assert terminal.commands.names() == {"out.jsonl"}
    again = terminal.run("results", name, "-o", "out.jsonl")
    assert again.status == 1
    assert "exists already" in again.complaint


def test_answers_to_inline_requests_are_lines_too(terminal: Terminal, server: Server) -> None:
    name = inline(server, "a", "b")
    server.finish(name)
    told = terminal.run("results", name)
    assert len([line for line in told.out if "response" in msgspec.json.decode(line)]) == 2


def test_answers_can_be_read_along(terminal: Terminal, server: Server) -> None:
    name = server.submit(lines(*["x"] * 16, "[[delay 0.5]]"))
    told = terminal.run("results", name, "--follow")
    assert told.status == 0, told.complaint
    assert keys(told.out) == [str(number) for number in range(17)]


def test_answers_that_are_not_there_yet_are_asked_for_in_another_way(
    terminal: Terminal, server: Server
) -> None:
    name = server.submit(lines(SLOW))
    told = terminal.run("results", name)
    assert told.status == 1
    assert f"`nightrate batches watch {name}`" in told.complaint
    server.ask("POST", f"/v1/{name}:cancel")


# watching -------------------------------------------------------------------------------------


def test_watching_ends_with_the_batch(terminal: Terminal, server: Server) -> None:
    name = server.submit(lines("a", "[[delay 0.5]]"))
    told = terminal.run("watch", name)
    assert (told.status, told.out[0]) == (0, f"{name}: SUCCEEDED")
    assert terminal.run("watch", name, "--json").json["done"] is True


def test_a_batch_that_was_cancelled_is_no_success(terminal: Terminal, server: Server) -> None:
    name = server.submit(lines(SLOW))
    watching = terminal.commands.start("batches", "watch", name, environment=terminal.environment)
    until(lambda: server.batch(name)["state"] == "JOB_STATE_RUNNING", 30)
    server.ask("POST", f"/v1/{name}:cancel")
    assert watching.wait(30) == 1
    assert watching.stdout.lines[0] == f"{name}: CANCELLED"


# servers --------------------------------------------------------------------------------------


def test_a_server_that_is_not_there_is_told_with_the_next_step(commands: Commands) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
    told = commands.run("batches", "list", "--base-url", address)
    assert told.status == 1
    assert f"{address} did not answer" in told.complaint
    assert "`nightrate serve`" in told.complaint


def test_a_key_that_is_wrong_is_told_with_the_next_step(commands: Commands) -> None:
    server = Server(commands.folder / "data", "--engine", "echo").start()
    commands.servers.append(server)
    made = commands.run("keys", "create", "--data", str(server.data), "--json")
    assert made.status == 0, made.complaint
    environment = {"GOOGLE_GEMINI_BASE_URL": server.base_url}
    told = commands.run("batches", "list", environment=environment)
    assert told.status == 1
    assert "GEMINI_API_KEY" in told.complaint
    key = {"GEMINI_API_KEY": str(made.json["key"])}
    assert commands.run("batches", "list", environment={**environment, **key}).status == 0


def test_the_command_line_comes_before_the_environment_and_that_before_the_default() -> None:
    variables = {"GOOGLE_GEMINI_BASE_URL": "http://there:1/exact/", "GEMINI_API_KEY": "k"}
    assert server_of(None, variables) == Remote("http://there:1/exact", "k")
    assert server_of("https://here", variables).base_url == "https://here"
    assert server_of(None, {**variables, "GOOGLE_API_KEY": "g"}).api_key == "g"
    assert server_of(None, {}) == Remote(remote.DEFAULT_BASE_URL, "")
    with pytest.raises(SettingsFault, match="--base-url: file:///x is no address"):
        server_of("file:///x", {})


@pytest.mark.parametrize(
    "head", [b"Content-Length: 50\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n5\r\n"]
)
def test_an_answer_that_breaks_off_is_no_whole_one(head: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        place = f"http://127.0.0.1:{listening.getsockname()[1]}"

        def answer() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\n" + head + b"some")

        thread = threading.Thread(target=answer)
        thread.start()
        with Remote(place).download("files/x") as answered, pytest.raises(CallFailed):
            list(remote.pieces(answered))
        thread.join()
