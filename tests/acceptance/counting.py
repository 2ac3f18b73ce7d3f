"""The counting engine, installed for a server: a plugin folder, settings and the tally."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

_PLUGIN = Path(__file__).parent / "plugin"


class Counting:
    """What a server needs to run on the counting engine, and what the engine has counted."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.tally = folder / "tally"
        self.tally.touch()
        package = folder / "site" / "counting_engine-1.0.dist-info"
        package.mkdir(parents=True)
        (package / "METADATA").write_text(
            "Metadata-Version: 2.1\nName: counting-engine\nVersion: 1.0\n"
        )
        (package / "entry_points.txt").write_text(
            "[nightrate.engines]\ncounting = counting_engine:create\n"
        )

    @property
    def environment(self) -> dict[str, str]:
        """Where the server finds the package."""
        return {"PYTHONPATH": os.pathsep.join([str(_PLUGIN), str(self._folder / "site")])}

    def settings(self, *, requests: int, delay_seconds: float) -> str:
        """Write a settings file that runs everything on this engine; gives its path."""
        path = self._folder / "nightrate.toml"
        path.write_text(
            'engine = "counting"\n'
            "[engines.counting]\n"
            f'tally = "{self.tally}"\n'
            f"requests = {requests}\n"
            f"delay_seconds = {delay_seconds}\n"
        )
        return str(path)

    def answers(self) -> int:
        """Count what was answered so far, repeats included."""
        return self.tally.read_bytes().count(b"=")

    def size(self) -> int:
        """Tell how long the tally is now."""
        return self.tally.stat().st_size

    def answers_reach(self, goal: int) -> Callable[[], bool]:
        """Give a condition: so many answers, repeats included."""
        return lambda: self.answers() >= goal

    def asks_reach(self, goal: int) -> Callable[[], bool]:
        """Give a condition: so many questions, repeats included."""
        return lambda: self.tally.read_bytes().count(b"?") >= goal

    def asked(self, since: int = 0) -> Counter[str]:
        """Count how often each prompt was handed to the engine, after so many bytes of tally."""
        return self._count("?", since)

    def answered(self) -> Counter[str]:
        """Count how often each prompt was answered by the engine."""
        return self._count("=", 0)

    def _count(self, mark: str, since: int) -> Counter[str]:
        lines = self.tally.read_text()[since:].splitlines()
        return Counter(line[1:] for line in lines if line.startswith(mark))
