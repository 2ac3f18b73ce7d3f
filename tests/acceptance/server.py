"""A real server process, started, asked, killed and started again on the same data."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import msgspec
import psutil

COMMAND = (sys.executable, "-m", "nightrate.cli")
READY = "nightrate ready on "
START_SECONDS = 60.0
CALL_SECONDS = 60.0
PIECE_BYTES = 1 << 20
FINAL = {"JOB_STATE_SUCCEEDED", "JOB_STATE_FAILED", "JOB_STATE_CANCELLED", "JOB_STATE_EXPIRED"}

_PAUSE = threading.Event()
"""Never set: waiting for it is how `until` waits between two looks."""


def until(condition: Callable[[], Any], seconds: float, every: float = 0.02) -> Any:
    """Look again and again until a condition gives something true, and give that."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"nothing after {seconds} s: {condition}"
        _PAUSE.wait(every)
    return found


class Answer(msgspec.Struct):
    """What the server said."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)

    @property
    def message(self) -> str:
        """The message of an error document, whose code must be the status."""
        assert self.headers["content-type"].startswith("application/json")
        error = self.json["error"]
        assert error["code"] == self.status
        return str(error["message"])


class Output:
    """The lines a process writes to a pipe, as they come."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self.lines: list[str] = []
        self._changed = threading.Condition()
        self._ended = False
        self._pipe = pipe
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        for line in self._pipe:
            with self._changed:
                self.lines.append(line.decode(errors="replace").rstrip("\n"))
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def wait_for(self, words: str, seconds: float) -> str | None:
        """Give the first line with these words; None if the pipe ends without one."""
        seen = 0
        deadline = time.monotonic() + seconds
        with self._changed:
            while True:
                for line in self.lines[seen:]:
                    if words in line:
                        return line
                seen = len(self.lines)
                if self._ended:
                    return None
                left = deadline - time.monotonic()
                assert left > 0, f"no {words!r} within {seconds} s"
                self._changed.wait(left)

    def close(self) -> None:
        """Let go of the pipe, once the process has ended."""
        self._thread.join(5)
        self._pipe.close()


class Process:
    """A command of ours in a process group of its own, with its output."""

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        directory: Path | None = None,
        command: Sequence[str] = COMMAND,
    ) -> None:
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("NIGHTRATE_")}
        self.started_at = time.monotonic()
        self.popen = subprocess.Popen(
            [*command, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            cwd=directory,
            env={**inherited, **(environment or {})},
        )
        assert self.popen.stdout is not None
        assert self.popen.stderr is not None
        self.stdout, self.stderr = Output(self.popen.stdout), Output(self.popen.stderr)

    @property
    def said(self) -> str:
        """Everything it wrote, for a failing test's message."""
        return "\n".join(self.stdout.lines + self.stderr.lines[-40:])

    def descendants(self, module: str = "") -> list[psutil.Process]:
        """Give the processes that it started, and theirs; all, or those that run a module."""
        found = []
        with contextlib.suppress(psutil.NoSuchProcess):
            for process in psutil.Process(self.popen.pid).children(recursive=True):
                with contextlib.suppress(psutil.NoSuchProcess):
                    if not module or module in process.cmdline():
                        found.append(process)
        return found

    def wait(self, seconds: float = 30) -> int:
        """Wait for its end and give its status."""
        status = self.popen.wait(seconds)
        self.stdout.close()
        self.stderr.close()
        return status

    def kill(self) -> None:
        """End it with SIGKILL, itself alone: what it started must notice."""
        self.popen.kill()
        self.popen.wait()

    def close(self) -> None:
        """Leave nothing behind, whatever happened."""
        family = self.descendants()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.popen.pid, signal.SIGKILL)
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self.wait()


class Server:
    """``nightrate serve`` on a free port; `restart` goes on with the same data."""

    def __init__(
        self,
        data: Path,
        *arguments: str,
        environment: Mapping[str, str] | None = None,
        command: Sequence[str] = COMMAND,
    ) -> None:
        self.data = data
        self.base_url = ""
        self.starts = 0
        self.start_seconds = START_SECONDS
        self.ready_seconds = 0.0
        self._arguments = ("serve", "--port", "0", "--data", str(data), *arguments)
        self._environment = environment
        self._command = command
        self.process: Process

    # life -------------------------------------------------------------------------------------

    def spawn(self) -> None:
        """Start the process and do not wait."""
        if self.starts:
            self.process.close()
        self.starts += 1
        self.process = Process(
            self._arguments, environment=self._environment, command=self._command
        )

    def ready(self) -> None:
        """Wait until the server says where it is."""
        line = self.process.stdout.wait_for(READY, self.start_seconds)
        assert line is not None, self.process.said
        self.ready_seconds = time.monotonic() - self.process.started_at
        self.base_url = line.removeprefix(READY)

    def start(self) -> Server:
        """Start, and wait until it is ready."""
        self.spawn()
        self.ready()
        return self

    restart = start

    def kill(self) -> None:
        """End the server with SIGKILL."""
        self.process.kill()

    def terminate(self) -> int:
        """Ask the server to end with SIGTERM, and give its status."""
        self.process.popen.terminate()
        return self.process.wait()

    def close(self) -> None:
        """Leave no process behind."""
        if self.starts:
            self.process.close()

    @property
    def pid(self) -> int:
        return self.process.popen.pid

    # calls ------------------------------------------------------------------------------------

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | Iterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Make one call on a connection of its own; a path may be a whole URL of this server."""
        connection = self._connect()
        try:
            connection.request(method, path, body, dict(headers or {}))
            response = connection.getresponse()
            found = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, found, response.read())
        finally:
            connection.close()

    def _connect(self) -> http.client.HTTPConnection:
        place = urllib.parse.urlsplit(self.base_url)
        assert place.hostname is not None
        return http.client.HTTPConnection(place.hostname, place.port, timeout=CALL_SECONDS)

    def get(self, path: str) -> Any:
        """Give the document at a path."""
        answer = self.ask("GET", path)
        assert answer.status == 200, answer.body
        return answer.json

    def start_upload(self, mime_type: str = "jsonl") -> str:
        """Begin a resumable session; gives the path of its URL."""
        headers = {
            "x-goog-upload-protocol": "resumable",
            "x-goog-upload-command": "start",
            "x-goog-upload-header-content-type": mime_type,
        }
        answer = self.ask("POST", "/upload/v1beta/files", b"{}", headers)
        assert answer.status == 200, answer.body
        place = urllib.parse.urlsplit(answer.headers["x-goog-upload-url"])
        return f"{place.path}?{place.query}"

    def send(self, upload: str, offset: int, piece: bytes, command: str = "upload") -> Answer:
        """Send one piece of a session."""
        headers = {"x-goog-upload-command": command, "x-goog-upload-offset": str(offset)}
        answer = self.ask("POST", upload, piece, headers)
        assert answer.status == 200, answer.body
        return answer

    def upload(self, content: bytes, mime_type: str = "jsonl") -> str:
        """Upload bytes in one piece; gives the name of the file."""
        answer = self.send(self.start_upload(mime_type), 0, content, "upload, finalize")
        return str(answer.json["file"]["name"])

    def create(self, file_name: str, model: str = "gemini-2.5-flash") -> Answer:
        """Ask for a batch over an uploaded file."""
        order = {"batch": {"display_name": "test", "input_config": {"file_name": file_name}}}
        path = f"/v1beta/models/{model}:batchGenerateContent"
        return self.ask("POST", path, msgspec.json.encode(order))

    def submit(self, content: bytes) -> str:
        """Upload a file and create a batch over it; gives the batch's name."""
        answer = self.create(self.upload(content))
        assert answer.status == 200, answer.body
        return str(answer.json["name"])

    def batch(self, name: str) -> Any:
        """Give the document of a batch, whose counters must add up."""
        document = self.get(f"/v1beta/{name}")
        whole, *parts = counters(document)
        assert whole in {sum(parts), None}, document["metadata"]
        return document

    def finish(self, name: str, seconds: float = 60) -> Any:
        """Wait until a batch has ended, and give its document."""

        def ended() -> Any:
            document = self.batch(name)
            return document if document["done"] else None

        return until(ended, seconds)

    def download(self, file_name: str) -> bytes:
        """Give the bytes of a file."""
        answer = self.ask("GET", f"/download/v1beta/{file_name}:download?alt=media")
        assert answer.status == 200, answer.body
        return answer.body

    def lines(self, file_name: str) -> Iterator[bytes]:
        """Give the lines of a file as they arrive."""
        connection = self._connect()
        try:
            connection.request("GET", f"/download/v1beta/{file_name}:download?alt=media")
            response = connection.getresponse()
            assert response.status == 200
            yield from response
        finally:
            connection.close()

    def pieces(self, path: str) -> Iterator[bytes]:
        """Give the body at a path in pieces, one in memory at a time, until its proper end."""
        connection = self._connect()
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            assert response.status == 200
            while piece := response.read(PIECE_BYTES):
                yield piece
        finally:
            connection.close()

    def asked(self) -> int:
        """Tell how many prompts the engine has, where there is one."""
        text = self.ask("GET", "/metrics").body.decode()
        (line,) = (row for row in text.splitlines() if row.startswith("nightrate_engine_requests{"))
        return int(float(line.rpartition(" ")[2]))

    def results(self, name: str) -> list[Any]:
        """Give the lines of a file batch that succeeded."""
        document = self.batch(name)
        assert document["state"] == "JOB_STATE_SUCCEEDED", document
        content = self.download(document["response"]["responsesFile"])
        assert content.endswith(b"\n")
        return [msgspec.json.decode(line) for line in content.splitlines()]


def counters(document: Any) -> tuple[int | None, int, int, int]:
    """Give how many requests a batch has, and how many are pending, answered and failed."""
    stats = document["metadata"]["batchStats"]
    whole = stats.get("requestCount")
    return (
        None if whole is None else int(whole),
        int(stats.get("pendingRequestCount", 0)),
        int(stats.get("successfulRequestCount", 0)),
        int(stats.get("failedRequestCount", 0)),
    )


def text_of(line: Any) -> str:
    """Give the text of an answered line."""
    return str(line["response"]["candidates"][0]["content"]["parts"][0]["text"])


def request_line(key: Any, text: str, **config: Any) -> bytes:
    """Write one line of a batch file."""
    request: dict[str, Any] = {"contents": [{"parts": [{"text": text}]}]}
    if config:
        request["generationConfig"] = config
    return msgspec.json.encode({"key": key, "request": request}) + b"\n"


def peak_bytes(pid: int) -> int:
    """Give the most memory a process ever held at once: the kernel's mark where it keeps one."""
    status = Path(f"/proc/{pid}/status")
    if status.exists():
        for line in status.read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return int(psutil.Process(pid).memory_info().rss)
