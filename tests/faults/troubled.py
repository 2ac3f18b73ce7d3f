"""The troubled engine, installed for a server; what it was asked; and batches that are judged."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from nightrate import limits
from tests.acceptance.server import Server, request_line, text_of
from tests.faults.patched import command

_PLUGIN = Path(__file__).parent / "plugin"
CHILD = "troubled_child"


class Troubled:
    """What a server needs to run on the troubled engine, and what its child has noted."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.tally = folder / "tally"
        self.tally.touch()
        package = folder / "site" / "troubled_engine-1.0.dist-info"
        package.mkdir(parents=True)
        (package / "METADATA").write_text(
            "Metadata-Version: 2.1\nName: troubled-engine\nVersion: 1.0\n"
        )
        (package / "entry_points.txt").write_text(
            "[nightrate.engines]\ntroubled = troubled_engine:create\n"
        )

    def server(self, *world: str, answer_seconds: float = 60.0, **options: object) -> Server:
        """Start a server whose every model runs on this engine, with these options.

        Args:
            world: what is different in its world; see `patched`.
            answer_seconds: how long the engine may work on one request.
            options: of the engine.
        """
        config = self._folder / "nightrate.toml"
        lines = [f"{name} = {value}" for name, value in options.items()]
        config.write_text(
            'engine = "troubled"\n[engines.troubled]\n'
            f'tally = "{self.tally}"\nanswer_seconds = {answer_seconds}\n' + "\n".join(lines)
        )
        path = os.pathsep.join([str(_PLUGIN), str(self._folder / "site")])
        server = Server(
            *(self._folder / "data", "--config", str(config)),
            environment={"PYTHONPATH": path},
            command=command(*world),
        )
        try:
            return server.start()
        except BaseException:
            server.close()
            raise

    def asked(self) -> Counter[str]:
        """Count how often each line reached a child."""
        return self._count("?")

    def answered(self) -> Counter[str]:
        """Count how often each line was answered by a child."""
        return self._count("=")

    def _count(self, mark: str) -> Counter[str]:
        lines = self.tally.read_text().splitlines()
        return Counter(line[1:] for line in lines if line.startswith(mark))


class Order:
    """A batch whose lines have names of their own, and what must become of each."""

    def __init__(self, prefix: str, harms: Mapping[int, str], count: int) -> None:
        self.names = [f"{prefix}-{index}" for index in range(count)]
        self._texts = [
            f"{name} [[{harms[index]}]]" if index in harms else name
            for index, name in enumerate(self.names)
        ]
        self.doomed = {
            self.names[index] for index, harm in harms.items() if not harm.startswith("once ")
        }

    @property
    def content(self) -> bytes:
        """The file."""
        pairs = zip(self.names, self._texts, strict=True)
        return b"".join(request_line(name, text) for name, text in pairs)

    def judged(
        self, lines: Sequence[Any], asked: Counter[str], *, unlucky: bool = False
    ) -> list[str]:
        """Hold the result against the promises; gives what was broken.

        Args:
            lines: of the result file.
            asked: how often each line reached the engine.
            unlucky: whether a line that did no harm may have been there at three deaths, because
                somebody else kills the engine as well.
        """
        if [line["key"] for line in lines] != self.names:
            return [f"{len(lines)} lines for {len(self.names)} requests, or in another order"]
        broken = []
        for name, text, line in zip(self.names, self._texts, lines, strict=True):
            tries, failed = asked[name], "error" in line
            if tries > limits.ENGINE_DEATHS_MAX:
                broken.append(f"{name} was tried {tries} times")
            if name in self.doomed and not failed:
                broken.append(f"{text!r} has an answer: {line}")
            if failed and name not in self.doomed:
                if not unlucky or tries < limits.ENGINE_DEATHS_MAX:
                    broken.append(f"{text!r} did no harm and failed after {tries} tries: {line}")
            elif not failed and text_of(line) != text:
                broken.append(f"{text!r} has the answer of another: {line}")
        return broken


def results(server: Server, name: str, seconds: float = 120) -> list[Any]:
    """Wait for the end of a batch and give the lines of its result."""
    document = server.finish(name, seconds)
    content = server.download(document["response"]["responsesFile"])
    return [msgspec.json.decode(line) for line in content.splitlines()]
