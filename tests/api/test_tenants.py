"""What belongs to another tenant is answered byte for byte as what does not exist, at every door.

`PROBES`, `WITHOUT_IDS` and `NOT_SERVED` name every route of the table. A new route is missing from
all of them, and the first test fails until it stands in one: with ids in its path, query or body it
needs a probe, so that what it answers about a foreign id is compared. One that is not served must
be answered so to everybody; once it is served, it needs a probe as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import msgspec
import pytest
from starlette.routing import Mount, Route

from nightrate.domain.key import KeyWish
from tests.api.doors import Answer, Doors, opened

FILE, RESULT, BATCH, WEBHOOK = "file", "result", "batch", "webhook"
UPLOAD, CACHE, EMBEDDING = "upload", "cache", "embedding batch"
EMBED = "/v1beta/models/gemini-embedding-001"
FLASH = "/v1beta/models/gemini-2.5-flash"


class Probe(NamedTuple):
    """How a route is called about a thing; ``{id}`` stands for its id."""

    kind: str
    method: str
    path: str
    body: bytes = b""
    headers: Mapping[str, str] = {}
    served: bool = True
    """Whether the owner is served, which shows that the call is about the thing at all; else it is
    answered 501 to everybody."""


def _on(kind: str, path: str, *methods: str, body: bytes = b"", served: bool = True) -> list[Probe]:
    return [Probe(kind, method, path, body, served=served) for method in methods]


_BATCH = "/{version:v}/batches/{batch_id:id}"
_FILE = "/{version:v}/files/{file_id:id}"
_WEBHOOK = "/{version:v}/webhooks/{webhook_id:id}"
_CACHE = "/{version:v}/cachedContents/{cache_id:id}"
_MODEL = "/{version:v}/{kind:kind}/{model:id}"
_OPENAI = "/{version:v}/openai"
_CHAT = (
    b'{"model": "gemini-2.5-flash", "messages": [{"role": "user", "content": "x"}],'
    b' "google": {"cached_content": "cachedContents/{id}"}}'
)
_OPENAI_ORDER = (
    b'{"input_file_id": "files/{id}", "endpoint": "/v1/chat/completions",'
    b' "completion_window": "24h"}'
)
_CONTINUED = b'{"contents": "x", "cachedContent": "cachedContents/{id}"}'
_NAME = b'{"name": "new"}'
_ORDER = b'{"batch": {"inputConfig": {"fileName": "files/{id}"}}}'
_RENAME = b'{"displayName": "new"}'
_PIECES = [
    Probe(UPLOAD, method, "/upload/v1/files?upload_id={id}", b"x", {"x-goog-upload-command": word})
    for word in ("upload, finalize", "query", "cancel")
    for method in ("POST", "PUT")
] + [
    Probe(UPLOAD, "PUT", "/upload/v1/files?upload_id={id}&uploadType=resumable", b""),
]

PROBES: dict[str, list[Probe]] = {
    _BATCH: [
        *_on(BATCH, "/v1/batches/{id}", "GET", "HEAD", "DELETE"),
        *_on(BATCH, "/v1/batches/{id}", "PATCH", served=False),
    ],
    _BATCH + ":delete": _on(BATCH, "/v1/batches/{id}:delete", "GET", "POST"),
    _BATCH + ":cancel": _on(BATCH, "/v1/batches/{id}:cancel", "GET", "POST"),
    _BATCH + ":updateGenerateContentBatch": _on(
        BATCH, "/v1/batches/{id}:updateGenerateContentBatch", "PATCH", body=_RENAME
    ),
    _BATCH + ":updateEmbedContentBatch": _on(
        EMBEDDING, "/v1/batches/{id}:updateEmbedContentBatch", "PATCH", body=_RENAME
    ),
    _FILE: [
        *_on(FILE, "/v1/files/{id}", "GET", "HEAD", "DELETE"),
        *_on(RESULT, "/v1/files/batch-{id}", "GET", "HEAD", "DELETE"),
    ],
    _FILE + ":download": [
        *_on(FILE, "/v1/files/{id}:download", "GET", "HEAD"),
        *_on(RESULT, "/v1/files/batch-{id}:download", "GET", "HEAD"),
    ],
    "/download" + _FILE + ":download": [
        *_on(FILE, "/download/v1/files/{id}:download", "GET", "HEAD"),
        *_on(RESULT, "/download/v1/files/batch-{id}:download?alt=media", "GET", "HEAD"),
    ],
    _WEBHOOK: [
        *_on(WEBHOOK, "/v1/webhooks/{id}", "GET", "HEAD", "DELETE"),
        *_on(WEBHOOK, "/v1/webhooks/{id}", "PATCH", body=_NAME),
    ],
    _WEBHOOK + "/deliveries": _on(WEBHOOK, "/v1/webhooks/{id}/deliveries", "GET", "HEAD"),
    _WEBHOOK + ":ping": _on(WEBHOOK, "/v1/webhooks/{id}:ping", "POST"),
    _WEBHOOK + ":rotateSigningSecret": _on(
        WEBHOOK, "/v1/webhooks/{id}:rotateSigningSecret", "POST"
    ),
    _WEBHOOK + "/rotate_secret": _on(WEBHOOK, "/v1/webhooks/{id}/rotate_secret", "POST"),
    _CACHE: [
        *_on(CACHE, "/v1/cachedContents/{id}", "GET", "HEAD", "DELETE"),
        *_on(CACHE, "/v1/cachedContents/{id}", "PATCH", body=b'{"ttl": "9s"}'),
    ],
    **{
        f"{_MODEL}:{verb}": _on(CACHE, f"{FLASH}:{verb}", "POST", body=_CONTINUED)
        for verb in ("generateContent", "streamGenerateContent")
    },
    _MODEL + ":countTokens": _on(
        CACHE,
        f"{FLASH}:countTokens",
        "POST",
        body=b'{"generateContentRequest": ' + _CONTINUED + b"}",
    ),
    "/upload/{version:v}/files": _PIECES,
    "/{alias:v}/upload/{version:v}/files": [
        probe._replace(path=f"/v1{probe.path}") for probe in _PIECES
    ],
    _MODEL + ":batchGenerateContent": _on(
        FILE, f"{FLASH}:batchGenerateContent", "POST", body=_ORDER
    ),
    _MODEL + ":asyncBatchEmbedContent": _on(
        FILE, f"{EMBED}:asyncBatchEmbedContent", "POST", body=_ORDER
    ),
    _OPENAI + "/chat/completions": _on(CACHE, "/v1/openai/chat/completions", "POST", body=_CHAT),
    "/{version:v}/chat/completions": _on(CACHE, "/v1/chat/completions", "POST", body=_CHAT),
    _OPENAI + "/files/{tail:path}": [
        *_on(FILE, "/v1/openai/files/files/{id}", "GET", "HEAD", "DELETE"),
        *_on(FILE, "/v1/openai/files/{id}/content", "GET", "HEAD"),
        *_on(RESULT, "/v1/openai/files/files%2Fbatch-{id}/content", "GET", "HEAD"),
    ],
    _OPENAI + "/batches": [
        *_on(BATCH, "/v1/openai/batches?after=batches/{id}", "GET", "HEAD"),
        *_on(FILE, "/v1/openai/batches", "POST", body=_OPENAI_ORDER),
    ],
    _OPENAI + "/batches/{tail:path}": [
        *_on(BATCH, "/v1/openai/batches/batches/{id}", "GET", "HEAD"),
        *_on(BATCH, "/v1/openai/batches/{id}/cancel", "POST"),
    ],
}
"""Routes whose calls name a thing, and how they are called, with and without ``/exact``."""

WITHOUT_IDS = {
    # Collections: a later test shows that they hold one's own things only.
    "/{version:v}/batches",
    "/{version:v}/cachedContents",
    "/{version:v}/files",
    "/{version:v}/webhooks",
    # The same for everybody.
    *("/livez", "/metrics", "/readyz", "/openapi.json", "/.well-known/jwks.json"),
    *("/{version:v}/models", "/{version:v}/tunedModels", _MODEL),
    # Calls that name a model only.
    *(_MODEL + ":embedContent", _MODEL + ":batchEmbedContents"),
    # Collections and models of OpenAI's clients, as above.
    *(_OPENAI + "/files", _OPENAI + "/models", _OPENAI + "/models/{tail:path}"),
    *(_OPENAI + "/embeddings", "/{version:v}/embeddings"),
}

NOT_SERVED = {
    "/{version:v}/files:register": "/v1/files:register",
    _OPENAI + "/images/generations": "/v1/openai/images/generations",
    "/{version:v}/images/generations": "/v1/images/generations",
}

CASES = [(path, probe) for path, probes in PROBES.items() for probe in probes]


class Tenants:
    """A server with three tenants: one that owns things, a stranger, and one that has nothing."""

    def __init__(self, doors: Doors) -> None:
        self.doors = doors
        self.owner, self.stranger, self.empty = (
            doors.call(doors.keys.create(KeyWish(tenant=name)))[1]
            for name in ("owner", "stranger", "empty")
        )

    def ask(
        self, key: str, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] = {}
    ) -> Answer:
        return self.doors.ask(method, path, body, {"x-goog-api-key": key, **headers})

    def probe(self, key: str, probe: Probe, thing: str, prefix: str = "") -> Answer:
        """Make a probe's call about a thing."""
        path = prefix + probe.path.replace("{id}", thing)
        body = probe.body.replace(b"{id}", thing.encode())
        return self.ask(key, probe.method, path, body, probe.headers)

    def make(self, kind: str) -> str:
        """Make a thing of the owner, and give its id."""
        makers: dict[str, Callable[[], str]] = {
            FILE: self._file,
            UPLOAD: self._upload,
            BATCH: self._batch,
            EMBEDDING: lambda: self._batch(f"{EMBED}:asyncBatchEmbedContent"),
            RESULT: self._result,
            WEBHOOK: self._webhook,
            CACHE: self._cache,
        }
        return makers[kind]()

    def _upload(self) -> str:
        start = {"x-goog-upload-protocol": "resumable", "x-goog-upload-command": "start"}
        answer = self.ask(self.owner, "POST", "/upload/v1/files", b"", start)
        return answer.headers["x-goog-upload-url"].split("upload_id=")[1].split("&")[0]

    def _file(self) -> str:
        raw = {"x-goog-upload-protocol": "raw", "content-type": "jsonl"}
        answer = self.ask(self.owner, "POST", "/upload/v1/files", b'{"a": 1}\n', raw)
        return _id_of(answer.json["file"]["name"])

    def _batch(self, path: str = f"{FLASH}:batchGenerateContent") -> str:
        source = {"fileName": f"files/{self._file()}"}
        body = msgspec.json.encode({"batch": {"inputConfig": source}})
        answer = self.ask(self.owner, "POST", path, body)
        return _id_of(answer.json["name"])

    def _result(self) -> str:
        batch_id = self._batch()
        self.doors.plan(batch_id, 1, tenant="owner")
        self.doors.seal(batch_id, b"secret\n", tenant="owner")
        return batch_id

    def _webhook(self) -> str:
        body = {"name": "w", "uri": "http://127.0.0.1:9/", "subscribed_events": ["batch.failed"]}
        answer = self.ask(self.owner, "POST", "/v1/webhooks", msgspec.json.encode(body))
        return str(answer.json["id"])

    def _cache(self) -> str:
        body = {"model": "gemini-2.5-flash", "contents": "a secret book"}
        answer = self.ask(self.owner, "POST", "/v1/cachedContents", msgspec.json.encode(body))
        return _id_of(answer.json["name"])


def _id_of(name: str) -> str:
    return name.partition("/")[2]


@pytest.fixture(scope="module")
def tenants(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tenants]:
    with opened(tmp_path_factory.mktemp("tenants")) as doors:
        yield Tenants(doors)


def said(answer: Answer, thing: str) -> tuple[int, dict[str, str], bytes]:
    """Give what an answer says, but for the id itself and the time."""
    headers = {name: value for name, value in answer.headers.items() if name != "date"}
    return answer.status, headers, answer.body.replace(thing.encode(), b"ID")


def test_every_route_is_known_here(tenants: Tenants) -> None:
    routes = tenants.doors.app.routes
    direct = [route for route in routes if isinstance(route, Route)]
    assert {route.path for route in direct} == PROBES.keys() | WITHOUT_IDS | NOT_SERVED.keys()
    (mounted,) = (route for route in routes if isinstance(route, Mount))
    assert len(direct) + 1 == len(routes)
    assert all(route in direct for route in mounted.routes)
    unprobed = [
        (route.path, method)
        for route in direct
        for method in route.methods or ()
        if route.path in PROBES and method not in {probe.method for probe in PROBES[route.path]}
    ]
    assert not unprobed
    assert not [route.path for route in direct if "_id" in route.path and route.path in WITHOUT_IDS]


@pytest.mark.parametrize("prefix", ["", "/exact"])
@pytest.mark.parametrize(("path", "probe"), CASES, ids=[f"{c[1].method}{c[1].path}" for c in CASES])
def test_a_foreign_thing_is_answered_as_one_that_does_not_exist(
    tenants: Tenants, path: str, probe: Probe, prefix: str
) -> None:
    del path
    thing = tenants.make(probe.kind)
    unknown = ("q" if thing[0] != "q" else "r") + thing[1:]
    foreign = tenants.probe(tenants.stranger, probe, thing, prefix)
    assert foreign.status >= 400
    assert said(foreign, thing) == said(
        tenants.probe(tenants.stranger, probe, unknown, prefix), unknown
    )
    owners = tenants.probe(tenants.owner, probe, thing, prefix)
    assert owners.status < 400 if probe.served else owners.status == 501, owners.body


def test_what_is_not_served_is_answered_so_to_everybody(tenants: Tenants) -> None:
    for route in tenants.doors.app.routes:
        if isinstance(route, Route) and route.path in NOT_SERVED:
            for method in route.methods or ():
                answer = tenants.ask(tenants.owner, method, NOT_SERVED[route.path])
                assert answer.status == 501, f"{method} {route.path} needs a probe now"


@pytest.mark.parametrize("collection", ["batches", "cachedContents", "files", "webhooks"])
def test_a_collection_holds_ones_own_things_only(tenants: Tenants, collection: str) -> None:
    for kind in (BATCH, RESULT, WEBHOOK, CACHE) * 2:
        tenants.make(kind)
    path = f"/v1/{collection}?pageSize=1"
    owners = tenants.ask(tenants.owner, "GET", path)
    token = owners.json.get("nextPageToken") or owners.json["next_page_token"]
    assert said(tenants.ask(tenants.stranger, "GET", path), "-") == said(
        tenants.ask(tenants.empty, "GET", path), "-"
    )
    continued = tenants.ask(tenants.stranger, "GET", f"{path}&pageToken={token}")
    assert said(continued, "-") == said(tenants.ask(tenants.empty, "GET", path), "-")
    assert tenants.ask(tenants.owner, "GET", f"{path}&pageToken={token}").body != continued.body


def test_files_of_openais_clients_are_ones_own_only(tenants: Tenants) -> None:
    thing, path = tenants.make(FILE), "/v1/openai/files"
    assert thing in tenants.ask(tenants.owner, "GET", path).body.decode()
    assert tenants.ask(tenants.stranger, "GET", path).json["data"] == []
    other = ("q" if thing[0] != "q" else "r") + thing[1:]
    foreign, unknown = (
        tenants.ask(tenants.stranger, "GET", f"{path}?after={name}") for name in (thing, other)
    )
    assert said(foreign, thing) == said(unknown, other)
    assert tenants.ask(tenants.owner, "GET", f"{path}?after={thing}").status == 200


def test_tenants_may_choose_the_same_names(tenants: Tenants) -> None:
    start = {"x-goog-upload-protocol": "resumable", "x-goog-upload-command": "start"}
    body = b'{"file": {"name": "files/same"}}'
    hook = {"name": "w", "uri": "http://127.0.0.1:9/", "subscribed_events": ["batch.failed"]}
    other = tenants.doors.call(tenants.doors.keys.create(KeyWish(tenant="other")))[1]
    for key in (tenants.owner, other):
        assert tenants.ask(key, "POST", "/upload/v1/files", body, start).status == 200
        answer = tenants.ask(key, "POST", "/v1/webhooks?webhook_id=same", msgspec.json.encode(hook))
        assert answer.status == 200


def test_the_result_that_a_webhook_names_needs_the_key_of_its_owner(tenants: Tenants) -> None:
    thing = tenants.make(RESULT)
    path = f"/download/v1beta/files/batch-{thing}:download?alt=media"
    assert tenants.doors.ask("GET", path).status == 403
    assert tenants.ask(tenants.stranger, "GET", path).status == 404
    assert tenants.ask(tenants.owner, "GET", path).body == b"secret\n"
