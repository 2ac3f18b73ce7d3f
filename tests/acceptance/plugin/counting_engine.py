"""An engine of a third party, as an installed package brings it: echo that keeps a tally.

For every prompt it appends one line to a file when it is asked (``?``) and one when it answers
(``=``). The file outlives the server, so a test can see what was asked twice.
"""

from __future__ import annotations

import os
from typing import Any

from nightrate.domain.generation import Prompt, Reply
from nightrate.engines.base import Options, Progress, ignore_progress
from nightrate.engines.echo import EchoEngine, EchoOptions


class CountingEngine(EchoEngine):
    """Echo with a tally."""

    name = "counting"

    def __init__(self, options: EchoOptions, tally: str) -> None:
        super().__init__(options)
        self._path = tally
        self._tally = -1

    async def open(self, progress: Progress = ignore_progress) -> None:
        """Open the tally too."""
        await super().open(progress)
        self._tally = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    async def generate(self, prompt: Prompt) -> Reply:
        """Answer and write it down."""
        name = prompt.messages[-1].text.split()[0]
        os.write(self._tally, f"?{name}\n".encode())
        reply = await super().generate(prompt)
        os.write(self._tally, f"={name}\n".encode())
        return reply


def create(options: Options) -> CountingEngine:
    """Make one; the entry point names this function."""
    rest: dict[str, Any] = dict(options)
    tally = str(rest.pop("tally"))
    return CountingEngine(EchoOptions(**rest), tally)
