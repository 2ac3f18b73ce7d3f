"""Servers that are killed, at any moment, lose nothing that they acknowledged."""

from __future__ import annotations

import base64
import hashlib
import http.client
import os
import random
import time
import urllib.parse
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import psutil
import pytest

from nightrate import limits
from nightrate.work.journal import MAGIC, records
from tests.acceptance.conftest import MakeServer
from tests.acceptance.counting import Counting
from tests.acceptance.server import Server, counters, request_line, text_of, until

REQUESTS = 2_000
KILLS = 20
IN_FLIGHT = 24
DELAY_SECONDS = 0.1
RESTART_SECONDS_MAX = 5.0

SEED = int(os.environ.get("KILL_SEED", "20"))


def question(index: int) -> str:
    r"""Give a text that tells requests apart, with what breaks lines when it is not escaped."""
    return f"question-{index} \u00e9\u2028 \U0001f319 {'.' * (index % 50)}"


def job(requests: int) -> bytes:
    """Write a batch file whose keys and texts all differ."""
    return b"".join(request_line(f"key-{i}", question(i)) for i in range(requests))


def assert_whole(lines: list[Any], requests: int) -> None:
    """Check that every request has one line, in order, with its own answer."""
    assert [line["key"] for line in lines] == [f"key-{i}" for i in range(requests)]
    assert [text_of(line) for line in lines] == [question(i) for i in range(requests)]


class Watched:
    """A batch under kills: what was visible once must stay."""

    def __init__(self, server: Server, name: str) -> None:
        self._server = server
        self.name = name
        self.prefixes: list[bytes] = []
        self.seen = 0
        self._folder = server.data / "blobs" / "batches" / "default" / name.removeprefix("batches/")

    def kept(self) -> set[str]:
        """Name the requests that need no further answer: those in a journal or downloadable."""
        lines = [line for prefix in self.prefixes[-1:] for line in prefix.splitlines()]
        for path in self._folder.glob("journal/*"):
            data = path.read_bytes()
            found = records(data[len(MAGIC) :], len(MAGIC)) if data.startswith(MAGIC) else ()
            lines += [data[record.offset :][: record.length] for record in found]
        keys = [msgspec.json.decode(line)["key"] for line in lines]
        return {key.replace("key", "question") for key in keys}

    def look(self) -> Any:
        """Take the counters and, while it runs, what can be downloaded already."""
        document = self._server.batch(self.name)
        _, _, succeeded, failed = counters(document)
        assert failed == 0
        assert succeeded >= self.seen, "a counter went back"
        self.seen = succeeded
        if document["state"] == "JOB_STATE_RUNNING":
            batch_id = self.name.removeprefix("batches/")
            self.prefixes.append(self._server.download(f"files/batch-{batch_id}"))
        return document


def kill_at(server: Server, moment: Callable[[], Any], seconds: float = 30) -> None:
    """Kill the server when a condition holds."""
    until(moment, seconds, every=0.005)
    server.kill()


def test_twenty_kills_cost_no_answer_and_change_none(
    make_server: MakeServer, counting: Counting, capsys: pytest.CaptureFixture[str]
) -> None:
    chance = random.Random(SEED)
    config = counting.settings(requests=IN_FLIGHT, delay_seconds=DELAY_SECONDS)
    server = make_server("--config", config, environment=counting.environment)
    watched = Watched(server, server.submit(job(REQUESTS)))
    until_ready: list[float] = []
    until_asked: list[float] = []
    kept, tally_bytes = set[str](), 0
    for kills_left in range(KILLS, 0, -1):
        left = REQUESTS - len(counting.answered())
        more = chance.randrange(3 * left // (kills_left + 2))
        goal = counting.answers() + chance.choice((0, 1, more, more, more))
        kill_at(server, counting.answers_reach(goal))
        if chance.random() < 0.25:  # killed again while it starts
            server.spawn()
            kill_at(server, lambda: server.process.stderr.lines)
        assert not kept & set(counting.asked(since=tally_bytes)), "what was kept is asked again"
        kept, tally_bytes = watched.kept(), counting.size()
        asked = counting.asked().total()
        server.spawn()
        started = server.process.started_at
        until_asked.append(_when(counting.asks_reach(asked + 1)) - started)
        server.ready()
        until_ready.append(server.ready_seconds)
        watched.look()
    document = server.finish(watched.name)
    assert not kept & set(counting.asked(since=tally_bytes))
    assert len(kept) > REQUESTS / 4
    assert counters(document) == (REQUESTS, 0, REQUESTS, 0)
    assert_whole(server.results(watched.name), REQUESTS)
    final = server.download(document["response"]["responsesFile"])
    assert all(final.startswith(prefix) for prefix in watched.prefixes)
    assert any(watched.prefixes)
    assert server.starts > KILLS
    assert max(until_asked) <= RESTART_SECONDS_MAX
    repeated = counting.answered().total() - REQUESTS
    with capsys.disabled():
        print(  # noqa: T201 - the figures are worth seeing
            f"\n{server.starts - 1} kills; from process start to the first request at the engine:"
            f" {_spread(until_asked)}; to ready: {_spread(until_ready)}; {repeated} finished"
            f" answers were made again; prefixes of {sorted(map(len, watched.prefixes))} bytes"
        )


def test_an_upload_goes_on_after_a_kill_where_it_was_synced(make_server: MakeServer) -> None:
    content = random.Random(SEED).randbytes(24 * limits.MIB)
    piece = 8 * limits.MIB
    server = make_server("--engine", "echo")
    upload = server.start_upload("application/octet-stream")
    acknowledged = server.send(upload, 0, content[:piece])
    assert acknowledged.headers["x-goog-upload-size-received"] == str(piece)

    def breaks_off() -> Iterator[bytes]:
        """Send half of the second piece, and see the server die over it."""
        yield content[piece : piece + piece // 2]
        until(lambda: _stored_bytes(server) > piece, 30)
        server.kill()
        yield b"the server is gone"

    headers = {
        "x-goog-upload-command": "upload",
        "x-goog-upload-offset": str(piece),
        "content-length": str(piece),
    }
    with pytest.raises((http.client.HTTPException, OSError)):
        server.ask("POST", upload, breaks_off(), headers)
    server.restart()
    asked = server.ask("POST", upload, headers={"x-goog-upload-command": "query"})
    assert asked.headers["x-goog-upload-status"] == "active"
    held = int(asked.headers["x-goog-upload-size-received"])
    assert piece <= held <= piece + piece // 2
    server.send(upload, held, content[held : held + piece])
    server.kill()
    server.restart()
    held += piece
    answer = server.send(upload, held, content[held:], "upload, finalize")
    file = answer.json["file"]
    server.kill()
    server.restart()
    assert server.get(f"/v1beta/{file['name']}") == {**file, **_rebased(file, server)}
    assert int(file["sizeBytes"]) == len(content)
    digest = hashlib.sha256(content).hexdigest()
    assert base64.b64decode(file["sha256Hash"]).decode() == digest
    assert hashlib.sha256(server.download(file["name"])).hexdigest() == digest


def _stored_bytes(server: Server) -> int:
    return sum(
        path.stat().st_size for path in server.data.glob("blobs/files/**/*") if path.is_file()
    )


def _rebased(file: dict[str, str], server: Server) -> dict[str, str]:
    """The addresses in a file's document are those of the port that serves it now."""
    return {
        name: server.base_url + urllib.parse.urlsplit(file[name]).path
        for name in ("uri", "downloadUri")
        if name in file
    }


def test_a_batch_that_was_acknowledged_is_there_after_a_kill(make_server: MakeServer) -> None:
    server = make_server("--engine", "echo")
    by_file = server.submit(job(3))
    server.kill()
    server.restart()
    assert_whole(server.finish(by_file) and server.results(by_file), 3)
    items = [msgspec.json.decode(request_line("x", question(i)))["request"] for i in range(2)]
    requests = [{"request": item, "metadata": {"key": f"{i}"}} for i, item in enumerate(items)]
    order = {"batch": {"inputConfig": {"requests": {"requests": requests}}}}
    path = "/v1beta/models/gemini-2.5-flash:batchGenerateContent"
    inline = server.ask("POST", path, msgspec.json.encode(order)).json["name"]
    server.kill()
    server.restart()
    results = server.finish(inline)["response"]["inlinedResponses"]["inlinedResponses"]
    assert [item["metadata"] for item in results] == [{"key": "0"}, {"key": "1"}]
    assert [text_of(item) for item in results] == [question(0), question(1)]


def test_planning_that_is_killed_begins_again(make_server: MakeServer) -> None:
    filler = "x" * 1_900
    requests = 16_000
    content = b"".join(request_line(f"key-{i}", f"{i} {filler}") for i in range(requests))
    assert len(content) > 30_000_000
    server = make_server("--engine", "echo")
    file_name = server.upload(content)
    name = server.create(file_name).json["name"]
    orphans = []
    for _ in range(3):
        until(lambda: _planners(server), 30, every=0.005)
        orphans += _planners(server)
        server.kill()
        assert not list(server.data.glob("blobs/batches/**/segments/*"))
        server.restart()
    document = server.finish(name)
    assert counters(document) == (requests, 0, requests, 0)
    lines = server.results(name)
    assert [line["key"] for line in lines] == [f"key-{i}" for i in range(requests)]
    assert [text_of(line) for line in lines] == [f"{i} {filler}" for i in range(requests)]
    gone, alive = psutil.wait_procs(orphans, 30)
    assert (len(gone), alive) == (len(orphans), [])


def _planners(server: Server) -> list[psutil.Process]:
    return server.process.descendants("nightrate.work.planning_process")


def test_a_server_that_is_asked_to_stop_hands_its_claims_back(
    make_server: MakeServer, counting: Counting
) -> None:
    config = counting.settings(requests=IN_FLIGHT, delay_seconds=DELAY_SECONDS)
    server = make_server("--config", config, environment=counting.environment)
    requests = 400
    name = server.submit(job(requests))
    for goal in (1, 100, 200):
        until(counting.answers_reach(goal), 30, every=0.005)
        assert server.terminate() == 0
        answered = len(counting.answered())
        server.restart()
        # What finished before the end is counted at once, not only after some new work.
        assert counters(server.batch(name))[2] >= answered
    document = server.finish(name)
    assert counters(document) == (requests, 0, requests, 0)
    assert_whole(server.results(name), requests)
    once = Counter({f"question-{i}": 1 for i in range(requests)})
    assert counting.asked() == once, "nothing was asked twice"


def _when(condition: Callable[[], Any]) -> float:
    until(condition, RESTART_SECONDS_MAX * 4, every=0.005)
    return time.monotonic()


def _spread(seconds: list[float]) -> str:
    ordered = sorted(seconds)
    return f"{ordered[len(ordered) // 2]:.2f} s median, {ordered[-1]:.2f} s longest"


def test_a_call_whose_answer_was_lost_finds_its_batch_after_a_kill(make_server: MakeServer) -> None:
    server = make_server("--engine", "echo")
    file = server.upload(job(3))
    order = {"batch": {"inputConfig": {"fileName": file}}}
    path = "/v1beta/models/gemini-2.5-flash:batchGenerateContent"
    body, headers = msgspec.json.encode(order), {"x-idempotency-key": "nightly-42"}
    place = urllib.parse.urlsplit(server.base_url)
    connection = http.client.HTTPConnection(str(place.hostname), place.port, timeout=30)
    connection.request("POST", path, body, headers)
    # The answer is not read: who asks next knows only the key.
    until(lambda: server.get("/v1beta/batches").get("operations"), 30)
    connection.close()
    server.kill()
    server.restart()
    answer = server.ask("POST", path, body, headers)
    assert answer.status == 200, answer.body
    (only,) = server.get("/v1beta/batches")["operations"]
    assert answer.json["name"] == only["name"]
    other = msgspec.json.encode({"batch": {**order["batch"], "displayName": "other"}})
    refused = server.ask("POST", path, other, headers)
    assert (refused.status, refused.json["error"]["status"]) == (409, "ALREADY_EXISTS")
    server.finish(answer.json["name"])
    assert len(server.results(answer.json["name"])) == 3
