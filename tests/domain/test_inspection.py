"""What was found in an input decides whether its batch can run."""

from __future__ import annotations

import pytest

from nightrate.domain.batch import Plan
from nightrate.domain.inspection import Inspection, LineFault, refusal
from nightrate.errors import Code


def inspection(requests: int, malformed: int, *codes: Code, complete: bool = True) -> Inspection:
    faults = tuple(LineFault(n, None, code, f"fault {n}") for n, code in enumerate(codes, 1))
    return Inspection(
        request_count=requests,
        invalid_count=len(codes),
        malformed_count=malformed,
        shard_count=1,
        faults=faults,
        repeated_keys=(),
        repeated_count=0,
        keys_compared=0,
        text_bytes=0,
        read_bytes=0,
        complete=complete,
    )


def plan(requests: int, malformed: int, *faults: str) -> Plan:
    return Plan(
        request_count=requests,
        invalid_count=malformed,
        shard_count=1,
        faults=faults,
        malformed_count=malformed,
    )


BAD = Code.INVALID_ARGUMENT
UNSERVED = Code.UNIMPLEMENTED


@pytest.mark.parametrize("strict", [False, True])
def test_an_input_without_requests_cannot_run(*, strict: bool) -> None:
    for found in (inspection(0, 0), plan(0, 0)):
        assert refusal(found, strict=strict) == "The input holds no request: every line is blank."
    assert refusal(inspection(0, 0, complete=False), strict=strict) is None


def test_one_request_that_cannot_be_read_hurts_a_strict_batch_only() -> None:
    for found in (inspection(2, 1, BAD), plan(2, 1, "fault 1")):
        assert refusal(found, strict=False) is None
        assert refusal(found, strict=True) == "fault 1"


def test_requests_for_what_is_not_served_stop_no_batch() -> None:
    for strict in (False, True):
        assert refusal(inspection(2, 0, UNSERVED, UNSERVED), strict=strict) is None
        assert refusal(plan(2, 0), strict=strict) is None
    assert refusal(inspection(3, 1, UNSERVED, BAD), strict=True) == "fault 2"


def test_an_input_without_a_valid_request_cannot_run() -> None:
    for found in (inspection(2, 2, BAD, BAD), plan(2, 2, "fault 1", "fault 2")):
        why = "The input holds no valid request.\nfault 1\nfault 2"
        assert refusal(found, strict=False) == why
    assert refusal(inspection(2, 2, BAD, BAD, complete=False), strict=False) is None


def test_the_faults_that_are_not_listed_are_counted() -> None:
    assert refusal(plan(9, 3, "fault 1"), strict=True) == "fault 1\n... and 2 more."
    seen = inspection(9, 3, BAD, complete=False)
    assert refusal(seen, strict=True) == "fault 1\n... and 2 more, as far as it was read."
