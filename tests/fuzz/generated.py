"""Requests generated from the description of the doors, against a real server.

For each operation of the OpenAPI document schemathesis makes cases: such as the document allows,
and such as it does not. Names of things that exist are put into a part of them, so that the server
is met beyond "not found". Every answer must be one that the document holds: its status, its type,
its shape; an error is a JSON document; and the server's own fault (500) is never an answer.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote

import hypothesis
import msgspec
import requests
import schemathesis
from hypothesis import HealthCheck, Phase
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.fuzz.neighbour import Neighbour
from tests.fuzz.variants import Line, Sent, from_prepared, variants

CALL_SECONDS = 30.0
"""An answer that takes longer hangs."""

KNOWN_MAX = 50
UNREACHABLE = "https://127.0.0.1:1/hook"
"""Where webhooks of generated requests go: nobody listens there, and nothing leaves the machine."""

_CHECKS = [
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
]
_SERVER_FAULT = 500
_ERRORS = 400
_ANYWHERE = ("404", "416", "501")
"""What a variant may meet at any door: no door, a range, an encoding or an option."""


class Known:
    """Names of things that exist, as answers tell them."""

    def __init__(self) -> None:
        self.names: dict[str, list[str]] = {
            "model": ["gemini-2.5-flash", "gemini-embedding-001"],
            "batch_id": [],
            "cache_id": [],
            "file_id": [],
            "webhook_id": [],
            "upload_id": [],
            "tail": [],
            "after": [],
            "pageToken": [],
        }

    def learn(self, answer: requests.Response) -> None:
        """Take the names out of an answer."""
        url = answer.headers.get("x-goog-upload-url") or answer.headers.get("location") or ""
        if "upload_id=" in url:
            self._add("upload_id", url.partition("upload_id=")[2].partition("&")[0])
        told = answer.headers.get("content-type", "")
        if not (answer.content and told.startswith("application/json")):
            return
        document = answer.json()
        if not isinstance(document, dict):
            return
        self._add("pageToken", document.get("nextPageToken") or document.get("next_page_token"))
        name = str(document.get("name", "")) or str((document.get("file") or {}).get("name", ""))
        for prefix, kind in (
            ("batches/", "batch_id"),
            ("files/", "file_id"),
            ("cachedContents/", "cache_id"),
        ):
            if name.startswith(prefix):
                self._add(kind, name.removeprefix(prefix))
        if document.get("object") in ("batch", "file"):
            for name in (str(document["id"]), f"{document['id']}/content"):
                self._add("tail", name)
            self._add("after", document["id"])
        if "subscribed_events" in document:
            self._add("webhook_id", document.get("id"))

    def _add(self, kind: str, name: object) -> None:
        names = self.names[kind]
        if name and name not in names:
            names.append(str(name))
            del names[:-KNOWN_MAX]


class Generated:
    """Runs cases against one server."""

    def __init__(
        self,
        base_url: str,
        headers: Mapping[str, str] | None = None,
        *,
        varied: int = 10,
        neighbour: Neighbour | None = None,
    ) -> None:
        """Take a server.

        Args:
            base_url: where it is.
            headers: what each request carries, such as a key.
            varied: how many variants of each case are sent.
            neighbour: whose things are asked for, too, and must not be seen.
        """
        self.base_url = base_url
        self._neighbour = neighbour
        self.requests = 0
        self._line = Line(base_url)
        self._varied = varied
        self.known = Known()
        self.answers: Counter[str] = Counter()
        self._headers = dict(headers or {})
        self._session = requests.Session()
        document = self._session.get(f"{base_url}/openapi.json", timeout=CALL_SECONDS).json()
        self.schema = schemathesis.openapi.from_dict(document)

    def close(self) -> None:
        """Let go of the connections."""
        self._session.close()
        self._line.close()

    def operations(self) -> Iterator[Any]:
        """Give every operation of the document."""
        for found in self.schema.get_all_operations():
            assert isinstance(found, Ok), found
            yield found.ok()

    def run(self, count: int, seed: int, *, seconds: float | None = None) -> None:
        """Make about so many requests, as many of each operation; stop when the time is over."""
        operations = list(self.operations())
        # Those that make something come first, so that there is something to ask for.
        operations.sort(key=lambda operation: operation.method != "post")
        each = max(1, count // (2 * len(operations) * (1 + self._varied)))
        ends = None if seconds is None else time.monotonic() + seconds
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            for operation in operations:
                if ends is not None and time.monotonic() > ends:
                    return
                self._run_one(operation, mode, each, seed)

    def _run_one(self, operation: Any, mode: GenerationMode, count: int, seed: int) -> None:
        strategy = operation.as_strategy(generation_mode=mode)

        @hypothesis.seed(seed)
        @hypothesis.settings(
            max_examples=count,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @hypothesis.given(case=strategy, choice=st.integers(0, 2**32))
        def one(case: Any, choice: int) -> None:
            self.call(case, choice)

        try:
            one()
        except (hypothesis.errors.Unsatisfiable, hypothesis.errors.InvalidArgument):
            if mode is GenerationMode.POSITIVE:
                raise  # no way to make a wrong case is fine; no way to make a right one is not

    def call(self, case: Any, choice: int) -> None:
        """Send one case and its variants, and judge the answers."""
        self._place(case, choice)
        answer = case.call(
            base_url=self.base_url,
            session=self._session,
            headers=self._headers,
            timeout=CALL_SECONDS,
        )
        self._judge(from_prepared(answer.request), answer.status_code, answer.content)
        # The type that a client gave its bytes need not be true.
        bytes_of_a_client = case.path.endswith((":download", "/openai/files/{tail}"))
        excluded = [response_schema_conformance] if bytes_of_a_client else None
        case.validate_response(answer, checks=_CHECKS, excluded_checks=excluded)
        self.answers[f"{case.method} {answer.status_code}"] += 1
        self.requests += 1
        if not bytes_of_a_client:
            self.learn(answer)
        self._vary(case, answer.request, random.Random(choice))

    def _vary(self, case: Any, request: requests.PreparedRequest, chance: random.Random) -> None:
        """Send the case in other ways; whatever it becomes, it stays at its door or finds none."""
        told = set(case.operation.responses.status_codes)
        sent = from_prepared(request)
        for varied in variants(sent, chance, self._varied):
            answer = self._line.send(varied)
            if answer is None:
                continue
            self._judge(varied, answer.status, answer.body)
            statuses = {*told, *_ANYWHERE}
            assert str(answer.status) in statuses, (varied, answer)
            self.answers[f"{varied.method} {answer.status}"] += 1
            self.requests += 1

    def _judge(self, sent: Sent, status: int, body: bytes) -> None:
        """Hold an answer to what holds for all, and to what no stranger may see."""
        judge(sent.method, sent.target, status, body)
        if self._neighbour is None:
            return
        told = f"{sent} {status} {body[:2000]!r}"
        assert self._neighbour.text.encode() not in body, told
        for names in self._neighbour.names.values():
            for name in names:
                asked = name in unquote(sent.target) or name.encode() in (sent.body or b"")
                assert asked or name.encode() not in body, told  # an error repeats what was asked
                assert name not in sent.target.partition("?")[0] or status >= _ERRORS, told

    def learn(self, answer: Any) -> None:
        """Remember what the answer names."""
        found = requests.Response()
        found.status_code = answer.status_code
        found._content = answer.content
        found.headers.update({name: values[0] for name, values in answer.headers.items()})
        if answer.status_code < _ERRORS:
            self.known.learn(found)

    def _place(self, case: Any, choice: int) -> None:
        """Put names of things that exist into two thirds of the cases."""
        known = self.known.names
        if self._neighbour is not None and choice % 5 == 0:
            known = self._neighbour.names
        if choice % 3:
            for places in (case.path_parameters, case.query):
                for name in list(places or ()):
                    if names := known.get(name):
                        places[name] = names[choice % len(names)]
        body = case.body
        if isinstance(body, dict) and isinstance(body.get("uri"), str) and choice % 4:
            body["uri"] = UNREACHABLE
        if isinstance(body, dict) and isinstance(body.get("batch"), dict):
            _tame(body["batch"])


def _tame(batch: dict[str, Any]) -> None:
    """Let events of generated batches go nowhere."""
    config = batch.get("webhookConfig")
    if isinstance(config, dict) and config.get("uris"):
        config["uris"] = [UNREACHABLE]


def judge(method: str, target: str, status: int, body: bytes) -> None:
    """Hold an answer to what holds for all of them."""
    told = f"{method} {target}: {status} {body[:500]!r}"
    assert status != _SERVER_FAULT, told
    if status >= _ERRORS and body:
        error = msgspec.json.decode(body)["error"]
        # OpenAI's clients know codes by name.
        assert error["code"] == status or (isinstance(error["code"], str) and error["type"]), told
        assert error["message"], told
        assert error["status"], told
