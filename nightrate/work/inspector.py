"""A look at an input before its batch exists: can every request be read, and what will it hold?

A small input is read in a thread, a large one in a process of its own, because parsing must not
stall the API. Nothing is written.
"""

from __future__ import annotations

import asyncio
import io
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import BinaryIO, Final

from msgspec import Raw, json

from nightrate import clock, limits, planning_limits
from nightrate.dialects.lines import LineSplitter, RawLine, as_lines
from nightrate.dialects.row import AskedOfRow, Echo
from nightrate.dialects.rows import parse_row
from nightrate.domain.batch import Kind
from nightrate.domain.embedding import Passage
from nightrate.domain.generation import Failure
from nightrate.domain.inspection import Budget, Inspection, LineFault, RepeatedKey
from nightrate.errors import Code, NotReady
from nightrate.store.blobs import Run
from nightrate.work.plan import Cutter

_PROCESS: Final = "nightrate.work.inspection_process"
_decode_members = json.Decoder(dict[str, Raw]).decode


class Inspector:
    """Looks at inputs."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._places = asyncio.Semaphore(planning_limits.INSPECTIONS_AT_ONCE_MAX)

    async def inspect(
        self, source: Path | Sequence[bytes], model: str, kind: Kind, budget: Budget
    ) -> Inspection:
        """Look at an input as far as the budget goes.

        Args:
            source: where a file of lines lies, or inline requests, one JSON object each.
            model: the model of the batch, without ``models/``.
            kind: how its rows are written.
            budget: how far to go.

        Raises:
            NotReady: the process that reads it died.
            OSError: the input cannot be read.
        """
        if isinstance(source, Path):
            size_bytes = (await self._run(source.stat)).st_size
        else:
            size_bytes = sum(map(len, source))
        if min(size_bytes, budget.bytes_max) <= planning_limits.CHECK_IN_PLACE_BYTES_MAX:
            return await self._run(lambda: _in_place(source, model, kind, budget))
        wish = json.encode((model, kind, budget)).decode()
        async with self._places:
            if not isinstance(source, Path):
                return await _ask(wish, asyncio.subprocess.PIPE, b"".join(as_lines(source)))
            file = await self._run(lambda: source.open("rb", buffering=0))
            try:
                return await _ask(wish, file, None)
            finally:
                file.close()


async def _ask(wish: str, source: BinaryIO | int, sent: bytes | None) -> Inspection:
    """Let a process of its own look at an input: its standard input."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", _PROCESS, wish),
        stdin=source,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        found, said = await process.communicate(sent)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        last = said.decode(errors="replace").strip().splitlines()[-1:] or ["it said nothing"]
        message = (
            "The input could not be checked: the process that reads it ended with status"
            f" {process.returncode}: {last[0]}"
        )
        raise NotReady(message)
    return json.decode(found, type=Inspection)


def _in_place(source: Path | Sequence[bytes], model: str, kind: Kind, budget: Budget) -> Inspection:
    if isinstance(source, Path):
        with source.open("rb", buffering=0) as file:
            return inspect_input(file, model, kind, budget)
    return inspect_input(io.BytesIO(b"".join(as_lines(source))), model, kind, budget)


def inspect_input(source: BinaryIO, model: str, kind: Kind, budget: Budget) -> Inspection:
    """Read an input once, as far as the budget goes, one block in memory at a time."""
    look, splitter = _Look(model, kind, budget), LineSplitter()
    complete = False
    while look.goes_on and not complete:
        block = source.read(limits.READ_BYTES)
        complete = not block
        look.take(splitter.feed(block) if block else splitter.finish(), len(block))
    return look.end(complete=complete)


class _Look:
    """What was seen so far."""

    def __init__(self, model: str, kind: Kind, budget: Budget) -> None:
        self._model = model
        self._kind = kind
        self._budget = budget
        self._until = clock.monotonic() + budget.seconds_max
        self._cutter = Cutter()
        self._requests = self._invalid = self._malformed = self._shards = 0
        self._faults: list[LineFault] = []
        self._keys: set[bytes] = set()
        self._repeated: list[RepeatedKey] = []
        self._repeated_count = 0
        self._text_bytes = self._read_bytes = 0

    @property
    def goes_on(self) -> bool:
        """Whether something is left of the budget, and something to be found out."""
        return (
            self._read_bytes <= self._budget.bytes_max
            and clock.monotonic() < self._until
            and not self._settled
        )

    @property
    def _settled(self) -> bool:
        return self._budget.to_first_sound and self._malformed < self._requests

    def take(self, lines: Iterable[RawLine], length: int) -> None:
        """Look at the lines that a block of some length completes."""
        self._read_bytes += length
        for line in lines:
            self._requests += 1
            self._shards += self._cutter.add(line.number, line.offset, line.length) is not None
            parsed = parse_row(line.data, line.number, self._kind, self._model)
            if isinstance(parsed.prompt, Failure):
                self._note(line.number, parsed.field, parsed.prompt)
            else:
                self._text_bytes += _text_bytes(parsed.prompt)
            self._compare(line.number, parsed.echo)
            if self._settled:
                return

    def _note(self, number: int, field: str | None, failure: Failure) -> None:
        self._invalid += 1
        self._malformed += failure.code is Code.INVALID_ARGUMENT
        if len(self._faults) < self._budget.faults_max:
            self._faults.append(LineFault(number, field, failure.code, failure.message))

    def _compare(self, number: int, echo: Echo) -> None:
        """Find out whether an earlier request has the same key."""
        key = echo.key
        if key is None and echo.metadata is not None:
            inner = _decode_members(echo.metadata).get("key")
            key = None if inner is None else bytes(inner)
        if key is None:
            return
        if key in self._keys:
            self._repeated_count += 1
            if len(self._repeated) < planning_limits.REPEATED_KEYS_LISTED_MAX:
                self._repeated.append(RepeatedKey(key.decode(), number))
        elif len(self._keys) < planning_limits.KEYS_COMPARED_MAX:
            self._keys.add(key)

    def end(self, *, complete: bool) -> Inspection:
        """Give what was found."""
        self._shards += self._cutter.end() is not None
        return Inspection(
            request_count=self._requests,
            invalid_count=self._invalid,
            malformed_count=self._malformed,
            shard_count=self._shards,
            faults=tuple(self._faults),
            repeated_keys=tuple(self._repeated),
            repeated_count=self._repeated_count,
            keys_compared=len(self._keys) + self._repeated_count,
            text_bytes=self._text_bytes,
            read_bytes=self._read_bytes,
            complete=complete,
        )


def _text_bytes(asked: AskedOfRow) -> int:
    """Give the length of what is asked in UTF-8."""
    if isinstance(asked, tuple):
        return sum(map(_text_bytes, asked))
    if isinstance(asked, Passage):
        texts = [asked.title or "", asked.text]
    else:
        texts = [asked.system or "", *(message.text for message in asked.messages)]
    return sum(len(text.encode(errors="surrogatepass")) for text in texts)
