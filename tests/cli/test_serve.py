"""``nightrate serve``: when it starts, when it refuses to, and how it ends."""

from __future__ import annotations

import re
import signal
import socket

import msgspec
import psutil
import pytest

from nightrate.errors import SettingsFault
from nightrate.serving import _bind, _listen
from tests.acceptance.server import READY, Server, counters, request_line, text_of, until
from tests.cli.conftest import Commands

ECHO = ("--engine", "echo")


@pytest.fixture
def server(commands: Commands) -> Server:
    """Give a server that is not started; its process is ended with the test's commands."""
    server = Server(commands.folder / "data", *ECHO)
    commands.servers.append(server)
    return server


def test_readiness_is_one_line_and_an_answer(server: Server) -> None:
    server.start()
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+", server.base_url)
    assert server.ask("GET", "/readyz").status == 200
    assert server.terminate() == 0
    assert server.process.stdout.lines == [READY + server.base_url]


def test_text_is_served_where_the_embedding_model_cannot_be_had(commands: Commands) -> None:
    cache = commands.folder / "cache"
    commands.write(
        "my.toml",
        f'cache = "{cache}"\n[models]\n"gemini-*" = "echo"\n"*embedding*" = "minilm"\n'.encode(),
    )
    config = ("--config", str(commands.folder / "my.toml"))
    server = Server(commands.folder / "data", *config, environment={"PIP_NO_INDEX": "1"})
    commands.servers.append(server)
    server.start()
    assert not cache.exists(), "nobody has asked for it"
    live = "/v1/models/text-embedding-004:embedContent"
    body = msgspec.json.encode({"content": "x"})
    for _ in range(2):
        refused = server.ask("POST", live, body)
        assert refused.status == 503
        assert "the embedding model" in refused.json["error"]["message"]
    name = server.submit(request_line("a", "text"))
    server.finish(name)
    assert text_of(server.results(name)[0]) == "text"
    assert server.ask("GET", "/readyz").status == 200


@pytest.mark.parametrize("name", [signal.SIGTERM, signal.SIGINT])
def test_an_asked_server_ends_well_and_leaves_no_process(
    server: Server, name: signal.Signals
) -> None:
    server.start()
    name_of_batch = server.submit(request_line("a", "x"))
    server.finish(name_of_batch)
    family = server.process.descendants()
    server.process.popen.send_signal(name)
    assert server.process.wait() == 0
    assert "Traceback" not in server.process.said
    assert not [process for process in family if process.is_running()]


def test_a_second_signal_ends_a_server_that_waits_for_its_requests(server: Server) -> None:
    server.start()
    name = server.submit(request_line("slow", "[[delay 600]]") + request_line("fast", "fast"))
    until(lambda: server.batch(name)["state"] == "JOB_STATE_RUNNING", 30)
    server.process.popen.terminate()
    assert server.process.stderr.wait_for("Finished server process", 30), "the door is closed"
    assert server.process.popen.poll() is None, "the slow request is waited for"
    server.process.popen.terminate()
    assert server.process.wait() == -signal.SIGTERM
    server.restart()
    until(lambda: counters(server.batch(name))[2] == 1, 30)
    assert server.batch(name)["state"] == "JOB_STATE_RUNNING"


def test_a_request_in_flight_is_answered_before_the_end(server: Server) -> None:
    server.start()
    name = server.submit(request_line("slow", "[[delay 2]] slow"))
    until(lambda: server.asked() == 1, 30)
    assert server.terminate() == 0
    server.restart()
    document = server.batch(name)
    assert document["state"] == "JOB_STATE_SUCCEEDED"
    assert text_of(server.results(name)[0]) == "[[delay 2]] slow"


def test_a_second_server_on_the_same_data_is_refused(server: Server, commands: Commands) -> None:
    server.start()
    told = commands.run("serve", *ECHO, "--port", "0", "--data", str(server.data))
    assert told.status == 1
    assert told.out == []
    assert f"{server.data} is in use by another nightrate" in told.complaint
    assert server.ask("GET", "/readyz").status == 200
    server.kill()
    server.restart()  # the lock ends with its holder


def test_a_port_in_use_is_refused_before_anything_is_made(commands: Commands) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        told = commands.run("serve", *ECHO, "--port", str(port))
    assert told.status == 2
    assert f"127.0.0.1:{port} cannot be listened on" in told.complaint
    assert "choose another --port" in told.complaint
    assert commands.names() == set()


@pytest.mark.parametrize(
    ("arguments", "status", "complaint"),
    [
        (("--host", "0.0.0.0"), 2, "loopback only"),  # noqa: S104 - what is refused
        (("--host", "192.0.2.1"), 2, "loopback only"),
        (("--port", "65536"), 2, "not between 0 and 65535"),
        (("--port", "http"), 2, "not a valid integer"),
        (("--engine", "no-such"), 2, "engine 'no-such' is not known; there are: echo"),
        (("--config", "options.toml"), 2, "engines.echo"),
        (("--data", "options.toml"), 1, "cannot be used as the data directory"),
    ],
)
def test_settings_that_cannot_work_are_refused_with_the_reason(
    commands: Commands, arguments: tuple[str, ...], status: int, complaint: str
) -> None:
    commands.write("options.toml", "[engines.echo]\nno_such_option = 1\n")
    told = commands.run("serve", "--port", "0", *ECHO, *arguments)
    assert told.status == status
    assert told.out == []
    assert complaint in told.complaint
    assert commands.names() == {"options.toml"}


def test_data_of_another_version_is_refused_and_left_alone(
    server: Server, commands: Commands
) -> None:
    server.start()
    server.terminate()
    (server.data / "format").write_text("nightrate data, format 999\n")
    told = commands.run("serve", *ECHO, "--port", "0", "--data", str(server.data))
    assert told.status == 1
    assert "another version" in told.complaint
    assert (server.data / "format").read_text() == "nightrate data, format 999\n"


def test_a_name_of_this_machine_that_means_loopback_is_served(commands: Commands) -> None:
    process = commands.start("serve", *ECHO, "--host", "localhost", "--port", "0")
    line = process.stdout.wait_for(READY, 30)
    assert line is not None, process.said
    (listening,) = [
        connection
        for connection in psutil.Process(process.popen.pid).net_connections()
        if connection.status == psutil.CONN_LISTEN
    ]
    assert listening.laddr.ip == "127.0.0.1"
    assert line == f"{READY}http://127.0.0.1:{listening.laddr.port}"


def test_an_address_that_another_took_in_between_is_named() -> None:
    first = _bind("127.0.0.1", 0)
    port = first.getsockname()[1]
    second = _bind("127.0.0.1", port)  # nobody listens there yet
    with first, second:
        _listen(first)
        with pytest.raises(SettingsFault, match=f"127.0.0.1:{port} cannot be listened on"):
            _listen(second)
