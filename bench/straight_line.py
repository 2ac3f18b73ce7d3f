"""The bare data path: what any server must at least do for a request, and nothing else.

Decode a typed line, make a prompt, answer it with itself, encode the reply, frame it into a journal
that is synced every 250 ms, write the ordered segment. One thread, 64 coroutines, no database, no
claims, no errors. Run as ``python -m bench.straight_line INPUT``; prints requests a second.
"""

from __future__ import annotations

import asyncio
import os
import struct
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import msgspec
import uvloop
from msgspec import Struct

SHARD_REQUESTS = 1_000
SHARD_BYTES = 16 << 20
WORKERS = 64
SYNC_SECONDS = 0.25

_HEAD = struct.Struct("<III")


class _Part(Struct, rename="camel", omit_defaults=True):
    text: str | None = None


class _Content(Struct, rename="camel", omit_defaults=True):
    parts: list[_Part] = []
    role: str | None = None


class _Config(Struct, rename="camel", omit_defaults=True):
    temperature: float | None = None
    max_output_tokens: int | None = None


class _Request(Struct, rename="camel", forbid_unknown_fields=True):
    contents: list[_Content]
    system_instruction: _Content | None = None
    generation_config: _Config | None = None


class Line(Struct):
    """A line, typed."""

    request: _Request
    key: str | None = None


class _Candidate(Struct, rename="camel"):
    content: _Content
    finish_reason: str = "STOP"
    index: int = 0


class _Usage(Struct, rename="camel"):
    prompt_token_count: int
    candidates_token_count: int
    total_token_count: int


class _Response(Struct, rename="camel"):
    candidates: list[_Candidate]
    usage_metadata: _Usage
    model_version: str = "echo"
    response_id: str = "x"


class _Answered(Struct):
    response: _Response
    key: str | None = None


class _Prompt(Struct):
    turns: list[tuple[str, str]]


_decode = msgspec.json.Decoder(Line).decode
_encode = msgspec.json.Encoder().encode


async def _generate(prompt: _Prompt) -> tuple[str, int]:
    text = prompt.turns[-1][1]
    return text, len(text) // 4


async def _execute(raw: bytes) -> bytes:
    line = _decode(raw)
    turns = [
        (content.role or "user", "".join(part.text or "" for part in content.parts))
        for content in line.request.contents
    ]
    text, tokens = await _generate(_Prompt(turns))
    candidate = _Candidate(_Content([_Part(text)], "model"))
    usage = _Usage(tokens, tokens, 2 * tokens)
    return _encode(_Answered(_Response([candidate], usage), line.key))


class _Bare:
    """A journal and a segment file."""

    def __init__(self, folder: Path) -> None:
        self._journal = (folder / "journal").open("wb", buffering=1 << 20)
        self._segment = (folder / "segment").open("wb", buffering=1 << 20)
        self._synced_at = time.monotonic()

    async def shard(self, lines: list[bytes]) -> None:
        answers = [b""] * len(lines)
        todo = iter(enumerate(lines))
        await asyncio.gather(*(self._work(todo, answers) for _ in range(WORKERS)))
        for answer in answers:
            self._segment.write(answer)
            self._segment.write(b"\n")
        self._segment.flush()
        os.fdatasync(self._segment.fileno())

    async def _work(self, todo: Iterator[tuple[int, bytes]], answers: list[bytes]) -> None:
        for index, raw in todo:
            answer = answers[index] = await _execute(raw)
            self._journal.write(_HEAD.pack(index, len(answer), zlib.crc32(answer)))
            self._journal.write(answer)
            now = time.monotonic()
            if now - self._synced_at > SYNC_SECONDS:
                self._journal.flush()
                os.fdatasync(self._journal.fileno())
                self._synced_at = now


async def run(source: Path, folder: Path) -> float:
    """Answer every line of a file; gives requests a second."""
    bare, done = _Bare(folder), 0
    started = time.perf_counter()
    with source.open("rb") as file:
        shard: list[bytes] = []
        size = 0
        for line in file:
            shard.append(line)
            size += len(line)
            if len(shard) == SHARD_REQUESTS or size >= SHARD_BYTES:
                await bare.shard(shard)
                done, shard, size = done + len(shard), [], 0
        if shard:
            await bare.shard(shard)
            done += len(shard)
    return done / (time.perf_counter() - started)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(dir=Path(sys.argv[1]).parent) as temporary:
        print(uvloop.run(run(Path(sys.argv[1]), Path(temporary))))
