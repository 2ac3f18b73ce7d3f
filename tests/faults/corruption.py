"""Damage on the disk: bits that flip, ends that are cut off, files that are gone.

Each point damages one thing in a copy of a directory that holds one of everything, asks `verify`,
starts a server in it and reads whatever a client can read, until nothing changes any more. What is
read must be what was there before, or an error.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import msgspec

from nightrate.domain.batch import Order, Plan
from nightrate.domain.shard import ShardPlan
from nightrate.errors import Damaged, NotReady, StoreFault
from nightrate.runtime import House
from nightrate.verify import Flaw, verify
from nightrate.work.plan import read_plan
from tests.faults.campaign import Campaign, Figures
from tests.faults.museum import MODEL, TENANT, Museum, at_work, build, found, settled

KINDS = ("flip", "cut", "gone")
NEXT_STEPS = ("restore it", "backup", "remove it", "choose another")
"""What a server says that does not start."""


def damage(path: Path, kind: str, chance: random.Random, place: int | None = None) -> str:
    """Spoil a file; say how."""
    if kind == "gone":
        path.unlink()
        return "gone"
    body = bytearray(path.read_bytes())
    place = chance.randrange(len(body)) if place is None else place
    if kind == "cut":
        os.truncate(path, place)
        return f"cut at byte {place} of {len(body)}"
    bit = chance.randrange(8)
    body[place] ^= 1 << bit
    path.write_bytes(body)
    return f"bit {bit} of byte {place} of {len(body)} flipped"


class Point:
    """One copy, damaged."""

    def __init__(self, museum: Museum, path: Path, chance: random.Random) -> None:
        self.museum = museum
        self.path = path
        self.chance = chance
        self.told = ""
        """What was done to it."""
        self.wrong: list[str] = []

    def damage(self, name: str, kind: str | None = None, place: int | None = None) -> None:
        """Spoil a file of the directory."""
        kind = kind or self.chance.choice(KINDS)
        self.told += f"{name}: {damage(self.path / name, kind, self.chance, place)}; "

    def violation(self, what: str) -> None:
        """Take note of a promise that was broken."""
        self.wrong.append(f"{self.told}{what}")

    async def look(self) -> list[Flaw]:
        """Ask `verify`."""
        flaws: list[Flaw] = []
        await verify(self.path, repair=False, tell=flaws.append, watch=lambda _summary: None)
        return flaws

    async def must_be_found(self, name: str) -> None:
        """Demand that `verify` names a file, and nothing but it."""
        named = {flaw.blob for flaw in await self.look()}
        if named != {name.removeprefix("blobs/")}:
            self.violation(f"verify named {sorted(named)}")

    async def must_be_sound(self) -> None:
        """Demand that nothing is damaged any more."""
        if flaws := await self.look():
            self.violation(f"verify still finds {flaws}")

    async def served(self, house: House, role: str) -> None:
        """Read a batch's file once, at once: what comes is a part of what was there, or nothing."""
        whole = b"".join(self.museum.expected[role])
        batch = await found(house, self.museum, role)
        given = b""
        try:
            content = await house.results.content(TENANT, f"batch-{batch.batch_id}")
            async for piece in content.stream(0, content.size_bytes):
                given += piece
        except (NotReady, Damaged) as fault:
            if not any(word in fault.message for word in ("damaged", "missing")):
                self.violation(f"{role}: {fault.message} does not say what is wrong")
            if not whole.startswith(given):
                self.violation(f"{role}: wrong bytes were served before the error")
            return
        if given != whole:
            self.violation(f"{role}: {len(given)} wrong bytes were served without an error")

    async def comes_out(
        self, house: House, role: str, allowed: Callable[[bytes, bytes], bool] | None = None
    ) -> None:
        """Wait for a batch; every line must be the expected one, or one that is allowed instead."""
        try:
            lines = await settled(house, self.museum, role)
        except TimeoutError:
            self.violation(f"{role} did not come to rest")
            return
        expected = self.museum.expected[role]
        if isinstance(lines, str):
            self.violation(f"{role} has no lines: {lines}")
            return
        wrong = [
            number
            for number, (line, wanted) in enumerate(zip(lines, expected, strict=False))
            if line != wanted and not (allowed and allowed(line, wanted))
        ]
        if wrong or len(lines) != len(expected):
            self.violation(f"{role}: {len(lines)} lines of {len(expected)}, wrong are {wrong[:5]}")

    async def all_come_out(self, house: House, *but: str) -> None:
        """Demand that all other batches are unharmed."""
        for role in self.museum.batches:
            if role not in but:
                await self.comes_out(house, role)


def is_lost(line: bytes, wanted: bytes) -> bool:
    """Whether a line says of the same request that its answer was lost."""
    one, other = (msgspec.json.decode(text) for text in (line, wanted))
    status = one.get("error", {}).get("status")
    return bool(one.get("key") == other.get("key") and status == "DATA_LOSS")


Try = Callable[[Point, Figures], Awaitable[None]]


def tries(attempt: Try, points: int) -> Callable[[int | None, int], Figures]:
    """Make what runs a try at many points."""

    def run(wanted: int | None, seed: int) -> Figures:
        with silence():
            return asyncio.run(_run(attempt, wanted or points, seed))

    return run


@contextmanager
def silence() -> Iterator[None]:
    """Let the log not drown the figures: it is full of damage."""
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


_HALL: list[tuple[tempfile.TemporaryDirectory[str], Museum]] = []
"""The museum that all campaigns of this process copy, and the folder that goes with the process."""


async def _opened() -> tuple[Path, Museum]:
    if not _HALL:
        folder = tempfile.TemporaryDirectory(prefix="nightrate-faults-")
        _HALL.append((folder, await build(Path(folder.name) / "museum")))
    folder, museum = _HALL[0]
    return Path(folder.name), museum


async def _run(attempt: Try, points: int, seed: int) -> Figures:
    folder, museum = await _opened()
    figures = Figures.none()
    for number in range(points):
        path = museum.copy(folder / "copy")
        point = Point(museum, path, random.Random(f"{seed} {number}"))
        try:
            await attempt(point, figures)
        except Exception as error:  # noqa: BLE001 - whatever else comes is a broken promise
            point.violation(f"{type(error).__name__}: {error}")
        figures.tried += 1
        figures.violations += [f"seed {seed}, point {number}: {wrong}" for wrong in point.wrong]
        shutil.rmtree(path)
    return figures


def _count(figures: Figures, name: str) -> None:
    figures.notes[name] = str(int(figures.notes.get(name, "0")) + 1)


# what is damaged ------------------------------------------------------------------------------


async def spoil_segment(point: Point, figures: Figures) -> None:
    """Spoil a sealed segment: it is made again."""
    role = point.chance.choice(("file", "inline", "cancelled"))
    name = "blobs/" + point.chance.choice(point.museum.blobs(role, "segments"))
    point.damage(name)
    await point.must_be_found(name)
    async with at_work(point.path) as house:
        if role != "inline":
            await point.served(house, role)
        await point.comes_out(house, role, is_lost if role == "cancelled" else None)
        await point.all_come_out(house, role)
    await point.must_be_sound()
    _count(figures, f"of {role} batches")


async def spoil_segment_and_input(point: Point, figures: Figures) -> None:
    """Spoil a segment whose input is spoiled, too: it stays an error that names it."""
    role = point.chance.choice(("file", "cancelled"))
    name = "blobs/" + point.chance.choice(point.museum.blobs(role, "segments"))
    point.damage(name)
    async with at_work(point.path) as house:
        source = (await found(house, point.museum, role)).input_blob
    point.damage(f"blobs/{source}")
    for _ in range(2):
        async with at_work(point.path) as house:
            await point.served(house, role)
            told = await settled(house, point.museum, role)
            if not isinstance(told, str) or name.removeprefix("blobs/") not in told:
                point.violation(f"{role}: {str(told)[:200]} does not name {name}")
            if source not in told:
                point.violation(f"{role}: {str(told)[:200]} does not name {source}")
            await point.all_come_out(house, role)
    _count(figures, f"of {role} batches")


async def spoil_journal(point: Point, figures: Figures) -> None:
    """Spoil the journal of an unfinished shard: what follows the damage is made again."""
    name = "blobs/" + point.museum.blobs("live", "journal")[0]
    part = point.chance.choice(("magic", "head", "counted", "tail", "whole"))
    _count(figures, part)
    if part == "tail":  # what was written after the last beat does not count
        with (point.path / name).open("ab") as file:
            file.write(point.chance.randbytes(point.chance.randrange(1, 200)))
        point.told = f"{name}: rubbish at its end; "
    elif part == "whole":
        point.damage(name, point.chance.choice(("cut", "gone")))
    else:
        size = (point.path / name).stat().st_size
        place = {"magic": 0, "head": 20, "counted": 48}[part]
        end = {"magic": 20, "head": 48, "counted": size}[part]
        point.damage(name, "flip", point.chance.randrange(place, end))
    if part == "tail":
        await point.must_be_sound()
    else:
        await point.must_be_found(name)
    async with at_work(point.path) as house:
        await point.all_come_out(house)
    await point.must_be_sound()


async def spoil_input(point: Point, figures: Figures) -> None:
    """Spoil an uploaded input after planning: answers that are there stay, and none goes astray."""
    role = point.chance.choice(("live", "file", "cancelled"))
    async with at_work(point.path, holding=True) as house:
        source = "blobs/" + (await found(house, point.museum, role)).input_blob
        await house.batches.cancel(TENANT, point.museum.batches["waiting"])
    point.damage(source)
    await point.must_be_found(source)
    async with at_work(point.path) as house:
        await point.all_come_out(house, "live", "waiting")
        if role != "live":
            return
        lines = await settled(house, point.museum, "live")
        if isinstance(lines, str):
            _count(figures, "batches that failed")
            if "input" not in lines:
                point.violation(f"live: {lines} does not say what is wrong")
            return
        expected = point.museum.expected["live"]
        changed = sum(line != wanted for line, wanted in zip(lines, expected, strict=True))
        _count(figures, "batches with an odd line" if changed else "batches with no odd line")
        if changed > 1:
            point.violation(f"live: one damaged byte changed {changed} lines")
        if lines[:30] != expected[:30]:
            point.violation("live: answers changed that had been recorded")


async def spoil_plan(point: Point, figures: Figures) -> None:
    """Spoil a plan between its writing and its reading: it is made anew."""
    spoiled: list[str] = []

    def read_spoiled(path: Path) -> tuple[Plan, Iterator[ShardPlan]]:
        if not spoiled:
            kind = point.chance.choice(("flip", "cut"))
            spoiled.append(damage(path, kind, point.chance))
            point.told = f"plan: {spoiled[0]}; "
        return read_plan(path)

    with patch("nightrate.work.planner.read_plan", read_spoiled):
        async with at_work(point.path) as house:
            await point.all_come_out(house)
    if not spoiled:
        point.violation("no plan was read")
    _count(figures, "plans")


async def spoil_database(point: Point, figures: Figures) -> None:
    """Spoil a page of the database: the server refuses to start, or results are right or refused.

    SQLite's pages have no checksums, so not every flipped bit is found.
    """
    size = (point.path / "state.sqlite").stat().st_size
    kind = point.chance.choice(("flip", "page", "cut"))
    if kind == "page":
        place = point.chance.randrange(size // 4096) * 4096
        with (point.path / "state.sqlite").open("r+b") as file:
            file.seek(place)
            file.write(point.chance.randbytes(4096))
        point.told = f"state.sqlite: rubbish in the page at byte {place}; "
    else:
        point.damage("state.sqlite", kind)
    flaws = await point.look()
    _count(figures, "found by verify" if flaws else "not found by verify")
    try:
        async with at_work(point.path) as house:
            for role in ("file", "cancelled"):
                await _right_or_refused(point, house, role)
    except StoreFault as fault:
        _count(figures, "servers that did not start")
        if not any(step in fault.message for step in NEXT_STEPS):
            point.violation(f"the refusal does not say what to do: {fault.message}")


async def _right_or_refused(point: Point, house: House, role: str) -> None:
    name = f"batch-{point.museum.batches[role]}"
    given = b""
    try:
        content = await house.results.content(TENANT, name)
        async for piece in content.stream(0, content.size_bytes):
            given += piece
    except Exception:  # noqa: BLE001 - any refusal serves nothing
        if not b"".join(point.museum.expected[role]).startswith(given):
            point.violation(f"{role}: wrong bytes were served before the error")
        return
    if given != b"".join(point.museum.expected[role]):
        point.violation(f"{role}: wrong bytes were served without an error")


async def spoil_cache(point: Point, figures: Figures) -> None:
    """Spoil a cached content: what names it fails, and says so."""
    name = f"blobs/caches/{TENANT}/{point.museum.cache_id}"
    point.damage(name)
    await point.must_be_found(name)
    request = {
        "cachedContent": f"cachedContents/{point.museum.cache_id}",
        "contents": [{"role": "user", "parts": [{"text": "go on"}]}],
    }
    row = msgspec.json.encode({"request": request})
    async with at_work(point.path) as house:
        order = Order(display_name=None, priority=0, file_name=None, inline=(row,))
        batch = await house.batches.submit(TENANT, MODEL, order)
        point.museum.batches["asking"] = batch.batch_id
        answers: Any = await settled(house, point.museum, "asking")
        del point.museum.batches["asking"]
        if not b"".join(answers).startswith(b'{"error":{"code":15,'):
            point.violation(f"a request that names it was answered: {answers}")
        await point.all_come_out(house)
    _count(figures, "caches")


async def spoil_keys(point: Point, figures: Figures) -> None:
    """Spoil a key of the server: it does not start and says what to do, or harms no result."""
    name = f"keys/{point.chance.choice(('secrets.key', 'pepper.key', 'signing.pem'))}"
    point.damage(name)
    flaws = await point.look()
    _count(figures, "found by verify" if flaws else "not found by verify")
    try:
        async with at_work(point.path) as house:
            await point.all_come_out(house)
    except StoreFault as fault:
        _count(figures, "servers that did not start")
        if not any(step in fault.message for step in NEXT_STEPS):
            point.violation(f"the refusal does not say what to do: {fault.message}")


CAMPAIGNS = (
    Campaign(
        name="damaged-segments",
        what="damaged results are never served, and are made again",
        run=tries(spoil_segment, 400),
        points=400,
    ),
    Campaign(
        name="damaged-for-good",
        what="damaged results without a sound input stay errors that name them",
        run=tries(spoil_segment_and_input, 100),
        points=100,
    ),
    Campaign(
        name="damaged-journals",
        what="damaged journals cost only the answers that follow",
        run=tries(spoil_journal, 200),
        points=200,
    ),
    Campaign(
        name="damaged-inputs",
        what="damaged inputs change no answer that is there",
        run=tries(spoil_input, 200),
        points=200,
    ),
    Campaign(
        name="damaged-plans",
        what="damaged plans are made anew",
        run=tries(spoil_plan, 100),
        points=100,
    ),
    Campaign(
        name="damaged-databases",
        what="damaged databases stop the server, or serve nothing wrong",
        run=tries(spoil_database, 300),
        points=300,
    ),
    Campaign(
        name="damaged-caches",
        what="damaged cached contents fail what names them",
        run=tries(spoil_cache, 60),
        points=60,
    ),
    Campaign(
        name="damaged-keys",
        what="damaged keys stop the server, or harm no result",
        run=tries(spoil_keys, 60),
        points=60,
    ),
)
