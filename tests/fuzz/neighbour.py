"""Somebody else on the same server, whose things nobody may see."""

from __future__ import annotations

import random
import string
from collections.abc import Mapping
from typing import Any

import msgspec

from tests.fuzz.variants import Answered, Line, Sent

MODEL = "gemini-2.5-flash"


class Neighbour:
    """A tenant with a file, batches of both forms with their results, and a webhook."""

    def __init__(self, base_url: str, headers: Mapping[str, str], uri: str) -> None:
        self._line = Line(base_url)
        self._headers = dict(headers)
        self._uri = uri
        chance = random.SystemRandom()
        self.text = "".join(chance.choice(string.ascii_lowercase) for _ in range(24))
        """A text that stands in everything it has, and nowhere else."""
        self.names: dict[str, list[str]] = {}

    def move_in(self) -> None:
        """Make everything."""
        line = b'{"key":"%s","request":{"contents":[{"parts":[{"text":"%s"}]}]}}\n'
        text = self.text.encode()
        raw = {"x-goog-upload-protocol": "raw", "x-goog-upload-file-name": self.text}
        file = self._made("/upload/v1beta/files", line % (text, text), raw)["file"]["name"]
        start = {"x-goog-upload-protocol": "resumable", "x-goog-upload-command": "start"}
        begun = self._ask("POST", "/upload/v1beta/files", b"{}", start)
        upload = begun.headers["x-goog-upload-url"].partition("upload_id=")[2].partition("&")[0]
        item = {"request": {"contents": [{"parts": [{"text": self.text}]}]}}
        batches = []
        for source in ({"fileName": file}, {"requests": {"requests": [item]}}):
            order = {"batch": {"displayName": self.text, "inputConfig": source}}
            path = f"/v1beta/models/{MODEL}:batchGenerateContent"
            batches.append(self._made(path, msgspec.json.encode(order))["name"])
        wish = {"name": self.text, "uri": self._uri, "subscribed_events": ["batch.failed"]}
        webhook = self._made("/v1/webhooks", msgspec.json.encode(wish))["id"]
        kept = {"model": f"models/{MODEL}", "displayName": self.text, "contents": self.text}
        cache = self._made("/v1/cachedContents", msgspec.json.encode(kept))["name"]
        batch_ids = [name.removeprefix("batches/") for name in batches]
        results = [f"batch-{batch_id}" for batch_id in batch_ids]
        self.names = {
            "file_id": [file.removeprefix("files/"), *results],
            "batch_id": batch_ids,
            "cache_id": [cache.removeprefix("cachedContents/")],
            "webhook_id": [webhook],
            "upload_id": [upload],
            "tail": [*batches, file, *batch_ids, f"files/{results[0]}/content"],
            "after": [*batches, file],
        }

    def home(self) -> dict[str, bytes]:
        """Look at everything: gives each document."""
        paths = ["/v1beta/files", "/v1beta/batches", "/v1/webhooks", "/v1/cachedContents"]
        paths += [f"/v1beta/batches/{name}" for name in self.names["batch_id"]]
        paths += [f"/v1beta/files/{self.names['file_id'][0]}:download"]
        found = {}
        for path in paths:
            answer = self._ask("GET", path, None)
            assert answer.status == 200, (path, answer)
            found[path] = answer.body
        return found

    def close(self) -> None:
        """Let go of the connection."""
        self._line.close()

    def _made(self, path: str, body: bytes, headers: Mapping[str, str] | None = None) -> Any:
        answer = self._ask("POST", path, body, headers)
        assert answer.status == 200, answer
        return msgspec.json.decode(answer.body)

    def _ask(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str] | None = None
    ) -> Answered:
        answer = self._line.send(Sent(method, path, {**self._headers, **(headers or {})}, body))
        assert answer is not None
        return answer
