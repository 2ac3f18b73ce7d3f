"""A real server process for the benchmarks that measure at its doors."""

from __future__ import annotations

import contextlib
import http.client
import subprocess
import sys
import threading
import urllib.parse
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import msgspec

READY = "nightrate ready on "
CALL_SECONDS = 600.0
MODEL = "gemini-2.5-flash"

_PAUSE = threading.Event()
"""Never set: waiting for it is a pause."""


class Served:
    """A running server."""

    def __init__(self, process: subprocess.Popen[str], base_url: str) -> None:
        self.base_url = base_url
        self.pid = process.pid
        place = urllib.parse.urlsplit(base_url)
        self.host, self.port = str(place.hostname), int(place.port or 80)

    def connect(self) -> http.client.HTTPConnection:
        """Open a connection of its own."""
        return http.client.HTTPConnection(self.host, self.port, timeout=CALL_SECONDS)

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[Any, Any]:
        """Make one call; gives the document and the headers of its answer."""
        connection = self.connect()
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, named)
            answer = connection.getresponse()
            content = answer.read()
            assert answer.status == HTTPStatus.OK, content
            return (msgspec.json.decode(content) if content else None), answer.headers
        finally:
            connection.close()

    def upload(self, path: Path) -> str:
        """Upload a file in one call; gives its name."""
        headers = {"x_goog_upload_protocol": "raw", "content_type": "jsonl"}
        with path.open("rb") as source:
            size = {"content_length": str(path.stat().st_size)}
            document, _ = self.ask("POST", "/upload/v1beta/files", source, **headers, **size)
        return str(document["file"]["name"])

    def create(self, input_config: Any) -> str:
        """Create a batch; gives its name."""
        order = {"batch": {"displayName": "bench", "inputConfig": input_config}}
        path = f"/v1beta/models/{MODEL}:batchGenerateContent"
        document, _ = self.ask("POST", path, msgspec.json.encode(order))
        return str(document["name"])

    def batch(self, name: str) -> Any:
        """Give the document of a batch."""
        return self.ask("GET", f"/v1beta/{name}")[0]

    def listed(self, name: str) -> Any:
        """Give the document of a batch without its inline results."""
        found = self.ask("GET", "/v1beta/batches")[0]["operations"]
        return next(document for document in found if document["name"] == name)

    def done(self, name: str) -> int:
        """Tell how many requests of a batch are answered."""
        stats = self.listed(name)["metadata"]["batchStats"]
        return int(stats["successfulRequestCount"]) + int(stats["failedRequestCount"])

    def finish(self, name: str) -> Any:
        """Wait until a batch has ended."""
        while not (document := self.listed(name))["done"]:
            pause(0.1)
        assert document["state"] == "JOB_STATE_SUCCEEDED", document
        return document

    def memory_mib(self, mark: str = "VmHWM") -> float:
        """Give the peak of the server's memory, or what it holds now (``VmRSS``)."""
        for line in Path(f"/proc/{self.pid}/status").read_text("ascii").splitlines():
            if line.startswith(f"{mark}:"):
                return int(line.split()[1]) / 1024
        raise AssertionError(mark)


def pause(seconds: float) -> None:
    """Wait."""
    _PAUSE.wait(seconds)


@contextlib.contextmanager
def served(data: Path, *arguments: str, engine: str | None = "echo") -> Iterator[Served]:
    """Run ``nightrate serve`` on a free port, with one engine or those of a settings file."""
    command = [sys.executable, "-m", "nightrate.cli", "serve", "--port", "0"]
    command += [] if engine is None else ["--engine", engine]
    log = data.parent / "server.log"
    with (
        log.open("wb") as errors,
        subprocess.Popen(
            [*command, "--data", str(data), *arguments],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        ) as process,
    ):
        try:
            assert process.stdout is not None
            line = next((line for line in process.stdout if READY in line), None)
            assert line is not None, log.read_text("utf-8")
            yield Served(process, line.strip().removeprefix(READY))
        finally:
            process.terminate()
            process.wait()
