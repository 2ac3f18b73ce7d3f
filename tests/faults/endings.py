"""Batches that are cancelled and deleted, and servers that are asked to stop, at bad moments."""

from __future__ import annotations

import contextlib
import http.client
import random
import sqlite3
import tempfile
import time
import urllib.parse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from nightrate.limits import MIB
from tests.acceptance.server import Server, counters, request_line, text_of, until
from tests.faults.campaign import Campaign, Figures
from tests.faults.troubled import Order, Troubled, results

DRAIN_SECONDS = 2.0
"""In place of the documented 25 seconds."""
MARGIN_SECONDS = 4.0
FINISH_SECONDS = 90.0
PLANNED_LINES = 60_000
PLANNER = "nightrate.work.planning_process"


class Stage:
    """A server on an engine that answers from a process of its own, and what happens on it."""

    def __init__(self, server: Server, engine: Troubled, seed: int) -> None:
        self.server = server
        self.engine = engine
        self.chance = random.Random(seed)
        self.orders = 0
        self.longest_seconds = 0.0

    def order(self, harms: dict[int, str], count: int) -> Order:
        """Write a file of lines that nobody wrote before."""
        self.orders += 1
        return Order(f"o{self.orders}", harms, count)

    def ask(self, method: str, path: str) -> http.client.HTTPConnection:
        """Begin a call whose answer is read by whoever likes."""
        place = urllib.parse.urlsplit(self.server.base_url)
        connection = http.client.HTTPConnection(str(place.hostname), place.port, timeout=60)
        connection.request(method, path)
        return connection

    def stop(self) -> list[str]:
        """Ask the server to stop; it must be gone in time and leave no claim. Starts it again."""
        began = time.monotonic()
        status = self.server.terminate()
        took = time.monotonic() - began
        self.longest_seconds = max(self.longest_seconds, took)
        broken = []
        if status != 0:
            broken.append(f"it ended with status {status}")
        if took > DRAIN_SECONDS + MARGIN_SECONDS:
            broken.append(f"it took {took:.1f} s to stop")
        with contextlib.closing(sqlite3.connect(self.server.data / "state.sqlite")) as database:
            query = "SELECT count(*) FROM shard WHERE state = 'running'"
            (held,) = database.execute(query).fetchone()
        if held:
            broken.append(f"{held} claims were not handed back")
        self.server.restart()
        return broken

    def closed(self, name: str) -> Any:
        """Wait until the results of a batch that ended early are complete; gives its document."""

        def shown() -> Any:
            document = self.server.batch(name)
            return document if document["done"] and "dest" in document else None

        return until(shown, FINISH_SECONDS)

    def lines(self, document: Any) -> list[Any]:
        """Give the lines of a result."""
        content = self.server.download(document["dest"]["fileName"])
        return [msgspec.json.decode(line) for line in content.splitlines()]

    def planning(self) -> tuple[str, int]:
        """Submit a large input, and give its batch while it is being planned."""
        lines = b"".join(request_line(n, f"p{n} " + "x" * 200) for n in range(PLANNED_LINES))
        created = self.server.create(self.server.upload(lines))
        until(lambda: self.server.process.descendants(PLANNER), 30, every=0.002)
        return str(created.json["name"]), PLANNED_LINES


def _ended_early(stage: Stage, document: Any, keys: list[Any]) -> list[str]:
    """Hold a batch that ended early, or just not, against the promises."""
    lines = stage.lines(document)
    answered = sum("response" in line for line in lines)
    broken = []
    if [line["key"] for line in lines] != keys:
        broken.append(f"{len(lines)} lines for {len(keys)} requests, or in another order")
    if counters(document) != (len(keys), 0, answered, len(keys) - answered):
        broken.append(f"{answered} answers, counted {counters(document)}")
    if document["state"] == "JOB_STATE_SUCCEEDED" and answered != len(keys):
        broken.append("it succeeded without all answers")
    return broken


# a server that is asked to stop -------------------------------------------------------------------


def stop_while_uploading(stage: Stage) -> list[str]:
    """Half a piece is sent; what was counted is there, and the upload goes on."""
    server, content = stage.server, stage.chance.randbytes(3 * MIB)
    upload = server.start_upload("application/octet-stream")
    server.send(upload, 0, content[:MIB])
    place = urllib.parse.urlsplit(server.base_url)
    connection = http.client.HTTPConnection(str(place.hostname), place.port, timeout=60)
    with contextlib.closing(connection):
        connection.putrequest("POST", upload)
        for name, value in {
            "x-goog-upload-command": "upload, finalize",
            "x-goog-upload-offset": str(MIB),
            "content-length": str(2 * MIB),
        }.items():
            connection.putheader(name, value)
        connection.endheaders(content[MIB : MIB + 300_000])
        broken = stage.stop()
    asked = server.ask("POST", upload, headers={"x-goog-upload-command": "query"})
    held = int(asked.headers["x-goog-upload-size-received"])
    if not MIB <= held <= MIB + 300_000:
        return [*broken, f"{held} bytes of the upload are counted"]
    file = server.send(upload, held, content[held:], "upload, finalize").json["file"]
    return broken if server.download(file["name"]) == content else [*broken, "other bytes"]


def stop_while_planning(stage: Stage) -> list[str]:
    """The planning process goes with the server; the next one plans again."""
    name, count = stage.planning()
    broken = stage.stop()
    until(lambda: counters(stage.server.batch(name))[0] is not None, FINISH_SECONDS)
    if counters(stage.server.batch(name))[0] != count:
        broken.append(f"planned as {counters(stage.server.batch(name))}")
    stage.server.ask("DELETE", f"/v1beta/{name}")
    return broken


def stop_while_running(stage: Stage) -> list[str]:
    """Some requests never come back; the others are kept and not asked again."""
    order = stage.order({3: "once stuck", 21: "once stuck"}, 60)
    name = stage.server.submit(order.content)
    until(lambda: stage.engine.asked()[order.names[21]], FINISH_SECONDS)
    broken = stage.stop()
    broken += order.judged(results(stage.server, name), stage.engine.asked())
    again = [key for key, times in stage.engine.answered().items() if times > 1]
    return broken + [f"{again} were answered, and asked again"] * bool(again)


def stop_while_sealing(stage: Stage) -> list[str]:
    """At any moment of a batch that ends shard by shard."""
    orders = [stage.order({}, 17) for _ in range(6)]
    names = [stage.server.submit(order.content) for order in orders]
    wanted = stage.chance.randrange(1, 100)
    last = [set(order.names) for order in orders]

    def answered() -> bool:
        seen = stage.engine.answered().keys()
        return sum(len(one & seen) for one in last) >= wanted

    until(answered, FINISH_SECONDS, every=0.001)
    broken = stage.stop()
    for order, name in zip(orders, names, strict=True):
        broken += order.judged(results(stage.server, name), stage.engine.asked())
    return broken


def stop_while_closing(stage: Stage) -> list[str]:
    """A cancelled batch of many requests is being handed out."""
    count = 20_000
    lines = b"".join(request_line(n, f"c{n} [[stuck]]") for n in range(count))
    name = stage.server.submit(lines)
    until(lambda: stage.server.batch(name)["state"] == "JOB_STATE_RUNNING", FINISH_SECONDS)
    stage.server.ask("POST", f"/v1beta/{name}:cancel")
    segments = f"blobs/batches/default/{name.removeprefix('batches/')}/segments/*"
    until(lambda: any(stage.server.data.glob(segments)), FINISH_SECONDS, every=0.002)
    broken = stage.stop()
    return broken + _ended_early(stage, stage.closed(name), [*range(count)])


def stop_while_followed(stage: Stage) -> list[str]:
    """Who follows results is broken off, and goes on at the next server from the beginning."""
    order = stage.order({18: "once stuck"}, 40)
    name = stage.server.submit(order.content)
    path = f"/download/v1beta/files/batch-{name.removeprefix('batches/')}:download?follow=true"
    with contextlib.closing(stage.ask("GET", path)) as connection:
        response = connection.getresponse()
        begun = b"".join(response.readline() for _ in range(16))
        broken = stage.stop()
        with contextlib.suppress(http.client.HTTPException, OSError):
            begun += response.read()
            broken.append("the end of a broken answer looks like the end of the results")
    with contextlib.closing(stage.ask("GET", path)) as connection:
        whole = connection.getresponse().read()
    if not whole.startswith(begun):
        broken.append("what was read before has changed")
    lines = [msgspec.json.decode(line) for line in whole.splitlines()]
    return broken + order.judged(lines, stage.engine.asked())


# batches that end early ---------------------------------------------------------------------------


def cancel_while_sealing(stage: Stage) -> list[str]:
    """It is cancelled at any moment, the last one too: one of the two ends wins, for good."""
    order = stage.order({}, 17)
    name = stage.server.submit(order.content)
    wanted = stage.chance.randrange(18)
    names = set(order.names)
    answered = stage.engine.answered
    until(lambda: len(names & answered().keys()) >= wanted, FINISH_SECONDS, every=0.001)
    said = stage.server.ask("POST", f"/v1beta/{name}:cancel")
    document = stage.closed(name)
    broken = _ended_early(stage, document, order.names)
    expected = {200: "JOB_STATE_CANCELLED"}.get(said.status, "JOB_STATE_SUCCEEDED")
    if document["state"] not in {expected, "JOB_STATE_SUCCEEDED"}:
        broken.append(f"the cancel was answered {said.status}, the batch is {document['state']}")
    broken += [
        f"{line['key']} has another's answer"
        for line in stage.lines(document)
        if "response" in line and text_of(line) != line["key"]
    ]
    return broken


def cancel_while_planning(stage: Stage) -> list[str]:
    """Every line of it gets its status."""
    name, count = stage.planning()
    stage.server.ask("POST", f"/v1beta/{name}:cancel")
    document = stage.closed(name)
    if document["state"] != "JOB_STATE_CANCELLED":
        return [f"it is {document['state']}"]
    return _ended_early(stage, document, [*range(count)])


def delete_while_planning(stage: Stage) -> list[str]:
    """Nothing of it is left."""
    name, _ = stage.planning()
    stage.server.ask("DELETE", f"/v1beta/{name}")
    return _is_gone(stage, name)


def delete_while_downloading(stage: Stage) -> list[str]:
    """The reader gets the right bytes, all of them or their beginning."""
    lines = b"".join(request_line(n, f"d{n} " + "y" * 40_000) for n in range(200))
    name = stage.server.submit(lines)
    document = stage.server.finish(name, FINISH_SECONDS)
    file = document["response"]["responsesFile"]
    whole = stage.server.download(file)
    with contextlib.closing(stage.ask("GET", f"/download/v1beta/{file}:download")) as connection:
        response = connection.getresponse()
        got = response.read(stage.chance.randrange(1, MIB))
        stage.server.ask("DELETE", f"/v1beta/{name}")
        kept = stage.server.download(file)  # a result file outlives its batch
        stage.server.ask("DELETE", f"/v1beta/{file}")
        with contextlib.suppress(http.client.HTTPException, OSError):
            got += response.read()
    broken = [] if whole.startswith(got) else ["other bytes than the result's were sent"]
    broken += [] if kept == whole else ["the result file did not outlive its batch"]
    return broken + _is_gone(stage, name)


def _is_gone(stage: Stage, name: str) -> list[str]:
    folder = stage.server.data / "blobs/batches/default" / name.removeprefix("batches/")
    try:
        until(lambda: not folder.exists(), FINISH_SECONDS)
    except AssertionError:
        return [f"a deleted batch left {[str(path) for path in folder.rglob('*')]}"]
    found = stage.server.ask("GET", f"/v1beta/{name}").status
    return [] if found == 404 else [f"a deleted batch is answered {found}"]


SCENES: tuple[Callable[[Stage], list[str]], ...] = (
    *(stop_while_running, cancel_while_sealing, stop_while_sealing, delete_while_downloading),
    *(stop_while_uploading, stop_while_followed, cancel_while_planning, stop_while_closing),
    *(stop_while_planning, delete_while_planning, cancel_while_sealing),
)


def bad_endings(points: int | None, seed: int) -> Figures:
    """Play every scene, again and again until there were so many."""
    figures = Figures.none()
    with tempfile.TemporaryDirectory(prefix="nightrate-faults-") as folder:
        engine = Troubled(Path(folder))
        server = engine.server(
            *(f"DRAIN_SECONDS={DRAIN_SECONDS}", "UPKEEP_SECONDS=0.3"),
            answer_seconds=600.0,
            delay_seconds=0.005,
            silence_seconds=30.0,
        )
        try:
            stage = Stage(server, engine, seed)
            for number in range(points or len(SCENES)):
                scene = SCENES[number % len(SCENES)]
                try:
                    broken = scene(stage)
                except AssertionError as error:
                    broken = [repr(error)[:500]]
                broken += [line for line in server.process.stderr.lines if '"error"' in line]
                figures.violations += [f"{scene.__name__}, seed {seed}: {one}" for one in broken]
                figures.tried += 1
            figures.notes["longest stop"] = (
                f"{stage.longest_seconds:.1f} s of {DRAIN_SECONDS:g} s and a margin"
            )
        finally:
            server.close()
    return figures


CAMPAIGNS = (
    Campaign(
        name="bad-endings",
        what="cancel, delete and SIGTERM in each phase of a batch's life",
        run=bad_endings,
        points=88,
    ),
)
