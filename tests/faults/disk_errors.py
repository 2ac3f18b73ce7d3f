"""Let the disk refuse at each call of a small job: full, broken, once or for a while.

The server may answer that it cannot, and must say so clearly; it may pause. It must not end, not
corrupt anything, not acknowledge what is not durable, and must finish when the disk takes writes
again. When all is done the power fails, on a disk that forgot what a failed sync was to keep: who
tried such a sync again and believed it is found out there.
"""

from __future__ import annotations

import errno
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

from nightrate import clock
from tests.faults.campaign import Campaign, Figures
from tests.faults.checker import Directory
from tests.faults.cut_disk import CutDisk
from tests.faults.kill_points import ended_badly, points_of_a_life, scratch
from tests.faults.life import REFUSED, Life, Message, live, small_job
from tests.faults.tap import Call, Policy

REFUSING_SECONDS = 40.0
"""Eight pauses of those who wait for the disk."""

_GROWING = {"write", "create", "mkdir"}


class Way(Struct, frozen=True):
    """How a disk refuses."""

    name: str
    number: int
    """Of the error."""
    kinds: frozenset[str] | None = None
    """Which calls are refused; None for all."""
    lasting: bool = False


WAYS = (
    Way("one call: no space", errno.ENOSPC),
    Way("one call: input/output error", errno.EIO),
    Way("full for a while", errno.ENOSPC, frozenset(_GROWING), lasting=True),
    Way("syncs fail for a while", errno.EIO, frozenset({"sync", "sync_folder"}), lasting=True),
    Way("everything fails for a while", errno.EIO, lasting=True),
)


class Refusing(Policy):
    """Refuses calls, in one way, from one call on; tells the parent what happened to the disk."""

    refuses = True

    def __init__(self, first: int, way: Way, *, half: bool) -> None:
        self._first = first
        self._way = way
        self._half = half
        self._until: float | None = None
        self._say: Callable[[Message], None]

    def bind(self, say: Callable[[Message], None]) -> None:
        """Be given the pipe."""
        self._say = say

    def before(self, call: Call, number: int) -> None:
        """Refuse it, if it is to be refused; of a write perhaps only the second half."""
        if not self._is_refused(call, number):
            return
        self._say(Message("refusal", call.kind))
        if call.kind in {"sync", "sync_folder"}:
            self._say(Message("failed", call=call))
        if self._half and call.kind == "write" and len(call.data) > 1:
            self.after(call.half_written())
        raise OSError(self._way.number, f"a fault of the campaign in {call.kind}")

    def _is_refused(self, call: Call, number: int) -> bool:
        if not self._way.lasting:
            return number == self._first
        if number < self._first:
            return False
        if self._until is None:
            self._until = clock.monotonic() + REFUSING_SECONDS
        if clock.monotonic() >= self._until:
            return False
        if self._way.number == errno.ENOSPC and call.kind == "write":  # a log may be used again
            return call.offset + len(call.data) > Path(call.path).stat().st_size
        return self._way.kinds is None or call.kind in self._way.kinds

    def after(self, call: Call) -> None:
        """Pass it on."""
        self._say(Message("call", call=call))


def forgetful_image(life: Life, root: Path, target: Path, chance: random.Random) -> None:
    """Write down what a power cut at the end of a life leaves, when failed syncs kept nothing."""
    root.mkdir()
    disk = CutDisk(root)
    for message in life.messages:
        if message.call is not None:
            disk.apply(message.call, failed=message.kind == "failed")
    disk.cut(target, chance)


def try_refusal(first: int, way: Way, chance: random.Random) -> tuple[Counter[str], list[str]]:
    """Refuse from one call on; give how many of which kind were refused, and what was wrong."""
    with scratch() as folder:
        policy = Refusing(first, way, half=chance.random() < 0.5)
        root = folder / "disk"
        root.mkdir()
        life = live(root / "data", small_job(), policy)
        refused = Counter(life.told_of("refusal"))
        wrong = Directory(root / "data").wrong_now()
        told, number = life.told, 1
        if life.status == REFUSED:  # it would not start; whoever starts it again finds a sound disk
            life = live(root / "data", told, Policy(), number=1)
            told, number = life.told, 2
        else:
            root.rename(folder / "live")
            forgetful_image(life, root, folder / "cut", chance)
            wrong += [f"after a cut: {one}" for one in Directory(folder / "cut/data").wrong_now()]
            again = live(folder / "cut" / "data", told, Policy(), number=number, swept=True)
            found = again.told.wrong[len(told.wrong) :] + ended_badly(again)
            found += Directory(folder / "cut" / "data").wrong_at_rest()
            wrong += [f"after a cut: {one}" for one in found]
        return refused, wrong + told.wrong + ended_badly(life)


def run(count: int | None, seed: int) -> Figures:
    """Let the disk refuse at so many calls."""
    chance = random.Random(seed)
    figures = Figures.none()
    last = points_of_a_life()
    if count is None:
        points = [(number, WAYS[number % len(WAYS)]) for number in range(1, last + 1)]
    else:
        points = [
            (1 + int((at + chance.random()) * last / count), WAYS[at % len(WAYS)])
            for at in range(count)
        ]
    kinds: Counter[str] = Counter()
    for number, way in points:
        refused, wrong = try_refusal(number, way, chance)
        figures.tried += bool(refused)
        kinds += refused
        figures.violations += [f"{way.name}, from call {number}: {one}" for one in wrong]
    figures.notes = {
        "calls of a life": str(last),
        "calls refused": ", ".join(f"{kind} {n}" for kind, n in kinds.most_common()),
    }
    return figures


CAMPAIGNS = (
    Campaign(
        name="disk-errors",
        what="each call is refused: disk full or broken, once or for a while, then a power cut",
        run=run,
    ),
)
