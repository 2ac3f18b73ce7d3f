"""``nightrate doctor``: is this machine fit to keep what it accepts, and to answer?"""

from __future__ import annotations

import contextlib
import os
import platform
import statistics
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

from nightrate import clock, limits
from nightrate.domain.embedding import Passage
from nightrate.domain.generation import Capability, Message, Prompt, Sampling
from nightrate.engines.base import Engine, Finding, Progress
from nightrate.engines.registry import create_engine
from nightrate.errors import EngineFault, SettingsFault
from nightrate.settings import Settings
from nightrate.store.directory import NETWORK_FILE_SYSTEMS, file_system
from nightrate.store.disk import sync_file
from nightrate.store.sqlite import VERSION_MIN, sqlite_version

SYNCS = 30
"""Syncs that are timed; the median of so many does not move much."""

SLOW_SYNC_MILLISECONDS = 20.0
"""Above this, every acknowledged call takes that long: hard disks and some network volumes."""


async def examine(settings: Settings, progress: Progress) -> AsyncIterator[Finding]:
    """Make every check, one after another."""
    yield Finding("Python", ok=True, found=platform.python_version())
    yield _sqlite()
    directory = _existing(Path(settings.data))
    yield _file_system(directory)
    yield _room(directory)
    yield _sync_speed(directory)
    for name in dict.fromkeys(settings.model_rules().values()):
        async for finding in _engine(name, settings, progress):
            yield finding


def _existing(path: Path) -> Path:
    """Give what exists already, the path itself or its nearest parent; looking makes nothing."""
    path = path.absolute()
    while not path.exists():
        path = path.parent
    return path


def _sqlite() -> Finding:
    version = sqlite_version()
    ok = tuple(map(int, version.split("."))) >= VERSION_MIN
    wanted = ".".join(map(str, VERSION_MIN))
    return Finding("SQLite", ok, version, "" if ok else f"install apsw {wanted} or newer")


def _file_system(directory: Path) -> Finding:
    kind = file_system(directory)
    ok = kind not in NETWORK_FILE_SYSTEMS
    remedy = "" if ok else "choose a --data directory on a local disk"
    return Finding("file system", ok, f"{kind} at {directory}", remedy)


def _room(directory: Path) -> Finding:
    status = os.statvfs(directory)
    free, whole = status.f_bavail * status.f_frsize, status.f_blocks * status.f_frsize
    reserve = min(limits.DISK_RESERVE_BYTES, int(whole * limits.DISK_RESERVE_SHARE))
    found = f"{free / limits.GIB:.1f} GiB free, {reserve / limits.GIB:.1f} GiB kept in reserve"
    remedy = "" if free > reserve else "free some space: no new work is accepted"
    return Finding("disk space", free > reserve, found, remedy)


def _sync_speed(directory: Path) -> Finding:
    """Time small synced appends: what an acknowledged upload piece or commit waits for."""
    took: list[float] = []
    try:
        with tempfile.NamedTemporaryFile(dir=directory, prefix=".doctor-") as file:
            for _ in range(SYNCS):
                started = clock.monotonic()
                file.write(b"x" * 4096)
                file.flush()
                sync_file(file.fileno())
                took.append((clock.monotonic() - started) * 1000)
    except OSError as error:
        found = f"{directory} cannot be written to: {error.strerror}"
        remedy = "choose a --data directory that this user may write to"
        return Finding("disk sync", ok=False, found=found, remedy=remedy)
    middle = statistics.median(took)
    ok = middle <= SLOW_SYNC_MILLISECONDS
    remedy = "" if ok else "put --data on a faster disk: every acknowledged call waits for it"
    found = f"{middle:.2f} ms median, {max(took):.2f} ms longest of {SYNCS}"
    return Finding("disk sync", ok, found, remedy)


async def _engine(name: str, settings: Settings, progress: Progress) -> AsyncIterator[Finding]:
    try:
        kind, options = settings.engine_options(name)
        engine = create_engine(kind, options)
    except SettingsFault as fault:
        yield Finding(
            f"engine {name}", ok=False, found=fault.message, remedy="correct the settings"
        )
        return
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(engine.close)
        try:
            started = clock.monotonic()
            await engine.open(progress)
            yield Finding(f"engine {name}", True, f"open in {clock.monotonic() - started:.1f} s")  # noqa: FBT003
            if Capability.TEXT in engine.capabilities:
                yield await _answer(engine)
            if Capability.EMBEDDINGS in engine.capabilities:
                yield await _vector(engine)
            for finding in await engine.self_check():
                yield finding
        except EngineFault as fault:
            remedy = "see the message; `--engine echo` tells whether the rest works"
            yield Finding(f"engine {name}", ok=False, found=fault.message, remedy=remedy)


async def _vector(engine: Engine) -> Finding:
    started = clock.monotonic()
    embedding = await engine.embed(Passage(text="Say hello in five words."))
    took = clock.monotonic() - started
    length = len(embedding.values)
    found = f"{length} numbers in {took:.2f} s from {embedding.model_version}, one at a time"
    return Finding(f"{engine.name}: vector", ok=length > 0, found=found)


async def _answer(engine: Engine) -> Finding:
    prompt = Prompt(
        messages=(Message("user", "Say hello in five words."),),
        sampling=Sampling(max_output_tokens=32),
    )
    started = clock.monotonic()
    reply = await engine.generate(prompt)
    took = clock.monotonic() - started
    tokens = reply.usage.output_tokens
    found = f"{tokens} tokens in {took:.2f} s from {reply.model_version}, one at a time"
    return Finding(f"{engine.name}: answer", ok=tokens > 0, found=found)
