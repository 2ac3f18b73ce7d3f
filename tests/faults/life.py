"""One life of a server: a forked process with the whole house in it, its client, and its end.

The parent has imported everything and holds no thread; a life starts in milliseconds. The child
lays the tap, opens the data directory, serves its application to a `Customer` in the same process,
and tells the parent over a pipe what was acknowledged and what the engine was asked. It ends by
itself when every job is done and upkeep had its turn, or anywhere before, with ``os._exit``.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self, cast

import apsw
import msgspec
from cryptography.hazmat.primitives.asymmetric import rsa

from nightrate import limits, planning_limits, runtime, serving
from nightrate.domain.generation import Prompt, Reply
from nightrate.engines.base import Options
from nightrate.engines.echo import EchoEngine, EchoOptions
from nightrate.errors import Fault, StoreFault
from nightrate.runtime import House, open_house
from nightrate.service import vault
from nightrate.settings import Settings
from nightrate.store.blobs import Run
from nightrate.store.sqlite import SQLiteStore
from tests.acceptance.server import Answer
from tests.faults import clockwork
from tests.faults.customer import Customer, Job, Told
from tests.faults.tap import Call, Policy, Tap

KILLED = 137
REFUSED = 3
BROKEN = 4
LIFE_SECONDS_MAX = 120.0
"""Real seconds that a life may take; one that takes longer hangs."""
QUIET_SECONDS_MAX = 1_800.0
"""Seconds on its own clock within which a life must have done everything."""
QUIET_SECONDS = 3 * limits.UPKEEP_SECONDS
BETWEEN_LIVES_SECONDS = 3_600.0


class Message(msgspec.Struct):
    """What a child tells."""

    kind: str
    """told, asked, answered, tick, call, refused, broken or end."""
    text: str = ""
    told: Told | None = None
    call: Call | None = None


class Life(msgspec.Struct):
    """What the parent knows of a life that is over."""

    told: Told
    messages: list[Message]
    status: int

    @property
    def complete(self) -> bool:
        """Whether it did everything and ended by itself."""
        return any(message.kind == "end" for message in self.messages)

    def told_of(self, kind: str) -> list[str]:
        """Give the texts of one kind of message."""
        return [message.text for message in self.messages if message.kind == kind]

    def durable_answers(self) -> set[str]:
        """Name the requests whose answers must have been on the disk when this life ended.

        The loop that syncs journals sleeps and syncs in turn: what was answered before its last
        sleep but one began has been synced since.
        """
        ticks = [at for at, message in enumerate(self.messages) if message.kind == "tick"]
        until = ticks[-2] if len(ticks) > 1 else 0
        return {one.text for one in self.messages[:until] if one.kind == "answered"}


Prepare = Callable[[], None]


def live(
    data: Path,
    told: Told,
    policy: Policy,
    *,
    number: int = 0,
    prepare: Prepare = lambda: None,
    swept: bool = False,
) -> Life:
    """Let one server live on a data directory, and wait for its end.

    Args:
        data: the directory; the tap covers its parent, which holds nothing else.
        told: what the client knows from earlier lives; not changed.
        policy: of the tap.
        number: which life this is on the directory; each begins an hour after the one before.
        prepare: called in the child before anything else, to plant a flaw.
        swept: whether it ends only when upkeep had the time to delete what nothing names.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        status = BROKEN
        try:
            status = _Child(writing, data, told, policy, swept=swept).run(number, prepare)
        except BaseException:  # noqa: BLE001 - a mistake of the campaign; the process ends here
            traceback.print_exc()
        finally:
            os._exit(status)
    os.close(writing)
    messages = list(_received(reading, child))
    os.close(reading)
    _, wait_status = os.waitpid(child, 0)
    known = [message.told for message in messages if message.told is not None]
    return Life(known[-1] if known else told, messages, os.waitstatus_to_exitcode(wait_status))


def _received(pipe: int, child: int) -> Iterator[Message]:
    decoder = msgspec.msgpack.Decoder(Message)
    deadline = time.monotonic() + LIFE_SECONDS_MAX
    held = b""
    while True:
        if not select.select([pipe], [], [], max(0.0, deadline - time.monotonic()))[0]:
            os.kill(child, signal.SIGKILL)
            yield Message("broken", f"nothing happened for {LIFE_SECONDS_MAX:.0f} s: it hangs")
            return
        piece = os.read(pipe, 1 << 20)
        if not piece:
            return
        held += piece
        while len(held) >= 4 and len(held) >= 4 + (length := int.from_bytes(held[:4], "big")):
            yield decoder.decode(held[4 : 4 + length])
            held = held[4 + length :]


# in the child ---------------------------------------------------------------------------------


class _Child:
    def __init__(self, pipe: int, data: Path, told: Told, policy: Policy, *, swept: bool) -> None:
        self._pipe = pipe
        self._quiet_seconds = QUIET_SECONDS + limits.ORPHAN_SECONDS * swept
        self._write = os.write  # as it is before the tap is laid
        self._data = data
        self._told = told
        self._tap = Tap(data.parent, policy)
        bind = getattr(policy, "bind", None)
        if bind is not None:
            bind(self.say)

    def say(self, message: Message) -> None:
        piece = msgspec.msgpack.encode(message)
        view = memoryview(len(piece).to_bytes(4, "big") + piece)
        while view:
            view = view[self._write(self._pipe, view) :]

    def note(self) -> None:
        self.say(Message("told", told=self._told))

    def run(self, number: int, prepare: Prepare) -> int:
        logging.disable(logging.CRITICAL)
        # What a VFS raises while SQLite closes reaches nobody, as without a VFS in Python.
        sys.unraisablehook = lambda _unraisable: None
        _patch(self)
        prepare()
        self._tap.lay()
        try:
            clockwork.run(self._live, number * BETWEEN_LIVES_SECONDS)
        except Fault as refused:
            self.say(Message("refused", refused.message))
            return REFUSED
        except BaseException:  # noqa: BLE001 - the parent is told, whatever it was
            self.say(Message("broken", traceback.format_exc()[-3000:]))
            return BROKEN
        return 0

    async def _live(self) -> None:
        settings = Settings(data=str(self._data), engine="echo")
        house = open_house(settings, "http://server")
        app = serving._app(house, settings)
        house.courier.client = lambda: _Receiver(self)  # type: ignore[assignment, return-value]

        async def ask(method: str, path: str, body: bytes, headers: Mapping[str, str]) -> Answer:
            return Answer(*await clockwork.ask_app(app, method, path, body, headers))

        customer = Customer(
            self._told,
            ask,
            note=self.note,
            pause=clockwork.pass_seconds,
            failures=self._tap.policy.refuses,
        )
        async with house.working(), asyncio.timeout(QUIET_SECONDS_MAX):
            await house.engines_settled()
            await customer.run()
            await self._heard_all()
            await self._quiet(house)
        await house.close()
        self.say(Message("end", str(self._tap.count), told=self._told))

    async def _heard_all(self) -> None:
        """Wait for the event of every job; a batch that was deleted may take its event with it."""
        owed = {job.name for job in self._told.jobs if not job.deleted}
        while not self._told.wrong and not owed <= set(self._told.heard.values()):
            await clockwork.pass_seconds(1.0)

    async def _quiet(self, house: House) -> None:
        """Let upkeep have its turns, and the courier write down its last attempt."""
        await clockwork.pass_seconds(self._quiet_seconds)
        reason = await house.not_ready()
        if reason is not None:
            self._told.wrong.append(f"not ready when all was done: {reason}")

    def heard(self, message_id: str, body: bytes) -> None:
        """Take in an event."""
        batch = str(msgspec.json.decode(body)["data"]["id"])
        if self._told.heard.get(message_id, batch) != batch:
            self._told.wrong.append(f"event {message_id} tells of two batches")
        if batch in self._told.heard.values() and message_id not in self._told.heard:
            self._told.wrong.append(f"{batch} was told under two ids")
        self._told.heard[message_id] = batch
        self.note()


class _Receiver:
    """Stands where the courier's HTTP client stands, and takes every event."""

    def __init__(self, child: _Child) -> None:
        self._child = child

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_arguments: object) -> None:
        """Nothing to close."""

    @contextlib.asynccontextmanager
    async def post(
        self, _uri: str, *, data: bytes, headers: Mapping[str, str], **_options: object
    ) -> AsyncIterator[Any]:
        await asyncio.sleep(0)
        self._child.heard(headers["webhook-id"], data)
        yield _Taken()


class _Taken:
    status = 200
    headers: Mapping[str, str] = {}


class _Runs:
    """No threads: every blocking call is made where it stands."""

    database: Run = staticmethod(clockwork.inline)
    looks: Run = staticmethod(clockwork.inline)
    disk: Run = staticmethod(clockwork.inline)
    index: Run = staticmethod(clockwork.inline)
    live_index: Run = staticmethod(clockwork.inline)

    def close(self) -> None:
        """Nothing to end."""


class _OneConnection(SQLiteStore):
    """In exclusive mode the database has one connection.

    SQLite says nothing of errors while it closes a database, but a VFS in Python is heard.
    """

    def __init__(self, path: Path, run: Run, _run_reading: Run) -> None:
        try:
            super().__init__(path, run)
        except apsw.Error as error:
            raise StoreFault(f"{path} cannot be used: {error}") from error

    async def close(self) -> None:
        with contextlib.suppress(apsw.Error):
            await super().close()


_SIGNING_PEM = vault._new_signing_key()
"""Made once: making one takes longer than a life, and reading one nearly as long."""

_SIGNING_KEY = vault._signing_key(Path(), _SIGNING_PEM)


def _read_key(path: Path, pem: bytes) -> rsa.RSAPrivateKey:
    assert pem == _SIGNING_PEM, f"{path} appears whole or not at all"
    return _SIGNING_KEY


def _patch(child: _Child) -> None:
    """Put what a life without threads needs in place of what it would have."""
    setattr(runtime, "_Runs", _Runs)  # noqa: B010 - not of its type
    setattr(runtime, "SQLiteStore", _OneConnection)  # noqa: B010
    setattr(vault, "_new_signing_key", lambda: _SIGNING_PEM)  # noqa: B010
    setattr(vault, "_signing_key", _read_key)  # noqa: B010
    setattr(runtime, "create_engine", lambda _kind, _options: _Engine(child))  # noqa: B010
    planning_limits.SHARD_REQUESTS_MAX, planning_limits.FIRST_SHARD_REQUESTS = 5, 3

    pass_seconds = clockwork.pass_seconds

    async def told_sleep(seconds: float) -> None:
        if seconds == limits.JOURNAL_SYNC_SECONDS:
            child.say(Message("tick"))
        await pass_seconds(seconds)

    clockwork.pass_seconds = told_sleep


class _Engine(EchoEngine):
    """Echo, which tells what it is asked and what it has answered."""

    def __init__(self, child: _Child) -> None:
        super().__init__(EchoOptions(requests=4))
        self._child = child

    @classmethod
    def from_options(cls, options: Options) -> _Engine:
        raise NotImplementedError

    async def generate(self, prompt: Prompt) -> Reply:
        name = prompt.messages[-1].text
        self._child.say(Message("asked", name))
        reply = await super().generate(prompt)
        self._child.say(Message("answered", name))
        return reply


def _warm() -> None:
    """Compile the patterns of all routes once, in the parent: half of a short life went there."""
    rooms = (
        "files results followers batches models executor webhooks caches keys outlooks not_ready"
    )
    serving._app(cast("House", SimpleNamespace(**dict.fromkeys(rooms.split()))), Settings())


_warm()


# the job --------------------------------------------------------------------------------------


def small_job() -> Told:
    """Give one of everything: uploads in pieces, a file, items, a cancel, a delete, events."""

    def texts(label: str, *delays: float) -> dict[str, str]:
        return {
            f"{label}-{at}": (f"[[delay {delay}]] " if delay else "") + f"{label} {at} \u00e9\u2028"
            for at, delay in enumerate(delays)
        }

    answers = {
        "pieces": texts("pieces", 0, 0.4, 0, 1.2, 0.3, 0, 0, 2.5, 0.2, 0, 0.6, 0.1),
        "items": texts("items", 0, 0.5, 0),
        "cancelled": texts("cancelled", 0, 0.3, 86_000, 86_000, 0, 86_000, 86_000),
        "deleted": texts("deleted", 0, 0.1),
    }
    return Told(
        receiver="http://127.0.0.1:9/hook",
        jobs=[
            Job(label="pieces", answers=answers["pieces"], piece_bytes=512),
            Job(label="items", answers=answers["items"], inline=True),
            Job(label="cancelled", answers=answers["cancelled"], cancel_after=2),
            Job(label="deleted", answers=answers["deleted"], delete=True),
        ],
    )
