"""The log is JSON lines that tell places and types, and no words that may be a client's."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from io import StringIO
from typing import Any

import msgspec
import pytest

from nightrate import telemetry
from nightrate.errors import StoreFault


@pytest.fixture
def stream() -> Iterator[StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = StringIO()
    root.handlers[:] = []
    telemetry.set_up(stream)
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)


def only(stream: StringIO) -> dict[str, Any]:
    (line,) = stream.getvalue().removesuffix("\n").split("\n")
    found: dict[str, Any] = msgspec.json.decode(line)
    return found


def test_an_event_is_one_line_with_its_fields(stream: StringIO) -> None:
    telemetry.event("sealed", batch="b1", shard=3, reason=ValueError("any value"))
    line = only(stream)
    assert (line["event"], line["level"], line["batch"], line["shard"]) == (
        "sealed",
        "info",
        "b1",
        3,
    )
    assert line["time"].endswith("Z")
    assert line["reason"] == "any value"


def test_a_line_break_does_not_break_the_line(stream: StringIO) -> None:
    telemetry.event("odd", path="/a\nb\u2028c")
    assert only(stream)["path"] == "/a\nb\u2028c"


def test_records_of_other_libraries_come_in_the_same_form(stream: StringIO) -> None:
    logging.getLogger("uvicorn.error").warning("hello %s", "there")
    line = only(stream)
    assert (line["logger"], line["event"], line["level"]) == (
        "uvicorn.error",
        "hello there",
        "warning",
    )


def test_a_fault_tells_its_way_and_its_causes(stream: StringIO) -> None:
    try:
        try:
            int("a client's words")
        except ValueError as error:
            raise StoreFault("the disk is full") from error
    except StoreFault as error:
        telemetry.fault("write failed", error, blob="x")
    trace = only(stream)["trace"]
    assert trace[0] == "StoreFault: the disk is full"
    assert "test_telemetry.py" in trace[1]
    assert "ValueError" in trace
    assert "a client's words" not in stream.getvalue()


def test_a_foreign_exception_is_logged_without_its_words(stream: StringIO) -> None:
    try:
        int("a client's words")
    except ValueError:
        logging.getLogger("library").exception("it broke")
    assert only(stream)["trace"][0] == "ValueError"
    assert "a client's words" not in stream.getvalue()


def test_a_cause_that_was_hidden_on_purpose_stays_hidden(stream: StringIO) -> None:
    try:
        try:
            int("x")
        except ValueError:
            raise StoreFault("told otherwise") from None
    except StoreFault as error:
        telemetry.fault("failed", error)
    assert not any("ValueError" in line for line in only(stream)["trace"])
