"""``nightrate verify``: what it prints, and how it ends."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from nightrate.runtime import open_house
from nightrate.settings import Settings
from nightrate.store.directory import open_directory
from tests.cli.conftest import Commands


@pytest.fixture
def data(commands: Commands) -> Path:
    """Make a data directory that a server has used."""

    async def use() -> None:
        house = open_house(Settings(data=str(commands.folder / "data"), engine="echo"))
        await house.close()

    asyncio.run(use())
    return commands.folder / "data"


def test_a_sound_directory_gives_status_0(commands: Commands, data: Path) -> None:
    told = commands.run("verify", "--data", str(data))
    assert told.status == 0, told.complaint
    assert told.out == [f"{data}: 0 blobs, 0 B; all sound"]


def test_each_flaw_is_told_with_what_to_do(commands: Commands, data: Path) -> None:
    (data / "keys" / "pepper.key").unlink()
    (data / "blobs" / "forgotten").write_bytes(b"x" * 2048)
    told = commands.run("verify", "--data", str(data))
    assert told.status == 1, told.complaint
    assert told.out == [
        "FLAW  keys/pepper.key: it is missing",
        "      -> restore it from a backup; without it the server does not start",
        "Nothing names 1 files (2.0 KiB), 1 of them from a moment ago:",
        "  forgotten",
        f"{data}: 0 blobs, 0 B; 1 flaws",
    ]
    told = commands.run("verify", "--data", str(data), "--json")
    assert told.status == 1
    (flaw,) = told.json["flaws"]
    assert flaw["blob"] == "keys/pepper.key"
    assert told.json["orphans"] == {"count": 1, "bytes": 2048, "young": 1, "names": ["forgotten"]}


def test_a_directory_that_a_server_holds_is_not_looked_at(commands: Commands, data: Path) -> None:
    held = open_directory(data)
    told = commands.run("verify", "--data", str(data))
    held.unlock()
    assert told.status == 2
    assert "in use by another nightrate; stop that one" in told.complaint


def test_a_directory_that_is_not_there_is_not_made(commands: Commands) -> None:
    told = commands.run("verify", "--data", "nothing")
    assert told.status == 2
    assert "There is no data directory nothing" in told.complaint
    assert commands.names() == set()
