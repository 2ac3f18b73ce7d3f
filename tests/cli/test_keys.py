"""``nightrate keys``: with a server running and without, and what a running server makes of it."""

from __future__ import annotations

import re
import socket
import stat
from pathlib import Path
from typing import Any

import pytest

from nightrate import limits, manage_keys
from nightrate.domain.key import KeyWish
from nightrate.errors import BadRequest, NotFound, StoreFault
from nightrate.store import local_socket
from nightrate.store.directory import open_directory
from tests.acceptance.server import Server, until
from tests.cli.conftest import Commands, Ended

KEY = re.compile(r"nr_([a-z0-9]{8})_[A-Za-z0-9_-]{43}")
SOCKET = "administration.sock"


class Site:
    """A data directory, the commands about its keys, and servers in it."""

    def __init__(self, commands: Commands, data: Path) -> None:
        self.commands = commands
        self.data = data

    def keys(self, *arguments: str) -> Ended:
        return self.commands.run("keys", *arguments, "--data", str(self.data))

    def create(self, *arguments: str) -> str:
        """Make a key, and give it."""
        made = self.keys("create", *arguments)
        assert made.status == 0, made.complaint
        (key,) = made.out
        assert KEY.fullmatch(key)
        return key

    def listed(self) -> list[dict[str, Any]]:
        shown = self.keys("list", "--json")
        assert shown.status == 0, shown.complaint
        return list(shown.json)

    def serve(self, *arguments: str) -> Server:
        server = Server(self.data, "--engine", "echo", *arguments)
        self.commands.servers.append(server)
        return server.start()


@pytest.fixture
def site(commands: Commands, tmp_path: Path) -> Site:
    return Site(commands, tmp_path / "data")


def status(server: Server, key: str | None) -> int:
    """Call with a key, and give the status of the answer."""
    headers = {} if key is None else {"x-goog-api-key": key}
    return server.ask("GET", "/v1beta/models", headers=headers).status


def id_of(key: str) -> str:
    match = KEY.fullmatch(key)
    assert match is not None
    return match[1]


# without a server ------------------------------------------------------------------------------


def test_a_key_is_made_listed_and_revoked_without_a_server(site: Site) -> None:
    key = site.create("--tenant", "acme", "--name", "laptop", "--expires-in", "30")
    (shown,) = site.listed()
    assert (shown["id"], shown["tenant"], shown["name"]) == (id_of(key), "acme", "laptop")
    assert shown["created"] < shown["expires"]
    assert shown["lastUsed"] is None
    assert shown["revoked"] is None
    assert "key" not in shown
    revoked = site.keys("revoke", id_of(key))
    assert revoked.out == [f"Key {id_of(key)} of tenant acme is revoked."]
    assert site.listed()[0]["revoked"] is not None


def test_a_key_is_printed_alone_so_that_a_script_can_take_it(site: Site) -> None:
    made = site.keys("create")
    assert KEY.fullmatch(made.out[0])
    assert made.err == [
        f"Key {id_of(made.out[0])} opens the data of tenant default. It is not shown again."
    ]
    as_json = site.keys("create", "--json", "--expires-in", "1").json
    assert KEY.fullmatch(as_json["key"])
    assert as_json["tenant"] == "default"


def test_the_list_is_a_table_without_secrets(site: Site) -> None:
    key = site.create("--name", "laptop of Ada")
    shown = site.keys("list")
    assert " ".join(shown.out[0].split()) == "ID TENANT NAME CREATED LAST USED EXPIRES REVOKED"
    assert re.fullmatch(
        rf"{id_of(key)}  default  laptop of Ada  \d{{4}}-\d\d-\d\d \d\d:\d\d  never +never +-",
        shown.out[1],
    )
    assert key[12:] not in "\n".join(shown.out)


def test_nothing_is_made_by_looking_for_keys(site: Site) -> None:
    for arguments in (("list",), ("revoke", "abcd1234")):
        looked = site.keys(*arguments)
        assert looked.status == 1
        assert "There is no data directory" in looked.complaint
    assert not site.data.exists()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("create", "--tenant", "A/B"), "name of a tenant"),
        (("create", "--expires-in", "0"), "expires in 1 to"),
        (("create", "--name", "x" * 101), "name of a key"),
        (("revoke", "abcd1234"), "no key of that id"),
    ],
)
def test_a_wish_that_cannot_be_is_refused_alike_with_and_without_a_server(
    site: Site, arguments: tuple[str, ...], complaint: str
) -> None:
    site.create()
    without = site.keys(*arguments)
    assert without.status == 1
    assert complaint in without.complaint
    site.serve()
    with_one = site.keys(*arguments)
    assert (with_one.status, with_one.complaint) == (1, without.complaint)


def test_the_directory_may_be_named_by_the_settings(commands: Commands, tmp_path: Path) -> None:
    commands.write("my.toml", f'data = "{tmp_path}/elsewhere"\n')
    assert commands.run("keys", "create", "--config", "my.toml").status == 0
    assert (tmp_path / "elsewhere" / "state.sqlite").exists()


def test_a_directory_that_cannot_be_used_is_named(commands: Commands) -> None:
    commands.write("file", "")
    told = commands.run("keys", "create", "--data", "file/data")
    assert told.status == 1
    assert "cannot be used as the data directory" in told.complaint


# with a server ---------------------------------------------------------------------------------


def test_keys_are_managed_through_the_server_that_holds_the_directory(site: Site) -> None:
    server = site.serve()
    assert status(server, None) == status(server, "any") == 200
    first = site.create("--tenant", "acme")
    assert status(server, None) == 403
    assert status(server, "any") == 400
    assert status(server, first) == 200
    second = site.create()
    assert status(server, second) == 200
    used = {shown["id"]: shown["lastUsed"] for shown in site.listed()}
    assert used.keys() == {id_of(first), id_of(second)}
    assert site.keys("revoke", id_of(first), "--json").json["revoked"] is not None
    assert status(server, first) == 400
    assert status(server, second) == 200
    log = "\n".join(server.process.stderr.lines)
    assert '"path":"/keys:revoke"' in log
    assert first[12:] not in log
    assert second[12:] not in log


def test_the_use_of_a_key_is_recorded(site: Site) -> None:
    server = site.serve()
    key = site.create()
    assert status(server, key) == 200
    until(lambda: site.listed()[0]["lastUsed"] is not None, 30)


def test_keys_survive_restarts_and_a_kill_leaves_no_hindrance(site: Site) -> None:
    key = site.create()
    server = site.serve()
    assert status(server, key) == 200
    assert stat.S_IMODE((site.data / SOCKET).stat().st_mode) == 0o600
    server.kill()
    assert (site.data / SOCKET).exists()
    # Nobody listens there any more: the command opens the directory itself.
    revoked = site.create()
    assert site.keys("revoke", id_of(revoked)).status == 0
    server.restart()
    assert status(server, key) == 200
    assert status(server, revoked) == 400
    later = site.create()
    assert status(server, later) == 200
    assert server.terminate() == 0
    assert not (site.data / SOCKET).exists()
    assert {shown["id"] for shown in site.listed()} == {id_of(one) for one in (key, revoked, later)}


def test_the_path_of_the_directory_may_be_long(commands: Commands, tmp_path: Path) -> None:
    site = Site(commands, tmp_path / ("d" * 100) / ("e" * 100))
    site.data.parent.mkdir()
    server = site.serve()
    key = site.create()
    assert status(server, key) == 200
    assert site.keys("revoke", id_of(key)).status == 0
    assert status(server, key) == 400


def test_a_server_without_a_socket_serves_and_a_command_says_what_to_do(site: Site) -> None:
    (site.data / SOCKET).mkdir(parents=True)  # where the socket should be
    server = site.serve()
    assert status(server, None) == 200
    assert any("it has no socket" in line for line in server.process.stderr.lines)
    told = site.keys("list")
    assert told.status == 1
    assert "in use by a nightrate that takes no commands" in told.complaint


# who may be served -----------------------------------------------------------------------------


def test_another_address_is_served_as_soon_as_there_is_a_key(site: Site) -> None:
    refused = site.commands.run("serve", "--host", "0.0.0.0", "--data", str(site.data))  # noqa: S104
    assert refused.status == 2
    assert "host '0.0.0.0': without keys the server listens on loopback only" in refused.complaint
    command = re.search(r"nightrate (keys create --data .*)", refused.complaint)
    assert command is not None
    made = site.commands.run(*command[1].split())
    server = site.serve("--host", "0.0.0.0")  # noqa: S104
    server.base_url = server.base_url.replace("0.0.0.0", "127.0.0.1")  # noqa: S104
    assert status(server, None) == 403
    assert status(server, made.out[0]) == 200
    # No call falls through when the last key goes.
    assert site.keys("revoke", id_of(made.out[0])).status == 0
    assert status(server, None) == 403
    assert status(server, made.out[0]) == 400
    assert server.terminate() == 0
    again = site.commands.run("serve", "--host", "0.0.0.0", "--data", str(site.data))  # noqa: S104
    assert again.status == 2


def has_ipv6() -> bool:
    """Tell whether this machine has the other kind of loopback address."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


IPV6 = pytest.param("::1", marks=pytest.mark.skipif(not has_ipv6(), reason="no IPv6"))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", IPV6])
def test_every_name_of_this_machine_is_served_without_keys(site: Site, host: str) -> None:
    assert status(site.serve("--host", host), None) == 200


# the parts, in this process --------------------------------------------------------------------


async def test_a_server_that_is_starting_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    holder = open_directory(tmp_path)
    looks = 0
    connect = local_socket.connect

    def looked(folder: Path, timeout_seconds: float) -> Any:
        nonlocal looks
        looks += 1
        if looks == 3:
            holder.unlock()
        return connect(folder, timeout_seconds)

    monkeypatch.setattr(local_socket, "connect", looked)
    made = await manage_keys.create_key(tmp_path, KeyWish())
    assert looks == 3
    assert [key.id for key in await manage_keys.list_keys(tmp_path)] == [made.id]


async def test_a_holder_that_never_answers_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "ADMINISTRATION_WAIT_SECONDS", 0.3)
    holder = open_directory(tmp_path)
    with pytest.raises(StoreFault, match="takes no commands"):
        await manage_keys.list_keys(tmp_path)
    holder.unlock()


async def test_a_server_of_another_user_is_told_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    holder = open_directory(tmp_path)
    looks = 0

    def refused(folder: Path, timeout_seconds: float) -> Any:
        nonlocal looks
        looks += 1
        raise PermissionError(13, f"Permission denied {timeout_seconds}", str(folder))

    monkeypatch.setattr(local_socket, "connect", refused)
    with pytest.raises(StoreFault, match="as the user it runs as"):
        await manage_keys.list_keys(tmp_path)
    assert looks == 1
    holder.unlock()


async def test_whoever_hangs_up_without_an_answer_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "ADMINISTRATION_WAIT_SECONDS", 0.3)
    holder = open_directory(tmp_path)
    with local_socket.listen(tmp_path) as listening:
        listening.settimeout(5)
        looks = 0
        connect = local_socket.connect

        def hung_up(folder: Path, timeout_seconds: float) -> Any:
            nonlocal looks
            looks += 1
            connection = connect(folder, timeout_seconds)
            listening.accept()[0].close()
            return connection

        monkeypatch.setattr(local_socket, "connect", hung_up)
        with pytest.raises(StoreFault, match="takes no commands"):
            await manage_keys.list_keys(tmp_path)
        assert looks > 1
    holder.unlock()


async def test_refusals_are_faults_in_a_free_directory(tmp_path: Path) -> None:
    with pytest.raises(BadRequest):
        await manage_keys.create_key(tmp_path, KeyWish(tenant="A"))
    with pytest.raises(NotFound):
        await manage_keys.revoke_key(tmp_path, "abcd1234")
    open_directory(tmp_path).unlock()
