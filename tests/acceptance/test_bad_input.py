"""What clients get wrong, through the door of a real server: the answer names the mistake."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from nightrate import limits, planning_limits
from tests.acceptance.conftest import MakeServer
from tests.acceptance.server import (
    Server,
    counters,
    peak_bytes,
    request_line,
    text_of,
)

CREATE = "/v1beta/models/gemini-2.5-flash:batchGenerateContent"
GENERATE = "/v1beta/models/gemini-2.5-flash:generateContent"
MEMORY_BYTES_MAX = 200 * limits.MIB


# calls --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "body", "named"),
    [
        (CREATE, b'{"batch": {"display_name": "x",', "Invalid JSON payload received"),
        (CREATE, b"", "Invalid JSON"),
        (CREATE, b"[1, 2]", "object"),
        (CREATE, b"\xff\xfe{}", "UTF-8"),
        (CREATE, b'{"batch": 5}', "batch"),
        (CREATE, b"{}", "batch"),
        (CREATE, b'{"batch": {"input_config": {"file_name": 7}}}', "batch.input_config.file_name"),
        (CREATE, b'{"batch": {"display_name": ["x"]}}', "batch.display_name"),
        (CREATE, b'{"batch": {"priorty": 5}}', "\"priorty\" at 'batch'"),
        (
            CREATE,
            b'{"batch": {"input_config": {"fileNam": "x"}}}',
            "\"fileNam\" at 'batch.input_config'",
        ),
        (CREATE, b'{"batch": {"input_config": {"requests": {"requests": []}}}}', "no requests"),
        (CREATE, b'{"batch": {"input_config": {}}}', "neither"),
        (CREATE, b"[" * 5_000 + b"]" * 5_000, "100 levels"),
        (GENERATE, b'{"contents": [{"parts": [{"text": 5}]}]}', "contents[0].parts[0].text"),
        (
            GENERATE,
            b'{"contents": [{"parts": [{"txt": "x"}]}]}',
            "\"txt\" at 'contents[0].parts[0]'",
        ),
        (GENERATE, b'{"generation_config": {"temperature": "hot"}}', "generation_config.temp"),
    ],
    ids=lambda value: value[:40].decode(errors="replace") if isinstance(value, bytes) else "",
)
def test_a_wrong_body_is_refused_with_its_place(
    echo: Server, path: str, body: bytes, named: str
) -> None:
    answer = echo.ask("POST", path, body, {"content-type": "application/json"})
    assert answer.status == 400, answer.body
    assert answer.json["error"]["status"] == "INVALID_ARGUMENT"
    assert named in answer.message


def test_a_missing_file_an_unknown_model_and_an_empty_file_are_refused(echo: Server) -> None:
    missing = echo.create("files/never-uploaded")
    assert (missing.status, missing.json["error"]["status"]) == (404, "NOT_FOUND")
    assert "files/never-uploaded" in missing.message
    unknown = echo.create(echo.upload(request_line("a", "x")), model="no-such-model")
    assert (unknown.status, unknown.json["error"]["status"]) == (404, "NOT_FOUND")
    assert "models/no-such-model" in unknown.message
    empty = echo.create(echo.upload(b""))
    assert (empty.status, empty.json["error"]["status"]) == (400, "INVALID_ARGUMENT")
    assert "empty" in empty.message


def test_a_body_over_the_limit_is_refused_and_the_server_lives_on(echo: Server) -> None:
    body = b'{"batch": {"display_name": "' + b"x" * limits.INLINE_BODY_BYTES_MAX + b'"}}'
    answer = echo.ask("POST", CREATE, body)
    assert answer.status == 400
    assert str(limits.INLINE_BODY_BYTES_MAX) in answer.message
    assert echo.ask("GET", "/readyz").status == 200


# files --------------------------------------------------------------------------------------------


def outcome(echo: Server, content: bytes) -> tuple[Any, list[Any]]:
    """Run a file; gives the batch's document and the lines of its result."""
    name = echo.submit(content)
    document = echo.finish(name)
    return document, echo.results(name) if document["state"] == "JOB_STATE_SUCCEEDED" else []


def assert_fault(line: Any, *words: str) -> None:
    """Check that a line is an error of its client, whose message holds these words."""
    assert line["error"]["code"] == 3, line
    assert "response" not in line
    assert [word for word in words if word not in line["error"]["message"]] == [], line


def test_a_file_without_a_valid_line_fails_with_the_first_twenty_faults(echo: Server) -> None:
    count = 200_000  # more than is looked at before the batch is made
    document, _ = outcome(echo, b"this is no JSON\n" * count)
    assert document["state"] == "JOB_STATE_FAILED"
    assert document["error"]["code"] == 3
    assert_listed(document["error"]["message"], count)
    assert "response" not in document
    assert counters(document)[0] == count


def assert_listed(message: str, count: int) -> None:
    faults = message.splitlines()
    numbers = [line.partition(":")[0] for line in faults if line.startswith("Error on line")]
    assert numbers == [f"Error on line {number}" for number in range(1, 21)]
    assert faults[-1] == f"... and {count - 20} more."


def test_a_small_file_without_a_valid_line_is_refused_at_once(echo: Server) -> None:
    answer = echo.create(echo.upload(b"this is no JSON\n" * 50))
    assert (answer.status, answer.json["error"]["status"]) == (400, "INVALID_ARGUMENT")
    assert_listed(answer.message, 50)


@pytest.mark.parametrize("content", [b"\n", b"\n\n  \n\r\n\t\n", b"\xef\xbb\xbf\n"])
def test_a_file_of_blank_lines_is_refused(echo: Server, content: bytes) -> None:
    answer = echo.create(echo.upload(content))
    assert answer.status == 400
    assert "blank" in answer.message


def test_a_strict_batch_fails_for_one_bad_line_even_after_a_kill(make_server: MakeServer) -> None:
    server = make_server("--engine", "echo")
    long = request_line("a", "x" * limits.MIB)
    file = server.upload(long * (planning_limits.CHECK_BYTES_MAX // limits.MIB + 2) + b"torn\n")
    order = {"batch": {"inputConfig": {"fileName": file}}}
    answer = server.ask("POST", f"/exact{CREATE}", msgspec.json.encode(order))
    assert answer.status == 200, answer.body
    server.kill()
    server.restart()
    document = server.finish(str(answer.json["name"]))
    assert document["state"] == "JOB_STATE_FAILED"
    assert document["error"]["code"] == 3
    number = planning_limits.CHECK_BYTES_MAX // limits.MIB + 3
    assert document["error"]["message"].startswith(f"Error on line {number}: Invalid JSON")


def test_a_setting_makes_the_server_strict(make_server: MakeServer) -> None:
    server = make_server("--engine", "echo", environment={"NIGHTRATE_STRICT": "true"})
    answer = server.create(server.upload(request_line("a", "x") + b"torn\n"))
    assert answer.status == 400
    assert answer.message.startswith("Error on line 2: ")
    assert server.create(server.upload(request_line("a", "x"))).status == 200


def test_a_torn_last_line_costs_only_itself(echo: Server) -> None:
    document, lines = outcome(echo, request_line("a", "whole") + b'{"key": "b", "request": {"cont')
    assert counters(document) == (2, 0, 1, 1)
    assert text_of(lines[0]) == "whole"
    assert_fault(lines[1], "line 2")


def test_a_last_line_without_its_line_end_is_answered(echo: Server) -> None:
    content = request_line("a", "one") + request_line("b", "two").rstrip(b"\n")
    _, lines = outcome(echo, content)
    assert [(line["key"], text_of(line)) for line in lines] == [("a", "one"), ("b", "two")]


def test_windows_line_ends_a_byte_order_mark_and_blank_lines_are_no_faults(echo: Server) -> None:
    parts = [request_line(key, f"text {key}") for key in "abc"]
    unix = b"\xef\xbb\xbf\n" + parts[0] + b"\n   \n" + parts[1] + b"\n\n" + parts[2] + b"\n"
    for content in (unix, unix.replace(b"\n", b"\r\n"), b"\xef\xbb\xbf" + b"".join(parts)):
        document, lines = outcome(echo, content)
        assert counters(document) == (3, 0, 3, 0)
        assert [line["key"] for line in lines] == ["a", "b", "c"]
        assert [text_of(line) for line in lines] == ["text a", "text b", "text c"]


def test_faults_name_the_line_that_an_editor_shows(echo: Server) -> None:
    content = request_line("a", "x") + b"\n\n" + b"{oops}\n" + request_line("b", "y")
    _, lines = outcome(echo, content)
    assert [line.get("key") for line in lines] == ["a", None, "b"]
    assert_fault(lines[1], "line 4")


def test_what_no_text_may_hold_fails_its_line_and_keeps_the_key(echo: Server) -> None:
    bad_text = request_line("bad", "BYTES").replace(b"BYTES", b"caf\xe9")
    half = request_line("half", "HALF").replace(b"HALF", rb"\ud83d")
    content = request_line("a", "x") + bad_text + half + request_line("b", "y")
    document, lines = outcome(echo, content)
    assert counters(document) == (4, 0, 2, 2)
    assert [text_of(line) for line in (lines[0], lines[3])] == ["x", "y"]
    assert_fault(lines[1], "line 2", "UTF-8")
    assert_fault(lines[2], "line 3")
    assert lines[2]["key"] == "half"


def test_deep_nesting_fails_its_line_only(echo: Server) -> None:
    deep = b'{"key": "deep", "request": ' + b"[" * 100_000 + b"]" * 100_000 + b"}\n"
    fairly = b'{"key": "fairly", "x": ' + b"[" * 200 + b"]" * 200 + b', "request": {}}\n'
    _, lines = outcome(echo, request_line("a", "x") + deep + fairly + request_line("b", "y"))
    assert [text_of(line) for line in (lines[0], lines[3])] == ["x", "y"]
    assert_fault(lines[1], "line 2", "nested deeper than 100 levels")
    assert_fault(lines[2], "line 3", "nested deeper than 100 levels")


def test_a_key_may_come_twice_be_a_number_or_be_missing(echo: Server) -> None:
    bare = msgspec.json.encode({"contents": [{"parts": [{"text": "bare"}]}]}) + b"\n"
    big = b'{"key": 12345678901234567890123, "request": {"contents": [{"parts": [{"text": "n"}]}]}}'
    keys: list[Any] = ["twice", "twice", 7, 7.5, "7"]
    content = b"".join(request_line(key, f"{i}") for i, key in enumerate(keys)) + bare + big
    document, lines = outcome(echo, content)
    assert counters(document) == (7, 0, 7, 0)
    assert [line.get("key") for line in lines[:6]] == [*keys, None]
    assert "key" not in lines[5]
    assert [text_of(line) for line in lines] == ["0", "1", "2", "3", "4", "bare", "n"]
    content = echo.download(document["response"]["responsesFile"])
    assert content.splitlines()[6].endswith(b'"key":12345678901234567890123}')


def test_wrong_fields_of_a_line_are_named_with_their_path(echo: Server) -> None:
    wrong: list[tuple[str, str, Any]] = [
        (
            "request.generationConfig.temperature",
            "float",
            {"generationConfig": {"temperature": "hot"}},
        ),
        ("request.contents[0].parts[0]", '"txt"', {"contents": [{"parts": [{"txt": "x"}]}]}),
        ("request.generation_config", '"topk_"', {"generation_config": {"topk_": 3}}),
        ("request", '"systemInstructions"', {"systemInstructions": "x"}),
    ]
    lines = [msgspec.json.encode({"key": 1, "request": request}) + b"\n" for *_, request in wrong]
    _, results = outcome(echo, request_line(1, "x") + b"".join(lines))
    assert [line["key"] for line in results] == [1] * 5
    for number, (path, name, _) in enumerate(wrong, 2):
        assert_fault(results[number - 1], f"line {number}", path, name)


# size ---------------------------------------------------------------------------------------------


def test_a_line_of_100_mb_is_an_error_line_and_costs_no_memory(make_server: MakeServer) -> None:
    server = make_server("--engine", "echo")
    upload = server.start_upload()
    sent = 0
    pieces = [*_long_line(100 * limits.MIB)]
    for number, piece in enumerate(pieces):
        command = "upload" if number + 1 < len(pieces) else "upload, finalize"
        answer = server.send(upload, sent, piece, command)
        sent += len(piece)
    name = server.create(answer.json["file"]["name"]).json["name"]
    document = server.finish(name)
    assert counters(document) == (3, 0, 2, 1)
    first, long, last = server.results(name)
    assert (first["key"], text_of(first)) == ("before", "x")
    assert (last["key"], text_of(last)) == ("after", "y")
    assert_fault(long, "line 2", f"{limits.LINE_BYTES_MAX // limits.MIB} MiB")
    assert peak_bytes(server.pid) < MEMORY_BYTES_MAX


def _long_line(size_bytes: int) -> Iterator[bytes]:
    piece = 8 * limits.MIB
    yield request_line("before", "x") + b'{"key": "long", "request": {"contents": [{"text": "'
    for _ in range(0, size_bytes, piece):
        yield b"x" * piece
    yield b'"}]}}\n' + request_line("after", "y")
