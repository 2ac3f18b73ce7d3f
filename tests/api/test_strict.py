"""Bad requests are refused when a batch is created, where that is asked for; and dry runs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from nightrate import limits, planning_limits
from tests.api.doors import Answer, Doors, opened

CREATE = "/v1beta/models/gemini-2.5-flash:batchGenerateContent"
GOOD = {"contents": [{"parts": [{"text": "x"}]}]}
UNSERVED = {**GOOD, "tools": [{"googleMaps": {}}]}
BAD = {"contents": [{"parts": [{"txt": "x"}]}]}


@pytest.fixture(scope="module")
def doors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doors]:
    with opened(tmp_path_factory.mktemp("data"), looks=True) as doors:
        yield doors


def lines(*requests: object) -> bytes:
    rows = ({"key": str(n), "request": request} for n, request in enumerate(requests, 1))
    return b"".join(msgspec.json.encode(row) + b"\n" for row in rows)


def of_file(doors: Doors, content: bytes) -> bytes:
    name = f"files/{doors.upload(content)}"
    return msgspec.json.encode({"batch": {"inputConfig": {"fileName": name}}})


def of_items(*requests: object) -> bytes:
    items = [{"request": request} for request in requests]
    return msgspec.json.encode({"batch": {"inputConfig": {"requests": {"requests": items}}}})


def count(doors: Doors) -> int:
    rows = doors.call(doors.store._read("SELECT count(*) FROM batch", {}))
    return int(rows[0][0])


def inputs(doors: Doors) -> set[str]:
    folder = doors.blobs.path("batches/default")
    return {str(path) for path in folder.rglob("*")}


# strictness -----------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["file", "inline"])
def test_the_exact_profile_refuses_what_the_default_runs(doors: Doors, form: str) -> None:
    requests = GOOD, BAD, GOOD, BAD
    body = of_file(doors, lines(*requests)) if form == "file" else of_items(*requests)
    assert doors.ask("POST", CREATE, body).status == 200
    before, blobs = count(doors), inputs(doors)
    code, status, message = doors.ask("POST", f"/exact{CREATE}", body).error
    assert (code, status) == (400, "INVALID_ARGUMENT")
    where = "Error on line" if form == "file" else "Error in request"
    first, second = message.splitlines()
    assert first.startswith(f"{where} 2: ")
    assert second.startswith(f"{where} 4: ")
    assert "request.contents[0].parts[0]" in first
    assert count(doors) == before
    assert inputs(doors) == blobs


def test_a_setting_makes_every_batch_strict(doors: Doors, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doors.batches, "_strict", True)
    body = of_items(GOOD, BAD)
    assert doors.ask("POST", CREATE, body).error[:2] == (400, "INVALID_ARGUMENT")
    assert doors.ask("POST", CREATE, of_items(GOOD)).status == 200


def test_the_first_twenty_faults_are_listed_and_the_others_counted(doors: Doors) -> None:
    body = of_file(doors, lines(GOOD, *[BAD] * 30))
    listed = doors.ask("POST", f"/exact{CREATE}", body).error[2].splitlines()
    assert len(listed) == limits.FAULTS_LISTED_MAX + 1
    assert [line.partition(":")[0] for line in listed[:-1]] == [
        f"Error on line {number}" for number in range(2, 22)
    ]
    assert listed[-1] == "... and 10 more."


def test_what_is_well_formed_but_not_served_fails_alone(doors: Doors) -> None:
    for path in (CREATE, f"/exact{CREATE}"):
        assert doors.ask("POST", path, of_items(UNSERVED, UNSERVED)).status == 200


def test_a_large_input_is_checked_in_a_process(
    doors: Doors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning_limits, "CHECK_IN_PLACE_BYTES_MAX", 10)
    for body in (of_file(doors, lines(GOOD, BAD)), of_items(GOOD, BAD)):
        assert " 2: " in doors.ask("POST", f"/exact{CREATE}", body).error[2]
    assert doors.ask("POST", f"/exact{CREATE}", of_items(GOOD)).status == 200


def test_what_is_beyond_the_budget_is_left_to_planning_which_knows(
    doors: Doors, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = of_file(doors, lines(GOOD, BAD))
    monkeypatch.setattr(planning_limits, "CHECK_BYTES_MAX", 10)
    monkeypatch.setattr(limits, "READ_BYTES", 16)
    answer = doors.ask("POST", f"/exact{CREATE}", body)
    assert answer.status == 200
    assert answer.json["metadata"]["state"] == "BATCH_STATE_PENDING"
    batch_id = answer.json["name"].removeprefix("batches/")
    assert doors.call(doors.batches.get("default", batch_id)).strict


@pytest.mark.parametrize("content", [b"no json\n" * 3, lines(BAD, BAD)])
def test_an_input_without_a_valid_line_is_refused_at_once(doors: Doors, content: bytes) -> None:
    before = count(doors)
    code, status, message = doors.ask("POST", CREATE, of_file(doors, content)).error
    assert (code, status) == (400, "INVALID_ARGUMENT")
    assert message.startswith("The input holds no valid request.\nError on line 1: ")
    assert count(doors) == before


def test_inline_requests_of_which_none_is_valid_are_refused_at_once(doors: Doors) -> None:
    message = doors.ask("POST", CREATE, of_items(BAD)).error[2]
    assert message.startswith("The input holds no valid request.\nError in request 1: ")


@pytest.mark.parametrize("content", [b"\n", b"\xef\xbb\xbf\r\n \n"])
@pytest.mark.parametrize("prefix", ["", "/exact"])
def test_a_file_without_requests_is_refused(doors: Doors, prefix: str, content: bytes) -> None:
    answer = doors.ask("POST", prefix + CREATE, of_file(doors, content))
    assert answer.error == (
        400,
        "INVALID_ARGUMENT",
        "The input holds no request: every line is blank.",
    )


SCHEMA = {"type": "OBJECT"}


@pytest.mark.parametrize(
    ("request_", "beside", "words"),
    [
        (
            {**GOOD, "generationConfig": {"cachedContent": "cachedContents/c"}},
            {},
            ('"cachedContent"', "request.generationConfig", "cachedContent"),
        ),
        ({**GOOD, "thinking_config": {}}, {}, ('"thinking_config"', "generation")),
        ({**GOOD, "system_instructions": "x"}, {}, ('"system_instructions"', "systemInstruction")),
        ({**GOOD, "config": {"temperature": 1}}, {}, ('"config"', "generationConfig")),
        (GOOD, {"config": {"temperature": 1}}, ('"config"', "generationConfig")),
        ({**GOOD, "responseSchema": SCHEMA}, {}, ('"responseSchema"', "generationConfig")),
        (
            {
                **GOOD,
                "generationConfig": {
                    "responseMimeType": "application/json",
                    "responseSchema": {**SCHEMA, "additionalProperties": False},
                },
            },
            {},
            ("additionalProperties", "responseSchema", "responseJsonSchema"),
        ),
        (
            {
                **GOOD,
                "generationConfig": {
                    "responseMimeType": "application/json",
                    "responseSchema": {"$ref": "#/x"},
                },
            },
            {},
            ("$ref", "responseSchema", "responseJsonSchema"),
        ),
    ],
    ids=[
        "cache in config",
        "thinking outside",
        "plural instruction",
        "flat config",
        "config beside",
        "schema outside",
        "keyword of JSON Schema",
        "reference",
    ],
)
def test_a_known_mistake_is_refused_with_its_remedy(
    doors: Doors, request_: object, beside: dict[str, Any], words: tuple[str, ...]
) -> None:
    row = msgspec.json.encode({"key": "a", "request": request_, **beside})
    body = of_file(doors, lines(GOOD) + row + b"\n")
    code, status, message = doors.ask("POST", f"/exact{CREATE}", body).error
    assert (code, status) == (400, "INVALID_ARGUMENT")
    assert message.startswith("Error on line 2: ")
    assert [word for word in words if word not in message] == [], message


# dry runs -------------------------------------------------------------------------------------


def dry(doors: Doors, body: bytes, prefix: str = "") -> Answer:
    before, blobs = count(doors), inputs(doors)
    answer = doors.ask("POST", f"{prefix}{CREATE}?dryRun=true", body)
    assert count(doors) == before
    assert inputs(doors) == blobs
    return answer


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("form", ["file", "inline"])
def test_a_dry_run_tells_everything_and_makes_nothing(
    doors: Doors, monkeypatch: pytest.MonkeyPatch, form: str, *, large: bool
) -> None:
    if large:
        monkeypatch.setattr(planning_limits, "CHECK_IN_PLACE_BYTES_MAX", 10)
    requests = GOOD, BAD, UNSERVED, *[BAD] * 30
    if form == "file":
        body = of_file(doors, lines(*requests) + lines(GOOD))
    else:
        body = of_items(*requests, GOOD)
    report = dry(doors, body).json
    assert report["accepted"] is True
    assert report["complete"] is True
    assert report["requestCount"] == "34"
    assert report["invalidRequestCount"] == "32"
    assert report["model"] == "models/gemini-2.5-flash"
    number = "line" if form == "file" else "request"
    assert [fault[number] for fault in report["faults"]] == list(range(2, 34))
    assert [fault["status"] for fault in report["faults"][:2]] == [
        "INVALID_ARGUMENT",
        "UNIMPLEMENTED",
    ]
    assert report["faults"][1]["field"] == "request.tools[0].googleMaps"
    assert report["promptTokenEstimate"] == "1"
    if form == "file":
        assert report["repeatedKeys"] == [{"key": "1", "line": 34}]
    exact = dry(doors, body, "/exact").json
    assert exact["accepted"] is False
    assert exact["refusal"].endswith("\n... and 11 more.")


def test_a_dry_run_asks_for_what_a_batch_asks_for(doors: Doors) -> None:
    body = msgspec.json.encode({"batch": {"inputConfig": {"fileName": "files/none"}}})
    assert dry(doors, body).error[:2] == (404, "NOT_FOUND")
    assert dry(doors, body, "/exact").error[:2] == (403, "PERMISSION_DENIED")


@pytest.mark.parametrize("value", ["", "1", "yes"])
def test_a_dry_run_that_is_half_asked_for_is_no_real_one(doors: Doors, value: str) -> None:
    before = count(doors)
    answer = doors.ask("POST", f"{CREATE}?dryRun={value}", of_items(GOOD))
    assert answer.error[:2] == (400, "INVALID_ARGUMENT")
    assert count(doors) == before


def test_a_batch_may_say_that_it_is_no_dry_run(doors: Doors) -> None:
    assert doors.ask("POST", f"{CREATE}?dry_run=False", of_items(GOOD)).json["name"]
