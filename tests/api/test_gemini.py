"""Models, live generation, batches and files, over the wire."""

from __future__ import annotations

import http.client

import msgspec
import pytest

from nightrate import limits
from nightrate.domain.batch import Batch
from nightrate.domain.generation import Failure
from nightrate.errors import Code, StoreFault
from tests.api.doors import Doors

MODEL = "/v1beta/models/gemini-2.5-flash"
GENERATE = f"{MODEL}:generateContent"
COUNT = f"{MODEL}:countTokens"
CREATE = f"{MODEL}:batchGenerateContent"


def prompt(text: str) -> bytes:
    return msgspec.json.encode({"contents": [{"parts": [{"text": text}]}]})


# models ----------------------------------------------------------------------------------------


def test_models_are_listed_page_by_page_without_an_empty_last_page(doors: Doors) -> None:
    names = [model.name for model in doors.models.list()]
    seen: list[str] = []
    token = ""
    while True:
        page = doors.ask("GET", f"/v1/models?pageSize=2&pageToken={token}").json
        assert page["models"]
        seen += [model["name"] for model in page["models"]]
        if "nextPageToken" not in page:
            break
        token = page["nextPageToken"]
    assert seen == [f"models/{name}" for name in names]


def test_a_model_tells_what_it_can_do(doors: Doors) -> None:
    model = doors.ask("GET", MODEL).json
    assert model["name"] == "models/gemini-2.5-flash"
    assert "batchGenerateContent" in model["supportedGenerationMethods"]
    assert doors.ask("GET", "/v1/tunedModels").json == {}


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_unknown_model_is_not_found(doors: Doors, method: str) -> None:
    path = "/v1/models/imagen-4" + (":generateContent" if method == "POST" else "")
    assert doors.ask(method, path, prompt("x")).error[:2] == (404, "NOT_FOUND")


# live generation -------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["v1", "v1beta", "v1alpha"])
@pytest.mark.parametrize("verb", [":generateContent", "%3AgenerateContent"])
@pytest.mark.parametrize("kind", ["models", "tunedModels"])
def test_a_prompt_is_answered(doors: Doors, version: str, verb: str, kind: str) -> None:
    answer = doors.ask("POST", f"/{version}/{kind}/gemini-2.5-flash{verb}", prompt("hello"))
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json; charset=UTF-8"
    assert answer.json["candidates"][0]["content"]["parts"][0]["text"] == "hello"
    assert answer.json["responseId"]


@pytest.mark.parametrize(
    "headers",
    [
        {"x-goog-api-key": "anything"},
        {"Authorization": "Bearer anything"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {},
    ],
)
def test_any_key_or_none_and_any_content_type_will_do(
    doors: Doors, headers: dict[str, str]
) -> None:
    assert doors.ask("POST", GENERATE, prompt("x"), headers).status == 200
    assert doors.ask("POST", f"{GENERATE}?key=anything", prompt("x"), headers).status == 200


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"{}", b"\xff", b'{"content": 1}'])
def test_a_malformed_prompt_is_refused(doors: Doors, body: bytes) -> None:
    assert doors.ask("POST", GENERATE, body).error[:2] == (400, "INVALID_ARGUMENT")


def test_a_failure_of_the_engine_keeps_its_code(doors: Doors) -> None:
    assert doors.ask("POST", GENERATE, prompt("[[fail 3]]")).error[:2] == (400, "INVALID_ARGUMENT")
    assert doors.ask("POST", GENERATE, prompt("[[fail 13]]")).error[:2] == (500, "INTERNAL")


def test_a_client_that_leaves_frees_its_place_in_the_engine(doors: Doors) -> None:
    body = prompt("[[delay 3600]]")
    with doors.connect() as connection:
        head = f"POST {GENERATE} HTTP/1.1\r\nHost: {doors.host}\r\nContent-Length: {len(body)}\r\n"
        connection.sendall(head.encode() + b"\r\n" + body)
        doors.eventually(lambda: doors.lane.places.requests == 1)
    doors.eventually(lambda: doors.lane.places.requests == 0)


@pytest.mark.parametrize("length_known", [True, False])
def test_a_body_over_the_bound_is_refused_with_the_bound(
    doors: Doors, *, length_known: bool
) -> None:
    body = b" " * (limits.BODY_BYTES_MAX + 1)
    for path in (GENERATE, CREATE):
        answer = doors.ask("POST", path, body if length_known else iter([body]))
        assert answer.error[:2] == (400, "INVALID_ARGUMENT")
        assert str(limits.BODY_BYTES_MAX) in answer.error[2]


# counting tokens -------------------------------------------------------------------------------


def test_tokens_are_counted_as_a_reply_counts_them(doors: Doors) -> None:
    used = doors.ask("POST", GENERATE, prompt("hello you")).json["usageMetadata"]
    count = doors.ask("POST", COUNT, prompt("hello you")).json
    assert count["totalTokens"] == used["promptTokenCount"] == 3
    assert count["promptTokensDetails"] == [{"modality": "TEXT", "tokenCount": 3}]


def test_tokens_of_an_unknown_model_or_a_bad_body_are_not_counted(doors: Doors) -> None:
    path = "/v1/models/gemini-embedding-001:countTokens"
    assert doors.ask("POST", path, prompt("x")).error[:2] == (404, "NOT_FOUND")
    assert doors.ask("POST", COUNT, b"{}").error[:2] == (400, "INVALID_ARGUMENT")


def test_tokens_cannot_be_counted_by_an_engine_that_is_not_open(
    doors: Doors, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def closed(*_: object) -> Failure:
        return Failure(Code.UNAVAILABLE, "it is being loaded")

    monkeypatch.setattr(doors.executor, "count_tokens", closed)
    assert doors.ask("POST", COUNT, prompt("x")).error[:2] == (503, "UNAVAILABLE")


# batches ---------------------------------------------------------------------------------------


def test_a_new_batch_is_pending_and_is_found_and_listed(doors: Doors) -> None:
    batch_id = doors.submit_inline()
    document = doors.ask("GET", f"/v1/batches/{batch_id}").json
    assert document["name"] == f"batches/{batch_id}"
    assert (document["done"], document["state"]) == (False, "JOB_STATE_PENDING")
    listed = doors.ask("GET", "/v1beta/batches?pageSize=1").json["operations"]
    assert [operation["name"] for operation in listed] == [f"batches/{batch_id}"]


def test_the_results_of_an_inline_batch_stand_in_all_their_places(
    doors: Doors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "READ_BYTES", 7)
    batch_id = doors.submit_inline(3)
    doors.plan(batch_id, 2)
    items = [{"response": {"n": 1}}, {"response": {"n": 2}, "metadata": {"k": "é\n"}}, {"n": 3}]
    lines = [msgspec.json.encode(item) + b"\n" for item in items]
    doors.seal(batch_id, lines[0] + lines[1], lines[2])
    answer = doors.ask("GET", f"/v1/batches/{batch_id}")
    assert answer.headers["content-type"] == "application/json; charset=UTF-8"
    document = answer.json
    assert document["state"] == "JOB_STATE_SUCCEEDED"
    assert document["metadata"]["output"]["inlinedResponses"]["inlinedResponses"] == items
    assert document["response"]["inlinedResponses"]["inlinedResponses"] == items
    assert document["dest"]["inlinedResponses"] == items
    (listed,) = doors.ask("GET", "/v1/batches?pageSize=1").json["operations"]
    assert "inlinedResponses" not in msgspec.json.encode(listed).decode()


def test_a_damaged_inline_result_is_an_error_and_not_half_a_document(doors: Doors) -> None:
    batch_id = doors.submit_inline()
    doors.plan(batch_id, 2)
    _, path = doors.seal(batch_id, b'{"n":1}\n', b'{"n":2}\n')
    path.write_bytes(b'{"n":3}\n')
    for _ in range(2):  # the one who finds it, and whoever comes later
        assert doors.ask("GET", f"/v1/batches/{batch_id}").error[:2] == (503, "UNAVAILABLE")
    assert doors.ask("GET", "/v1/batches").status == 200


def test_a_document_that_meets_damage_on_its_way_does_not_look_complete(
    doors: Doors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "CHECKED_FIRST_BYTES", 1)
    batch_id = doors.submit_inline()
    doors.plan(batch_id, 2)
    _, path = doors.seal(batch_id, b'{"n":1}\n', b'{"n":2}\n')
    path.write_bytes(b'{"n":3}\n')
    with pytest.raises(http.client.IncompleteRead) as caught:
        doors.ask("GET", f"/v1/batches/{batch_id}")
    assert b'{"n":1}' in caught.value.partial
    assert b'{"n":3}' not in caught.value.partial


def test_a_file_batch_names_its_result_file(doors: Doors) -> None:
    batch_id = doors.submit_file(doors.upload(b"{}\n"))
    doors.plan(batch_id, 1)
    doors.seal(batch_id, b'{"n":1}\n')
    answer = doors.ask("GET", f"/v1/batches/{batch_id}")
    assert int(answer.headers["content-length"]) == len(answer.body)
    name = answer.json["response"]["responsesFile"]
    assert name == f"files/batch-{batch_id}"
    assert doors.ask("GET", f"/download/v1beta/{name}:download?alt=media").body == b'{"n":1}\n'


def test_batches_page_through_to_an_end(doors: Doors) -> None:
    made = {f"batches/{doors.submit_inline()}" for _ in range(3)}
    seen: set[str] = set()
    token = ""
    while True:
        page = doors.ask("GET", f"/v1/batches?page_size=2&page_token={token}").json
        assert page["operations"]
        seen |= {operation["name"] for operation in page["operations"]}
        if "nextPageToken" not in page:
            break
        token = page["nextPageToken"]
    assert made <= seen


def test_a_batch_that_is_not_there_is_not_found(doors: Doors) -> None:
    assert doors.ask("GET", "/v1/batches/nothing").error[:2] == (404, "NOT_FOUND")
    body = b"{'batch': {'input_config': {'file_name': 'files/nothing'}}}"
    assert doors.ask("POST", CREATE, body).error[:2] == (404, "NOT_FOUND")


@pytest.mark.parametrize(
    "query", ["pageSize=x", "pageSize=-1", "pageToken=nonsense", "pageToken=MTI"]
)
@pytest.mark.parametrize("what", ["batches", "files", "models"])
def test_pages_that_cannot_be_are_refused(doors: Doors, what: str, query: str) -> None:
    assert doors.ask("GET", f"/v1/{what}?{query}").error[0] == 400


def test_a_filter_that_is_not_understood_is_refused(doors: Doors) -> None:
    answer = doors.ask("GET", "/v1/batches?filter=x")
    assert answer.error[:2] == (400, "INVALID_ARGUMENT")


@pytest.mark.parametrize("more", ["", "&returnPartialSuccess=true"])
def test_a_list_can_be_narrowed_and_its_pages_go_on(doors: Doors, more: str) -> None:
    made = [doors.submit_inline() for _ in range(3)]
    doors.ask("POST", f"/v1/batches/{made[1]}:cancel")
    path = f"/v1/batches?pageSize=1{more}&filter=state%3DJOB_STATE_PENDING"
    first = doors.ask("GET", path).json
    second = doors.ask("GET", f"{path}&pageToken={first['nextPageToken']}").json
    names = [one["name"] for page in (first, second) for one in page["operations"]]
    assert names == [f"batches/{made[2]}", f"batches/{made[0]}"]
    path = f"/v1/batches?pageSize=1000{more}&filter=displayName%3Dnobody"
    assert doors.ask("GET", path).json == {}


# files -----------------------------------------------------------------------------------------


def test_files_are_listed_newest_first_with_a_default_of_ten(doors: Doors) -> None:
    made = [doors.upload(b"x") for _ in range(11)]
    page = doors.ask("GET", "/v1/files").json
    assert [file["name"] for file in page["files"]] == [f"files/{name}" for name in made[:0:-1]]
    following = doors.ask("GET", f"/v1/files?pageToken={page['nextPageToken']}").json
    assert following["files"][0]["name"] == f"files/{made[0]}"
    huge = doors.ask("GET", "/v1/files?pageSize=999999999999999999999").json
    assert len(huge["files"]) >= 11


def test_a_deleted_file_is_gone(doors: Doors) -> None:
    name = f"/v1/files/{doors.upload(b'x')}"
    deleted = doors.ask("DELETE", name, b"{}", {"Content-Type": "application/json"})
    assert (deleted.status, deleted.json) == (200, {})
    assert doors.ask("DELETE", name).error[:2] == (404, "NOT_FOUND")
    assert doors.ask("GET", name).error[:2] == (404, "NOT_FOUND")
    assert doors.ask("GET", f"{name}:download").error[:2] == (404, "NOT_FOUND")


# what is not there -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PATCH", "/v1/batches/b"),
        ("POST", "/v1/files"),
        ("POST", "/v1/files:register"),
    ],
)
def test_known_methods_that_are_not_served_say_so(doors: Doors, method: str, path: str) -> None:
    code, status, message = doors.ask(method, path, b"{}").error
    assert (code, status) == (501, "UNIMPLEMENTED")
    assert "not served by this server yet" in message


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "/v2/models"),
        ("GET", "/v1/models/"),
        ("GET", "/v1/models/a/b"),
        ("GET", "/v1/models/m:generateContent"),
        ("POST", "/v1/models/m:batchCreate"),
        ("POST", "/v1/models/m"),
        ("PUT", "/v1/batches/b"),
        ("DELETE", "/v1/models/m"),
        ("GET", "/v1/files/a%0A"),
        ("GET", "/v1/files/..%2F..%2Fstate.sqlite"),
        ("GET", "/upload/v1/files"),
        ("OPTIONS", "/v1/models"),
    ],
)
def test_anything_else_is_not_found_in_json(doors: Doors, method: str, path: str) -> None:
    assert doors.ask(method, path).error[:2] == (404, "NOT_FOUND")


def test_a_wrong_method_is_told_the_right_ones(doors: Doors) -> None:
    answer = doors.ask("GET", GENERATE)
    assert answer.headers["allow"] == "POST"
    assert "POST" in answer.error[2]


# health ----------------------------------------------------------------------------------------


def test_the_server_is_ready_until_there_is_a_reason_why_not(doors: Doors) -> None:
    assert doors.ask("GET", "/readyz").json == {}
    doors.reason = "the disk is full"
    try:
        assert doors.ask("GET", "/readyz").error == (503, "UNAVAILABLE", "the disk is full")
        assert doors.ask("GET", "/livez").status == 200
    finally:
        doors.reason = None


def test_a_store_that_fails_is_unavailable(doors: Doors, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fails(*_: str) -> Batch:
        raise StoreFault("the database is locked")

    monkeypatch.setattr(doors.batches, "get", fails)
    assert doors.ask("GET", "/v1/batches/b").error[:2] == (503, "UNAVAILABLE")


def test_an_engine_that_is_not_open_is_unavailable(
    doors: Doors, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def closed(*_: object) -> Failure:
        return Failure(Code.UNAVAILABLE, "it is being loaded")

    monkeypatch.setattr(doors.executor, "live", closed)
    assert doors.ask("POST", GENERATE, prompt("x")).error[:2] == (503, "UNAVAILABLE")
