"""Kill a whole server under load, again and again, and count what its clients lost.

Three tenants with keys upload in pieces, order batches of files and of inline requests, read
results while they grow, cancel, delete, and hear events. They ask again after every silence. The
server is a real one, with an engine that writes down what it was asked; it is killed with SIGKILL
at random moments, some of them while it starts.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path

from nightrate import limits, upkeep_limits
from tests.acceptance.counting import Counting
from tests.acceptance.server import Server
from tests.faults.campaign import Campaign, Figures
from tests.faults.checker import Directory
from tests.faults.customer import Customer, Job, Told
from tests.faults.real import Line, kept_answers, new_key, receiver, wait_seconds

TENANTS = ("acme", "globex", "initech")
JOBS_AT_ONCE = 2
IN_FLIGHT = 16
DELAY_SECONDS = 0.02
RESTART_SECONDS_MAX = 5.0
BETWEEN_SECONDS_MAX = 1.5
KILLED_WHILE_STARTING = 0.15
MANY_KILLS = 20
QUIET_SECONDS = 2.0


class Load:
    """The jobs of one tenant, one after another until told to stop."""

    def __init__(self, tenant: str, told: Told, chance: random.Random) -> None:
        self._tenant = tenant
        self._told = told
        self._chance = chance
        self._count = 0
        self.stopping = False

    def jobs(self) -> Iterator[Job]:
        """Make a job whenever the one before has ended."""
        while not self.stopping:
            self._count += 1
            label = f"{self._tenant}-{self._count}"
            inline = self._chance.random() < 0.3
            requests = self._chance.randint(1, 12 if inline else 250)
            keys = [f"{label}-{at}" for at in range(requests)]
            cancel = not inline and self._chance.random() < 0.25
            job = Job(
                label=label,
                inline=inline,
                answers={
                    key: f"{key} \u00e9\u2028 {'.' * (at % 40)}" for at, key in enumerate(keys)
                },
                piece_bytes=self._chance.choice((700, 4_000, 1 << 20)),
                # At once as well: while it is still planned.
                cancel_after=self._chance.choice((0, 1, 1 + requests // 2)) if cancel else None,
                delete=self._chance.random() < 0.25,
            )
            self._told.jobs.append(job)
            yield job


async def carry(customer: Customer, load: Load) -> None:
    """Order and follow one job after another."""
    for job in load.jobs():
        await customer.carry(job)


class Killer:
    """Kills the server and starts it again."""

    def __init__(self, line: Line, counting: Counting, chance: random.Random) -> None:
        self._line = line
        self._counting = counting
        self._chance = chance
        self.restarts: list[float] = []
        self.busy: list[float] = []
        self.wrong: list[str] = []

    async def strike(self) -> None:
        """Wait a moment, kill, look at what is on the disk, start again."""
        await wait_seconds(self._chance.random() * BETWEEN_SECONDS_MAX)
        await self._line.kill()
        data = self._line.server.data
        kept, since = kept_answers(data), self._counting.size()
        while self._chance.random() < KILLED_WHILE_STARTING:
            self._line.server.spawn()
            await wait_seconds(self._chance.random())
            await self._line.kill()
        seconds, busy_seconds = await self._line.start()
        self.restarts.append(seconds)
        self.busy.append(busy_seconds)
        if busy_seconds > RESTART_SECONDS_MAX:
            self.wrong.append(f"restart {len(self.restarts)} worked for {busy_seconds:.1f} s")
        await wait_seconds(0.2)
        again = kept & set(self._counting.asked(since))
        if again:
            self.wrong.append(f"{len(again)} kept answers were asked again: {sorted(again)[:3]}")


def swept_seconds(blobs: Path) -> float:
    """Reckon how long upkeep needs, when all is done, to delete what the kills left.

    Two looks at every name, so many a turn, with the wait for orphans between them.
    """
    names = sum(1 for kind in ("files", "caches", "batches") for _ in blobs.glob(f"{kind}/*/*"))
    turns = 2 * (names // upkeep_limits.ORPHAN_NAMES + 1) + 4
    return limits.ORPHAN_SECONDS + turns * limits.UPKEEP_SECONDS


async def strangers(told: dict[str, Told], customers: dict[str, Customer]) -> list[str]:
    """Ask for what belongs to others: there must be no such thing."""
    wrong = []
    for tenant, customer in customers.items():
        mine = {job.name for job in told[tenant].jobs}
        listed = await customer.call("GET", "/v1beta/batches?pageSize=1000")
        names = {one["name"] for one in listed.json.get("operations", [])}
        if not names <= mine:
            wrong.append(f"{tenant} is shown batches of others: {sorted(names - mine)[:3]}")
        for other in set(TENANTS) - {tenant}:
            for job in told[other].jobs[-3:]:
                for path in (f"/v1beta/{job.name}", f"/v1beta/{job.file or job.name}"):
                    answer = await customer.call("GET", path)
                    if answer.status != 404:
                        wrong.append(f"{tenant} asked for {path} of {other}: {answer.status}")
    return wrong


async def campaign(folder: Path, kills: int, chance: random.Random) -> Figures:
    """Strike so many times, then let all work end."""
    figures = Figures.none()
    counting = Counting(folder)
    config = counting.settings(requests=IN_FLIGHT, delay_seconds=DELAY_SECONDS)
    server = Server(folder / "data", "--config", config, environment=counting.environment)
    line = Line(server)
    told = {tenant: Told(jobs=[]) for tenant in TENANTS}
    try:
        async with receiver(told) as address:
            for tenant in TENANTS:
                told[tenant].key = await new_key(server.data, tenant)
                told[tenant].receiver = f"{address}/{tenant}"
            await line.start()
            customers = {
                tenant: Customer(told[tenant], line.ask, pause=wait_seconds) for tenant in TENANTS
            }
            loads = [
                Load(f"{tenant}-{lane}", told[tenant], random.Random(chance.random()))
                for tenant in TENANTS
                for lane in range(JOBS_AT_ONCE)
            ]
            killer = Killer(line, counting, chance)
            async with asyncio.TaskGroup() as group:
                for customer in customers.values():
                    group.create_task(customer.register())
                for at, load in enumerate(loads):
                    customer = customers[TENANTS[at // JOBS_AT_ONCE]]
                    group.create_task(carry(customer, load))
                for _ in range(kills):
                    await killer.strike()
                    figures.tried += 1
                for load in loads:
                    load.stopping = True
            await _heard_all(told)
            figures.violations += killer.wrong + await strangers(told, customers)
            await wait_seconds(
                QUIET_SECONDS if kills < MANY_KILLS else swept_seconds(server.data / "blobs")
            )
            await line.run(server.terminate)
    finally:
        line.close()
    end = Directory(server.data)
    figures.violations += [one for tenant in TENANTS for one in told[tenant].wrong]
    figures.violations += end.wrong_at_rest(swept=kills >= MANY_KILLS)
    figures.notes = _notes(told, killer, counting)
    return figures


async def _heard_all(told: dict[str, Told]) -> None:
    """Wait for every event; those of a batch that was deleted may go with it."""
    for _ in range(60):
        owed = [
            job
            for one in told.values()
            for job in one.jobs
            if job.ended and not job.delete and job.name not in one.heard.values()
        ]
        if not owed:
            return
        await wait_seconds(0.5)
    for one in told.values():
        one.wrong += [f"{job.label}: its event was not heard" for job in owed if job in one.jobs]


def _notes(told: dict[str, Told], killer: Killer, counting: Counting) -> dict[str, str]:
    jobs = [job for one in told.values() for job in one.jobs]
    answered = counting.answered()
    restarts, busy = sorted(killer.restarts), sorted(killer.busy)
    again = answered.total() - len(answered)
    return {
        "jobs": f"{len(jobs)}, {sum(job.cancelled for job in jobs)} of them cancelled",
        "requests answered": f"{len(answered)}, {again} of them again",
        "events": str(sum(len(one.heard) for one in told.values())),
        "from start to ready": f"{_spread(restarts)}, of which at work {_spread(busy)}",
    }


def _spread(ordered: list[float]) -> str:
    return f"{ordered[len(ordered) // 2]:.1f} s median, {ordered[-1]:.1f} s longest"


def run(count: int | None, seed: int) -> Figures:
    """Kill so many times."""
    with tempfile.TemporaryDirectory(prefix="nightrate-faults-") as folder:
        return asyncio.run(campaign(Path(folder), count or 1, random.Random(seed)))


CAMPAIGNS = (
    Campaign(
        name="kill-loop",
        what="a whole server is killed under the load of three tenants",
        run=run,
        points=1_000,
    ),
)
