"""The command line as its users have it: a process, its status and what it prints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.acceptance.counting import Counting
from tests.acceptance.server import Process, Server

SECONDS = 60.0


class Ended(msgspec.Struct):
    """A command that has ended."""

    status: int
    out: list[str]
    err: list[str]

    @property
    def json(self) -> Any:
        (line,) = self.out
        return msgspec.json.decode(line)

    @property
    def complaint(self) -> str:
        """What it complained about; never a trace of the code."""
        text = "\n".join(self.err)
        assert "Traceback" not in text, text
        return text


def names(folder: Path) -> set[str]:
    """Name what lies in a folder."""
    return {path.name for path in folder.iterdir()}


class Commands:
    """Runs ``nightrate`` in a folder of its own and leaves no process behind."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.servers: list[Server] = []
        self._processes: list[Process] = []

    def start(self, *arguments: str, environment: Mapping[str, str] | None = None) -> Process:
        """Start a command and do not wait."""
        process = Process(arguments, environment=environment, directory=self.folder)
        self._processes.append(process)
        return process

    def run(self, *arguments: str, environment: Mapping[str, str] | None = None) -> Ended:
        """Run a command to its end."""
        process = self.start(*arguments, environment=environment)
        status = process.wait(SECONDS)
        return Ended(status, process.stdout.lines, process.stderr.lines)

    def write(self, name: str, content: bytes | str) -> Path:
        """Write a file into the folder."""
        path = self.folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def names(self) -> set[str]:
        """Name what lies in the folder."""
        return names(self.folder)

    def close(self) -> None:
        for process in self._processes:
            process.close()
        for server in self.servers:
            server.close()


@pytest.fixture
def commands(tmp_path: Path) -> Iterator[Commands]:
    folder = tmp_path / "folder"
    folder.mkdir()
    commands = Commands(folder)
    yield commands
    commands.close()


@pytest.fixture
def counting(tmp_path: Path) -> Counting:
    """Give an engine that counts, for commands started with its environment."""
    return Counting(tmp_path)
