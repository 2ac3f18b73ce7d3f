"""Names of result files."""

from __future__ import annotations

from nightrate.domain.file import (
    ResultPart,
    batch_of_result,
    part_of_result,
    result_file_id,
)


def test_a_result_file_is_named_after_its_batch() -> None:
    assert result_file_id("b1") == "batch-b1"
    assert batch_of_result(result_file_id("b1")) == "b1"


def test_an_uploaded_file_belongs_to_no_batch() -> None:
    assert batch_of_result("abc") is None


def test_a_file_of_failures_is_named_after_its_batch_as_well() -> None:
    name = result_file_id("b1", ResultPart.ERRORS)
    assert name == "batch-b1-errors"
    assert batch_of_result(name) == "b1"
    assert part_of_result(name) is ResultPart.ERRORS
    assert part_of_result(result_file_id("b1")) is ResultPart.OUTPUT
