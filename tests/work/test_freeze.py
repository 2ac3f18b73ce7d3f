"""An answer that was shown once never changes, whoever crashes, freezes or wakes up again.

One zombie is played by hand. Then three owners work on one shard under a scheduler that stops them
at every call to the disk or the database, kills them, lets leases end and cuts the power. The
owners are the real code; the judge reads only what a client could see.
"""

from __future__ import annotations

import contextlib
import os
import random
import types
import zlib
from collections.abc import Callable, Coroutine, Generator, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from nightrate.domain.batch import Batch, Kind, Plan
from nightrate.domain.shard import Answer, JournalPart, ShardPlan, Tally
from nightrate.domain.states import BatchState
from nightrate.errors import ClaimLost, StoreFault
from nightrate.store import statements
from nightrate.store.blobs import Blobs
from nightrate.store.sqlite import SQLiteStore
from nightrate.work import open_shard as open_shard_module
from nightrate.work.journal import MAGIC, records
from nightrate.work.open_shard import OpenShard, open_shard
from tests.work.workshop import TENANT, Workshop, answer, numbered

T = TypeVar("T")

REQUESTS = 5
LEASE = 5
CLOCK_TICKS = 0.15
"""How likely a turn of the scheduler takes any time."""
STEPS_IN_TURMOIL = 400
SEEDS = 300
SEEDS_TO_FIND_A_FLAW = 200


# by hand --------------------------------------------------------------------------------------


async def answers_of(shard: OpenShard) -> list[bytes]:
    return await shard.journal.lines(0, 10_000)


async def test_a_zombie_that_wakes_up_changes_nothing(shop: Workshop) -> None:
    await shop.plan(numbered(3))
    start = 1_000_000
    batch = await shop.batch()
    first = await open_shard(await shop.claim("A", now=start), batch, shop.store, shop.blobs)
    first.journal.add(0, answer("zero of A"))
    await first.journal.flush()
    assert await shop.store.beat([first.beat()], start, start + 60_000_000) == []
    assert (await shop.batch()).tally.succeeded == 1
    first.journal.add(1, answer("one of A"))
    await first.journal.flush()  # synced, not told; then A freezes

    later = start + 60_000_000
    second = await open_shard(await shop.claim("B", now=later), batch, shop.store, shop.blobs)
    assert await answers_of(second) == [b"zero of A", b"one of A"]
    assert await shop.store.beat([second.beat()], later, later + 60_000_000) == []
    assert (await shop.batch()).tally.succeeded == 2  # now both were seen

    first.journal.add(2, answer("two of A, too late"))  # A wakes up
    await first.journal.flush()
    assert await shop.store.beat([first.beat()], later, later) == [first.claim]
    with pytest.raises(ClaimLost):
        await first.seal(shop.store, shop.blobs)
    assert not any("segments" in name for name in shop.files())

    last = later + 60_000_000
    third = await open_shard(await shop.claim("C", now=last), batch, shop.store, shop.blobs)
    assert third.claim.parts[0].byte_length < first.journal.counted_bytes
    assert await answers_of(third) == [b"zero of A", b"one of A"]
    third.journal.add(2, answer("two of C"))
    await third.seal(shop.store, shop.blobs)
    assert await shop.output() == [b"zero of A", b"one of A", b"two of C"]
    for shard in (first, second, third):
        await shard.close(shop.blobs, sealed=shard is third)


async def test_a_late_freeze_is_refused(shop: Workshop) -> None:
    await shop.plan(numbered(2))
    batch = await shop.batch()
    await shop.store.release([await shop.claim("A")])
    slow = await shop.claim("B")
    await shop.store.release_all()
    current = await open_shard(await shop.claim("C"), batch, shop.store, shop.blobs)
    with pytest.raises(ClaimLost):
        await open_shard(slow, batch, shop.store, shop.blobs)
    await current.close(shop.blobs, sealed=False)


# by chance ------------------------------------------------------------------------------------


class ViolationError(AssertionError):
    """What a client saw has changed."""


@types.coroutine
def turn() -> Generator[None, None, None]:
    """Stop here until the scheduler goes on with this owner."""
    yield


class KilledError(BaseException):
    """The process of an owner has died."""


class Stage:
    """Where the owners' calls to the disk and the database are run."""

    def __init__(self) -> None:
        self.dying = False

    async def run(self, call: Callable[[], T], /) -> T:
        """Stop, run the call, stop. Of a dying owner only its files are closed, by the system."""
        if not self.dying:
            await turn()
        if self.dying and "close" not in call.__qualname__:
            raise KilledError
        result = call()
        if not self.dying:
            await turn()
        return result


class Disk:
    """Knows what was synced, so that a power cut can drop the rest."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.synced: dict[Path, int] = {}
        patch.setattr(os, "fdatasync", self.sync)
        patch.setattr(os, "fsync", lambda _descriptor: None)

    def sync(self, descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        self.synced[path] = os.fstat(descriptor).st_size

    def cut_power(self, root: Path, chance: random.Random) -> None:
        for path in sorted(root.rglob("*")):
            if path.is_file():
                size = path.stat().st_size
                os.truncate(path, chance.randint(min(self.synced.get(path, 0), size), size))


class World:
    """Three owners, one shard, and a judge."""

    def __init__(self, seed: int, stage: Stage, store: SQLiteStore, root: Path, disk: Disk) -> None:
        self.stage = stage
        self.chance = random.Random(seed)
        self.batch_id = f"b{seed}"
        self.store = store
        self.root = root
        self.blobs = Blobs(root, stage.run)
        self.disk = disk
        self.now = 0
        self.steps = self.starts = 0
        self.owners: list[Coroutine[Any, Any, None] | None] = [None] * 3
        self.asleep = [0] * 3
        self.shards: list[OpenShard] = []
        self.seen: dict[int, bytes] = {}
        self.counted = 0
        self.row: tuple[Any, ...] = ()
        self.sealed: tuple[Any, ...] | None = None
        self.takeovers = 0

    def plan(self) -> None:
        """Make the batch and its only shard; nothing stops here."""
        blob = f"batches/{TENANT}/{self.batch_id}/input"
        finish(self.blobs.put(blob, [b"{}\n" * REQUESTS]))
        self.batch = Batch(
            tenant=TENANT,
            batch_id=self.batch_id,
            model="m",
            display_name="b",
            kind=Kind(),
            state=BatchState.SUBMITTED,
            input_blob=blob,
            input_file_id=None,
            input_bytes=3 * REQUESTS,
            priority=0,
            request_count=None,
            tally=Tally(),
            created_at=0,
            updated_at=0,
            ended_at=None,
            expires_at=10**9,
            failure=None,
        )
        finish(self.store.add_batch(self.batch))
        shard = ShardPlan(0, 0, REQUESTS, 1, 0, 3 * REQUESTS)
        plan = Plan(request_count=REQUESTS, invalid_count=0, shard_count=1, faults=())
        finish(self.store.open_batch(self.batch, plan, iter([shard]), 0))

    async def own(self, name: str) -> None:
        """Do what a runner does with one claim."""
        until = self.now + LEASE
        claim = await self.store.claim(TENANT, self.batch_id, name, self.now, until)
        if claim is None:
            return
        try:
            shard = await open_shard(claim, self.batch, self.store, self.blobs)
        except ClaimLost:
            return
        self.shards.append(shard)
        self.takeovers += claim.epoch > 1
        while not shard.complete:
            missing = [index for index in range(REQUESTS) if index not in shard.journal]
            index = self.chance.choice(missing)
            line = f"{index} by {name} {self.chance.random()}".encode()
            shard.journal.add(index, Answer(line, Tally(1, 0, index + 1)))
            if self.chance.random() < 0.6:
                await shard.journal.flush()
            if self.chance.random() < 0.6:
                beats = [shard.beat()]
                if await self.store.beat(beats, self.now, self.now + LEASE):
                    return
            if self.chance.random() < 0.05:
                await self.store.release([shard.claim])
                return
        try:
            await shard.seal(self.store, self.blobs)
        except ClaimLost:
            return
        await shard.close(self.blobs, sealed=True)

    def step(self) -> None:
        """Let something happen to somebody; after a while let one finish in peace."""
        self.steps += 1
        self.now += self.chance.random() < CLOCK_TICKS
        if self.steps > STEPS_IN_TURMOIL:
            self.go_on(0)
            return
        event = self.chance.random()
        if event < 0.004:
            self.disk.cut_power(self.root / "batches" / TENANT / self.batch_id, self.chance)
            for number in range(3):
                self.kill(number)
            return
        number = self.chance.randrange(3)
        if event < 0.02:
            self.kill(number)
        elif event < 0.08:
            self.asleep[number] = self.now + self.chance.randint(1, 5 * LEASE)
        elif self.asleep[number] <= self.now:
            self.go_on(number)

    def kill(self, number: int) -> None:
        owner, self.owners[number] = self.owners[number], None
        if owner is not None:
            self.stage.dying = True
            with contextlib.suppress(KilledError, StopIteration):
                owner.throw(KilledError())
            self.stage.dying = False

    def go_on(self, number: int) -> None:
        owner = self.owners[number]
        if owner is None:
            self.starts += 1
            owner = self.owners[number] = self.own(f"o{self.starts}")
        try:
            owner.send(None)
        except StopIteration:
            self.owners[number] = None
        except (AssertionError, OSError, StoreFault) as error:
            self.owners[number] = None
            raise ViolationError("an owner met what cannot be") from error

    # the judge --------------------------------------------------------------------------------

    def judge(self) -> None:
        """Look at what a client can see."""
        (row,) = self.store._all(
            "SELECT state, epoch, journal, succeeded, segment_blob, segment_bytes, segment_crc32"
            " FROM shard WHERE batch_id = :batch_id",
            {"batch_id": self.batch_id},
        )
        if self.row and row[1] < self.row[1]:
            raise ViolationError("the epoch fell")
        if self.sealed is not None and row != self.sealed:
            raise ViolationError("a sealed shard changed")
        visible = self.segment(row) if row[0] == "sealed" else self.journals(row[2])
        for index, line in self.seen.items():
            if visible.get(index) != line:
                raise ViolationError(f"answer {index} was {line!r}, now {visible.get(index)!r}")
        if row[3] < self.counted or row[3] > len(visible):
            raise ViolationError(f"{row[3]} counted, {len(visible)} there, {self.counted} before")
        self.row, self.seen, self.counted = row, visible, row[3]

    def journals(self, journal: str) -> dict[int, bytes]:
        visible: dict[int, bytes] = {}
        for epoch, length in (map(int, part.split(":")) for part in journal.split()):
            name = f"batches/{TENANT}/{self.batch_id}/journal/00000000.{epoch}"
            path = self.root / name
            data = path.read_bytes()[len(MAGIC) : length] if length and path.exists() else b""
            for record in records(data, 0):
                line = data[record.offset : record.offset + record.length]
                visible.setdefault(record.index, line)
        return visible

    def segment(self, row: tuple[Any, ...]) -> dict[int, bytes]:
        self.sealed = row
        path = self.root / row[4]
        data = path.read_bytes() if path.exists() else b""
        if len(data) != row[5] or zlib.crc32(data) != row[6]:
            raise ViolationError("the segment is not what was published")
        lines = data.splitlines()
        if [int(line.split()[0]) for line in lines] != list(range(REQUESTS)):
            raise ViolationError("the segment has not each answer once, in order")
        return dict(enumerate(lines))

    def run(self) -> None:
        """Play until the shard is sealed, and a little longer for those who sleep."""
        self.plan()
        after = 0
        try:
            while after < 50:
                self.step()
                self.judge()
                after += self.sealed is not None
        finally:
            for number in range(3):
                self.kill(number)
            for shard in self.shards:
                finish(shard.close(self.blobs, sealed=False))


def finish(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine through all of its stops."""
    while True:
        try:
            coroutine.send(None)
        except StopIteration as end:
            result: T = end.value
            return result


@pytest.fixture
def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], World]]:
    """Give a function that plays one seed; all share a database in memory."""
    disk, stage = Disk(monkeypatch), Stage()
    store = SQLiteStore(Path(":memory:"), stage.run)

    def play(seed: int) -> World:
        world = World(seed, stage, store, tmp_path, disk)
        world.run()
        return world

    yield play
    finish(store.close())


def seeds_until_a_violation(play: Callable[[int], World]) -> int | None:
    for seed in range(SEEDS_TO_FIND_A_FLAW):
        try:
            play(seed)
        except ViolationError:
            return seed
    return None


def test_no_answer_that_was_seen_ever_changes(
    play: Callable[[int], World], caplog: pytest.LogCaptureFixture
) -> None:
    takeovers = 0
    for seed in range(SEEDS):
        try:
            takeovers += play(seed).takeovers
        except ViolationError as violation:
            raise AssertionError(f"seed {seed}") from violation
    assert takeovers > SEEDS  # the owners did meet
    assert not caplog.records  # no counted answer was lost


def test_without_the_freeze_the_judge_finds_a_changed_answer(
    play: Callable[[int], World], monkeypatch: pytest.MonkeyPatch
) -> None:
    def adopt_everything(
        parts: tuple[JournalPart, ...], epoch: int, _found: int
    ) -> tuple[JournalPart, ...]:
        return (*(JournalPart(part.epoch, 2**40) for part in parts), JournalPart(epoch, 0))

    monkeypatch.setattr(open_shard_module, "taken_over", adopt_everything)
    assert seeds_until_a_violation(play) is not None


@pytest.mark.parametrize("statement", ["BEAT", "SEAL", "FREEZE"])
def test_without_the_epoch_the_judge_finds_a_violation(
    play: Callable[[int], World], monkeypatch: pytest.MonkeyPatch, statement: str
) -> None:
    text = getattr(statements, statement)
    unfenced = text.replace("AND epoch = :epoch AND owner = :owner", "")
    assert unfenced != text
    monkeypatch.setattr(statements, statement, unfenced)
    assert seeds_until_a_violation(play) is not None


def test_counting_before_syncing_is_found(
    play: Callable[[int], World], monkeypatch: pytest.MonkeyPatch
) -> None:
    beat = OpenShard.beat

    def hasty(shard: OpenShard) -> Any:
        shard.journal.counted = shard.journal.tally
        return beat(shard)

    monkeypatch.setattr(OpenShard, "beat", hasty)
    assert seeds_until_a_violation(play) is not None
