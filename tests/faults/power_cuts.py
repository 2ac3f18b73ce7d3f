"""Cut the power at any moment of a small job, start again, and count what was lost.

A life is recorded once, call by call (`tests.faults.tap`), with what its client was told in
between. From the record any number of cuts are made: the disk as it may be found afterwards, with
nothing, everything or any part of what was not synced. The judge looks at it, then a server lives
on it and must finish; in every third try the power fails a second time meanwhile.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

from nightrate.store import blobs, directory
from nightrate.store.sqlite import SQLiteStore
from tests.faults.campaign import Campaign, Figures
from tests.faults.checker import Directory
from tests.faults.customer import Told
from tests.faults.cut_disk import CutDisk
from tests.faults.kill_points import SWEPT, ended_badly, scratch, wrong_after
from tests.faults.life import Life, Message, Prepare, live, small_job
from tests.faults.tap import Call, Policy

CUTS_OF_A_RECORD = 50
FLAW_CUTS = 10
FLAW_RUNS_MAX = 20


class Recording(Policy):
    """Tells the parent every call that was made."""

    def __init__(self) -> None:
        self._say: Callable[[Message], None]

    def bind(self, say: Callable[[Message], None]) -> None:
        """Be given the pipe."""
        self._say = say

    def after(self, call: Call) -> None:
        """Pass it on."""
        self._say(Message("call", call=call))


class Record:
    """A recorded life, and the disk before it."""

    def __init__(self, root: Path, told: Told, *, number: int, prepare: Prepare) -> None:
        self._root = root
        self._told = told
        self._before = CutDisk(root)
        self.life = live(root / "data", told, Recording(), number=number, prepare=prepare)

    def cut(self, moment: int, target: Path, chance: random.Random) -> Life:
        """Cut the power after so many messages; give the life as it was until then.

        A record is used for one cut after another, each from the beginning.
        """
        disk = copy.deepcopy(self._before)
        for message in self.life.messages[:moment]:
            if message.call is not None:
                disk.apply(message.call)
        disk.cut(target, chance)
        messages = self.life.messages[:moment]
        told = [message.told for message in messages if message.told is not None]
        return Life(told[-1] if told else self._told, messages, 0)


def lose_commits() -> None:
    """Plant a flaw: a commit does not wait for the disk."""
    prepare = SQLiteStore._prepare

    def hasty(store: SQLiteStore) -> None:
        prepare(store)
        store._connection.execute("PRAGMA synchronous=NORMAL")

    setattr(SQLiteStore, "_prepare", hasty)  # noqa: B010


def lose_names() -> None:
    """Plant a flaw: folders are not synced."""
    for module in (blobs, directory):
        setattr(module, "sync_folder", lambda _path: None)  # noqa: B010


def lose_bytes() -> None:
    """Plant a flaw: blobs are not synced."""
    setattr(blobs, "sync_file", lambda _descriptor: None)  # noqa: B010


def no_flaw() -> None:
    """Plant none."""


FLAWS: tuple[Prepare, ...] = (lose_commits, lose_names, lose_bytes)


class Tried(Struct):
    """What came of one try."""

    place: str
    wrong: list[str]


def try_cut(record: Record, chance: random.Random, prepare: Prepare) -> Tried:
    """Cut once, or twice, then let a server finish."""
    messages = record.life.messages
    moment = chance.randint(0, len(messages))
    with scratch() as folder:
        before = record.cut(moment, folder / "first", chance)
        wrong = Directory(folder / "first" / "data").wrong_now()
        root, place, number = folder / "first", f"cut at {moment} of {len(messages)}", 1
        if chance.random() < 0.33:
            second = Record(root, before.told, number=1, prepare=prepare)
            moment = chance.randint(0, len(second.life.messages))
            root, number = folder / "second", 2
            again = second.cut(moment, root, chance)
            wrong += wrong_after(before, again) + Directory(root / "data").wrong_now()
            before, place = again, f"{place}, then at {moment} of {len(second.life.messages)}"
        swept = moment % SWEPT == 0
        told = before.told
        last = live(root / "data", told, Policy(), number=number, prepare=prepare, swept=swept)
        wrong += wrong_after(before, last) + last.told.wrong + ended_badly(last)
        return Tried(place, wrong + Directory(root / "data").wrong_at_rest(swept=swept))


def run(count: int | None, seed: int, prepare: Prepare = no_flaw) -> Figures:
    """Make so many cuts."""
    figures = Figures.none()
    chance = random.Random(seed)
    for first in range(0, count or 1, CUTS_OF_A_RECORD):
        with scratch() as folder:
            (folder / "disk").mkdir()
            record = Record(folder / "disk", small_job(), number=0, prepare=prepare)
            assert record.life.complete, record.life.messages[-1:]
            for number in range(first, min(first + CUTS_OF_A_RECORD, count or 1)):
                tried = try_cut(record, chance, prepare)
                figures.tried += 1
                where = f"cut {number}, {tried.place}"
                figures.violations += [f"{where}: {one}" for one in tried.wrong]
    return figures


def find_flaws(count: int | None, seed: int) -> Figures:
    """Make cuts with each planted flaw until the judge finds it; not to find one is a violation.

    Args:
        count: of flaws.
        seed: of the first cuts.
    """
    figures = Figures.none()
    for flaw in FLAWS[:count]:
        name = flaw.__name__.replace("_", " ")
        figures.tried += 1
        for first in range(FLAW_RUNS_MAX):
            part = run(FLAW_CUTS, seed + first, flaw)
            if part.violations:
                figures.notes[name] = f"({part.violations[0]})"
                break
        else:
            figures.violations.append(f"{name}: nobody noticed")
    return figures


CAMPAIGNS = (
    Campaign(
        name="power-cuts",
        what="the power fails at any moment; what was not synced is lost, in whole or in part",
        run=run,
        points=2_000,
    ),
    Campaign(
        name="planted-flaws",
        what="the same with syncs left out, one kind at a time: each must be noticed",
        run=find_flaws,
    ),
)
