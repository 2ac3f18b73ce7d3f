"""The gate before every door: who gets in, how a key may come, and what the others are told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from nightrate.api.auth import Gate
from nightrate.domain.key import KeyWish
from tests.api.doors import TIMEOUT_SECONDS, Answer, Doors, opened

MODELS = "/v1beta/models"
NOBODY = "nr_aaaaaaaa_" + "x" * 43
OPEN = ["/livez", "/readyz", "/.well-known/jwks.json", "/exact/.well-known/jwks.json"]


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doors]:
    """Give a server with a key."""
    with opened(tmp_path_factory.mktemp("guarded")) as doors:
        doors.call(doors.keys.create(KeyWish(tenant="unused")))
        yield doors


@pytest.fixture
def key(guarded: Doors) -> str:
    return new_key(guarded)


def new_key(doors: Doors, tenant: str = "ours") -> str:
    """Make a key for a tenant."""
    return doors.call(doors.keys.create(KeyWish(tenant=tenant)))[1]


def closed(answer: Answer) -> tuple[int, str]:
    code, status, _ = answer.error
    return code, status


def test_without_keys_any_key_passes_and_none(doors: Doors) -> None:
    for headers in ({}, {"x-goog-api-key": "any"}, {"authorization": "Bearer any"}):
        assert doors.ask("GET", MODELS, headers=headers).status == 200
    assert doors.ask("GET", f"{MODELS}?key=any").status == 200


def test_a_key_may_come_as_header_parameter_or_bearer_token(guarded: Doors, key: str) -> None:
    for headers in (
        {"x-goog-api-key": key},
        {"X-Goog-Api-Key": key},
        {"authorization": f"Bearer {key}"},
        {"Authorization": f"bearer   {key}"},
    ):
        assert guarded.ask("GET", MODELS, headers=headers).status == 200
    assert guarded.ask("GET", f"{MODELS}?pageSize=5&key={key}").status == 200


def test_the_first_place_that_holds_a_key_counts(guarded: Doors, key: str) -> None:
    bearer = {"authorization": f"Bearer {key}"}
    assert guarded.ask("GET", MODELS, headers={"x-goog-api-key": "wrong", **bearer}).status == 400
    assert guarded.ask("GET", f"{MODELS}?key=wrong", headers=bearer).status == 400
    right = {"x-goog-api-key": key, "authorization": "Bearer wrong"}
    assert guarded.ask("GET", f"{MODELS}?key=wrong", headers=right).status == 200


def test_an_empty_place_holds_no_key(guarded: Doors, key: str) -> None:
    headers = {"x-goog-api-key": "", "authorization": f"Bearer {key}"}
    assert guarded.ask("GET", f"{MODELS}?key=", headers=headers).status == 200


@pytest.mark.parametrize(
    "headers", [{}, {"x-goog-api-key": ""}, {"authorization": "Basic abc"}, {"authorization": ""}]
)
def test_who_brings_no_key_is_told_where_to_put_one(
    guarded: Doors, headers: dict[str, str]
) -> None:
    answer = guarded.ask("GET", MODELS, headers=headers)
    code, status, message = answer.error
    assert (code, status) == (403, "PERMISSION_DENIED")
    assert "x-goog-api-key" in message


@pytest.mark.parametrize("wrong", ["any", NOBODY, NOBODY[:-1], "é" * 9])
def test_a_wrong_key_is_told_so(guarded: Doors, wrong: str) -> None:
    answer = guarded.ask(
        "GET", MODELS, headers={"x-goog-api-key": wrong.encode().decode("latin-1")}
    )
    assert closed(answer) == (400, "INVALID_ARGUMENT")
    (detail,) = answer.json["error"]["details"]
    assert detail["reason"] == "API_KEY_INVALID"
    assert answer.body == guarded.ask("GET", MODELS, headers={"x-goog-api-key": "other"}).body


def test_a_wrong_bearer_token_is_told_so(guarded: Doors) -> None:
    answer = guarded.ask("GET", MODELS, headers={"authorization": f"Bearer {NOBODY}"})
    assert closed(answer) == (401, "UNAUTHENTICATED")
    assert answer.headers["www-authenticate"] == "Bearer"


def test_a_revoked_key_is_refused_from_the_next_call_on(guarded: Doors, key: str) -> None:
    assert guarded.ask("GET", MODELS, headers={"x-goog-api-key": key}).status == 200
    guarded.call(guarded.keys.revoke(key[3:11]))
    assert closed(guarded.ask("GET", MODELS, headers={"x-goog-api-key": key})) == (
        400,
        "INVALID_ARGUMENT",
    )
    bearer = {"authorization": f"Bearer {key}"}
    assert closed(guarded.ask("GET", MODELS, headers=bearer)) == (401, "UNAUTHENTICATED")


def test_a_server_whose_last_key_is_revoked_stays_closed(tmp_path: Path) -> None:
    with opened(tmp_path) as doors:
        only = new_key(doors)
        doors.call(doors.keys.revoke(only[3:11]))
        assert doors.ask("GET", MODELS, headers={"x-goog-api-key": only}).status == 400
        assert doors.ask("GET", MODELS).status == 403


@pytest.mark.parametrize("path", OPEN)
def test_what_says_how_the_server_is_needs_no_key(guarded: Doors, path: str) -> None:
    assert guarded.ask("GET", path).status in {200, 404}
    assert guarded.ask("GET", path, headers={"x-goog-api-key": "wrong"}).status in {200, 404}


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/nothing",
        "/livez/",
        "/livez/../v1/models",
        "/v1/livez",
        "//livez",
        "/exact/v1/models",
        "/exact/metrics/x",
        "/exactlivez",
        "/v1/upload/v1/files/x?upload_id=1",
        "/v1/openai/upload/v1/files?upload_id=1",
        "/upload/v9/files?upload_id=1",
        "/v1/files/upload/v1/files?upload_id=1",
    ],
)
def test_every_other_place_needs_one_whether_it_exists_or_not(guarded: Doors, path: str) -> None:
    for method in ("GET", "POST", "DELETE"):
        assert guarded.ask(method, path).status == 403


def test_an_upload_begins_with_a_key_and_goes_on_without(guarded: Doors, key: str) -> None:
    for prefix in ("", "/v1beta", "/exact", "/exact/v1"):
        start = {"X-Goog-Upload-Protocol": "resumable", "X-Goog-Upload-Command": "start"}
        path = f"{prefix}/upload/v1beta/files"
        refused = guarded.ask("POST", path, b"", start)
        assert refused.status == 403
        assert refused.headers["x-goog-upload-status"] == "final"
        begun = guarded.ask("POST", path, b"", {**start, "x-goog-api-key": key})
        url = begun.headers["x-goog-upload-url"]
        assert key not in url
        assert guarded.send(url, "upload", 0, b"abc").status == 200
        assert guarded.send(url, "query").headers["x-goog-upload-size-received"] == "3"
        # A key that has been revoked meanwhile does not stop what its owner began.
        revoked = {"x-goog-api-key": NOBODY}
        done = guarded.send(url, "upload, finalize", 3, b"def", revoked)
        assert done.status == 200
        name = done.json["file"]["name"]
        assert guarded.ask("GET", f"/v1/{name}").status == 403
        assert guarded.ask("GET", f"/v1/{name}", headers={"x-goog-api-key": key}).status == 200


def test_a_piece_with_the_key_of_another_tenant_finds_no_session(guarded: Doors, key: str) -> None:
    url = guarded.start(headers={"x-goog-api-key": key})
    foreign = {"x-goog-api-key": new_key(guarded, "theirs")}
    unknown = url.replace(url.split("upload_id=")[1][:40], "y" * 40)
    for command in ("upload", "upload, finalize", "query", "cancel", "finalize"):
        answer = guarded.send(url, command, 0, b"x", foreign)
        assert closed(answer) == (404, "NOT_FOUND")
        assert answer.body == guarded.send(unknown, command, 0, b"x", foreign).body
    assert guarded.send(url, "upload, finalize", 0, b"x", {"x-goog-api-key": key}).status == 200


def test_nothing_of_a_body_is_awaited_from_who_is_not_let_in(guarded: Doors) -> None:
    with guarded.connect() as connection:
        connection.sendall(
            b"POST /v1/models/gemini-2.5-flash:generateContent HTTP/1.1\r\nHost: a\r\n"
            b"Content-Length: 1000000\r\n\r\n"
        )
        connection.settimeout(TIMEOUT_SECONDS)
        assert connection.recv(65536).startswith(b"HTTP/1.1 403 ")


def test_a_refused_call_leaves_the_connection_in_order(guarded: Doors, key: str) -> None:
    refused = b"POST /v1/files HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
    good = (
        f"GET /v1/models HTTP/1.1\r\nHost: a\r\nConnection: close\r\nx-goog-api-key: {key}\r\n\r\n"
    )
    said = guarded.raw(refused + good.encode())
    assert said.count(b"HTTP/1.1 ") == 2
    assert said.startswith(b"HTTP/1.1 403 ")
    assert b"HTTP/1.1 200 OK" in said


# figures ---------------------------------------------------------------------------------------


def test_the_figures_are_open_to_this_machine(guarded: Doors, key: str) -> None:
    assert guarded.ask("GET", "/metrics").status == 200
    assert guarded.ask("GET", "/metrics", headers={"x-goog-api-key": key}).status == 200
    assert guarded.ask("GET", "/metrics", headers={"x-goog-api-key": "wrong"}).status == 400


@pytest.mark.parametrize("origin", ["192.0.2.7", "2001:db8::1", "unknown", "127.0.0.1, 192.0.2.7"])
def test_the_figures_are_closed_to_others_behind_a_proxy(
    guarded: Doors, key: str, origin: str
) -> None:
    headers = {"x-forwarded-for": origin}
    assert guarded.ask("GET", "/metrics", headers=headers).status == 403
    assert guarded.ask("GET", "/metrics", headers={**headers, "x-goog-api-key": key}).status == 200


@pytest.mark.parametrize(
    ("client", "status"),
    [
        (("127.0.0.1", 1), 200),
        (("127.9.9.9", 1), 200),
        (("::1", 1), 200),
        (("::ffff:127.0.0.1", 1), 200),
        (("::ffff:192.0.2.7", 1), 403),
        (("10.0.0.1", 1), 403),
        (None, 403),
    ],
)
async def test_this_machine_is_known_by_its_address(
    guarded: Doors, client: tuple[str, int] | None, status: int
) -> None:
    scope = {
        "type": "http",
        "method": "GET",
        "path": "/metrics",
        "query_string": b"",
        "http_version": "1.1",
        "headers": [(b"host", b"a")],
        "client": client,
    }
    sent: list[int] = []

    async def send(message: dict[str, int]) -> None:
        sent.append(message.get("status", 0))

    async def call() -> None:
        await guarded.app(scope, None, send)  # type: ignore[arg-type] # nothing is received

    guarded.call(call())
    assert sent[0] == status


# the gate itself -------------------------------------------------------------------------------


async def test_what_is_no_request_passes_the_gate_without_a_tenant() -> None:
    seen: list[dict[str, str]] = []

    async def app(scope: dict[str, str], receive: object, send: object) -> None:
        del receive, send
        seen.append(scope)

    gate = Gate(app, None, lambda _: False)  # type: ignore[arg-type] # nothing is asked of keys
    await gate({"type": "lifespan"}, None, None)  # type: ignore[arg-type] # nothing is received
    assert seen == [{"type": "lifespan"}]
