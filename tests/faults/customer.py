"""A client that gives up nothing: it orders, asks again after every silence, and remembers all.

What it was told is in `Told`, which outlives servers and can be sent between processes. Whatever
contradicts it later is a broken promise, and is written down in ``Told.wrong``.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

from tests.acceptance.server import Answer, request_line
from tests.faults.checker import FINAL, Watched, wrong_in_lines

MODEL = "gemini-2.5-flash"
LOOK_SECONDS = 0.3
"""The first wait between two looks at a batch; each further one is longer by a quarter."""

LOOK_SECONDS_MAX = 5.0
AGAIN_SECONDS = 1.0
"""The wait before a call that failed is made again."""

_CLEAR = {429, 503}
"""What a server may answer while its disk refuses; with a message of more than a reference."""

Ask = Callable[[str, str, bytes, Mapping[str, str]], Awaitable[Answer]]
"""Makes a call; raises `Silence` when no answer comes."""


class Silence(Exception):
    """The server went away before it answered."""


class GaveUp(Exception):
    """A promise was broken, and written down; there is no use in going on with this job."""


class Job(msgspec.Struct, kw_only=True):
    """One batch as its client knows it."""

    label: str
    inline: bool = False
    answers: dict[str, str]
    """The text of each request, which is its answer too, by key."""
    piece_bytes: int = 1 << 20
    cancel_after: int | None = None
    """Cancelled once so many requests were answered."""
    delete: bool = False
    """Deleted, with its input, once its results were read."""

    upload: str = ""
    received: int = 0
    file: str = ""
    name: str = ""
    watched: Watched = msgspec.field(default_factory=Watched)
    cancelled: bool = False
    ended: bool = False
    deleting: bool = False
    deleted: bool = False

    @property
    def content(self) -> bytes:
        """The input file."""
        return b"".join(request_line(key, text) for key, text in self.answers.items())


class Told(msgspec.Struct, kw_only=True):
    """What one tenant was told."""

    jobs: list[Job]
    key: str = ""
    receiver: str = ""
    """Where its events are to be sent; empty: nowhere."""
    webhook: str = ""
    heard: dict[str, str] = {}
    """The batch that an event tells of, by the id of the event's message."""
    refused: int = 0
    """Calls that the server answered with a failure of its own."""
    wrong: list[str] = []


class Customer:
    """Carries the jobs of one tenant to their ends."""

    def __init__(
        self,
        told: Told,
        ask: Ask,
        *,
        note: Callable[[], None] = lambda: None,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
        failures: bool = False,
    ) -> None:
        """Wire it.

        Args:
            told: what is known from earlier servers; grows.
            ask: makes calls to whichever server there is now.
            note: called whenever the server has acknowledged something.
            pause: waits so many seconds.
            failures: whether the server may answer with a failure of its own and be asked again.
        """
        self.told = told
        self._ask = ask
        self._note = note
        self._pause = pause
        self._failures = failures

    async def run(self) -> None:
        """Carry every job to its end."""
        await self.register()
        async with asyncio.TaskGroup() as group:
            for job in self.told.jobs:
                group.create_task(self.carry(job))

    def wrong(self, job: Job, *sentences: str) -> None:
        """Write down what should not be."""
        if sentences:
            self.told.wrong += [f"{job.label}: {sentence}" for sentence in sentences]
            self._note()

    # calls

    async def call(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Ask until there is an answer that is not the server's own failure."""
        fixed = dict(headers or {})
        if self.told.key:
            fixed["x-goog-api-key"] = self.told.key
        while True:
            try:
                answer = await self._ask(method, path, body, fixed)
            except Silence:
                await self._pause(AGAIN_SECONDS)
                continue
            if answer.status < 500 and answer.status != 429:
                return answer
            self.told.refused += 1
            if not self._failures or answer.status not in _CLEAR or b"nternal error" in answer.body:
                said = answer.body[:200].decode(errors="replace")
                self.told.wrong.append(f"{method} {path} was answered {answer.status}: {said}")
                self._note()
                raise GaveUp
            await self._pause(AGAIN_SECONDS)

    def _expect(self, job: Job, answer: Answer, status: int = 200) -> Answer:
        if answer.status != status:
            said = answer.body[:200].decode(errors="replace")
            self.wrong(job, f"{answer.status} instead of {status}: {said}")
            raise GaveUp
        return answer

    # the walk of a job

    async def register(self) -> None:
        """Have the events sent, unless they are already."""
        if not self.told.receiver or self.told.webhook:
            return
        listed = await self.call("GET", "/v1/webhooks")
        mine = [one["id"] for one in listed.json.get("webhooks", [])]
        if not mine:
            events = [f"batch.{end}" for end in ("succeeded", "failed", "cancelled", "expired")]
            wish = {"uri": self.told.receiver, "subscribed_events": events}
            made = await self.call("POST", "/v1/webhooks", msgspec.json.encode(wish))
            if made.status != 200:
                said = made.body[:200].decode(errors="replace")
                self.told.wrong.append(f"a webhook was refused: {said}")
                return
            mine = [made.json["id"]]
        self.told.webhook = mine[0]
        self._note()

    async def carry(self, job: Job) -> None:
        """Carry one job to its end."""
        with contextlib.suppress(GaveUp):
            if not job.inline and not job.deleting:
                await self._bring(job)
            if not job.name:
                await self._order(job)
            if not job.ended:
                await self._watch(job)
            if not job.deleting:
                await self._read(job)
            if job.delete:
                await self._delete(job)
                await self._gone(job)

    async def _bring(self, job: Job) -> None:
        """Upload the input, going on where the server says that it stands."""
        content = job.content
        while not job.file:
            if not job.upload:
                await self._begin(job)
            held = await self._held(job)
            if held is None:
                continue
            piece = content[held : held + job.piece_bytes]
            last = held + len(piece) == len(content)
            command = "upload, finalize" if last else "upload"
            headers = {"x-goog-upload-command": command, "x-goog-upload-offset": str(held)}
            answer = await self._command(job, piece, headers)
            if answer is None:
                continue
            job.received = held + len(piece)
            if last:
                job.file = str(answer.json["file"]["name"])
            self._note()
        document = (await self.call("GET", f"/v1beta/{job.file}")).json
        if document.get("sizeBytes") != str(len(content)):
            self.wrong(job, f"its file is not there any more: {document}")
        stored = await self.call("GET", f"/download/v1beta/{job.file}:download?alt=media")
        if hashlib.sha256(stored.body).digest() != hashlib.sha256(content).digest():
            self.wrong(job, "its file holds other bytes")

    async def _begin(self, job: Job) -> None:
        headers = {
            "x-goog-upload-protocol": "resumable",
            "x-goog-upload-command": "start",
            "x-goog-upload-header-content-type": "jsonl",
        }
        answer = await self.call("POST", "/upload/v1beta/files", b"{}", headers)
        url = self._expect(job, answer).headers["x-goog-upload-url"]
        job.upload, job.received = "/" + url.split("/", 3)[3], 0
        self._note()

    async def _held(self, job: Job) -> int | None:
        """Ask how much the server holds: no less than it acknowledged."""
        answer = await self._command(job, b"", {"x-goog-upload-command": "query"})
        if answer is None:
            return None
        if answer.headers["x-goog-upload-status"] == "final":
            return max(0, len(job.content) - job.piece_bytes)
        held = int(answer.headers["x-goog-upload-size-received"])
        if held < job.received:
            self.wrong(job, f"{job.received} bytes were acknowledged, {held} are held")
        return held

    async def _command(self, job: Job, piece: bytes, headers: Mapping[str, str]) -> Answer | None:
        """Send a command of the session; None when it was given up and a new one must begin."""
        answer = await self.call("POST", job.upload, piece, headers)
        cancelled = answer.headers.get("x-goog-upload-status") == "cancelled"
        if self._failures and (cancelled or answer.status == 400):
            job.upload = ""  # after a sync that failed: the client was told to start again
            return None
        return self._expect(job, answer)

    async def _order(self, job: Job) -> None:
        headers = {"x-idempotency-key": f"order-{job.label}"}
        batch: dict[str, Any] = {"display_name": job.label}
        if job.inline:
            items = [
                {**msgspec.json.decode(line), "metadata": {"key": key}}
                for key, line in zip(job.answers, job.content.splitlines(), strict=True)
            ]
            requests = [{"request": i["request"], "metadata": i["metadata"]} for i in items]
            batch["input_config"] = {"requests": {"requests": requests}}
        else:
            batch["input_config"] = {"file_name": job.file}
        body = msgspec.json.encode({"batch": batch})
        path = f"/v1beta/models/{MODEL}:batchGenerateContent"
        answer = await self.call("POST", path, body, headers)
        job.name = str(self._expect(job, answer).json["name"])
        self._note()

    async def _watch(self, job: Job) -> None:
        wait_seconds = LOOK_SECONDS
        while not job.ended:
            answer = await self.call("GET", f"/v1beta/{job.name}")
            document = self._expect(job, answer).json
            self.wrong(job, *job.watched.look(document))
            await self._peek(job)
            job.ended = job.watched.state in FINAL and _shown(job, document)
            self._note()
            cancel = job.cancel_after is not None and job.watched.succeeded >= job.cancel_after
            if cancel and not job.cancelled and job.watched.state not in FINAL:
                self._expect(job, await self.call("POST", f"/v1beta/{job.name}:cancel"))
                job.cancelled = True
                self._note()
            if not job.ended:
                await self._pause(wait_seconds)
                wait_seconds = min(1.25 * wait_seconds, LOOK_SECONDS_MAX)

    def _results(self, job: Job) -> str:
        batch_id = job.name.removeprefix("batches/")
        return f"/download/v1beta/files/batch-{batch_id}:download?alt=media"

    async def _peek(self, job: Job) -> None:
        """Read the result file as far as it has come."""
        if job.inline or job.watched.state == "JOB_STATE_PENDING":
            return
        answer = await self.call("GET", self._results(job))
        if answer.status == 200:
            self.wrong(job, *job.watched.read(answer.body))
        elif job.watched.prefix:
            self.wrong(job, f"its results were readable, now {answer.status}")

    async def _read(self, job: Job) -> None:
        """Read the results, as often as asked, and compare them with what was ordered."""
        document = self._expect(job, await self.call("GET", f"/v1beta/{job.name}")).json
        self.wrong(job, *job.watched.look(document))
        partial = job.watched.state == "JOB_STATE_CANCELLED" and job.cancel_after is not None
        if not partial and job.watched.state != "JOB_STATE_SUCCEEDED":
            self.wrong(job, f"it ended as {job.watched.state}")
            return
        if job.inline:
            lines = document["response"]["inlinedResponses"]["inlinedResponses"]
        else:
            content = self._expect(job, await self.call("GET", self._results(job)))
            self.wrong(job, *job.watched.read(content.body))
            lines = [msgspec.json.decode(line) for line in content.body.splitlines()]
        self.wrong(job, *wrong_in_lines(lines, job.answers, partial=partial))

    async def _delete(self, job: Job) -> None:
        job.deleting = True  # from here on it may be gone, whether or not we are told
        self._note()
        for name in (job.name, job.file):
            if name and not job.deleted:
                answer = await self.call("DELETE", f"/v1beta/{name}")
                if answer.status != 404:  # an earlier try may have done it without telling us
                    self._expect(job, answer)
        job.deleted = True
        self._note()

    async def _gone(self, job: Job) -> None:
        """What was deleted must stay so."""
        for name in (job.name, job.file):
            if name:
                self._expect(job, await self.call("GET", f"/v1beta/{name}"), 404)


def _shown(job: Job, document: Any) -> bool:
    """Tell whether the results are handed out; those of a cancelled batch come a little later."""
    return job.watched.state != "JOB_STATE_CANCELLED" or "dest" in document
